//! Whether a process is stuck (docs/spec/session-mailbox.md 4.7). Pure: what was seen and both clocks come in.
//!
//! No age is "now minus a time that the other side wrote": its clock may be another one, and any clock may jump. What counts
//! is how long ago a *new* value was first seen here, on the monotonic clock. So all ages start at nothing when the runner
//! starts, and time in which the machine slept, or everything was stopped, is in none of them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::message::{Millis, Phase, RuntimeState};

/// The process says so often that it lives.
pub const HEARTBEAT: Duration = Duration::from_secs(5);
/// So long without a sign of life, and it is dead.
const SILENT: Duration = Duration::from_secs(30);
/// So long after its start it must have given a first one.
const FIRST_SIGN: Duration = Duration::from_mins(1);
/// So long an agent may say nothing in a turn.
const NO_PROGRESS: Duration = Duration::from_mins(30);
/// What a tool's own limit gets on top.
const ALLOWANCE: Duration = Duration::from_mins(1);
/// The longest limit that a tool can declare.
const MAX_TOOL: Duration = Duration::from_hours(24);
/// So long a message may stay taken by a process that does nothing.
const IGNORED: Duration = Duration::from_mins(1);
/// From an interrupt to the kill, and from `stopping` to the end.
const GRACE: Duration = Duration::from_secs(30);
/// The longest time that a rate limit is waited for.
const MAX_RATE_LIMIT: Duration = Duration::from_hours(6);

/// Limits that a person sets.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `START_LIMIT`: how long the agent's start may take.
    pub start: Duration,
    /// `TURN_LIMIT`: how long a turn may take in all.
    pub turn: Option<Duration>,
    /// How often this is asked.
    pub sweep: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { start: Duration::from_mins(5), turn: None, sweep: Duration::from_secs(1) }
    }
}

/// Two clocks of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clocks {
    /// Does not count the time in which the machine sleeps.
    pub monotonic: Duration,
    /// Counts it.
    pub boot: Duration,
}

/// What is seen of a process that exists.
#[derive(Clone, Debug)]
pub struct Sight<'a> {
    /// Its generation.
    pub generation: i64,
    /// The time of its heartbeat's file, as it is; only whether it changes is looked at.
    pub heartbeat: Option<i128>,
    /// What it says of itself.
    pub state: Option<&'a RuntimeState>,
    /// Messages that it has taken, with the attempt.
    pub claims: &'a [(&'a str, i64)],
    /// The time of day.
    pub now: Millis,
}

/// Why a process is killed or interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It gives no sign of life.
    ShimDead,
    /// The agent says nothing.
    NoProgress,
    /// It does not do what it took.
    ClaimIgnored,
    /// The agent does not start.
    StartTimeout,
    /// It does not end.
    StopTimeout,
    /// The turn takes longer than allowed.
    TurnLimit,
}

impl Reason {
    /// The name in notices.
    pub fn name(self) -> &'static str {
        match self {
            Self::ShimDead => "shim_dead",
            Self::NoProgress => "no_progress",
            Self::ClaimIgnored => "claim_ignored",
            Self::StartTimeout => "start_timeout",
            Self::StopTimeout => "stop_timeout",
            Self::TurnLimit => "turn_limit",
        }
    }

    /// Whether it counts as a crash ([`crate::crashes`]).
    pub fn is_crash(self) -> bool {
        !matches!(self, Self::StopTimeout | Self::TurnLimit)
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// End the turn, and look again.
    Interrupt(Reason),
    /// End the process with all that it started.
    Kill(Reason),
}

/// A value, and when it was first seen.
#[derive(Clone, Copy, Debug)]
struct Since<T> {
    value: T,
    at: Duration,
}

impl<T: PartialEq> Since<T> {
    fn see(slot: &mut Option<Self>, value: T, now: Duration) {
        if slot.as_ref().is_none_or(|old| old.value != value) {
            *slot = Some(Self { value, at: now });
        }
    }
}

/// What was seen of one process over time.
#[derive(Clone, Debug)]
pub struct Watch {
    generation: i64,
    clocks: Clocks,
    spawned: Duration,
    heartbeat: Option<Since<i128>>,
    progress: Option<Since<Option<Millis>>>,
    phase: Option<Since<Phase>>,
    /// Until when a rate limit is said to last, and how far that was away when it was first seen.
    limited: Option<(Since<Option<Millis>>, Duration)>,
    claims: BTreeMap<String, Since<i64>>,
    interrupted: Option<Duration>,
    /// When it last said anything of itself: at first, when it was started.
    told: Duration,
}

impl Watch {
    /// Begins to watch a process. The start of a new process, or of this program beside one that runs.
    pub fn new(generation: i64, clocks: Clocks) -> Self {
        Self {
            generation,
            clocks,
            spawned: clocks.monotonic,
            heartbeat: None,
            progress: None,
            phase: None,
            limited: None,
            claims: BTreeMap::new(),
            interrupted: None,
            told: clocks.monotonic,
        }
    }

    /// Whether the process has said anything of itself.
    pub fn has_spoken(&self) -> bool {
        self.phase.is_some()
    }

    /// Takes in what is seen now, and decides.
    pub fn look(&mut self, sight: &Sight<'_>, clocks: Clocks, limits: Limits) -> Option<Decision> {
        let slept = self.slept(clocks, limits);
        if slept {
            // Nobody could do anything meanwhile: that time counts for no age, and this look kills nothing.
            self.leave_out(clocks.monotonic.saturating_sub(self.clocks.monotonic));
        }
        self.clocks = clocks;
        let now = clocks.monotonic;
        if let Some(beat) = sight.heartbeat {
            Since::see(&mut self.heartbeat, beat, now);
        }
        // What another generation says does not count; in particular not the limit of a tool that it ran.
        let state = sight.state.filter(|state| state.generation == self.generation);
        if let Some(state) = state {
            self.told = now;
            Since::see(&mut self.progress, state.progress_at, now);
            Since::see(&mut self.phase, state.phase, now);
            if self.limited.is_none_or(|(seen, _)| seen.value != state.until) {
                let wait = state.until.map_or(0, |until| until.saturating_sub(sight.now)).max(0);
                let wait = Duration::from_millis(wait.unsigned_abs()).min(MAX_RATE_LIMIT);
                self.limited = Some((Since { value: state.until, at: now }, wait));
            }
        }
        self.claims.retain(|id, _| sight.claims.iter().any(|(claimed, _)| claimed == id));
        // Bounded by the messages of one turn.
        for (id, attempt) in sight.claims {
            let seen = self.claims.entry((*id).to_owned()).or_insert(Since { value: *attempt, at: now });
            if seen.value != *attempt {
                *seen = Since { value: *attempt, at: now };
            }
        }
        if slept { None } else { self.decide(state, now, limits) }
    }

    fn slept(&self, clocks: Clocks, limits: Limits) -> bool {
        let awake = clocks.monotonic.saturating_sub(self.clocks.monotonic);
        let passed = clocks.boot.saturating_sub(self.clocks.boot);
        awake.max(passed) > 2 * limits.sweep
    }

    /// Moves everything that was seen before by a time in which nothing could happen. Sleep of the machine is in no age anyway,
    /// as the monotonic clock stands still meanwhile.
    fn leave_out(&mut self, gap: Duration) {
        self.spawned += gap;
        self.told += gap;
        let times = [self.heartbeat.as_mut().map(|seen| &mut seen.at), self.progress.as_mut().map(|seen| &mut seen.at)];
        let more = [
            self.phase.as_mut().map(|seen| &mut seen.at),
            self.limited.as_mut().map(|(seen, _)| &mut seen.at),
            self.interrupted.as_mut(),
        ];
        let claims = self.claims.values_mut().map(|seen| &mut seen.at);
        for at in times.into_iter().chain(more).flatten().chain(claims) {
            *at += gap;
        }
    }

    fn decide(&mut self, state: Option<&RuntimeState>, now: Duration, limits: Limits) -> Option<Decision> {
        let age = |at: Duration| now.saturating_sub(at);
        let silent = match self.heartbeat {
            Some(beat) => age(beat.at) > SILENT,
            None => age(self.spawned) > FIRST_SIGN,
        };
        if silent {
            return Some(Decision::Kill(Reason::ShimDead));
        }
        let (Some(state), Some(phase)) = (state, self.phase) else {
            // It gives signs of life, and nobody can tell what it does: it has as long as for its start.
            return (age(self.told) > limits.start).then_some(Decision::Kill(Reason::StartTimeout));
        };
        let in_phase = age(phase.at);
        let since_progress = age(self.progress.map_or(phase.at, |seen| seen.at).max(phase.at));
        let overdue = match state.phase {
            Phase::Starting => (in_phase > limits.start).then_some(Decision::Kill(Reason::StartTimeout)),
            Phase::Stopping => (in_phase > GRACE).then_some(Decision::Kill(Reason::StopTimeout)),
            Phase::Idle => {
                let ignored = self.claims.values().any(|claim| age(claim.at.max(phase.at)) > IGNORED);
                ignored.then_some(Decision::Kill(Reason::ClaimIgnored))
            }
            // The approval's own deadline ends it.
            Phase::WaitingUser => None,
            Phase::RateLimited => {
                let said = self.limited.map_or(phase.at, |(seen, wait)| seen.at.max(phase.at) + wait);
                let over = now > said + ALLOWANCE || in_phase > MAX_RATE_LIMIT + ALLOWANCE;
                over.then(|| self.interrupt(now, Reason::NoProgress)).flatten()
            }
            Phase::Running => {
                let tool = state.current_tool.as_ref().and(state.tool_declared_timeout_ms).unwrap_or_default().max(0);
                let tool = Duration::from_millis(tool.unsigned_abs()).min(MAX_TOOL);
                let allowed = NO_PROGRESS.max(if tool.is_zero() { tool } else { tool + ALLOWANCE });
                (since_progress > allowed).then(|| self.interrupt(now, Reason::NoProgress)).flatten()
            }
        };
        if overdue.is_some() {
            return overdue;
        }
        if state.phase == Phase::Running {
            let turn = self.claims.values().map(|claim| age(claim.at)).max().unwrap_or_default();
            if limits.turn.is_some_and(|limit| turn > limit) {
                return self.interrupt(now, Reason::TurnLimit);
            }
        }
        if self.interrupted.is_none_or(|at| at < phase.at) {
            self.interrupted = None;
        }
        None
    }

    /// Interrupts once, and kills when that has not helped.
    fn interrupt(&mut self, now: Duration, reason: Reason) -> Option<Decision> {
        match self.interrupted {
            None => {
                self.interrupted = Some(now);
                Some(Decision::Interrupt(reason))
            }
            Some(at) if now.saturating_sub(at) > GRACE => Some(Decision::Kill(reason)),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
