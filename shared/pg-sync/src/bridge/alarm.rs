//! When something is due.

use super::{Bridge, Connection, Mode, State};

/// When the bridge has to be asked at the latest ([`super::Event::Due`]), in milliseconds since 1970; not later than `now` when
/// something is due already. There is always such a time: nothing waits for ever.
pub fn next_alarm(bridge: &Bridge, now: i64) -> i64 {
    let Bridge { stored, observers, memory } = bridge;
    let is_busy = memory.asking.is_some() || memory.reading.is_some();
    let state = match stored.state {
        State::Probing { until, remove_at } if is_busy || until <= now => Some(remove_at),
        State::Probing { .. } => Some(now),
        // Most requests are answered long before the next one is due: the alarm is set once for both.
        State::Live if memory.asking.is_some() => match memory.connection {
            Some((Connection { mode: Mode::Interval(base), .. }, _)) => {
                let next = memory.asked_at.saturating_add(memory.interval_ms.max(base));
                Some(next).filter(|next| *next > now)
            }
            _ => None,
        },
        State::Catching | State::Live => Some(memory.next_poll_at).filter(|_| !is_busy),
        State::Resync { next_at } => Some(next_at).filter(|_| !is_busy),
        State::Backoff { until } | State::Blocked { retry_at: until } | State::Idle { until } => Some(until),
    };
    let of_observers = observers.values().flat_map(|observer| {
        let inflight = observer.inflight.as_ref().map(|inflight| match memory.sending.get(&observer.id) {
            Some(until) => *until,
            None => inflight.next_try_at,
        });
        [observer.next_at(), inflight]
    });
    let reader = stored.reader.as_ref().map(|reader| reader.until);
    let dues = of_observers.chain([state, memory.asking, memory.reading, reader, stored.comparing]).flatten();
    dues.min().map_or(now, |due| due.max(now))
}
