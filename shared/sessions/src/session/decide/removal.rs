//! Sessions are put away, and removed (agents.md 20.5).

use super::approvals::close_all;
use super::runtime::end_for_good;
use super::{Decide, pump};
use crate::event::Draft;
use crate::session::{Effect, Job, Removal, State};

/// After so many tries the search for orphaned sandboxes takes over a runtime that cannot be ended.
const MOST_ENDINGS: u32 = 5;
/// The longest pause between two tries, in milliseconds.
const LONGEST_PAUSE_MS: i64 = 10 * 60_000;

/// Something goes on in the session that must not be broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("session is running")]
pub struct Busy;

/// A person puts the session away: its runtime is removed, what it said stays. A message brings it back.
pub fn archive(state: &mut State, decide: &mut Decide<'_>, by: &str) -> Result<(), Busy> {
    let is_busy = state.turn.is_some()
        || state.provisioning.is_some()
        || state.build.is_some()
        || state.publishing.is_some()
        || state.follow_up.push.is_some()
        || state.snapshotting.is_some();
    if is_busy {
        return Err(Busy);
    }
    if !state.archived {
        state.archived = true;
        decide.append(state, Draft::session_archived(by));
        end_for_good(state, decide);
    }
    Ok(())
}

/// A person, or a message, brings the session back.
pub fn unarchive(state: &mut State, decide: &mut Decide<'_>, by: &str) {
    if state.archived {
        state.archived = false;
        decide.append(state, Draft::session_unarchived(by));
        pump(state, decide);
    }
}

/// A person removes the session with everything that belongs to it. From now on nobody sees it; its object works until all is gone.
pub fn remove(state: &mut State, decide: &mut Decide<'_>) {
    close_all(state, decide, "cancelled");
    state.orders.clear();
    decide.push(Effect::DropOrders);
    // What comes back of work that goes on finds nobody who wants it.
    state.turn = None;
    state.provisioning = None;
    state.build = None;
    state.publishing = None;
    state.snapshotting = None;
    state.ending = None;
    state.follow_up = crate::session::follow_up::FollowUp::default();
    state.removal = Some(Removal { attempt: 0, retry_at: decide.after(decide.times.ending()) });
    decide.push(Effect::ClearTexts);
    decide.push(Effect::Start(Job::Detach));
    decide.push(Effect::Start(Job::Remove));
}

/// A try to remove the session failed: the next one comes later.
pub fn on_removal_failed(state: &mut State, decide: &Decide<'_>) {
    let Some(removal) = &mut state.removal else { return };
    let pause = decide.times.next_end(removal.attempt).unwrap_or(LONGEST_PAUSE_MS);
    removal.attempt = removal.attempt.saturating_add(1);
    removal.retry_at = decide.after(pause);
}

/// Whether a runtime that cannot be ended keeps its session from being removed.
pub fn insists_on_ending(state: &State) -> bool {
    state.removal.is_some_and(|removal| removal.attempt < MOST_ENDINGS)
}

/// Removes what could not be removed before. Whether the session is being removed: then nothing else is settled.
pub(super) fn on_alarm(state: &mut State, decide: &mut Decide<'_>) -> bool {
    let Some(removal) = &mut state.removal else { return false };
    if removal.retry_at <= decide.now {
        removal.retry_at = decide.now.saturating_add(decide.times.ending());
        decide.push(Effect::Start(Job::Remove));
    }
    true
}
