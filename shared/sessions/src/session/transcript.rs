//! What a session knows of its conversation (transcripts.md 4): which snapshot is the last, which run may store one, and who
//! runs the agent.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use transcripts::lease::{Held, Lease as RunLease, Wanted};
use transcripts::limits::{ENDED_RUNS, GRACE_MS, SPOOL_MS};

use super::{Lease, State, Turn};
use crate::runtime::Runtime;

/// The conversation of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Transcript {
    /// How often it was begun anew; none until it was asked whether an earlier session had its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// The last completed run that was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
    /// A run is being kept; the next one waits for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keeping: Option<Keeping>,
    /// Runs that have ended a while ago and may still be stored.
    #[serde(skip_serializing_if = "VecDeque::is_empty")]
    pub ended: VecDeque<EndedRun>,
    /// How often it was begun anew while no agent was at it: one that is told a higher number forgets what it has.
    pub number: u64,
    /// The run that has begun the conversation anew: its token is of an epoch before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset_by: Option<ResetBy>,
    /// The agent tells a loaded conversation again, until it answers this request: nothing of that is news.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay_until: Option<u64>,
    /// The agent knows nothing of the conversation: the next prompt tells it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_lost: bool,
    /// Who runs the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<RunLease>,
}

/// A run that has begun the conversation anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ResetBy {
    /// The run.
    pub run: u64,
    /// The epoch before its first reset.
    pub from: u64,
}

/// A kept run, as far as the next sandbox must know before anything is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Kept {
    /// Its number.
    pub run: u64,
    /// The agent.
    pub agent: String,
    /// The agent's own name of the conversation.
    pub native_session_id: String,
    /// The directory that it works in.
    pub directory: String,
    /// Digest of what was kept, in hex; none where an earlier version kept it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// A run is being kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Keeping {
    /// The work.
    pub lease: Lease,
    /// The run.
    pub run: u64,
    /// Its attempt.
    pub attempt: u64,
}

/// A run that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EndedRun {
    /// The run.
    pub run: u64,
    /// Until when it may be stored, in milliseconds since 1970.
    pub until: i64,
    /// The lease of the runner that calls us and was given the run, for as long as it may get a token for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<u64>,
}

/// The name of a run.
pub fn run_name(number: u64) -> String {
    format!("run-{number}")
}

/// The number in the name of a run, if it is one.
pub fn run_number(name: &str) -> Option<u64> {
    let number = name.strip_prefix("run-")?.parse().ok()?;
    (run_name(number) == name).then_some(number)
}

/// The attempt of a turn.
pub fn attempt(turn: &Turn) -> u64 {
    1 + u64::from(turn.retried)
}

/// Whoever a runtime is, for the lease.
pub fn holder(runtime: &Runtime) -> &str {
    runtime.sandbox_id.as_deref().or(runtime.runner_id.as_deref()).unwrap_or(&runtime.base_url)
}

impl Transcript {
    /// Whether a run goes on, or has ended so recently that it may still be stored.
    pub fn takes(&self, turn: Option<&Turn>, run: u64, now: i64) -> bool {
        is_live(turn, run) || self.ended.iter().any(|ended| ended.run == run && now < ended.until)
    }

    /// Whether what carries that epoch is of the conversation as it is now.
    pub fn is_of(&self, epoch: u64, run: Option<u64>) -> bool {
        let now = self.epoch.unwrap_or_default();
        let is_own = |reset: ResetBy| run == Some(reset.run) && (reset.from..now).contains(&epoch);
        epoch == now || self.reset_by.is_some_and(is_own)
    }

    /// Whether a run has ended so recently, under this lease of a runner's, that the runner may still get a token to store it.
    pub fn is_late(&self, run: u64, lease: u64, now: i64) -> bool {
        self.ended.iter().any(|ended| ended.run == run && ended.lease == Some(lease) && now < ended.until)
    }

    /// The conversation was begun anew: what a runner still has of runs that ended before is of the old one.
    pub(crate) fn forget_leases(&mut self) {
        // At most ENDED_RUNS.
        for ended in &mut self.ended {
            ended.lease = None;
        }
    }

    /// A run has ended. One of a runner that calls us, under this lease, waits there until there is a line to us again.
    pub(crate) fn note_end(&mut self, run: u64, lease: Option<u64>, now: i64) {
        let grace = if lease.is_some() { SPOOL_MS } else { GRACE_MS };
        self.ended.push_back(EndedRun { run, until: now.saturating_add(grace), lease });
        let excess = self.ended.len().saturating_sub(ENDED_RUNS);
        self.ended.drain(..excess);
    }

    /// A run is with a runtime.
    pub(crate) fn take_lease(&mut self, runtime: &Runtime, turn: &Turn, now: i64) {
        let wanted = Wanted {
            run: turn.number,
            attempt: attempt(turn),
            holder: holder(runtime),
            moves_by_time: runtime.runner_id.is_none(),
        };
        // Whoever may not have it was kept from being asked.
        if let Ok(lease) = RunLease::take(self.lease.as_ref(), &wanted, now) {
            self.lease = Some(lease);
        }
    }
}

impl State {
    /// Whoever keeps the session from the runtime that it is bound to, if anybody does.
    pub(crate) fn is_held(&self, now: i64) -> Option<Held> {
        let (lease, runtime) = (self.transcript.lease.as_ref()?, self.runtime.as_ref()?);
        lease.keeps_out(holder(runtime), now)
    }
}

/// Whether a run is with its agent.
pub fn is_live(turn: Option<&Turn>, run: u64) -> bool {
    turn.is_some_and(|turn| turn.number == run && turn.is_with_agent())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_runs_are_numbers() {
        assert_eq!(run_number(&run_name(42)), Some(42));
        for other in ["", "run-", "run-x", "run-01", "run-+1", "run--1", "Run-1", "run-18446744073709551616"] {
            assert_eq!(run_number(other), None, "{other}");
        }
    }

    #[test]
    fn epochs_are_exact_but_for_whoever_began_anew() {
        let transcript =
            Transcript { epoch: Some(3), reset_by: Some(ResetBy { run: 7, from: 2 }), ..Transcript::default() };
        for (epoch, run, expected) in [
            (3, Some(1), true),
            (3, None, true),
            (2, Some(7), true),
            (2, Some(6), false),
            (2, None, false),
            (1, Some(7), false),
            (4, Some(7), false),
            (u64::MAX, Some(7), false),
        ] {
            assert_eq!(transcript.is_of(epoch, run), expected, "{epoch} {run:?}");
        }
        let fresh = Transcript::default();
        assert!(fresh.is_of(0, None) && !fresh.is_of(1, None));
    }

    #[test]
    fn a_run_may_be_stored_for_a_while_after_its_end() {
        let mut transcript = Transcript::default();
        for run in 1..=20 {
            transcript.note_end(run, None, 0);
        }
        assert!(transcript.takes(None, 20, GRACE_MS - 1) && !transcript.takes(None, 20, GRACE_MS));
        assert!(transcript.takes(None, 5, 0) && !transcript.takes(None, 4, 0), "the last few are remembered");
        assert!(!transcript.takes(None, 21, 0));
        transcript.note_end(21, Some(3), 0);
        assert!(transcript.takes(None, 21, SPOOL_MS - 1) && transcript.is_late(21, 3, SPOOL_MS - 1));
        assert!(!transcript.is_late(21, 3, SPOOL_MS) && !transcript.is_late(21, 4, 0) && !transcript.is_late(20, 3, 0));
        transcript.forget_leases();
        assert!(
            !transcript.is_late(21, 3, 0) && transcript.takes(None, 21, 0),
            "its token says of which conversation it is"
        );
    }
}
