//! A turn: from messages to the agent's answer (docs/spec/session-mailbox.md 4.6, 7.6).

use std::collections::BTreeSet;
use std::time::Instant;

use mailbox::agent::{NewAck, Step};
use mailbox::message::{AckStatus, Message, Phase};
use mailbox::sweep::reasons;
use serde_json::{Value, json};

use super::opening::NotOpen;
use super::stopping::Stopping;
use super::{Flow, Session};
use crate::acp::{self, Refusal};
use crate::failure::Failure;
use crate::prompt::{self, Prompt};
use crate::provider::{self, Verdict};
use crate::{log, outputs, tree};

/// A turn that runs.
#[derive(Debug)]
pub(super) struct Turn {
    /// What it is about: prompts, and what rides along.
    pub(super) messages: Vec<Message>,
    /// The id of the prompt's request.
    pub(super) rpc: u64,
    /// When it began, on the clock of the session.
    pub(super) begun: Instant,
    /// Processes that were there before it.
    pub(super) before: BTreeSet<u32>,
    /// Set once its end was asked for.
    pub(super) stopping: Option<Stopping>,
}

/// How a turn ended.
pub(super) struct End<'a> {
    pub(super) status: AckStatus,
    pub(super) stop_reason: &'a str,
    pub(super) stopped: Option<&'a str>,
    pub(super) error: Option<String>,
}

impl Turn {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.stopping.as_ref().map(|stopping| stopping.until)
    }
}

impl Session {
    /// Begins a turn of messages that were taken and are wanted.
    pub(super) fn begin_turn(&mut self, mut messages: Vec<Message>) -> Result<Flow, Failure> {
        let is_odd = |message: &Message| message.trigger && prompt::read(message).is_none();
        let failed = |message: &Message| NewAck::of(message, AckStatus::Failed).because("invalid_prompt");
        let mut refused: Vec<NewAck> = messages.iter().filter(|message| is_odd(message)).map(failed).collect();
        messages.retain(|message| !is_odd(message));
        if !messages.iter().any(|message| message.trigger) {
            // What rode along has done so.
            refused.extend(messages.drain(..).map(|one| NewAck::of(&one, AckStatus::Completed)));
        }
        if !refused.is_empty() {
            self.commit(Step { acks: refused, ..Step::default() })?;
        }
        if let [only] = messages.as_slice()
            && prompt::read(only).as_ref().is_some_and(prompt::clears)
        {
            self.clear(&messages)?;
            return Ok(Flow::On);
        }
        // Whoever was interrupted before it was taken does not begin.
        let messages = self.end_late(messages, None)?;
        if messages.is_empty() {
            return Ok(Flow::On);
        }
        let number = messages.iter().map(prompt::conversation).max().unwrap_or_default();
        self.forget_before(number)?;
        let again = messages.iter().any(|message| message.sent_tries > 0);
        match self.ensure_open(&messages) {
            // An agent that does not know what happened is not told to do it again.
            Ok(false) if again => self.fail(&messages, reasons::TURN_INTERRUPTED)?,
            Ok(_) => {
                // The start may have taken long. What cannot be read now is read when the turn runs.
                if let Some(inbound) = self.look_inside()? {
                    self.state.interrupted_through = self.state.interrupted_through.max(inbound.control.interrupt_seq);
                }
                let messages = self.end_late(messages, None)?;
                if !messages.is_empty() {
                    self.send_prompt(messages)?;
                }
            }
            Err(NotOpen::Refused(why)) => self.fail(&messages, &why)?,
            Err(NotOpen::Interrupted) => {
                let stopped = if self.end_agent() { "killed" } else { "unproven" };
                self.end_late(messages, Some(stopped))?;
            }
            Err(NotOpen::Stopped) => return Ok(Flow::Over),
            Err(NotOpen::Failed(failure)) => return Err(failure),
        }
        Ok(Flow::On)
    }

    /// Ends the messages whose interrupt came before the agent had them. Those that are left to be begun: none when only what rides along is.
    fn end_late(&mut self, messages: Vec<Message>, stopped: Option<&str>) -> Result<Vec<Message>, Failure> {
        let through = self.state.interrupted_through;
        let is_late = |message: &Message| message.trigger && message.work_seq.is_some_and(|own| own <= through);
        let (late, messages): (Vec<Message>, Vec<Message>) = messages.into_iter().partition(is_late);
        if late.is_empty() {
            return Ok(messages);
        }
        self.tell_started(&late);
        let end = End { status: AckStatus::Completed, stop_reason: "cancelled", stopped, error: None };
        self.tell_ended(&late, &end, Vec::new())?;
        if messages.iter().any(|message| message.trigger) {
            return Ok(messages);
        }
        // What only rides along does so with nothing.
        let acks = messages.iter().map(|one| NewAck::of(one, AckStatus::Completed)).collect();
        self.commit(Step { acks, ..Step::default() })?;
        Ok(Vec::new())
    }

    fn send_prompt(&mut self, messages: Vec<Message>) -> Result<(), Failure> {
        let Some(session) = self.open.clone() else { return Ok(()) };
        let is_untold = self.is_untold()?;
        let (rpc, blocks) = (self.next_rpc(), prompt::blocks(&messages, is_untold));
        self.tell_started(&messages);
        self.state = self.state.clone().without_tool();
        (self.state.phase, self.state.until, self.state.stopped) = (Phase::Running, None, None);
        self.state.progress_at = Some(log::now());
        let acks = messages.iter().map(|one| NewAck::of(one, AckStatus::Sent)).collect();
        let before = tree::members(None);
        self.turn = Some(Turn { messages, rpc, begun: self.awake.now(), before, stopping: None });
        (self.kept_at, self.kept_part) = (self.awake.now(), None);
        let values = if is_untold { vec![Self::note_untold(false)] } else { Vec::new() };
        // Stored before the agent gets its first byte.
        self.commit(Step { acks, values, ..Step::default() })?;
        self.send(acp::prompt(rpc, &session, &blocks));
        Ok(())
    }

    fn tell_started(&mut self, messages: &[Message]) {
        for message in messages {
            if let Some(Prompt { run, attempt, .. }) = prompt::read(message).filter(|_| message.trigger) {
                self.tell("turn.started", &outputs::turn_started(&message.id, &run, attempt), Some(message));
            }
        }
    }

    /// The command that ends the conversation: no agent is asked.
    fn clear(&mut self, messages: &[Message]) -> Result<(), Failure> {
        self.end_agent();
        self.tell_started(messages);
        let said = json!({"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "The conversation was cleared."}});
        let envelope = json!({"jsonrpc": "2.0", "method": "session/update", "params": {"update": said}});
        self.tell("update", &json!({"envelope": envelope}), messages.first());
        let values = self.forgotten();
        let end = End { status: AckStatus::Completed, stop_reason: "end_turn", stopped: None, error: None };
        self.tell_ended(messages, &end, values)
    }

    fn fail(&mut self, messages: &[Message], why: &str) -> Result<(), Failure> {
        let end = End { status: AckStatus::Failed, stop_reason: "error", stopped: None, error: Some(why.to_owned()) };
        self.tell_ended(messages, &end, Vec::new())
    }

    /// The agent has answered the prompt.
    pub(super) fn on_answer(&mut self, outcome: Result<Value, Refusal>, envelope: Value) -> Result<(), Failure> {
        let Some(turn) = self.turn.as_ref() else { return Ok(()) };
        if turn.stopping.is_some() {
            return self.stopped_by_agent();
        }
        match outcome {
            Ok(result) => {
                let reason = outputs::stop_reason(&result);
                let messages = turn.messages.clone();
                self.tell_update(envelope);
                let end = End { status: AckStatus::Completed, stop_reason: &reason, stopped: None, error: None };
                self.end_turn(&end, Vec::new())?;
                if reason == "cancelled" { Ok(()) } else { self.keep_whole(&messages) }
            }
            Err(refusal) => match provider::judge(&refusal) {
                Verdict::Wait(pause) => self.put_off(log::now().saturating_add(pause)),
                verdict => {
                    let mut values = Vec::new();
                    if verdict == Verdict::Forget {
                        self.open = None;
                        values = vec![(self.continuation(), None), Self::note_untold(true)];
                    }
                    let error = Some(refusal.message);
                    let end = End { status: AckStatus::Failed, stop_reason: "error", stopped: None, error };
                    self.end_turn(&end, values)
                }
            },
        }
    }

    /// The provider takes nothing for a while: the same again later.
    fn put_off(&mut self, until: i64) -> Result<(), Failure> {
        self.close_questions("turn-ended")?;
        let Some(turn) = self.turn.take() else { return Ok(()) };
        self.tools.clear();
        self.state = self.state.clone().without_tool();
        (self.state.phase, self.state.until) = (Phase::RateLimited, Some(until));
        self.tell("state", &json!({"phase": "rate_limited", "until": until}), turn.messages.first());
        let ack = |one: &Message| NewAck { until: Some(until), ..NewAck::of(one, AckStatus::Deferred) };
        let acks = turn.messages.iter().map(|one| ack(one).because(reasons::RATE_LIMITED)).collect();
        self.idle_since = self.awake.now();
        self.commit(Step { acks, ..Step::default() })
    }

    /// The agent's process is gone. What it had is sent again once, to one that knows the conversation.
    pub(super) fn on_agent_ended(&mut self) -> Result<(), Failure> {
        let code = self.agent.as_mut().and_then(crate::agent::Agent::exit_code);
        let proven = self.end_agent();
        let told = code.map_or("a signal".to_owned(), |code| format!("code {code}"));
        log::line("error", "agent_died", &told);
        if self.turn.as_ref().is_some_and(|turn| turn.stopping.is_some()) {
            return self.stopped_by_kill(proven);
        }
        self.close_questions("agent-gone")?;
        let Some(turn) = &self.turn else { return self.tell_state() };
        let again = self.config.agent.load && turn.messages.iter().all(|message| message.sent_tries == 0);
        if !again {
            let error = Some(reasons::AGENT_DIED.to_owned());
            let end = End { status: AckStatus::Failed, stop_reason: "error", stopped: None, error };
            return self.end_turn(&end, Vec::new());
        }
        let state = json!({"phase": "starting", "error": reasons::AGENT_DIED, "message": format!("the agent ended with {told}")});
        self.tell("state", &state, None);
        let Some(turn) = self.turn.take() else { return Ok(()) };
        self.tools.clear();
        self.state = self.state.clone().without_tool();
        self.state.phase = Phase::Idle;
        self.idle_since = self.awake.now();
        let died = |one: &Message| NewAck::of(one, AckStatus::Deferred).because(reasons::AGENT_DIED);
        self.commit(Step { acks: turn.messages.iter().map(died).collect(), ..Step::default() })
    }

    /// Ends the turn, for each of its messages.
    pub(super) fn end_turn(&mut self, end: &End<'_>, values: Vec<(String, Option<String>)>) -> Result<(), Failure> {
        self.close_questions("turn-ended")?;
        for one in self.chunks.flush() {
            self.tell_update(one);
        }
        let Some(turn) = self.turn.take() else { return Ok(()) };
        self.tell_ended(&turn.messages, end, values)
    }

    fn tell_ended(
        &mut self,
        messages: &[Message],
        end: &End<'_>,
        values: Vec<(String, Option<String>)>,
    ) -> Result<(), Failure> {
        for message in messages.iter().filter(|message| message.trigger) {
            let read = prompt::read(message);
            let (run, attempt) = read.map_or((Value::Null, message.attempt()), |prompt| (prompt.run, prompt.attempt));
            let about = (message.id.as_str(), &run, attempt);
            let ended = outputs::turn_ended(about, end.stop_reason, end.stopped, end.error.as_deref());
            self.tell("turn.ended", &ended, Some(message));
        }
        let ack = |message: &Message| {
            let status = if message.trigger { end.status } else { AckStatus::Completed };
            NewAck { error: end.error.clone(), told: message.trigger, ..NewAck::of(message, status) }
        };
        self.tools.clear();
        self.state = self.state.clone().without_tool();
        (self.state.phase, self.state.until) = (Phase::Idle, None);
        self.state.stopped = end.stopped.map(str::to_owned);
        self.idle_since = self.awake.now();
        // What ends the turn and what says so of its messages is one commit.
        self.commit(Step { acks: messages.iter().map(ack).collect(), values, ..Step::default() })
    }
}
