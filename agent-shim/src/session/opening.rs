//! Starting the agent, and going on with its conversation (docs/spec/session-mailbox.md 4.5, 7.4; docs/spec/agents.md 4.3).

use std::time::{Duration, Instant};

use mailbox::agent::{AgentMailbox as _, NewAck, Step, continuation_key};
use mailbox::message::{AckStatus, Message, Phase};
use mailbox::{fsafe, tools};
use serde_json::{Value, json};

use super::{Event, Session};
use crate::acp::{self, Incoming, Refusal};
use crate::agent::{Agent, Launch};
use crate::failure::Failure;
use crate::{log, prompt, tree};

/// The pauses before further tries to start an agent, in seconds.
const PAUSES: [u64; 5] = [1, 2, 4, 8, 16];
/// Between two looks at the clock.
const STEP: Duration = Duration::from_secs(1);
/// The longest id of the agent's, in bytes.
const MAX_ID: usize = 512;

/// Why an agent is not open.
pub(super) enum NotOpen {
    /// It says no: another try says the same.
    Refused(String),
    /// This process ends.
    Failed(Failure),
    /// The host wants this process to end.
    Stopped,
}

impl From<Failure> for NotOpen {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Why a call has no answer.
enum NoAnswer {
    Refused(Refusal),
    /// The agent died, or takes too long.
    Died(&'static str),
    Stopped,
    Failed(Failure),
}

impl Session {
    /// Opens the agent because the host says so.
    pub(super) fn open_as_asked(&mut self, message: &Message) -> Result<(), Failure> {
        self.acknowledge(message, AckStatus::Processing, None)?;
        self.forget_before(prompt::conversation(message))?;
        self.take_given(message)?;
        self.end_agent();
        match self.ensure_open() {
            Ok(_) => {
                let ack = NewAck::of(message, AckStatus::Completed);
                self.state.phase = Phase::Idle;
                self.commit(Step { acks: vec![ack], ..Step::default() })
            }
            Err(NotOpen::Refused(why)) => {
                self.state.phase = Phase::Idle;
                self.acknowledge(message, AckStatus::Failed, Some(&why))
            }
            Err(NotOpen::Stopped) => Ok(()),
            Err(NotOpen::Failed(failure)) => Err(failure),
        }
    }

    /// The key of the agent's conversation.
    pub(super) fn continuation(&self) -> String {
        continuation_key(&self.config.agent.id)
    }

    /// Sees to it that the agent runs and has a session. Whether that holds the conversation so far.
    pub(super) fn ensure_open(&mut self) -> Result<bool, NotOpen> {
        if self.agent.is_some() && self.open.is_some() {
            return Ok(true);
        }
        let mut last = String::new();
        for pause in std::iter::once(0).chain(PAUSES) {
            self.wait(Duration::from_secs(pause))?;
            self.end_agent();
            self.state.phase = Phase::Starting;
            self.tell_state()?;
            match self.try_open() {
                Ok(loaded) => return Ok(loaded),
                Err(NoAnswer::Refused(refusal)) => {
                    self.end_agent();
                    return Err(NotOpen::Refused(refusal.message));
                }
                Err(NoAnswer::Died(why)) => why.clone_into(&mut last),
                Err(NoAnswer::Stopped) => return Err(NotOpen::Stopped),
                Err(NoAnswer::Failed(Failure::System(error))) => last = error.to_string(),
                Err(NoAnswer::Failed(failure)) => return Err(NotOpen::Failed(failure)),
            }
            log::line("error", "agent-start", &last);
        }
        Err(NotOpen::Failed(Failure::Agent(last)))
    }

    fn try_open(&mut self) -> Result<bool, NoAnswer> {
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
        let told = self.call(acp::initialize, deadline)?;
        let cwd = self.cwd().to_string_lossy().into_owned();
        let can_load = self.config.agent.load
            && told.pointer("/agentCapabilities/loadSession").and_then(Value::as_bool).unwrap_or_default();
        self.can_load = can_load;
        let servers = self.tool_servers(&told);
        let kept = self.mailbox.value(&self.continuation()).map_err(|error| NoAnswer::Failed(error.into()))?;
        let is_known = kept.is_some();
        let loaded = match kept.filter(|_| can_load) {
            None => None,
            Some(kept) => match self.call(|id| acp::load_session(id, &kept, &cwd, &servers), deadline) {
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
            let made = self.call(|id| acp::new_session(id, &cwd, &servers), deadline)?;
            let id = made.get("sessionId").and_then(Value::as_str).filter(|id| is_id(id));
            id.ok_or(NoAnswer::Died("the agent names no session"))?.to_owned()
        };
        if let Some(mode) = self.config.agent.mode.clone() {
            match self.call(|id| acp::set_mode(id, &session, &mode), deadline) {
                Ok(_) => {}
                // It goes on in the mode that it has.
                Err(NoAnswer::Refused(refusal)) => log::line("warn", "mode-refused", &refusal.message),
                Err(other) => return Err(other),
            }
        }
        let has_tools = !servers.is_empty();
        let opened = json!({"runtime-session-id": session, "loaded": is_loaded, "cwd": cwd, "tools": has_tools});
        self.tell("opened", &opened, None);
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
    fn call(&mut self, request: impl FnOnce(u64) -> Value, deadline: Instant) -> Result<Value, NoAnswer> {
        let rpc = self.next_rpc();
        let number = self.started;
        self.send(request(rpc));
        // Bounded by the deadline.
        loop {
            let rest = deadline.saturating_duration_since(self.awake.now());
            if rest.is_zero() {
                return Err(NoAnswer::Died("the agent does not start in time"));
            }
            // Looked at each second: time in which this process was stopped counts for nothing.
            let Ok(event) = self.received.recv_timeout(rest.min(STEP)) else { continue };
            match event {
                Event::Stop => return Err(NoAnswer::Stopped),
                Event::Look => self.may_go_on()?,
                Event::Ended { number: ended } if ended == number => {
                    return Err(NoAnswer::Died("the agent ended before it was ready"));
                }
                Event::Line { number: said, line } if said == number => {
                    if let Some(agent) = &mut self.agent {
                        agent.taken(true);
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

    /// Whether the host lets this process go on.
    fn may_go_on(&mut self) -> Result<(), NoAnswer> {
        match self.mailbox.look(log::now()) {
            Ok(inbound) if inbound.control.stop_requested_at.is_some() => Err(NoAnswer::Stopped),
            Ok(_) => Ok(()),
            Err(error) if error.is_passing() => Ok(()),
            Err(error) => Err(NoAnswer::Failed(error.into())),
        }
    }

    /// Waits, as long as the host lets it.
    fn wait(&mut self, pause: Duration) -> Result<(), NotOpen> {
        let deadline = Instant::now() + pause;
        // Bounded by the deadline.
        loop {
            let rest = deadline.saturating_duration_since(Instant::now());
            match self.received.recv_timeout(rest) {
                Err(_) => return Ok(()),
                Ok(Event::Stop) => return Err(NotOpen::Stopped),
                Ok(Event::Look) => match self.may_go_on() {
                    Ok(()) => {}
                    Err(NoAnswer::Failed(failure)) => return Err(NotOpen::Failed(failure)),
                    Err(_) => return Err(NotOpen::Stopped),
                },
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

pub(super) fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= MAX_ID
}
