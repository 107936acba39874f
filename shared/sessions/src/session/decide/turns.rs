//! One prompt at a time: woken for, sent once, ended by the agent or stopped (agents.md 3.8, 3.9).

use super::approvals::close_all;
use super::{Decide, begin_provisioning, on_runtime_lost, pump};
use crate::event::Draft;
use crate::runtime::{Runtime, RuntimeError, Stopped};
use crate::session::{Effect, Job, Phase, State, StopCause, Turn};

/// Nothing proves that an agent stopped: until its lease is over it may go on.
const UNPROVEN: &str = "unproven";
/// How many numbers of stopped prompts are remembered.
const STOPPED_PROMPTS: usize = 8;

/// What is done with a prompt that did not reach the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReached {
    /// A new session of the agent is opened, and the prompt is sent in it.
    Refresh,
    /// The order goes back; another runtime is made for it.
    Reprovision,
    /// Nothing more: the failure was told, or the turn is over.
    Stop,
}

fn current(state: &mut State, number: u64) -> Option<&mut Turn> {
    state.turn.as_mut().filter(|turn| turn.number == number)
}

/// The runtime is awake, or a new session of the agent was opened in it: the prompt may be sent, under the number that is given. None when the turn is over or unwanted by now; then
/// nothing may be sent.
pub fn on_prepared(state: &mut State, decide: &mut Decide<'_>, number: u64, runtime: Runtime) -> Option<u64> {
    let turn = current(state, number).filter(|turn| turn.phase == Phase::Preparing)?;
    if turn.unwanted {
        // The order keeps its place; the session is paused.
        drop_turn(state);
        keep(state, runtime);
        pump(state, decide);
        return None;
    }
    keep(state, runtime);
    begin_sending(state, decide)
}

fn keep(state: &mut State, runtime: Runtime) {
    state.runtime = Some(runtime);
    state.runtime_active = true;
}

fn begin_sending(state: &mut State, decide: &Decide<'_>) -> Option<u64> {
    let rpc_id = state.take_rpc_ids(1);
    super::budget::on_dispatched(state, decide);
    let session = state.runtime.as_ref().map(|runtime| runtime.session_id.clone());
    let turn = state.turn.as_mut()?;
    turn.phase = Phase::Sending;
    turn.rpc_id = Some(rpc_id);
    turn.runtime_session_id = session;
    turn.until = decide.after(decide.times.sending());
    if let Some(runtime) = &state.runtime {
        state.transcript.take_lease(runtime, turn, decide.now);
    }
    Some(rpc_id)
}

/// The prompt could not be sent, failed after it was sent, or nobody knows: it is not tried again.
pub fn on_prompt_failed(state: &mut State, decide: &mut Decide<'_>, number: u64, error: &RuntimeError) {
    let Some(turn) = current(state, number) else { return };
    let order = turn.order;
    if let RuntimeError::SandboxMissing(text) = error {
        take_order(state, decide, order);
        on_runtime_lost(state, decide, text);
        return;
    }
    if turn.is_being_killed() {
        return;
    }
    take_order(state, decide, order);
    tell(state, decide, error);
    over(state, decide);
}

/// The agent has the prompt.
pub fn on_sent(state: &mut State, decide: &mut Decide<'_>, number: u64) {
    let Some(turn) = current(state, number) else { return };
    let order = turn.order;
    if turn.phase == Phase::Sending {
        turn.phase = Phase::Running;
        turn.until = decide.after(decide.times.silence);
        state.attachments_sent = true;
        state.transcript.is_lost = false;
    }
    take_order(state, decide, order);
}

/// The prompt demonstrably did not reach the agent.
pub fn on_not_reached(state: &mut State, decide: &mut Decide<'_>, number: u64, error: &RuntimeError) -> NotReached {
    if state.turn.as_ref().is_some_and(|turn| turn.number == number) {
        // The agent has nothing of it: nobody else is kept from it.
        state.transcript.lease = None;
    }
    let can_move = state.runtime.as_ref().is_some_and(|runtime| runtime.runner_id.is_some());
    let Some(turn) = current(state, number) else { return NotReached::Stop };
    match turn.phase {
        // Whoever wants it to stop does not want it sent again.
        Phase::Stopping(cause) => {
            complete(state, decide, "cancelled", None, None, Some("agent"));
            after_stop(state, decide, Some(cause));
            return NotReached::Stop;
        }
        Phase::Killing(_) => return NotReached::Stop,
        Phase::Preparing | Phase::Sending | Phase::Waiting | Phase::Running => {}
    }
    if !turn.retried {
        turn.retried = true;
        turn.phase = Phase::Preparing;
        turn.rpc_id = None;
        turn.until = decide.after(decide.times.preparing());
        return NotReached::Refresh;
    }
    if can_move && matches!(error, RuntimeError::RunnerOffline(_)) {
        // The order keeps its place in the queue.
        state.turn = None;
        forget_runtime(state, decide);
        begin_provisioning(state, decide, true);
        return NotReached::Reprovision;
    }
    on_prompt_failed(state, decide, number, error);
    NotReached::Stop
}

/// The agent said something. A turn of which nobody knew whether it had been sent is running.
pub fn on_heard(state: &mut State, decide: &mut Decide<'_>, runtime_session_id: Option<&str>) {
    state.active_at = decide.now;
    let silence = decide.after(decide.times.silence);
    if let Some(lease) = &mut state.transcript.lease {
        lease.renew(decide.now);
    }
    let Some(turn) = &mut state.turn else { return };
    let is_ours = runtime_session_id.is_none() || turn.runtime_session_id.as_deref() == runtime_session_id;
    match turn.phase {
        Phase::Sending if is_ours && runtime_session_id.is_some() => {
            let number = turn.number;
            on_sent(state, decide, number);
        }
        Phase::Running => turn.until = silence,
        _ => {}
    }
}

/// The agent answered a prompt: the turn is over, whatever the number of the answer (B16), unless it is the late answer to a prompt
/// whose turn was stopped from here.
pub fn on_turn_ended(
    state: &mut State,
    decide: &mut Decide<'_>,
    rpc_id: Option<u64>,
    stop_reason: &str,
    message: Option<u64>,
    runtime_session_id: Option<&str>,
) {
    if rpc_id.is_some_and(|id| state.stopped_rpc_ids.contains(&id)) {
        return;
    }
    let Some(turn) = state.turn.as_ref().filter(|turn| turn.is_with_agent()) else { return };
    let cause = match turn.phase {
        Phase::Stopping(cause) | Phase::Killing(cause) => Some(cause),
        _ => None,
    };
    complete(state, decide, stop_reason, message, runtime_session_id, cause.map(|_| "agent"));
    after_stop(state, decide, cause);
}

/// The turn is over: nothing waits for a decision any more, and viewers are told.
pub(super) fn complete(
    state: &mut State,
    decide: &mut Decide<'_>,
    stop_reason: &str,
    message: Option<u64>,
    runtime_session_id: Option<&str>,
    stopped: Option<&str>,
) {
    close_all(state, decide, "turn-ended");
    let Some(turn) = state.turn.take() else { return };
    take_order(state, decide, turn.order);
    let session = runtime_session_id.or(turn.runtime_session_id.as_deref());
    decide.append(state, Draft::turn_completed(stop_reason, message, session, stopped));
    if stopped != Some(UNPROVEN) {
        state.transcript.lease = None;
    }
    super::transcripts::on_turn_over(state, decide, &turn, Some(stop_reason));
    let is_done = stopped.is_none() && stop_reason != "cancelled";
    super::follow_up::on_turn_over(state, decide, &turn, is_done);
}

pub(super) fn after_stop(state: &mut State, decide: &mut Decide<'_>, cause: Option<StopCause>) {
    if cause == Some(StopCause::Cancel) {
        super::runtime::end_bare(state, decide);
    }
    pump(state, decide);
}

/// Asks the agent to stop. It has some time; then it is killed.
pub(super) fn ask_to_stop(state: &mut State, decide: &mut Decide<'_>, cause: StopCause) {
    let grace = if cause == StopCause::Cancel { decide.times.cancel_grace() } else { decide.times.stop_grace };
    // A runner that calls us is given the time to hear of it and to kill what does not heed it.
    let hearing = if state.is_at_desk() { decide.times.killing() } else { 0 };
    let until = decide.after(grace.saturating_add(hearing));
    let Some(turn) = &mut state.turn else { return };
    // Who asked first does not make a cancellation wait longer.
    turn.until = match turn.phase {
        Phase::Stopping(_) => turn.until.min(until),
        _ => until,
    };
    turn.phase = Phase::Stopping(cause);
    let order = turn.order;
    take_order(state, decide, order);
    decide.push(Effect::Start(Job::AskToStop));
}

/// The agent did not stop in time.
pub(super) fn kill(state: &mut State, decide: &mut Decide<'_>, cause: StopCause) {
    let until = decide.after(decide.times.killing());
    let Some(turn) = &mut state.turn else { return };
    turn.phase = Phase::Killing(cause);
    turn.until = until;
    let number = turn.number;
    decide.push(Effect::Start(Job::Kill { turn: number }));
}

/// An agent was killed, with or without proof. Its late words neither begin nor end a turn.
pub fn on_killed(state: &mut State, decide: &mut Decide<'_>, number: u64, how: Stopped) {
    let Some(turn) = current(state, number) else { return };
    let Phase::Killing(cause) = turn.phase else { return };
    if let Some(rpc_id) = turn.rpc_id {
        state.stopped_rpc_ids.push(rpc_id);
        let excess = state.stopped_rpc_ids.len().saturating_sub(STOPPED_PROMPTS);
        state.stopped_rpc_ids.drain(..excess);
    }
    if how == Stopped::Paused {
        state.runtime_active = false;
    } else if let Some(runtime) = &mut state.runtime {
        // Its server, or the agent in it, is gone: the next prompt needs a new session of the agent.
        runtime.server_ended = true;
    }
    let word = match how {
        Stopped::Killed => "killed",
        Stopped::Paused => "paused",
        Stopped::AgentOnly => "agent-only",
        Stopped::Unproven => UNPROVEN,
    };
    complete(state, decide, "cancelled", None, None, Some(word));
    decide.push(Effect::ClearTexts);
    decide.push(Effect::Start(Job::Detach));
    if how == Stopped::Unproven {
        let id = state.id.clone();
        decide.append(state, Draft::runtime_error(&id, "nothing proves that the agent stopped", Some("stop-unproven")));
    }
    after_stop(state, decide, Some(cause));
}

/// The turn goes without a word: the agent never had it.
pub(super) fn drop_turn(state: &mut State) {
    state.turn = None;
}

/// The turn is over without an answer of the agent.
pub(super) fn over(state: &mut State, decide: &mut Decide<'_>) {
    close_all(state, decide, "turn-ended");
    let Some(turn) = state.turn.take() else { return };
    super::transcripts::on_turn_over(state, decide, &turn, None);
    if turn.is_with_agent() {
        // Whatever became of it: it is never sent again.
        take_order(state, decide, turn.order);
    }
    let cause = match turn.phase {
        Phase::Stopping(cause) | Phase::Killing(cause) => Some(cause),
        _ => None,
    };
    after_stop(state, decide, cause);
}

pub(super) fn tell(state: &mut State, decide: &mut Decide<'_>, error: &RuntimeError) {
    let id = state.id.clone();
    decide.append(state, Draft::runtime_error(&id, &error.to_string(), error.reason()));
}

pub(super) fn take_order(state: &mut State, decide: &mut Decide<'_>, order: u64) {
    if let Some(at) = state.orders.iter().position(|waiting| *waiting == order) {
        state.orders.remove(at);
        decide.push(Effect::DropOrder(order));
    }
}

pub(super) fn forget_runtime(state: &mut State, decide: &mut Decide<'_>) {
    state.runtime = None;
    state.runtime_active = false;
    state.workspace.seen = None;
    // What is gone runs nothing.
    state.transcript.lease = None;
    decide.push(Effect::Start(Job::Detach));
}
