//! What a session observes: subscriptions come, are looked after, and end (pg-sync.md 4.9, 4.15).

use super::{Decide, pump};
use crate::event::{Draft, Kind};
use crate::session::watch::{Arrival, Reception, Taken, Watch, Watching};
use crate::session::{Effect, Job, State, Status};

/// How long a bridge is asked for a subscription, in milliseconds.
const PENDING_MS: i64 = 120_000;
/// How long one call of a bridge may take with everything around it, in milliseconds. A new source is probed for ten seconds.
const CALL_MS: i64 = 30_000;
/// Between two looks at whether the bridge still has a subscription, in milliseconds: a day.
const CHECK_MS: i64 = 86_400_000;
/// The pause before a bridge is told again, in milliseconds; it doubles, to an hour at most.
const AGAIN_MS: i64 = 10_000;
const MAX_AGAIN_MS: i64 = 3_600_000;

/// Whether the session hears of anything: a person who ended it wants to hear no more.
pub fn observes(state: &State) -> bool {
    state.removal.is_none() && state.status != Status::Canceled
}

fn find<'a>(state: &'a mut State, id: &str) -> Option<&'a mut Watch> {
    state.watches.iter_mut().find(|watch| watch.id == id)
}

/// A subscription is wanted.
pub fn add(state: &mut State, decide: &Decide<'_>, id: &str, source_id: &str) {
    if find(state, id).is_none() {
        state.watches.push(Watch::pending(id, source_id, decide.now, decide.now));
    }
    on_observe(state, decide, id);
}

/// The bridge is about to be asked for a subscription: a new one, or one whose wake is another.
fn on_observe(state: &mut State, decide: &Decide<'_>, id: &str) {
    let (until, next_at) = (decide.after(decide.times.window(PENDING_MS)), decide.after(decide.times.window(CALL_MS)));
    if let Some(watch) = find(state, id) {
        watch.state = Watching::Pending { until };
        watch.next_at = next_at;
        watch.attempts = 0;
    }
}

/// The bridge has it.
pub fn on_observed(state: &mut State, decide: &Decide<'_>, id: &str) {
    let next_at = decide.after(decide.times.window(CHECK_MS));
    if let Some(watch) = find(state, id).filter(|watch| watch.state != Watching::Removing) {
        watch.state = Watching::Active;
        watch.attempts = 0;
        watch.next_at = next_at;
    }
}

/// The bridge has refused it, or does not have it any more and was told so.
pub fn on_unobserved(state: &mut State, id: &str) {
    state.watches.retain(|watch| watch.id != id);
}

/// Nobody wants it any more. Whether there is such a subscription.
pub fn unobserve(state: &mut State, decide: &mut Decide<'_>, id: &str) -> bool {
    let now = decide.now;
    let Some(watch) = find(state, id) else { return false };
    watch.state = Watching::Removing;
    watch.attempts = 0;
    watch.next_at = now;
    true
}

/// The session has ended for good.
pub(super) fn unobserve_all(state: &mut State, decide: &mut Decide<'_>) {
    for watch in &mut state.watches {
        watch.state = Watching::Removing;
        watch.attempts = 0;
        watch.next_at = decide.now;
    }
    tend(state, decide);
}

/// A call of the bridge came to nothing. It is made again.
pub fn on_not_reached(state: &mut State, decide: &Decide<'_>, id: &str) {
    let Some(watch) = find(state, id) else { return };
    let pause = AGAIN_MS.saturating_mul(1 << watch.attempts.min(9)).min(MAX_AGAIN_MS);
    let pause = if matches!(watch.state, Watching::Pending { .. }) { AGAIN_MS } else { pause };
    watch.attempts = watch.attempts.saturating_add(1);
    watch.next_at = decide.after(decide.times.window(pause));
}

/// The bridge does not know of an active subscription: it was collected, and what it had seen is gone. It is asked for again.
pub fn on_lost(state: &mut State, decide: &mut Decide<'_>, id: &str) {
    on_observe(state, decide, id);
    if let Some(watch) = find(state, id) {
        watch.taken = None;
        decide.push(Effect::Start(Job::TendWatches { ids: vec![id.to_owned()] }));
    }
}

/// What has arrived and is told by an order, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// By the order that waits already.
    Merged(u64),
    /// By a new one.
    Order(u64),
    /// It is an event alone.
    Event,
    /// The subscription has ended.
    Ended,
}

/// The order in which what has arrived would be told, where one waits already: the agent has nothing of it yet.
pub fn open_order(state: &State, id: &str) -> Option<u64> {
    let seq = state.watches.iter().find(|watch| watch.id == id)?.order?;
    let is_taken = state.turn.as_ref().is_some_and(|turn| turn.order == seq);
    (state.orders.contains(&seq) && !is_taken).then_some(seq)
}

/// What becomes of something that has arrived.
pub fn receives(state: &State, arrival: &Arrival<'_>) -> Reception {
    let watch = state.watches.iter().find(|watch| watch.id == arrival.id).filter(|_| observes(state));
    watch.map_or(Reception::Gone, |watch| watch.receives(arrival))
}

/// Something new has arrived: it becomes an event, and changes and gaps become an order.
pub fn on_arrival(state: &mut State, decide: &mut Decide<'_>, arrival: &Arrival<'_>, event: Draft) -> Told {
    let kind = event.kind.clone();
    let waiting = open_order(state, arrival.id);
    let next_at = decide.after(decide.times.window(CHECK_MS));
    let seq = state.next_order;
    let Some(watch) = find(state, arrival.id) else { return Told::Event };
    if matches!(watch.state, Watching::Pending { .. }) {
        watch.state = Watching::Active;
        watch.next_at = next_at;
    }
    watch.last_key = Some(arrival.key.to_owned());
    if let Some((_, to_seq)) = arrival.range {
        watch.taken = Some(Taken { incarnation: arrival.incarnation, to_seq });
    }
    let begins_run = matches!(kind, Kind::PgSyncChange | Kind::PgSyncGap);
    if begins_run && waiting.is_none() {
        watch.order = Some(seq);
    }
    if kind == Kind::PgSyncEnded {
        on_unobserved(state, arrival.id);
    }
    let ended = kind == Kind::PgSyncEnded;
    decide.append(state, event);
    if !begins_run {
        return if ended { Told::Ended } else { Told::Event };
    }
    if state.status == Status::Completed {
        decide.append(state, Draft::session_running(None, "pg-sync-wake"));
    }
    if waiting.is_none() {
        state.next_order = seq.saturating_add(1);
        state.orders.push_back(seq);
    }
    if state.status != Status::Paused {
        state.stalled = false;
    }
    pump(state, decide);
    waiting.map_or(Told::Order(seq), Told::Merged)
}

fn tend(state: &mut State, decide: &mut Decide<'_>) {
    let lease = decide.after(decide.times.window(CALL_MS));
    let mut ids = Vec::new();
    for watch in state.watches.iter_mut().filter(|watch| watch.next_at <= decide.now) {
        watch.next_at = lease;
        ids.push(watch.id.clone());
    }
    if !ids.is_empty() {
        decide.push(Effect::Start(Job::TendWatches { ids }));
    }
}

/// Settles what has waited too long.
pub(super) fn on_alarm(state: &mut State, decide: &mut Decide<'_>) {
    let now = decide.now;
    let is_over = |watch: &&Watch| matches!(watch.state, Watching::Pending { until } if until <= now);
    let over: Vec<(String, String)> =
        state.watches.iter().filter(is_over).map(|watch| (watch.id.clone(), watch.source_id.clone())).collect();
    for (id, source_id) in over {
        // The bridge may have it: it is told that nobody wants it.
        unobserve(state, decide, &id);
        decide.append(state, Draft::observation_ended(&source_id, "source_removed"));
    }
    tend(state, decide);
}

/// When something of it is to be settled.
pub(super) fn next_alarm(state: &State) -> Option<i64> {
    let due = |watch: &Watch| match watch.state {
        Watching::Pending { until } => watch.next_at.min(until),
        Watching::Active | Watching::Removing => watch.next_at,
    };
    state.watches.iter().map(due).min()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::session::Times;

    fn times() -> Times {
        Times::of(&crate::settings::Settings::from_lookup(|_| None).unwrap().session)
    }

    fn arrives(state: &mut State, kind: &str, key: &str, range: Option<(u64, u64)>) -> (Told, Vec<String>) {
        let times = times();
        let mut decide = Decide::new(1_000, &times);
        let arrival = Arrival { id: "w", kind, key, incarnation: 1, range };
        assert_eq!(receives(state, &arrival), Reception::New);
        let told = on_arrival(state, &mut decide, &arrival, Draft::of_bridge(kind, json!({})).unwrap());
        let name = |effect: &Effect| match effect {
            Effect::Append(draft) | Effect::Announce(draft) => Some(draft.kind.to_string()),
            _ => None,
        };
        (told, decide.effects.iter().filter_map(name).collect())
    }

    fn watching(status: Status) -> State {
        let times = times();
        let mut state = State::new("s", "ann", 0);
        state.status = status;
        add(&mut state, &Decide::new(500, &times), "w", "source");
        state
    }

    /// The table of pg-sync.md 4.9 for sessions that have ended.
    #[test]
    fn sessions_that_have_ended() {
        let mut state = watching(Status::Completed);
        let (told, events) = arrives(&mut state, "pg_sync.change", "a", Some((0, 1)));
        assert_eq!((told, state.status), (Told::Order(1), Status::Running));
        assert_eq!(events, ["pg_sync.change", "session.running"]);
        assert!(state.provisioning.is_some(), "a run begins");
        let mut state = watching(Status::Failed);
        let (told, events) = arrives(&mut state, "pg_sync.change", "a", Some((0, 1)));
        assert_eq!((told, events.len(), state.status), (Told::Order(1), 1, Status::Failed));
        let (told, _) = arrives(&mut state, "pg_sync.gap", "b", None);
        assert_eq!((told, state.orders.len()), (Told::Merged(1), 1), "one prompt, with the next message");
        assert!(state.provisioning.is_none());
        let state = watching(Status::Canceled);
        let arrival = Arrival { id: "w", kind: "pg_sync.change", key: "a", incarnation: 1, range: Some((0, 1)) };
        assert_eq!(receives(&state, &arrival), Reception::Gone);
    }

    #[test]
    fn other_events_begin_no_run() {
        let mut state = watching(Status::Completed);
        for (at, kind) in ["pg_sync.blocked", "pg_sync.recovered", "pg_sync.throttled"].into_iter().enumerate() {
            assert_eq!(arrives(&mut state, kind, &at.to_string(), None), (Told::Event, vec![kind.to_owned()]));
        }
        assert_eq!((state.status, state.orders.len(), state.watches.len()), (Status::Completed, 0, 1));
        assert_eq!(state.watches[0].state, Watching::Active, "what arrives makes it active");
        assert_eq!(arrives(&mut state, "pg_sync.ended", "x", None).0, Told::Ended);
        assert!(state.watches.is_empty());
    }
}
