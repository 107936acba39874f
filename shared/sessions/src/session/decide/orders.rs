//! Messages wait as orders and go to the agent one after the other (agents.md 3.7, B17).

use super::{Decide, begin_provisioning};
use crate::event::Draft;
use crate::session::{Effect, Job, Phase, State, Status, Turn};

/// A message was accepted and stored as the order `seq`. `logged` is its entry of the log.
pub fn on_message(state: &mut State, decide: &mut Decide<'_>, by: &str, seq: u64, logged: Draft) {
    super::follow_up::on_person(state);
    decide.append(state, logged);
    super::removal::unarchive(state, decide, by);
    if let Some(reason) = state.status.revival() {
        decide.append(state, Draft::session_running(Some(by), reason));
    }
    state.orders.push_back(seq);
    if state.status != Status::Paused {
        state.stalled = false;
    }
    pump(state, decide);
}

/// Begins the next order, if nothing keeps it from being begun.
pub fn pump(state: &mut State, decide: &mut Decide<'_>) {
    let is_busy = state.turn.is_some()
        || state.provisioning.is_some()
        || state.build.is_some()
        || state.ending.is_some()
        || state.snapshotting.is_some()
        || state.transcript.keeping.is_some()
        || state.follow_up.push.is_some()
        || state.is_held(decide.now).is_some();
    if is_busy
        || state.archived
        || state.removal.is_some()
        || state.stalled
        || state.status == Status::Paused
        || state.status.is_terminal()
    {
        return;
    }
    let Some(&order) = state.orders.front() else { return };
    if super::budget::holds_turn(state, decide) {
        return;
    }
    if state.runtime.is_none() {
        begin_provisioning(state, decide, true);
        return;
    }
    if state.status == Status::Created {
        decide.append(state, Draft::session_running(None, "prompt-started"));
    }
    state.turns = state.turns.saturating_add(1);
    state.turn = Some(Turn {
        number: state.turns,
        phase: Phase::Preparing,
        order,
        rpc_id: None,
        runtime_session_id: None,
        until: decide.after(decide.times.preparing()),
        retried: false,
        unwanted: false,
        message_id: None,
    });
    state.tick_at = decide.after(decide.times.tick());
    decide.push(Effect::Start(Job::Prompt { turn: state.turns }));
}
