//! What is said about a pull request comes back as an order (agents.md 20.4).

use super::{Decide, pump};
use crate::event::Draft;
use crate::session::follow_up::{FollowUpOrder, FollowUpPush, Pull, Stopped};
use crate::session::{Effect, Job, State, Status, Turn};

/// What comes within this time becomes one order, in milliseconds.
const WINDOW_MS: i64 = 60_000;
/// All that a push takes: a token, the push, and some slack; in milliseconds.
const PUSH_MS: i64 = 225_000;
/// How often a push is begun whose object died.
const MOST_PUSHES: u32 = 2;

/// Whether the session hears of its pull requests: a person who ended it, or put it away, wants to hear no more.
pub fn hears(state: &State) -> bool {
    !state.archived && state.removal.is_none() && state.status != Status::Canceled
}

/// There is a pull request, or the session has pushed to the branch of one.
pub fn on_pull(state: &mut State, decide: &mut Decide<'_>, pull: Pull) {
    state.follow_up.note(pull);
    tell(state, decide);
}

/// The session has pushed a commit to a branch.
pub fn on_pushed(state: &mut State, decide: &mut Decide<'_>, head: &str, commit: &str) {
    let mut has_changed = false;
    for pull in state.follow_up.pulls.iter_mut().filter(|pull| pull.open && pull.head == head) {
        if pull.pushed.as_deref() != Some(commit) {
            pull.pushed = Some(commit.to_owned());
            pull.untold = true;
            has_changed = true;
        }
    }
    if has_changed {
        tell(state, decide);
    }
}

fn tell(state: &mut State, decide: &mut Decide<'_>) {
    // The work begins at once; should it be lost, the alarm begins it again.
    state.follow_up.tell_at = Some(decide.after(decide.times.notifying()));
    decide.push(Effect::Start(Job::TellPulls));
}

/// The database of all sessions knows these pull requests as they were.
pub fn on_pulls_told(state: &mut State, told: &[Pull]) {
    for pull in &mut state.follow_up.pulls {
        // What has changed meanwhile is told once more.
        if told.contains(pull) {
            pull.untold = false;
        }
    }
    state.follow_up.pulls.retain(|pull| pull.open || pull.untold);
    if !state.follow_up.is_untold() {
        state.follow_up.tell_at = None;
    }
}

/// Something was said, and stored: it becomes an order with what comes soon after it.
pub fn on_said(state: &mut State, decide: &Decide<'_>) {
    let due = decide.after(decide.times.window(WINDOW_MS));
    state.follow_up.due_at = Some(state.follow_up.due_at.map_or(due, |at| at.min(due)));
}

/// A pull request was closed: the loop has come to its end.
pub fn on_closed(state: &mut State, decide: &mut Decide<'_>, repository: &str, number: u64, by: &str, merged: bool) {
    let found = state
        .follow_up
        .pulls
        .iter_mut()
        .find(|pull| pull.open && pull.repository == repository && pull.number == number);
    let Some(pull) = found else { return };
    pull.open = false;
    pull.untold = true;
    // A push would make a branch again that was deleted with the pull request.
    state.follow_up.push.take_if(|push| push.number == number);
    state.follow_up.orders.retain(|order| order.number != number);
    decide.append(state, Draft::pr_closed(by, number, merged));
    tell(state, decide);
    pump(state, decide);
}

/// What is waiting for the order of a pull request.
#[derive(Clone, Copy, Debug)]
pub struct Waiting<'a> {
    /// The pull request.
    pub number: u64,
    /// Who is behind what came first.
    pub by: &'a str,
    /// The whole order.
    pub text: &'a str,
    /// Whether more is waiting, about others.
    pub has_more: bool,
}

/// What the settings allow.
#[derive(Clone, Copy, Debug)]
pub struct Allowed {
    /// Rounds without a message of a person.
    pub rounds: u32,
    /// Orders that may wait.
    pub orders: usize,
}

/// What has come is due. Gives the number of its order; none where there is none: then what waits is dropped.
pub fn on_due(state: &mut State, decide: &mut Decide<'_>, waiting: &Waiting<'_>, allowed: Allowed) -> Option<u64> {
    state.follow_up.due_at = waiting.has_more.then_some(decide.now);
    let is_open = state.follow_up.pulls.iter().any(|pull| pull.open && pull.number == waiting.number);
    if !hears(state) || !is_open {
        return None;
    }
    if let Some(reason) = stops(state, decide, allowed) {
        if state.follow_up.stopped.replace(reason) != Some(reason) {
            decide.append(state, Draft::pr_follow_up_stopped(reason.as_str(), waiting.number));
        }
        return None;
    }
    state.follow_up.stopped = None;
    state.follow_up.rounds = state.follow_up.rounds.saturating_add(1);
    let seq = state.next_order;
    state.next_order = seq.saturating_add(1);
    let working = state.turn.as_ref().map(|turn| turn.order);
    let (orders, waits) = (&mut state.follow_up.orders, &state.orders);
    // Orders that were dropped are nobody's any more.
    orders.retain(|order| waits.contains(&order.seq) || working == Some(order.seq));
    orders.push(FollowUpOrder { seq, number: waiting.number, by: waiting.by.to_owned() });
    decide.append(state, Draft::pull_request_said(waiting.by, waiting.number, waiting.text));
    if let Some(reason) = state.status.revival() {
        decide.append(state, Draft::session_running(None, reason));
    }
    state.orders.push_back(seq);
    if state.status != Status::Paused {
        state.stalled = false;
    }
    pump(state, decide);
    Some(seq)
}

fn stops(state: &State, decide: &Decide<'_>, allowed: Allowed) -> Option<Stopped> {
    if state.follow_up.rounds >= allowed.rounds {
        Some(Stopped::Rounds)
    } else if super::budget::is_exhausted(state, decide) {
        Some(Stopped::Budget)
    } else if state.waiting_orders() >= allowed.orders {
        Some(Stopped::Queue)
    } else {
        None
    }
}

/// A person has said something: there may be as many rounds again.
pub(super) fn on_person(state: &mut State) {
    state.follow_up.rounds = 0;
    state.follow_up.stopped = None;
}

/// A turn is over. What the agent did for a pull request is pushed, unless somebody stopped it.
pub(super) fn on_turn_over(state: &mut State, decide: &mut Decide<'_>, turn: &Turn, is_done: bool) {
    let Some(at) = state.follow_up.orders.iter().position(|order| order.seq == turn.order) else { return };
    let order = state.follow_up.orders.remove(at);
    if is_done {
        state.follow_up.push =
            Some(FollowUpPush { number: order.number, by: order.by, attempts: 0, until: decide.now });
        begin_push(state, decide);
    }
}

fn begin_push(state: &mut State, decide: &mut Decide<'_>) {
    let until = decide.after(decide.times.lease(PUSH_MS));
    let Some(push) = &mut state.follow_up.push else { return };
    if push.attempts >= MOST_PUSHES {
        // Each try that was interrupted was told.
        on_push_over(state, decide);
        return;
    }
    push.attempts = push.attempts.saturating_add(1);
    push.until = until;
    decide.push(Effect::Start(Job::PushFollowUp));
}

/// Somebody else publishes just now: it is tried again after that.
pub fn on_push_postponed(state: &mut State, decide: &Decide<'_>) {
    if let Some(push) = &mut state.follow_up.push {
        push.attempts = push.attempts.saturating_sub(1);
        push.until = decide.now;
    }
}

/// What was to be pushed is, or cannot be.
pub fn on_push_over(state: &mut State, decide: &mut Decide<'_>) {
    state.follow_up.push = None;
    pump(state, decide);
}

/// Settles what has waited too long.
pub(super) fn on_alarm(state: &mut State, decide: &mut Decide<'_>) {
    if state.follow_up.due_at.is_some_and(|at| at <= decide.now) {
        state.follow_up.due_at = Some(decide.after(decide.times.notifying()));
        decide.push(Effect::Start(Job::FollowUp));
    }
    if state.follow_up.tell_at.is_some_and(|at| at <= decide.now) {
        tell(state, decide);
    }
    // The push itself has a lease of its own, which is told as interrupted.
    if state.publishing.is_none() && state.follow_up.push.as_ref().is_some_and(|push| push.until <= decide.now) {
        begin_push(state, decide);
    }
}

/// When something of it is to be settled.
pub(super) fn next_alarm(state: &State) -> Option<i64> {
    let push = state.follow_up.push.as_ref().filter(|_| state.publishing.is_none()).map(|push| push.until);
    [state.follow_up.due_at, state.follow_up.tell_at, push].into_iter().flatten().min()
}
