//! Pause, interrupt, resume, cancel (agents.md 3.9).

use super::approvals::close_all;
use super::turns::{ask_to_stop, drop_turn};
use super::{Decide, pump};
use crate::event::Draft;
use crate::session::{Checkpointing, Effect, NoTransition, Phase, State, Status, StopCause};

fn check(state: &State, to: Status) -> Result<(), NoTransition> {
    if state.status.is_terminal() { Err(NoTransition { from: state.status, to }) } else { Ok(()) }
}

/// A person pauses: messages wait. The agent is asked to stop its turn; one that does not heed it works on.
pub fn pause(state: &mut State, decide: &mut Decide<'_>, by: &str) -> Result<(), NoTransition> {
    check(state, Status::Paused)?;
    decide.append(state, Draft::session_paused(Some(by), "user-pause"));
    close_all(state, decide, "cancelled");
    match &mut state.turn {
        Some(turn) if matches!(turn.phase, Phase::Waiting | Phase::Running) => {
            decide.push(Effect::Start(crate::session::Job::AskToStop));
        }
        Some(turn) if turn.phase == Phase::Preparing => turn.unwanted = true,
        _ => {}
    }
    Ok(())
}

/// A person interrupts: like a pause, but an agent that does not stop is killed.
pub fn interrupt(state: &mut State, decide: &mut Decide<'_>, by: &str) -> Result<(), NoTransition> {
    check(state, Status::Paused)?;
    decide.append(state, Draft::session_paused(Some(by), "interrupt"));
    stop(state, decide, StopCause::Interrupt);
    Ok(())
}

/// A person resumes. Gives the number of orders that wait for the agent; they are sent in their order.
pub fn resume(state: &mut State, decide: &mut Decide<'_>, by: &str) -> Result<usize, NoTransition> {
    check(state, Status::Running)?;
    decide.append(state, Draft::session_running(Some(by), "user-resume"));
    let flushed = state.waiting_orders();
    state.stalled = false;
    if let Some(turn) = &mut state.turn {
        turn.unwanted = false;
    }
    pump(state, decide);
    Ok(flushed)
}

/// A person cancels, in any status. Orders are dropped (B47), the turn is stopped, the runtime is ended.
pub fn cancel(state: &mut State, decide: &mut Decide<'_>, by: &str) {
    decide.append(state, Draft::session_canceled(by));
    if let Some(turn) = &state.turn
        && !turn.is_with_agent()
    {
        drop_turn(state);
    }
    state.orders.clear();
    decide.push(Effect::DropOrders);
    super::watches::unobserve_all(state, decide);
    state.tools.begin_anew();
    let checkpoint = Checkpointing { by: Some(by.to_owned()), reason: "cancel" };
    stop(state, decide, StopCause::Cancel);
    super::runtime::end(state, decide, checkpoint);
}

/// Stops the turn, if one goes on.
pub(super) fn stop(state: &mut State, decide: &mut Decide<'_>, cause: StopCause) {
    close_all(state, decide, "cancelled");
    match state.turn.as_mut().map(|turn| turn.phase) {
        Some(Phase::Preparing) => {
            if let Some(turn) = &mut state.turn {
                turn.unwanted = true;
            }
        }
        // What no runner can have keeps its place in the queue, as what no agent has.
        Some(Phase::Waiting) if cause != StopCause::Cancel && !super::mailbox::is_given(state) => {
            decide.push(Effect::Start(crate::session::Job::AskToStop));
        }
        Some(Phase::Sending | Phase::Waiting | Phase::Running | Phase::Stopping(_)) => {
            ask_to_stop(state, decide, cause);
        }
        Some(Phase::Killing(_)) | None => {}
    }
}
