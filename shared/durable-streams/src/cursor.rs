//! What keeps caches from answering one live request with another's answer (pg-sync.md 2.9).

use std::fmt;

/// 2024-10-09T00:00Z, in seconds since 1970.
const EPOCH_S: u64 = 1_728_432_000;
/// How long an interval is, in seconds.
const INTERVAL_S: u64 = 20;
/// The most by which a cursor is ahead of the one that a client echoes, in seconds.
const MOST_AHEAD_S: u64 = 3_600;

/// The time, and random bits.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Milliseconds since 1970.
    pub now_ms: u64,
    /// So that two readers do not meet again.
    pub dice: u32,
}

/// The number of an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(u64);

impl Cursor {
    /// The cursor of an answer to a request that echoes one: always a later one than that.
    pub fn next(echoed: Option<u64>, clock: Clock) -> Self {
        let current = (clock.now_ms / 1_000).saturating_sub(EPOCH_S) / INTERVAL_S;
        match echoed {
            Some(echoed) if echoed >= current => {
                let ahead = (1 + u64::from(clock.dice) % MOST_AHEAD_S) / INTERVAL_S;
                Self(echoed.saturating_add(ahead.max(1)))
            }
            _ => Self(current),
        }
    }

    /// The cursor of a later event of the same answer: it does not go back.
    pub(crate) fn later(self, clock: Clock) -> Self {
        self.max(Self::next(None, clock))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: u64 = EPOCH_S * 1_000;

    fn next(echoed: Option<u64>, now_ms: u64, dice: u32) -> u64 {
        Cursor::next(echoed, Clock { now_ms, dice }).0
    }

    #[test]
    fn cursors_count_intervals() {
        assert_eq!([0, 19_999, 20_000].map(|after| next(None, AT + after, 7)), [0, 0, 1]);
        assert_eq!(next(None, 0, 7), 0);
    }

    #[test]
    fn a_cursor_is_later_than_the_one_that_is_echoed() {
        assert_eq!(next(Some(4), AT + 100_000, 0), 5);
        assert_eq!(next(Some(5), AT + 100_000, 0), 6);
        assert_eq!(next(Some(9), AT + 100_000, 3_599), 9 + 180);
        assert_eq!(next(Some(u64::MAX), AT, 0), u64::MAX);
    }

    #[test]
    fn later_ones_do_not_go_back() {
        let ahead = Cursor(7);
        assert_eq!(ahead.later(Clock { now_ms: AT, dice: 0 }), ahead);
        assert_eq!(ahead.later(Clock { now_ms: AT + 400_000, dice: 0 }), Cursor(20));
    }
}
