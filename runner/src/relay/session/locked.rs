//! How long a lock on one of the two files has been in the way (docs/spec/session-mailbox.md 4.4). Pure.

use std::time::{Duration, Instant};

use mailbox::Error;

/// A lock that is held for longer is not one of a process that works.
const PATIENCE: Duration = Duration::from_secs(10);

/// Since when a lock is in the way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Locked {
    since: Option<Instant>,
    is_met: bool,
}

impl Locked {
    /// Takes in what has failed during a look.
    pub(super) fn see(&mut self, error: &Error, now: Instant) {
        if matches!(error, Error::Busy) {
            self.since.get_or_insert(now);
            self.is_met = true;
        }
    }

    /// Whether a lock was in the way during the last look.
    pub(super) fn is_met(&self) -> bool {
        self.since.is_some()
    }

    /// A look is over. Whether each one has met with a lock for too long.
    pub(super) fn is_too_long(&mut self, now: Instant) -> bool {
        if !std::mem::take(&mut self.is_met) {
            self.since = None;
        }
        self.since.is_some_and(|since| now.saturating_duration_since(since) >= PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_counts_from_when_it_is_first_met_until_a_look_without_it() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut locked = Locked::default();
        for second in 0..10 {
            locked.see(&Error::Busy, at(second));
            assert!(locked.is_met() && !locked.is_too_long(at(second)));
        }
        locked.see(&Error::CannotOpen, at(10));
        assert!(!locked.is_too_long(at(10)), "a look that met with none begins anew");
        assert!(!locked.is_met());
        for second in 11..21 {
            locked.see(&Error::Busy, at(second));
            assert!(!locked.is_too_long(at(second)));
        }
        locked.see(&Error::Busy, at(21));
        assert!(locked.is_too_long(at(21)));
    }
}
