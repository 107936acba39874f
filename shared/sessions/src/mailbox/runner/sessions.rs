//! Which sessions a runner has, and which of them may have work (session-mailbox.md 7.1).

use super::{Bound, Decide, Effect, Runner};

/// A session is bound to the runner, or says again that it is.
pub fn bind(runner: &mut Runner, session_id: &str) {
    if runner.revoked_at.is_some() {
        return;
    }
    if !runner.sessions.contains_key(session_id) {
        // The answer to this says whether the runner is there ([`Runner::presence`]), and so does each answer to a ring.
        let bound = Bound { rings: 0, fetched: 0, told: runner.presence.number };
        runner.sessions.insert(session_id.to_owned(), bound);
    }
}

/// A session is not the runner's any more: it moved, ended or was deleted.
pub fn unbind(runner: &mut Runner, session_id: &str) {
    runner.sessions.remove(session_id);
}

/// A session has work. What says so is the session itself, which binds it if need be.
pub fn ring(runner: &mut Runner, decide: &mut Decide<'_>, session_id: &str) {
    bind(runner, session_id);
    if let Some(bound) = runner.sessions.get_mut(session_id) {
        bound.rings = bound.rings.saturating_add(1);
        decide.push(Effect::Wake);
    }
}

/// All work that a session had at its ring number `rings` was fetched.
pub fn on_fetched(runner: &mut Runner, session_id: &str, rings: u64) {
    if let Some(bound) = runner.sessions.get_mut(session_id) {
        bound.fetched = bound.fetched.max(rings.min(bound.rings));
    }
}

/// A session knows the change of presence `number`.
pub fn on_told(runner: &mut Runner, session_id: &str, number: u64) {
    if let Some(bound) = runner.sessions.get_mut(session_id) {
        bound.told = bound.told.max(number);
    }
    // What a deleted runner had to say to a session was the last.
    if runner.revoked_at.is_some() && number >= runner.presence.number {
        runner.sessions.remove(session_id);
    }
}
