//! What became of transactions, for whoever counts.

use protocol::RejectReason;

use super::answer::{Answer, Outcome};
use crate::error::Result;

/// Counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Transactions that were stored.
    pub ok: u64,
    /// Batches that came too late.
    pub stale: u64,
    /// Batches that were refused, or an entry of them.
    pub rejected: u64,
    /// Batches that could not be stored, through no fault of theirs.
    pub failed: u64,
}

impl Tally {
    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn count(&mut self, outcome: &Result<Outcome>) {
        match outcome {
            Err(_) | Ok(Outcome { failure: Some(_), .. }) => self.failed += 1,
            Ok(Outcome { answer: Answer::Ok { .. }, .. }) => {}
            Ok(Outcome { answer: Answer::Reject(reject), .. }) if reject.reason == RejectReason::Stale => {
                self.stale += 1;
            }
            Ok(_) => self.rejected += 1,
        }
    }
}
