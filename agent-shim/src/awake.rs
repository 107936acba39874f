//! Time as this process lives through it (docs/spec/session-mailbox.md 4.7). Whoever is stopped for a while, with or without the machine, could
//! do nothing meanwhile: that time counts for no limit.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// The loop asks once a second at least. A longer gap than this is one in which nothing ran; work that blocks for longer than that only
/// makes limits a little longer.
const GAP: Duration = Duration::from_secs(4);

/// A clock that stands still while nobody asks it.
#[derive(Debug)]
pub(crate) struct Awake {
    asked: Cell<Instant>,
    left_out: Cell<Duration>,
}

impl Awake {
    pub(crate) fn new() -> Self {
        Self { asked: Cell::new(Instant::now()), left_out: Cell::new(Duration::ZERO) }
    }

    /// Now, without the gaps so far. To be compared with nothing but other times of this clock.
    pub(crate) fn now(&self) -> Instant {
        self.at(Instant::now())
    }

    fn at(&self, now: Instant) -> Instant {
        let gap = now.saturating_duration_since(self.asked.replace(now));
        if gap > GAP {
            self.left_out.set(self.left_out.get() + gap);
        }
        // There was never more to leave out than has passed since the start.
        now.checked_sub(self.left_out.get()).unwrap_or(now)
    }

    /// How long ago a time of this clock was.
    pub(crate) fn since(&self, time: Instant) -> Duration {
        self.now().saturating_duration_since(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_in_which_nobody_asked_is_left_out() {
        let clock = Awake::new();
        let start = clock.asked.get();
        let at = |seconds| clock.at(start + Duration::from_secs(seconds)) - start;
        assert_eq!([0, 1, 4, 8].map(at), [0, 1, 4, 8].map(Duration::from_secs));
        // Stopped for an hour, and once more.
        assert_eq!([3_608, 3_609, 9_000, 9_003].map(at), [8, 9, 9, 12].map(Duration::from_secs));
    }
}
