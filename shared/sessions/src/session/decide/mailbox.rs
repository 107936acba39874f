//! The agent of a session works on a runner that calls us (session-mailbox.md 7.4–7.8): what its desk tells, as the session takes it.

use serde_json::json;

use super::turns::{after_stop, complete, forget_runtime, over, take_order};
use super::{Busy, Decide, pump};
use crate::event::{Draft, Kind, Provisioned};
use crate::mailbox::desk::{Decide as AtDesk, Released};
use crate::mailbox::{Offline, desk};
use crate::session::{MovedTo, Moving, Phase, State, Turn};

/// A prompt that the desk does not take yet is laid there again after so long, in milliseconds.
const POSTPONED_MS: i64 = 5_000;
/// What a runner may say of how its agent stopped; anything else is a stop that the agent told of.
const STOPS: [&str; 5] = ["agent", "killed", "paused", "agent-only", "unproven"];

fn current<'a>(state: &'a mut State, message_id: &str) -> Option<&'a mut Turn> {
    state.turn.as_mut().filter(|turn| turn.message_id.as_deref() == Some(message_id))
}

/// Whether the runner may have the prompt.
pub(super) fn is_given(state: &State) -> bool {
    let prompt = state.desk.as_ref().and_then(|desk| desk.prompt.as_ref());
    prompt.is_some_and(|prompt| prompt.was_given || prompt.is_stored)
}

/// Whether the prompt of a turn may be laid at the desk. Else its order keeps its place: somebody has stopped the session meanwhile, or a limit
/// is used up.
pub fn may_begin(state: &mut State, decide: &mut Decide<'_>, number: u64) -> bool {
    let is_preparing = |turn: &&Turn| turn.number == number && turn.phase == Phase::Preparing;
    let Some(is_unwanted) = state.turn.as_ref().filter(is_preparing).map(|turn| turn.unwanted) else { return false };
    if is_unwanted || super::budget::holds_turn(state, decide) {
        super::turns::drop_turn(state);
        pump(state, decide);
        return false;
    }
    true
}

/// The prompt of a turn lies at the desk: from now on its runner has it, or will have.
pub fn on_laid(state: &mut State, decide: &mut Decide<'_>, number: u64, message_id: &str) {
    super::budget::on_dispatched(state, decide);
    let runtime = state.runtime.clone();
    let Some(turn) = state.turn.as_mut().filter(|turn| turn.number == number) else { return };
    state.runtime_active = true;
    turn.phase = Phase::Waiting;
    turn.message_id = Some(message_id.to_owned());
    if let Some(runtime) = runtime {
        turn.runtime_session_id = Some(runtime.session_id.clone()).filter(|session| !session.is_empty());
        state.transcript.take_lease(&runtime, turn, decide.now);
    }
}

/// The desk does not take the prompt now: it is laid there later.
pub fn on_postponed(state: &mut State, decide: &Decide<'_>, number: u64) {
    if let Some(turn) = state.turn.as_mut().filter(|turn| turn.number == number) {
        turn.until = decide.after(POSTPONED_MS);
    }
}

/// The time has come.
pub(super) fn prepare_again(state: &mut State, decide: &mut Decide<'_>) {
    let until = decide.after(POSTPONED_MS);
    let Some(turn) = &mut state.turn else { return };
    turn.until = until;
    let turn = turn.number;
    decide.push(crate::session::Effect::Start(crate::session::Job::Prompt { turn }));
}

/// The runner has the prompt in its mailbox: from now on the turn counts as running.
pub fn on_stored_there(state: &mut State, decide: &Decide<'_>) {
    let until = decide.after(decide.times.silence);
    if let Some(turn) = state.turn.as_mut().filter(|turn| turn.phase == Phase::Waiting) {
        turn.phase = Phase::Running;
        turn.until = until;
    }
}

/// The agent has the prompt. Whoever waits for its place in the queue gets it.
pub fn on_started(state: &mut State, decide: &mut Decide<'_>, message_id: &str) {
    let Some(turn) = current(state, message_id) else { return };
    let order = turn.order;
    on_stored_there(state, decide);
    state.attachments_sent = true;
    state.transcript.is_lost = false;
    take_order(state, decide, order);
}

/// The agent's session is open at the runner. `is_new`: it is another one than before.
pub fn on_opened(state: &mut State, decide: &mut Decide<'_>, runtime_session_id: &str, cwd: &str, is_new: bool) {
    let Some(runtime) = state.runtime.as_mut().filter(|runtime| runtime.is_mailbox()) else { return };
    let is_new = is_new || runtime.session_id != runtime_session_id;
    runtime_session_id.clone_into(&mut runtime.session_id);
    cwd.clone_into(&mut runtime.directory);
    let (provider, runner_id) = (runtime.provider.as_str(), runtime.runner_id.clone());
    if let Some(turn) = &mut state.turn {
        turn.runtime_session_id = Some(runtime_session_id.to_owned());
    }
    if !is_new {
        return;
    }
    decide.append(
        state,
        Draft::session_provisioned(&Provisioned {
            provider: Some(provider),
            runtime_session_id: Some(runtime_session_id),
            runner_id: runner_id.as_deref(),
            sandbox_id: None,
            sandbox_name: None,
            sprite_name: None,
        }),
    );
}

/// How a turn ended at the runner.
#[derive(Clone, Copy, Debug)]
pub struct TurnOver<'a> {
    /// In ACP's words.
    pub stop_reason: &'a str,
    /// What proves the stop, where it was asked for.
    pub stopped: Option<&'a str>,
    /// What went wrong.
    pub error: Option<&'a str>,
    /// The number of the message among those of the log.
    pub message: Option<u64>,
}

/// The turn of this prompt is over.
pub fn on_turn_over(state: &mut State, decide: &mut Decide<'_>, message_id: &str, ended: TurnOver<'_>) {
    let Some(turn) = current(state, message_id) else { return };
    let cause = match turn.phase {
        Phase::Stopping(cause) | Phase::Killing(cause) => Some(cause),
        _ => None,
    };
    if let Some(error) = ended.error {
        let id = state.id.clone();
        decide.append(state, Draft::runtime_error(&id, error, None));
    }
    let word = ended.stopped.map(|said| STOPS.into_iter().find(|stop| *stop == said).unwrap_or("agent"));
    let stopped = word.or(cause.map(|_| "agent"));
    complete(state, decide, ended.stop_reason, ended.message, None, stopped);
    after_stop(state, decide, cause);
}

/// The prompt was not, or not fully, carried out.
pub fn on_message_failed(state: &mut State, decide: &mut Decide<'_>, message_id: &str, reason: &str) {
    let Some(turn) = current(state, message_id) else { return };
    let is_taken_back = matches!(reason, "withdrawn" | "canceled" | "cancelled");
    let (phase, order) = (turn.phase, turn.order);
    let is_unheard = state.orders.contains(&order);
    match phase {
        Phase::Waiting | Phase::Running if is_taken_back && is_unheard => {
            on_message_returned(state, decide, message_id);
        }
        Phase::Stopping(cause) | Phase::Killing(cause) if is_taken_back => {
            complete(state, decide, "cancelled", None, None, Some("agent"));
            after_stop(state, decide, Some(cause));
        }
        _ => {
            let id = state.id.clone();
            let text = format!("the message was not carried out: {reason}");
            decide.append(state, Draft::runtime_error(&id, &text, Some(reason)));
            over(state, decide);
        }
    }
}

/// No agent had the prompt: its order keeps its place.
pub fn on_message_returned(state: &mut State, _: &mut Decide<'_>, message_id: &str) {
    if current(state, message_id).is_some() {
        state.turn = None;
        state.transcript.lease = None;
    }
}

fn place(provider: &str, runner_id: Option<&str>) -> serde_json::Value {
    let mut place = json!({"runtime-provider": provider});
    if let (Some(members), Some(runner_id)) = (place.as_object_mut(), runner_id) {
        members.insert("runner-id".to_owned(), runner_id.into());
    }
    place
}

/// A person wants the session to go elsewhere: where it is made from now on.
pub fn begin_move(state: &mut State, to: &MovedTo) {
    let from = state
        .runtime
        .as_ref()
        .map_or(serde_json::Value::Null, |runtime| place(runtime.provider.as_str(), runtime.runner_id.as_deref()));
    let previous = state.moved_to.replace(to.clone());
    state.moving = Some(Moving { from, previous });
}

/// It stays where it is.
pub fn on_not_moved(state: &mut State) {
    if let Some(moving) = state.moving.take() {
        state.moved_to = moving.previous;
    }
}

/// It leaves a runtime that is called: the runtime is removed, and what was not pushed is kept.
///
/// # Errors
/// [`Busy`] when somebody works there; then it stays.
pub fn leave(state: &mut State, decide: &mut Decide<'_>) -> Result<(), Busy> {
    let is_busy = state.turn.is_some()
        || state.build.is_some()
        || state.ending.is_some()
        || state.publishing.is_some()
        || state.snapshotting.is_some();
    if is_busy {
        on_not_moved(state);
        return Err(Busy);
    }
    if state.runtime.is_some() {
        super::runtime::end_for_good(state, decide);
    } else {
        arrive(state, decide);
    }
    Ok(())
}

/// Nothing has it any more: what it goes to is made.
pub fn arrive(state: &mut State, decide: &mut Decide<'_>) {
    let Some(moving) = state.moving.take() else { return };
    let to = state
        .moved_to
        .as_ref()
        .map_or(serde_json::Value::Null, |to| place(to.provider.as_str(), to.runner_id.as_deref()));
    if state.runtime.is_some() {
        forget_runtime(state, decide);
    }
    decide.append(state, Draft::new(Kind::RunnerMoved, json!({"from": moving.from, "to": to})));
    state.stalled = false;
    if state.provisioning.is_none() && !state.status.is_terminal() {
        super::begin_provisioning(state, decide, true);
    }
}

/// No runner has the session any more.
pub fn on_released(state: &mut State, decide: &mut Decide<'_>, _: Released) {
    if !state.is_at_desk() {
        return;
    }
    // What was being prepared for the runner is prepared for the next one.
    if state.turn.as_ref().is_some_and(|turn| turn.phase == Phase::Preparing) {
        state.turn = None;
    }
    forget_runtime(state, decide);
    arrive(state, decide);
    pump(state, decide);
}

fn queued(state: &State) -> usize {
    state.orders.len()
}

/// The runner is not there.
pub fn on_runner_away(state: &mut State, decide: &mut Decide<'_>, runner_id: &str, reason: Offline, last_seen_at: i64) {
    if state.status.is_terminal() {
        return;
    }
    let data = json!({
        "runner-id": runner_id, "reason": reason, "last-seen-at": last_seen_at, "queued": queued(state),
    });
    decide.append(state, Draft::new(Kind::RunnerOffline, data));
}

/// The runner is there again. The silence of a turn is borne from now on.
pub fn on_runner_back(state: &mut State, decide: &mut Decide<'_>, runner_id: &str, offline_ms: i64) {
    let until = decide.after(decide.times.silence);
    if let Some(turn) = state.turn.as_mut().filter(|turn| turn.phase == Phase::Running) {
        turn.until = until;
    }
    if state.status.is_terminal() {
        return;
    }
    let data = json!({"runner-id": runner_id, "offline-ms": offline_ms, "queued": queued(state)});
    decide.append(state, Draft::new(Kind::RunnerOnline, data));
}

/// When the desk is to be looked at.
pub(super) fn next_alarm(state: &State, decide: &Decide<'_>) -> Option<i64> {
    desk::next_alarm(state.desk.as_ref()?, &AtDesk::new(decide.now, &decide.times.desk))
}
