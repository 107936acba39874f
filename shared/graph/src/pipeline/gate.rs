//! Batches that are refused as a whole (sync.md 11.1).

use protocol::{Reject, RejectReason, TxBatch};

use crate::store::meta::Meta;

/// Why a batch is not looked into, in the order of the checks.
pub(super) fn check(meta: &Meta, batch: &TxBatch<'_>) -> Option<Reject> {
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
