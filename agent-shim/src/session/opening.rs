//! Starting the agent, and going on with its conversation (docs/spec/session-mailbox.md 4.5, 7.4; docs/spec/agents.md 4.3).

use std::time::{Duration, Instant};

use mailbox::agent::{AgentMailbox as _, NewAck, Step, continuation_key};
use mailbox::message::{AckStatus, Message, Phase};
use mailbox::sweep::reasons;
use mailbox::{fsafe, tools};
use serde_json::Value;

use super::{Event, Flow, Session};
use crate::acp::{self, Incoming, Refusal};
use crate::agent::{Agent, Launch};
use crate::failure::Failure;
use crate::outputs::{self, is_id};
use crate::{log, prompt, tree};

/// The pauses before further tries to start an agent, in seconds.
const PAUSES: [u64; 5] = [1, 2, 4, 8, 16];
/// Between two looks at the clock.
const STEP: Duration = Duration::from_secs(1);

/// Why an agent is not open.
pub(super) enum NotOpen {
    /// It says no: another try says the same.
    Refused(String),
    /// This process ends.
    Failed(Failure),
    /// This process is to end.
    Stopped,
    /// What it was to be opened for was interrupted.
    Interrupted,
}

impl From<Failure> for NotOpen {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What a start is for, and how long it may take.
#[derive(Clone, Copy)]
struct Start {
    /// The highest number of the worker's among the prompts: an interrupt up to it or beyond ends the start. None: nothing interrupts it.
    through: Option<i64>,
    /// On the clock of the session.
    deadline: Instant,
}

/// Why a call has no answer.
enum NoAnswer {
    Refused(Refusal),
    /// The agent died, or takes too long.
    Died(&'static str),
    Halted(Halt),
    Failed(Failure),
}

/// Why a start does not go on.
#[derive(Clone, Copy)]
enum Halt {
    Stopped,
    Interrupted,
}

impl From<Halt> for NotOpen {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::Stopped => Self::Stopped,
            Halt::Interrupted => Self::Interrupted,
        }
    }
}

impl Session {
    /// Opens the agent because the host says so.
    pub(super) fn open_as_asked(&mut self, message: &Message) -> Result<Flow, Failure> {
        self.acknowledge(message, AckStatus::Processing, None)?;
        self.forget_before(prompt::conversation(message))?;
        self.take_given(message)?;
        self.end_agent();
        let ack = match self.ensure_open(&[]) {
            Ok(_) => NewAck::of(message, AckStatus::Completed),
            Err(NotOpen::Refused(why)) => NewAck::of(message, AckStatus::Failed).because(&why),
            // Nothing but a prompt is interrupted; should it be said all the same, this one is not done.
            Err(NotOpen::Interrupted) => NewAck::of(message, AckStatus::Failed).because(reasons::CANCELLED),
            Err(NotOpen::Stopped) => return Ok(Flow::Over),
            Err(NotOpen::Failed(failure)) => return Err(failure),
        };
        self.state.phase = Phase::Idle;
        self.commit(Step { acks: vec![ack], ..Step::default() })?;
        Ok(Flow::On)
    }

    /// The key of the agent's conversation.
    pub(super) fn continuation(&self) -> String {
        continuation_key(&self.config.agent.id)
    }

    /// Sees to it that the agent runs and has a session, for these messages. Whether that holds the conversation so far.
    pub(super) fn ensure_open(&mut self, messages: &[Message]) -> Result<bool, NotOpen> {
        if self.agent.is_some() && self.open.is_some() {
            return Ok(true);
        }
        let through = through(messages);
        let mut last = String::new();
        for pause in std::iter::once(0).chain(PAUSES) {
            self.wait(Duration::from_secs(pause), through)?;
            self.end_agent();
            self.state.phase = Phase::Starting;
            self.tell_state()?;
            match self.try_open(through) {
                Ok(loaded) => return Ok(loaded),
                Err(NoAnswer::Refused(refusal)) => {
                    self.end_agent();
                    return Err(NotOpen::Refused(refusal.message));
                }
                Err(NoAnswer::Died(why)) => why.clone_into(&mut last),
                Err(NoAnswer::Halted(halt)) => return Err(halt.into()),
                Err(NoAnswer::Failed(Failure::System(error))) => last = error.to_string(),
                Err(NoAnswer::Failed(failure)) => return Err(NotOpen::Failed(failure)),
            }
            log::line("error", "agent-start", &last);
        }
        Err(NotOpen::Failed(Failure::Agent(last)))
    }

    fn try_open(&mut self, through: Option<i64>) -> Result<bool, NoAnswer> {
        let outside = rustix::io::fcntl_dupfd_cloexec(self.mailbox.outside(), 3)
            .map_err(|error| NoAnswer::Failed(Failure::System(error.into())))?;
        self.started += 1;
        let launch = Launch {
            config: &self.config,
            places: &self.places,
            variables: &self.variables,
            outside,
            events: self.events.clone(),
        };
        let agent = Agent::start(self.started, launch).map_err(|error| NoAnswer::Failed(Failure::System(error)))?;
        self.agent = Some(agent);
        let deadline = self.awake.now() + Duration::from_millis(self.config.limits.start_limit_ms);
        let start = Start { through, deadline };
        let told = self.call(acp::initialize, start)?;
        let cwd = self.cwd().to_string_lossy().into_owned();
        let can_load = self.config.agent.load
            && told.pointer("/agentCapabilities/loadSession").and_then(Value::as_bool).unwrap_or_default();
        self.can_load = can_load;
        let servers = self.tool_servers(&told);
        let kept = self.mailbox.value(&self.continuation()).map_err(|error| NoAnswer::Failed(error.into()))?;
        let is_known = kept.is_some();
        let loaded = match kept.filter(|_| can_load) {
            None => None,
            Some(kept) => match self.call(|id| acp::load_session(id, &kept, &cwd, &servers), start) {
                Ok(_) => Some(kept),
                Err(NoAnswer::Refused(refusal)) => {
                    log::line("warn", "load-refused", &refusal.message);
                    None
                }
                Err(other) => return Err(other),
            },
        };
        let is_loaded = loaded.is_some();
        let session = if let Some(session) = loaded {
            session
        } else {
            let made = self.call(|id| acp::new_session(id, &cwd, &servers), start)?;
            let id = made.get("sessionId").and_then(Value::as_str).filter(|id| is_id(id));
            id.ok_or(NoAnswer::Died("the agent names no session"))?.to_owned()
        };
        if let Some(mode) = self.config.agent.mode.clone() {
            match self.call(|id| acp::set_mode(id, &session, &mode), start) {
                Ok(_) => {}
                // It goes on in the mode that it has.
                Err(NoAnswer::Refused(refusal)) => log::line("warn", "mode-refused", &refusal.message),
                Err(other) => return Err(other),
            }
        }
        let has_tools = !servers.is_empty();
        self.tell("opened", &outputs::opened(&session, is_loaded, &cwd, has_tools), None);
        self.open = Some(session.clone());
        let mut values = vec![(self.continuation(), Some(session))];
        if is_known && !is_loaded {
            values.push(Self::note_untold(true));
        }
        self.commit(Step { values, ..Step::default() }).map_err(NoAnswer::Failed)?;
        Ok(is_loaded)
    }

    /// The tools that the worker offers at this moment, to an agent that can use them.
    fn tool_servers(&self, told: &Value) -> Vec<Value> {
        let inside = fsafe::folder(&self.places.inside).ok().filter(|_| acp::takes_tools(told));
        inside.and_then(tools::read).as_ref().map(acp::tool_server).into_iter().collect()
    }

    /// Asks the agent, and waits for its answer. What it tells meanwhile was told before.
    fn call(&mut self, request: impl FnOnce(u64) -> Value, start: Start) -> Result<Value, NoAnswer> {
        let rpc = self.next_rpc();
        let number = self.started;
        self.send(request(rpc));
        // Bounded by the deadline.
        loop {
            let rest = start.deadline.saturating_duration_since(self.awake.now());
            if rest.is_zero() {
                return Err(NoAnswer::Died("the agent does not start in time"));
            }
            // Looked at each second: time in which this process was stopped counts for nothing.
            let Ok(event) = self.received.recv_timeout(rest.min(STEP)) else { continue };
            match event {
                Event::Stop => return Err(NoAnswer::Halted(Halt::Stopped)),
                Event::Look => match self.why_halt(start.through).map_err(NoAnswer::Failed)? {
                    None => {}
                    Some(halt) => return Err(NoAnswer::Halted(halt)),
                },
                Event::Ended { number: ended } if ended == number => {
                    return Err(NoAnswer::Died("the agent ended before it was ready"));
                }
                Event::Line { number: said, line } if said == number => {
                    if let Some(agent) = &mut self.agent {
                        agent.taken(line.len(), true);
                    }
                    match acp::read(&line) {
                        Incoming::Answer { id, outcome, .. } if id == rpc => return outcome.map_err(NoAnswer::Refused),
                        Incoming::Permission { rpc_id, .. } => self.send(acp::answer_cancelled(&rpc_id)),
                        Incoming::Unsupported(rpc_id) => self.send(acp::unsupported(&rpc_id)),
                        _ => {}
                    }
                }
                // No push runs while an agent starts; and git, which asks before the agent is there, goes without.
                Event::Ended { .. } | Event::Line { .. } | Event::Question { .. } | Event::Pushed(_) => {}
            }
        }
    }

    /// Whether the host wants no start any more.
    fn why_halt(&mut self, through: Option<i64>) -> Result<Option<Halt>, Failure> {
        let Some(control) = self.look_inside()?.map(|inbound| inbound.control) else { return Ok(None) };
        if control.stop_requested_at.is_some() {
            return Ok(Some(Halt::Stopped));
        }
        if through.is_some_and(|through| control.interrupt_seq >= through) {
            self.state.interrupted_through = self.state.interrupted_through.max(control.interrupt_seq);
            return Ok(Some(Halt::Interrupted));
        }
        Ok(None)
    }

    /// Waits, as long as the host lets it.
    fn wait(&mut self, pause: Duration, through: Option<i64>) -> Result<(), NotOpen> {
        let deadline = Instant::now() + pause;
        // Bounded by the deadline.
        loop {
            let rest = deadline.saturating_duration_since(Instant::now());
            match self.received.recv_timeout(rest) {
                Err(_) => return Ok(()),
                Ok(Event::Stop) => return Err(NotOpen::Stopped),
                Ok(Event::Look) => {
                    if let Some(halt) = self.why_halt(through)? {
                        return Err(halt.into());
                    }
                }
                Ok(Event::Line { .. } | Event::Ended { .. } | Event::Question { .. } | Event::Pushed(_)) => {}
            }
        }
    }

    /// An id for a request, each used once.
    pub(super) fn next_rpc(&mut self) -> u64 {
        self.next_rpc += 1;
        self.next_rpc
    }

    /// Ends the agent with all that it started. Whether that is proven.
    pub(super) fn end_agent(&mut self) -> bool {
        self.open = None;
        let Some(agent) = self.agent.take() else { return true };
        let proven = tree::end_all();
        agent.reap();
        proven
    }
}

/// The highest number of the worker's among prompts. None when there is none, or one of them has no number.
fn through(messages: &[Message]) -> Option<i64> {
    let mut numbers = messages.iter().filter(|message| message.trigger).map(|message| message.work_seq);
    let first = numbers.next()??;
    numbers.try_fold(first, |highest, number| Some(highest.max(number?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_interrupted_with_the_last_of_its_prompts() {
        let prompt = |work_seq, trigger| Message { work_seq, trigger, ..Message::pending("m", 2, 0) };
        assert_eq!(through(&[]), None);
        assert_eq!(through(&[prompt(Some(9), false), prompt(Some(3), true), prompt(Some(5), true)]), Some(5));
        assert_eq!(through(&[prompt(Some(3), true), prompt(None, true)]), None);
    }
}
