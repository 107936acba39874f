//! How much work the entries of a batch may be (sync.md 7.5).

use datascript::Work;
use protocol::limits::{WORK_STEPS, WORK_STEPS_PER_BYTE};

/// What is left of a batch's allowance. Each entry has steps of its own, by its length; what it takes beyond these comes
/// out of the common rest.
#[derive(Debug)]
pub(super) struct Budget {
    rest: u64,
}

/// The allowance of one entry.
pub(super) struct Allowance {
    begun: u64,
    own: u64,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { rest: WORK_STEPS }
    }

    /// Lets an entry of so many bytes begin.
    pub(super) fn begin(&self, work: &Work, bytes: usize) -> Allowance {
        let own = WORK_STEPS_PER_BYTE.saturating_mul(bytes as u64);
        work.allow(own.saturating_add(self.rest));
        Allowance { begun: work.done(), own }
    }

    /// Takes out what the entry needed.
    pub(super) fn end(&mut self, work: &Work, entry: &Allowance) {
        let needed = work.done().saturating_sub(entry.begun);
        self.rest = self.rest.saturating_sub(needed.saturating_sub(entry.own));
        work.allow_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_share_what_they_need_beyond_their_length() {
        let work = Work::default();
        let mut budget = Budget::new();
        for _ in 0..3 {
            let entry = budget.begin(&work, 100);
            assert!(work.step(100 * WORK_STEPS_PER_BYTE).is_ok());
            budget.end(&work, &entry);
        }
        assert_eq!(budget.rest, WORK_STEPS);
        let entry = budget.begin(&work, 0);
        assert!(work.step(WORK_STEPS).is_ok());
        assert!(work.step(1).is_err());
        budget.end(&work, &entry);
        assert_eq!(budget.rest, 0);
        assert!(work.step(1).is_ok(), "between entries all is allowed");
        let entry = budget.begin(&work, 1);
        assert!(work.step(WORK_STEPS_PER_BYTE).is_ok());
        budget.end(&work, &entry);
    }
}
