//! The end of a turn that somebody asks for, and the proof of it (docs/spec/session-mailbox.md 4.7; docs/spec/agents.md 3.9):
//! what counts is the tree of processes, not what the agent says.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mailbox::message::AckStatus;

use super::Session;
use super::turn::End;
use crate::failure::Failure;
use crate::{acp, log, tree};

/// How long the agent may take to end its turn.
const GRACE: Duration = Duration::from_secs(30);
/// How long tools may take to end after the agent said that it has stopped.
const TOOLS: Duration = Duration::from_secs(5);

/// A turn whose end was asked for.
#[derive(Debug)]
pub(super) struct Stopping {
    /// Until when the agent may end it, on the clock of the session.
    pub(super) until: Instant,
}

impl Session {
    /// Interrupts prompts up to a number of the worker's. A late or repeated one never hits the next prompt.
    pub(super) fn on_interrupt(&mut self, through: i64) -> Result<(), Failure> {
        if through <= self.state.interrupted_through {
            return Ok(());
        }
        self.state.interrupted_through = through;
        let meant = self
            .turn
            .as_ref()
            .is_some_and(|turn| turn.messages.iter().any(|message| message.work_seq.is_some_and(|own| own <= through)));
        if meant { self.begin_to_stop() } else { self.tell_state() }
    }

    fn begin_to_stop(&mut self) -> Result<(), Failure> {
        let until = self.awake.now() + GRACE;
        let Some(turn) = self.turn.as_mut().filter(|turn| turn.stopping.is_none()) else { return Ok(()) };
        turn.stopping = Some(Stopping { until });
        self.close_questions("cancelled")?;
        self.state.phase = mailbox::message::Phase::Running;
        self.tell_state()?;
        if let Some(session) = self.open.clone() {
            self.send(acp::cancel(&session));
        }
        Ok(())
    }

    /// What deadlines of the turn say.
    pub(super) fn turn_on_time(&mut self) -> Result<(), Failure> {
        let Some(turn) = &self.turn else { return Ok(()) };
        let limit = Duration::from_millis(self.config.limits.turn_limit_ms);
        match &turn.stopping {
            Some(stopping) if stopping.until <= self.awake.now() => {
                log::line("warn", "stop", "the agent does not end its turn: it is ended");
                let proven = self.end_agent();
                self.stopped_by_kill(proven)
            }
            None if !limit.is_zero() && self.awake.since(turn.begun) > limit => self.begin_to_stop(),
            _ => Ok(()),
        }
    }

    /// The agent says that it has stopped. What its turn has started must be gone too.
    pub(super) fn stopped_by_agent(&mut self) -> Result<(), Failure> {
        let before = self.turn.as_ref().map(|turn| turn.before.clone()).unwrap_or_default();
        let new = || -> BTreeSet<u32> { tree::members(None).difference(&before).copied().collect() };
        let stopped = if tree::wait(TOOLS, new) {
            "agent"
        } else if tree::end(new) {
            "killed"
        } else {
            "unproven"
        };
        self.stopped(stopped)
    }

    /// The agent was ended, or died while it was to stop.
    pub(super) fn stopped_by_kill(&mut self, proven: bool) -> Result<(), Failure> {
        self.stopped(if proven { "killed" } else { "unproven" })
    }

    fn stopped(&mut self, stopped: &str) -> Result<(), Failure> {
        let end = End { status: AckStatus::Completed, stop_reason: "cancelled", stopped: Some(stopped), error: None };
        self.end_turn(&end, Vec::new())
    }
}
