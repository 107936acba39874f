//! What the server says over a WebSocket, and in the bodies of `pull` and `tx/batch` (sync.md 7.3).

use crate::errors::InvalidRequest;
use crate::presence::PresenceUser;
use crate::{pull, write};
use transit::json;
use uuid::Uuid;

/// One message to a client.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerMessage<'a> {
    /// Answer to `hello`.
    Hello {
        /// The graph's counter.
        t: i64,
        /// The stored checksum, 16 hexadecimal digits.
        checksum: Option<&'a str>,
    },
    /// Everybody who has the graph open.
    OnlineUsers(&'a [&'a PresenceUser]),
    /// A peer's current block.
    Presence {
        /// The peer.
        user_id: &'a str,
        /// As the peer sent it.
        editing_block_uuid: Option<&'a str>,
    },
    /// Answer to `pull`, when its rows are at hand; [`pull`] writes one row by row.
    PullOk {
        /// The graph's counter.
        t: i64,
        /// Ascending by `t`.
        txs: &'a [pull::LoggedTx<'a>],
        /// The stored checksum.
        checksum: Option<&'a str>,
    },
    /// All entries of a batch were taken.
    TxBatchOk {
        /// The counter after them.
        t: i64,
        /// The checksum after them.
        checksum: Option<&'a str>,
    },
    /// A batch was refused, or failed on the way.
    TxReject(&'a Reject),
    /// Somebody else's batch moved the counter.
    Changed {
        /// The new counter.
        t: i64,
    },
    /// Answer to `entity/pull` where the entities cannot or will not be told: the client drops its copy and downloads the
    /// snapshot. [`changes`](crate::changes) writes the other answer.
    Reset(ResetReason),
    /// Answer to `ping`.
    Pong,
    /// The sender's message could not be handled.
    Error(MessageError),
}

/// The text of an `error` message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The message was refused.
    #[error(transparent)]
    Invalid(#[from] InvalidRequest),
    /// Handling it failed.
    #[error("server error")]
    Server,
    /// The graph is being replaced by an upload (D-48).
    #[error("graph not ready")]
    NotReady,
}

/// Why a client has to begin anew from the snapshot (sync.md 7.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetReason {
    /// The client's cursor is beyond the graph's counter: the graph was replaced.
    CursorAhead,
    /// The log does not hold every transaction after the cursor.
    CursorExpired,
    /// The snapshot is the cheaper answer, or the only one (D-44, D-45).
    SnapshotRequired,
}

impl ResetReason {
    /// The text on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CursorAhead => "cursor-ahead",
            Self::CursorExpired => "cursor-expired",
            Self::SnapshotRequired => "snapshot-required",
        }
    }
}

/// Why a batch was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectReason {
    /// The client's `t-before` is not the graph's counter.
    Stale,
    /// A batch without entries.
    EmptyTxData,
    /// The batch as a whole cannot be read.
    InvalidTx,
    /// A negative `t-before`.
    InvalidTBefore,
    /// An entry failed; those before it stay applied.
    DbTransactFailed,
    /// The graph is being replaced by an upload.
    SnapshotUploadInProgress,
}

impl RejectReason {
    /// The text on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::EmptyTxData => "empty tx data",
            Self::InvalidTx => "invalid tx",
            Self::InvalidTBefore => "invalid t-before",
            Self::DbTransactFailed => "db transact failed",
            Self::SnapshotUploadInProgress => "snapshot upload in progress",
        }
    }
}

/// The answer to a batch that was not taken as a whole (sync.md 11.1, 11.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Why.
    pub reason: RejectReason,
    /// What was wrong with the failing entry, for people.
    pub error_detail: Option<String>,
    /// The counter now, where the client needs it.
    pub t: Option<i64>,
    /// Entries of the batch that stay applied; empty: the key is left out.
    pub success_tx_ids: Vec<Uuid>,
    /// The entry that failed, if it had an id.
    pub failed_tx_id: Option<Uuid>,
    /// Blocks the entry referred to that the server does not hold, as it named them: a malformed UUID stays as it is.
    /// Empty: the key is left out.
    pub missing_block_uuids: Vec<String>,
    /// The stored checksum now.
    pub checksum: Option<String>,
}

impl Reject {
    /// A reject with a reason and, if given, the counter; all other fields are absent.
    pub fn new(reason: RejectReason, t: Option<i64>) -> Self {
        Self {
            reason,
            error_detail: None,
            t,
            success_tx_ids: Vec::new(),
            failed_tx_id: None,
            missing_block_uuids: Vec::new(),
            checksum: None,
        }
    }
}

impl ServerMessage<'_> {
    /// The message as JSON.
    pub fn to_json(&self) -> String {
        let mut out = String::with_capacity(96);
        self.write_json(&mut out);
        out
    }

    /// Appends the message as JSON.
    pub fn write_json(&self, out: &mut String) {
        match self {
            Self::Hello { t, checksum } => counter(out, "hello", *t, *checksum),
            Self::OnlineUsers(users) => {
                out.push_str("{\"type\":\"online-users\",\"online-users\":[");
                for (i, user) in users.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    user.write_json(out);
                }
                out.push_str("]}");
            }
            Self::Presence { user_id, editing_block_uuid } => {
                out.push_str("{\"type\":\"presence\",\"editing-block-uuid\":");
                write::nullable(out, *editing_block_uuid);
                write::optional(out, "user-id", Some(user_id));
                out.push('}');
            }
            Self::PullOk { t, txs, checksum } => {
                let mut writer = pull::PullWriter::begin(out, *t);
                for tx in *txs {
                    writer.row(out, tx);
                }
                writer.end(out, *checksum);
            }
            Self::TxBatchOk { t, checksum } => counter(out, "tx/batch/ok", *t, *checksum),
            Self::TxReject(reject) => reject.write_json(out),
            Self::Changed { t } => counter(out, "changed", *t, None),
            Self::Reset(reason) => {
                let data = format!(r#"["^ ","~:reason","{}","~:snapshot-required",true]"#, reason.as_str());
                out.push_str("{\"type\":\"reset\"");
                write::optional(out, "data", Some(&data));
                out.push('}');
            }
            Self::Pong => out.push_str("{\"type\":\"pong\"}"),
            Self::Error(error) => {
                out.push_str("{\"type\":\"error\"");
                write::optional(out, "message", Some(&error.to_string()));
                out.push('}');
            }
        }
    }
}

fn counter(out: &mut String, kind: &str, t: i64, checksum: Option<&str>) {
    out.push_str("{\"type\":\"");
    out.push_str(kind);
    out.push_str("\",\"t\":");
    write::int(out, t);
    write::optional(out, "checksum", checksum);
    out.push('}');
}

impl Reject {
    fn write_json(&self, out: &mut String) {
        out.push_str("{\"type\":\"tx/reject\"");
        write::optional(out, "reason", Some(self.reason.as_str()));
        write::optional(out, "error-detail", self.error_detail.as_deref());
        if let Some(t) = self.t {
            out.push_str(",\"t\":");
            write::int(out, t);
        }
        list(out, "success-tx-ids", &self.success_tx_ids, |out, id| write::uuid(out, *id));
        if let Some(id) = self.failed_tx_id {
            out.push_str(",\"failed-tx-id\":");
            write::uuid(out, id);
        }
        list(out, "missing-block-uuids", &self.missing_block_uuids, |out, text| json::write_str(out, text));
        write::optional(out, "checksum", self.checksum.as_deref());
        out.push('}');
    }
}

/// Appends a list, or nothing when it is empty.
fn list<T>(out: &mut String, key: &str, items: &[T], write_item: impl Fn(&mut String, &T)) {
    if items.is_empty() {
        return;
    }
    out.push_str(",\"");
    out.push_str(key);
    out.push_str("\":");
    for (i, item) in items.iter().enumerate() {
        out.push(if i == 0 { '[' } else { ',' });
        write_item(out, item);
    }
    out.push(']');
}

/// Types of messages to clients.
pub const TYPES: [&str; 11] = [
    "hello",
    "online-users",
    "presence",
    "pull/ok",
    "tx/batch/ok",
    "tx/reject",
    "changed",
    "pong",
    "graph-changes",
    "reset",
    "error",
];

/// The type of a message as this server writes it, and the counter that its reader has come to by it. Reads no more than its head;
/// the raw answer to a raw `ping` is a `pong`. A refusal tells a counter that its reader has not come to.
pub fn head(text: &str) -> (&'static str, Option<i64>) {
    let Some((kind, rest)) = text.strip_prefix("{\"type\":\"").and_then(|rest| rest.split_once('"')) else {
        return ("pong", None);
    };
    let kind = TYPES.iter().find(|known| **known == kind).copied().unwrap_or("error");
    let digits = rest.strip_prefix(",\"t\":").map(|rest| rest.split([',', '}']).next().unwrap_or_default());
    (kind, digits.filter(|_| kind != "tx/reject").and_then(|digits| digits.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_known_by_its_head() {
        for (message, expected) in [
            (ServerMessage::Hello { t: 7, checksum: Some("c") }, ("hello", Some(7))),
            (ServerMessage::Changed { t: 8 }, ("changed", Some(8))),
            (ServerMessage::TxBatchOk { t: 9, checksum: None }, ("tx/batch/ok", Some(9))),
            (ServerMessage::PullOk { t: 10, txs: &[], checksum: None }, ("pull/ok", Some(10))),
            (ServerMessage::Pong, ("pong", None)),
            (ServerMessage::OnlineUsers(&[]), ("online-users", None)),
        ] {
            assert_eq!(head(&message.to_json()), expected);
        }
        let stale = Reject::new(RejectReason::Stale, Some(9));
        assert_eq!(head(&ServerMessage::TxReject(&stale).to_json()), ("tx/reject", None));
        assert_eq!((head("pong"), head("")), (("pong", None), ("pong", None)));
    }
}
