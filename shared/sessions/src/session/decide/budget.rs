//! What is used is counted, and a limit that is used up pauses the session (agents.md 20.1).

use super::Decide;
use super::verbs::stop;
use crate::event::Draft;
use crate::session::budget::{Budget, BudgetError, Kind, Reached, Report, Scope, Used, day_of};
use crate::session::{ApprovalState, Effect, Job, Phase, State, Status, StopCause};

/// The part of a limit whose use is worth a warning.
const WARNING: f64 = 0.8;
/// How long the database of all sessions may not know what was used, in milliseconds.
const TELL_MS: i64 = 60_000;

/// New limits that are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetBudgetError {
    /// They are none.
    #[error(transparent)]
    Invalid(#[from] BudgetError),
    /// More was used already.
    #[error("budget below use")]
    BelowUse,
}

/// The agent reports what it has used, in its own session if it names one.
pub fn on_usage(state: &mut State, decide: &mut Decide<'_>, runtime_session_id: Option<&str>, report: &Report) {
    let turn = state.turn.as_ref().and_then(|turn| turn.runtime_session_id.clone());
    let session = runtime_session_id.map(str::to_owned).or(turn);
    let Some(added) = state.usage.meter.take(session.as_deref(), report) else { return };
    state.usage.count(decide.now, |used| used.add(&added));
}

/// A prompt is sent.
pub(super) fn on_dispatched(state: &mut State, decide: &Decide<'_>) {
    state.usage.count(decide.now, |used| used.turns = used.turns.saturating_add(1));
}

/// Counts the time of a running turn up to now.
pub fn count_time(state: &mut State, decide: &Decide<'_>) {
    let Some(since) = state.usage.counting_since.take() else { return };
    let ms = decide.now.saturating_sub(since).max(0);
    state.usage.count(decide.now, |used| used.running_ms = used.running_ms.saturating_add(ms));
    state.usage.counting_since = runs(state).then_some(decide.now);
}

/// Whether time counts: the agent works, and waits for nobody. What a runner does that is away is not known.
fn runs(state: &State) -> bool {
    let is_asked = state.is_cut_off() || state.approvals.iter().any(|approval| approval.state == ApprovalState::Open);
    let phase = state.turn.as_ref().map(|turn| turn.phase);
    !is_asked && matches!(phase, Some(Phase::Running | Phase::Stopping(_) | Phase::Killing(_)))
}

/// What follows for the budget from any change of the session. Every change ends with it.
pub fn settle(before: &State, state: &mut State, decide: &mut Decide<'_>) {
    if state.removal.is_some() {
        return;
    }
    match (state.usage.counting_since, runs(state)) {
        (Some(_), false) => count_time(state, decide),
        (None, true) => state.usage.counting_since = Some(decide.now),
        (Some(_), true) | (None, false) => {}
    }
    let is_same = before.usage.revision == state.usage.revision
        && before.usage.others == state.usage.others
        && before.budget == state.budget;
    if is_same {
        return;
    }
    let today = day_of(decide.now);
    state.usage.warned.retain(|warned| warned.scope == Scope::Session || warned.day == today);
    warn(state, decide);
    // Turns that are allowed run to their end: the next one is refused when it would begin.
    for (scope, kind) in exhausted(state, decide) {
        if kind != Kind::Turns {
            reach(state, decide, scope, kind);
        }
    }
    if state.usage.is_untold() {
        let tell_at = decide.now.saturating_add(TELL_MS);
        state.usage.tell_at = state.usage.tell_at.or(Some(tell_at));
        // Without a limit of a day nobody waits for the sum of a turn that goes on.
        if decide.user_day.is_some() || state.turn.is_none() {
            decide.push(Effect::Start(Job::TellUsage));
        }
    }
}

fn scopes<'a>(state: &'a State, decide: &Decide<'a>) -> Vec<(Scope, &'a Budget, Used)> {
    let own = (Scope::Session, &state.budget, state.usage.total.clone());
    let day = decide.user_day.map(|budget| (Scope::UserDay, budget, state.usage.user_day(decide.now)));
    [own].into_iter().chain(day).collect()
}

fn exhausted(state: &State, decide: &Decide<'_>) -> Vec<(Scope, Kind)> {
    let mut found = Vec::new();
    for (scope, budget, used) in scopes(state, decide) {
        found.extend(Kind::ALL.into_iter().filter(|kind| budget.is_exhausted(*kind, &used)).map(|kind| (scope, kind)));
    }
    found
}

fn mark(scope: Scope, kind: Kind, now: i64) -> Reached {
    Reached { scope, kind, day: if scope == Scope::UserDay { day_of(now) } else { 0 } }
}

fn warn(state: &mut State, decide: &mut Decide<'_>) {
    let mut told = Vec::new();
    for (scope, budget, used) in scopes(state, decide) {
        for kind in Kind::ALL {
            let mark = mark(scope, kind, decide.now);
            if let Some(spent) = budget.spent(scope, kind, &used)
                && spent.used >= spent.limit * WARNING
                && !state.usage.warned.contains(&mark)
            {
                told.push((mark, Draft::budget_warning(&spent)));
            }
        }
    }
    for (mark, draft) in told {
        state.usage.warned.push(mark);
        decide.append(state, draft);
    }
}

/// A limit is used up: the turn is stopped, messages wait.
fn reach(state: &mut State, decide: &mut Decide<'_>, scope: Scope, kind: Kind) {
    let mark = mark(scope, kind, decide.now);
    if state.usage.reached.contains(&mark) {
        return;
    }
    let found = scopes(state, decide).into_iter().find(|(found, ..)| *found == scope);
    let draft = found.and_then(|(_, budget, used)| Some(Draft::budget_reached(&budget.spent(scope, kind, &used)?)));
    state.usage.reached.retain(|reached| reached.scope == Scope::Session || reached.day == mark.day);
    state.usage.reached.push(mark);
    if !state.status.is_terminal() && state.status != Status::Paused {
        decide.append(state, Draft::session_paused(None, "budget"));
    }
    if let Some(draft) = draft {
        decide.append(state, draft);
    }
    stop(state, decide, StopCause::Interrupt);
}

/// Whether a limit is used up.
pub(super) fn is_exhausted(state: &State, decide: &Decide<'_>) -> bool {
    !exhausted(state, decide).is_empty()
}

/// Keeps a turn from being begun when a limit is used up. Whether it does.
pub(super) fn holds_turn(state: &mut State, decide: &mut Decide<'_>) -> bool {
    let exhausted = exhausted(state, decide);
    for (scope, kind) in &exhausted {
        reach(state, decide, *scope, *kind);
    }
    if !exhausted.is_empty() && !state.status.is_terminal() && state.status != Status::Paused {
        // It was told before, and a message has set the session running again.
        decide.append(state, Draft::session_paused(None, "budget"));
    }
    !exhausted.is_empty()
}

/// The limits that are used up now and were told; the first keeps a session from being resumed.
pub fn reached_limits(state: &State, decide: &Decide<'_>) -> Vec<Kind> {
    let exhausted = exhausted(state, decide);
    let told = |(scope, kind): &(Scope, Kind)| state.usage.reached.contains(&mark(*scope, *kind, decide.now));
    exhausted.into_iter().filter(told).map(|(_, kind)| kind).collect()
}

/// The creator sets new limits, which take the place of the old ones.
pub fn set_budget(state: &mut State, decide: &mut Decide<'_>, by: &str, budget: Budget) -> Result<(), SetBudgetError> {
    count_time(state, decide);
    let below = |kind: &Kind| budget.compare(*kind, &state.usage.total).is_some_and(|(limit, used)| limit < used);
    if Kind::ALL.iter().any(below) {
        return Err(SetBudgetError::BelowUse);
    }
    decide.append(state, Draft::budget_raised(by, &budget));
    state.budget = budget;
    let total = state.usage.total.clone();
    let is_near = |kind: Kind, part: f64| {
        state.budget.compare(kind, &total).is_some_and(|(limit, amount)| amount >= limit * part)
    };
    let keep = |mark: &Reached, part: f64| mark.scope == Scope::UserDay || is_near(mark.kind, part);
    let warned = state.usage.warned.iter().copied().filter(|mark| keep(mark, WARNING)).collect();
    let reached = state.usage.reached.iter().copied().filter(|mark| keep(mark, 1.0)).collect();
    state.usage.warned = warned;
    state.usage.reached = reached;
    Ok(())
}

/// The database of all sessions knows what was used up to `revision`; `others` is what the other sessions of the creator used on
/// the day, where it was asked.
pub fn on_usage_told(state: &mut State, revision: Option<u64>, others: Option<(i64, Used)>) {
    if revision == Some(state.usage.revision) {
        for day in &mut state.usage.days {
            day.untold = false;
        }
        state.usage.tell_at = None;
    }
    if others.is_some() {
        state.usage.others = others;
    }
}

/// What is still untold is told again.
pub(super) fn on_alarm(state: &mut State, decide: &mut Decide<'_>) {
    count_time(state, decide);
    if state.usage.tell_at.is_some_and(|at| at <= decide.now) {
        state.usage.tell_at = Some(decide.now.saturating_add(TELL_MS));
        decide.push(Effect::Start(Job::TellUsage));
    }
}

/// When the time of the running turn will be used up, or what is untold is to be told.
pub(super) fn next_alarm(state: &State, decide: &Decide<'_>) -> Option<i64> {
    // This is asked after every change: sums are made only where minutes have a limit.
    let is_limited = state.budget.minutes.is_some() || decide.user_day.is_some_and(|budget| budget.minutes.is_some());
    let since = state.usage.counting_since.filter(|_| is_limited);
    let ends = since.and_then(|since| {
        let left = scopes(state, decide).into_iter().filter_map(|(_, budget, used)| {
            let (limit, amount) = budget.compare(Kind::Minutes, &used)?;
            #[expect(clippy::cast_possible_truncation, reason = "a float is cut to what fits")]
            let left = ((limit - amount).max(0.0) * 60_000.0).ceil() as i64;
            Some(left)
        });
        Some(since.saturating_add(left.min()?))
    });
    ends.into_iter().chain(state.usage.tell_at).min()
}
