//! Whether a runner is there (session-mailbox.md 7.2, 7.8).

use super::{Decide, Detached, Effect, Runner, Woken};
use crate::mailbox::{Offline, limits};

/// Between two tries to tell sessions.
const TELL_AGAIN_MS: i64 = 5_000;

/// What a runner says when it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detach {
    /// It stops.
    Stop,
    /// Its next process comes soon.
    Upgrade,
}

/// A request of the runner began, or was answered.
pub(super) fn seen(runner: &mut Runner, decide: &mut Decide<'_>) {
    runner.detached = None;
    let is_back = runner.presence.offline.is_some();
    runner.presence.last_seen_at = runner.presence.last_seen_at.max(decide.now);
    if is_back {
        change(runner, decide, None);
    }
    if is_back || runner.seen_written_at.saturating_add(limits::SEEN_WRITTEN_MS) <= decide.now {
        runner.seen_written_at = decide.now;
        decide.push(Effect::WriteSeen);
    }
}

pub(super) fn change(runner: &mut Runner, decide: &mut Decide<'_>, offline: Option<Offline>) {
    runner.presence.number = runner.presence.number.saturating_add(1);
    runner.presence.offline = offline;
    if !runner.sessions.is_empty() {
        decide.push(Effect::TellSessions);
    }
}

/// A request of the process that counts was answered. A runner that said meanwhile that it goes is gone.
pub fn on_answered(runner: &mut Runner, decide: &mut Decide<'_>) {
    if runner.revoked_at.is_none() && runner.presence.offline.is_none() && runner.detached.is_none() {
        seen(runner, decide);
    }
}

/// The runner says that it goes.
pub fn detach(runner: &mut Runner, decide: &mut Decide<'_>, how: Detach) {
    runner.attach = None;
    runner.detached = Some(Detached { is_upgrade: how == Detach::Upgrade, at: decide.now });
    decide.push(Effect::EndWaiting(Woken::Ended));
    if how == Detach::Stop {
        change(runner, decide, Some(Offline::Stopped));
    }
}

/// When the runner is offline if nothing is heard of it until then.
fn silent_at(runner: &Runner, decide: &Decide<'_>) -> Option<i64> {
    if runner.presence.offline.is_some() {
        return None;
    }
    Some(match runner.detached {
        Some(detached) if detached.is_upgrade => detached.at.saturating_add(limits::UPGRADE_MS),
        _ => runner.presence.last_seen_at.saturating_add(decide.times.silence()),
    })
}

/// Time has passed.
pub fn on_alarm(runner: &mut Runner, decide: &mut Decide<'_>) {
    if runner.revoked_at.is_some_and(|at| at.saturating_add(limits::REVOKED_KNOWN_MS) <= decide.now) {
        decide.push(Effect::Forget);
        return;
    }
    if silent_at(runner, decide).is_some_and(|at| at <= decide.now) {
        let why = if runner.detached.is_some() { Offline::Stopped } else { Offline::Timeout };
        change(runner, decide, Some(why));
    }
    if runner.untold().next().is_some() {
        decide.push(Effect::TellSessions);
    }
}

/// When the object is to be woken.
pub fn next_alarm(runner: &Runner, decide: &Decide<'_>) -> Option<i64> {
    let untold = runner.untold().next().map(|_| decide.now.saturating_add(TELL_AGAIN_MS));
    let forget = runner.revoked_at.map(|at| at.saturating_add(limits::REVOKED_KNOWN_MS));
    [silent_at(runner, decide), untold, forget].into_iter().flatten().min()
}
