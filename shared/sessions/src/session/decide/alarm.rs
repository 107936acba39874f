//! Every state that waits has a deadline, and something that settles it (agents.md 3.14, B60).

use super::approvals::expire;
use super::runtime::{build_failed, end_quietly};
use super::turns::{ask_to_stop, kill, over, take_order, tell};
use super::{Decide, begin_provisioning, pump};
use crate::event::Draft;
use crate::runtime::RuntimeError;
use crate::session::{ApprovalState, Checkpointing, Effect, Job, Phase, State, Status, StopCause};

/// The object was started anew: nothing that it did before goes on. A running turn is listened to again at once, and one of which the
/// agent has got nothing is prepared again, within the time that it had. Everything else waits for its deadline, because somebody
/// may still be at it.
pub fn on_wake(state: &mut State, decide: &mut Decide<'_>) {
    match &state.turn {
        // A desk keeps what was laid on it, and its turns are prepared again by their deadline, a few seconds.
        Some(turn) if turn.phase == Phase::Preparing && !state.is_at_desk() => {
            decide.push(Effect::Start(Job::Prompt { turn: turn.number }));
        }
        Some(turn) if turn.phase != Phase::Preparing && state.runtime.is_some() => {
            decide.push(Effect::Start(Job::Attach));
        }
        _ => {}
    }
    if !state.terminals.is_empty() {
        decide.push(Effect::Start(Job::SettleTerminals));
    }
    on_alarm(state, decide);
}

/// Settles what has waited too long.
pub fn on_alarm(state: &mut State, decide: &mut Decide<'_>) {
    if super::removal::on_alarm(state, decide) {
        return;
    }
    provisioning(state, decide);
    build(state, decide);
    turn(state, decide);
    expire(state, decide);
    ending(state, decide);
    leases(state, decide);
    super::transcripts::on_alarm(state, decide);
    super::budget::on_alarm(state, decide);
    super::notify::on_alarm(state, decide);
    super::follow_up::on_alarm(state, decide);
    super::watches::on_alarm(state, decide);
    list(state, decide);
    pump(state, decide);
    idle(state, decide);
}

fn provisioning(state: &mut State, decide: &mut Decide<'_>) {
    let Some(work) = state.provisioning.filter(|work| work.lease.until <= decide.now) else { return };
    state.provisioning = None;
    decide.push(Effect::Start(Job::DestroyUnbound));
    let id = state.id.clone();
    let text = "making the runtime was interrupted";
    decide.append(state, Draft::runtime_error(&id, text, Some("provision-interrupted")));
    let is_new_try = !work.for_orders;
    if !state.orders.is_empty() && is_new_try && !state.status.is_terminal() {
        begin_provisioning(state, decide, true);
    } else if !state.orders.is_empty() {
        state.stalled = true;
    }
}

fn build(state: &mut State, decide: &mut Decide<'_>) {
    let Some(build) = &mut state.build else { return };
    if build.deadline <= decide.now {
        let building = build.building.clone();
        state.build = None;
        build_failed(state, decide, &building, "it took too long");
    } else if build.poll_at <= decide.now {
        build.poll_at = decide.now.saturating_add(decide.times.lease(30_000));
        decide.push(Effect::Start(Job::PollBuild));
    }
}

fn turn(state: &mut State, decide: &mut Decide<'_>) {
    let is_asked = state.approvals.iter().any(|approval| approval.state == ApprovalState::Open);
    let Some(turn) = &state.turn else { return };
    let (phase, until, order) = (turn.phase, turn.until, turn.order);
    if until <= decide.now {
        match phase {
            Phase::Preparing if state.is_at_desk() => super::mailbox::prepare_again(state, decide),
            Phase::Preparing => {
                // Nothing was sent, but whatever was being done for it took too long.
                take_order(state, decide, order);
                tell(state, decide, &RuntimeError::Unavailable("the runtime could not be woken in time".to_owned()));
                over(state, decide);
            }
            Phase::Sending => {
                take_order(state, decide, order);
                let id = state.id.clone();
                let text = "nobody knows whether the agent got the prompt";
                decide.append(state, Draft::runtime_error(&id, text, Some("prompt-unconfirmed")));
                over(state, decide);
            }
            // The desk says when it is enough.
            Phase::Waiting => {}
            Phase::Running if is_asked || state.is_cut_off() => {}
            Phase::Running => {
                let id = state.id.clone();
                decide.append(state, Draft::runtime_error(&id, "turn timed out", Some("turn-timeout")));
                ask_to_stop(state, decide, StopCause::Watchdog);
            }
            Phase::Stopping(cause) => kill(state, decide, cause),
            Phase::Killing(_) => {
                let number = state.turn.as_ref().map_or(0, |turn| turn.number);
                super::on_killed(state, decide, number, crate::runtime::Stopped::Unproven);
            }
        }
    }
    let is_watched = !state.is_at_desk() && state.turn.as_ref().is_some_and(super::super::Turn::is_with_agent);
    if is_watched && state.tick_at <= decide.now {
        state.tick_at = decide.now.saturating_add(decide.times.tick());
        decide.push(Effect::Start(Job::Attach));
        decide.push(Effect::Start(Job::Extend));
        let written = state.runtime.as_ref().and_then(|runtime| runtime.broker_at);
        if written.is_some_and(|at| at.saturating_add(decide.times.broker()) <= decide.now) {
            decide.push(Effect::Start(Job::RenewBroker));
        }
        if state.runtime.as_ref().is_some_and(|runtime| runtime.can_load) {
            decide.push(Effect::Start(Job::KeepPartial));
        }
    }
}

fn ending(state: &mut State, decide: &mut Decide<'_>) {
    let Some(ending) = &mut state.ending else { return };
    if ending.lease.until > decide.now {
        return;
    }
    let generation = ending.lease.generation;
    if ending.waiting {
        ending.waiting = false;
        ending.lease.until = decide.now.saturating_add(decide.times.ending());
        decide.push(Effect::Start(Job::End { generation, checkpoint: None }));
    } else {
        super::on_ended(state, decide, generation, &Err(RuntimeError::TimedOut));
    }
}

/// A push and a snapshot are told as interrupted by whoever keeps their events.
fn leases(state: &mut State, decide: &mut Decide<'_>) {
    if state.publishing.take_if(|lease| lease.until <= decide.now).is_some() {
        decide.push(Effect::PublishingLost);
    }
    if state.snapshotting.take_if(|lease| lease.until <= decide.now).is_some() {
        decide.append(state, Draft::snapshot_failed("system", Some("interrupted"), "the snapshot was interrupted"));
    }
}

/// Whoever was telling the list of sessions is gone, or the list did not answer.
fn list(state: &mut State, decide: &mut Decide<'_>) {
    if state.list_at.is_some_and(|at| at <= decide.now) {
        state.list_at = Some(decide.now.saturating_add(decide.times.notifying()));
        decide.push(Effect::Start(Job::TellList));
    }
}

fn idle(state: &mut State, decide: &mut Decide<'_>) {
    let is_busy = state.turn.is_some()
        || state.publishing.is_some()
        || state.snapshotting.is_some()
        || state.transcript.keeping.is_some()
        || state.follow_up.push.is_some();
    let is_quiet = state.active_at.saturating_add(decide.times.idle) <= decide.now;
    if state.runtime_active && !is_busy && is_quiet && state.provisioning.is_none() {
        state.active_at = decide.now;
        end_quietly(state, decide, Checkpointing { by: None, reason: "idle" });
    }
}

/// When the object is to be woken; none when nothing waits but for a person.
pub fn next_alarm(state: &State, decide: &Decide<'_>) -> Option<i64> {
    if let Some(removal) = state.removal {
        return Some(removal.retry_at);
    }
    let is_asked = state.approvals.iter().any(|approval| approval.state == ApprovalState::Open);
    let turn = state.turn.as_ref();
    let silence = |phase: Phase| match phase {
        Phase::Waiting => true,
        Phase::Running => is_asked || state.is_cut_off(),
        _ => false,
    };
    let turn_until = turn.filter(|turn| !silence(turn.phase)).map(|turn| turn.until);
    let tick = turn.filter(|turn| turn.is_with_agent() && !state.is_at_desk()).map(|_| state.tick_at);
    let build = state.build.as_ref().map(|build| build.poll_at.min(build.deadline));
    let approvals = state.approvals.iter().map(|approval| approval.deadline).min();
    let is_sendable = turn.is_none()
        && state.provisioning.is_none()
        && state.build.is_none()
        && state.ending.is_none()
        && state.transcript.keeping.is_none()
        && state.follow_up.push.is_none()
        && !state.orders.is_empty()
        && !state.stalled
        && !state.archived
        && state.status != Status::Paused
        && !state.status.is_terminal();
    let order = match state.is_held(decide.now) {
        None => is_sendable.then(|| decide.now.saturating_add(decide.times.order())),
        Some(held) => held.until.filter(|_| is_sendable),
    };
    let idle = (state.runtime_active && turn.is_none() && state.ending.is_none())
        .then(|| state.active_at.saturating_add(decide.times.idle));
    [
        state.provisioning.map(|work| work.lease.until),
        build,
        turn_until,
        tick,
        approvals,
        state.ending.map(|ending| ending.lease.until),
        state.publishing.map(|lease| lease.until),
        state.snapshotting.map(|lease| lease.until),
        state.transcript.keeping.map(|keeping| keeping.lease.until),
        order,
        idle,
        super::budget::next_alarm(state, decide),
        state.notify_at,
        super::follow_up::next_alarm(state),
        super::watches::next_alarm(state),
        super::mailbox::next_alarm(state, decide),
        state.list_at,
    ]
    .into_iter()
    .flatten()
    .min()
}
