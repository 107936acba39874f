//! What comes of a batch.

use protocol::{Reject, RejectReason, ServerMessage};

use crate::error::Error;
use crate::store::meta::Meta;
use database::local::SqlError;

/// The answer to the sender of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Every entry was taken.
    Ok {
        /// The counter now.
        t: i64,
        /// The checksum now.
        checksum: Option<String>,
    },
    /// The batch, or an entry of it, was refused.
    Reject(Reject),
}

impl Answer {
    /// The answer as JSON: the WebSocket message, and the body over HTTP (always with status 200).
    pub fn to_json(&self) -> String {
        match self {
            Self::Ok { t, checksum } => ServerMessage::TxBatchOk { t: *t, checksum: checksum.as_deref() }.to_json(),
            Self::Reject(reject) => ServerMessage::TxReject(reject).to_json(),
        }
    }
}

/// What a batch did.
#[derive(Debug)]
#[must_use = "other clients have to hear of a change"]
pub struct Outcome {
    /// For the sender.
    pub answer: Answer,
    /// The new counter, where it grew: everyone but the sender gets `changed` (sync.md 7.4, D-14).
    pub changed: Option<i64>,
    /// Why nothing could be stored, for the log.
    pub failure: Option<Error>,
}

impl Outcome {
    pub(super) fn unchanged(answer: Answer) -> Self {
        Self { answer, changed: None, failure: None }
    }

    /// Nothing of the batch is stored (datascript.md 13.4), through no fault of its entries: the client learns the state that
    /// stands, and that it may send them again.
    pub(super) fn unstored(meta: &Meta, error: Error) -> Self {
        let detail = match error {
            Error::Sql(SqlError::Full(_)) => "storage full",
            _ => "storage unavailable",
        };
        let reject = Reject {
            error_detail: Some(detail.into()),
            checksum: meta.checksum.clone(),
            ..Reject::new(RejectReason::DbTransactFailed, Some(meta.t))
        };
        Self { answer: Answer::Reject(reject), changed: None, failure: Some(error) }
    }

    /// The broadcast to all sockets but the sender's, if there is one.
    pub fn broadcast(&self) -> Option<String> {
        self.changed.map(|t| ServerMessage::Changed { t }.to_json())
    }
}
