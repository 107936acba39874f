//! When something is due.

use super::poll::pause_after;
use super::{Bridge, State};

/// When the bridge has to be asked at the latest ([`super::Event::Due`]), in milliseconds since 1970; not later than `now` when
/// something is due already. There is always such a time: nothing waits for ever.
pub fn next_alarm(bridge: &Bridge, now: i64) -> i64 {
    let Bridge { stored, observers, memory } = bridge;
    let is_busy = memory.asking.is_some() || memory.reading.is_some();
    let state = match stored.state {
        State::Probing { until, remove_at } if is_busy || until <= now => Some(remove_at),
        State::Probing { .. } => Some(now),
        State::Catching | State::Live => Some(memory.next_poll_at).filter(|_| !is_busy),
        State::Resync { next_at } => Some(next_at).filter(|_| !is_busy),
        State::Backoff { until } | State::Blocked { retry_at: until } | State::Idle { until } => Some(until),
    };
    // Most turns are over long before the next one is due: the alarm is set once for both, and what is lost is noticed then.
    let next_turn = stored.interval_ms.filter(|_| is_busy && stored.state == State::Live).and_then(|base| {
        let pause = pause_after(memory.turn_at, base, stored.changed_at);
        Some(memory.turn_at.saturating_add(pause)).filter(|next| *next > now)
    });
    let guards = match next_turn {
        Some(next) => [Some(next), None],
        None => [memory.asking, memory.reading],
    };
    let of_observers = observers.values().flat_map(|observer| {
        let inflight = observer.inflight.as_ref().map(|inflight| match memory.sending.get(&observer.id) {
            Some(until) => *until,
            None => inflight.next_try_at,
        });
        [observer.next_at(), inflight]
    });
    let reader = stored.reader.as_ref().map(|reader| reader.until);
    let dues = of_observers.chain([state, reader, stored.comparing]).chain(guards).flatten();
    dues.min().map_or(now, |due| due.max(now))
}
