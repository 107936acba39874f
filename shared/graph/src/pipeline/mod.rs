//! A batch of transactions, from the request to storage (sync.md 11, datascript.md 13.4).
//!
//! Entries are applied in memory one after the other; what they did is written in one storage transaction at the end.
//! A failing entry drops its own value only. If the write fails, nothing of the batch happened.

mod answer;
mod budget;
mod commit;
mod decode;
mod entry;
mod failure;
mod names;
mod tally;

use std::rc::Rc;

use protocol::{Reject, RejectReason, TxBatch};

pub use answer::{Answer, Outcome};
pub(crate) use names::Names;
pub use tally::Tally;

use crate::error::Result;
use crate::faults::{self, Point};
use crate::graph::Graph;
use crate::store::meta::Meta;
use budget::Budget;
use database::local::Sql;
use entry::Pending;

impl<S: Sql + 'static> Graph<S> {
    /// Applies a batch. Each entry goes when it was looked at.
    ///
    /// Whatever a client can do wrong is an [`Answer::Reject`].
    ///
    /// # Errors
    /// The graph cannot be read at all, or is damaged. Nothing of the batch is stored then.
    pub fn tx_batch(&mut self, batch: TxBatch<'_>) -> Result<Outcome> {
        let outcome = self.take_batch(batch);
        self.tally.count(&outcome);
        outcome
    }

    fn take_batch(&mut self, batch: TxBatch<'_>) -> Result<Outcome> {
        if let Some(reject) = refusal(self.meta()?, &batch) {
            return Ok(Outcome::unchanged(Answer::Reject(reject)));
        }
        let error = match self.apply(batch) {
            Err(error) => error,
            outcome => return outcome,
        };
        self.forget();
        match (error, self.meta()) {
            // Where no more than a row of the graph could not be read, the sender hears what became of the batch.
            (error @ crate::Error::Sql(_), Ok(meta)) => Ok(Outcome::unstored(meta, error)),
            (error, _) => Err(error),
        }
    }

    fn apply(&mut self, batch: TxBatch<'_>) -> Result<Outcome> {
        let now = self.clock.now_ms();
        let before = self.meta()?.clone();
        let mut pending = Pending::new(before.t, before.checksum, now);
        let mut success_tx_ids = Vec::new();
        let mut failed = None;
        let open = self.open_for_batch()?;
        open.names.begin_batch(open.conn.db().attrs());
        let nodes = Rc::clone(open.conn.nodes());
        let mut budget = Budget::new();
        // At most `limits::BATCH_ENTRIES`.
        for entry in batch.txs {
            let tx_id = entry.tx_id;
            let allowance = budget.begin(nodes.work(), entry.tx.len());
            let applied = entry::apply(open, &mut pending, entry);
            budget.end(nodes.work(), &allowance);
            match applied? {
                Ok(()) => success_tx_ids.extend(tx_id),
                Err(failure) => {
                    failed = Some((failure, tx_id));
                    break;
                }
            }
        }
        pending.complete_checksum(open.conn.db())?;
        if let Err(error) = self.commit(&pending) {
            if matches!(error, crate::Error::Fault(_)) {
                return Err(error);
            }
            self.forget();
            return Ok(Outcome::unstored(self.meta()?, error));
        }
        let Pending { t, checksum, .. } = pending;
        self.tally.ok += t.saturating_sub(before.t).unsigned_abs();
        let answer = match failed {
            None => Answer::Ok { t, checksum },
            Some((failure, failed_tx_id)) => Answer::Reject(Reject {
                error_detail: Some(failure.detail),
                success_tx_ids,
                failed_tx_id,
                missing_block_uuids: failure.missing_block_uuids,
                checksum,
                ..Reject::new(RejectReason::DbTransactFailed, Some(t))
            }),
        };
        faults::reach(Point::BatchBeforeBroadcast)?;
        Ok(Outcome { answer, changed: (t > before.t).then_some(t), failure: None })
    }
}

/// Why a batch is not looked into, in the order of the checks (sync.md 11.1).
fn refusal(meta: &Meta, batch: &TxBatch<'_>) -> Option<Reject> {
    if meta.uploading {
        Some(Reject::new(RejectReason::SnapshotUploadInProgress, Some(meta.t)))
    } else if batch.t_before < 0 {
        Some(Reject::new(RejectReason::InvalidTBefore, None))
    } else if batch.t_before != meta.t {
        Some(Reject::new(RejectReason::Stale, Some(meta.t)))
    } else if batch.txs.is_empty() {
        Some(Reject::new(RejectReason::EmptyTxData, None))
    } else {
        None
    }
}
