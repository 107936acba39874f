//! What observers are told (pg-sync.md 4.13). Every body says its type and a key by which a repetition is known.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use crate::change::{Change, Operation};
use crate::rows::Incomparable;

/// Most changes in one wake.
pub const MAX_WAKE_CHANGES: usize = 50;
/// The most that the changes of one wake take, in bytes of JSON.
pub const MAX_WAKE_BYTES: usize = 64 * 1024;

/// How many changes, by operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// New rows.
    pub insert: u64,
    /// Changed rows.
    pub update: u64,
    /// Rows that are gone.
    pub delete: u64,
}

impl Counts {
    /// One more.
    pub fn add(&mut self, operation: Operation) {
        match operation {
            Operation::Insert => self.insert += 1,
            Operation::Update => self.update += 1,
            Operation::Delete => self.delete += 1,
        }
    }

    /// All of them.
    pub const fn total(&self) -> u64 {
        self.insert + self.update + self.delete
    }
}

/// Why changes are not known (pg-sync.md 4.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// The service replaced its log.
    MustRefetch,
    /// The connection leads to another place now.
    ConnectionChanged,
    /// What was known of the source is gone.
    SourceLost,
    /// The comparison of rows failed.
    DiffFailed,
}

impl GapReason {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::MustRefetch, Self::ConnectionChanged, Self::SourceLost, Self::DiffFailed];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MustRefetch => "must_refetch",
            Self::ConnectionChanged => "connection_changed",
            Self::SourceLost => "source_lost",
            Self::DiffFailed => "diff_failed",
        }
    }
}

/// Why a bridge does not go on by itself (pg-sync.md 4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockedReason {
    /// The service refuses.
    Refused,
    /// The log is replaced again and again.
    Rotates,
    /// There is no such connection any more.
    ConnectionMissing,
    /// The secret of the connection cannot be decrypted.
    SecretUnreadable,
    /// The address of the connection is not allowed.
    UrlNotAllowed,
    /// The connection does not let the table through any more.
    TableNotAllowed,
    /// An answer is longer than what is read.
    BodyTooLarge,
    /// The same unreadable answer again and again.
    Unreadable,
}

impl BlockedReason {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Rotates => "rotates",
            Self::ConnectionMissing => "connection_missing",
            Self::SecretUnreadable => "secret_unreadable",
            Self::UrlNotAllowed => "url_not_allowed",
            Self::TableNotAllowed => "table_not_allowed",
            Self::BodyTooLarge => "body_too_large",
            Self::Unreadable => "unreadable",
        }
    }
}

/// Why an observation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// Nobody wants it any more.
    Unobserved,
    /// It was for one wake.
    OneShot,
    /// Its time is over.
    Expired,
    /// The source is gone.
    SourceRemoved,
}

impl EndReason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Unobserved => "unobserved",
            Self::OneShot => "one_shot",
            Self::Expired => "expired",
            Self::SourceRemoved => "source_removed",
        }
    }
}

/// What an observer is told besides changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// Changes after `from_seq` are not known.
    Gap {
        /// The last number before the first of them.
        from_seq: u64,
        /// Why.
        reason: GapReason,
        /// When it was noticed, in milliseconds since 1970.
        at: i64,
        /// How many gaps.
        count: u64,
        /// Why rows were not compared, where that was asked for.
        diff: Option<Incomparable>,
    },
    /// The bridge waits for somebody.
    Blocked {
        /// Why.
        reason: BlockedReason,
        /// The status of the answer, if there was one.
        status: Option<u16>,
        /// What it said.
        detail: Option<String>,
        /// Since when, in milliseconds since 1970.
        since: i64,
    },
    /// The bridge goes on.
    Recovered {
        /// Why it had not.
        reason: BlockedReason,
        /// Since when it had not, in milliseconds since 1970.
        since: i64,
    },
    /// Too many wakes: they are merged.
    Throttled {
        /// How many an hour.
        limit: u32,
        /// Until when, in milliseconds since 1970.
        until: i64,
    },
    /// This is the last.
    Ended(EndReason),
}

impl Notice {
    /// The type, as it is written.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Gap { .. } => "pg_sync.gap",
            Self::Blocked { .. } => "pg_sync.blocked",
            Self::Recovered { .. } => "pg_sync.recovered",
            Self::Throttled { .. } => "pg_sync.throttled",
            Self::Ended(_) => "pg_sync.ended",
        }
    }

    /// The type that undoes this one.
    pub(crate) const fn opposite(&self) -> Option<&'static str> {
        match self {
            Self::Blocked { .. } => Some("pg_sync.recovered"),
            Self::Recovered { .. } => Some("pg_sync.blocked"),
            Self::Gap { .. } | Self::Throttled { .. } | Self::Ended(_) => None,
        }
    }
}

/// Whose body it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whose<'a> {
    pub(crate) source_id: &'a str,
    pub(crate) subscription_id: &'a str,
    pub(crate) incarnation: i64,
    pub(crate) table: &'a str,
}

/// What a wake tells.
#[derive(Debug)]
pub(crate) struct WakeBody<'a> {
    pub(crate) key: &'a str,
    pub(crate) after_seq: u64,
    pub(crate) to_seq: u64,
    pub(crate) counts: Counts,
    pub(crate) changes: &'a [Change],
    pub(crate) available_from: u64,
    pub(crate) throttled: bool,
}

impl Whose<'_> {
    fn head(&self, kind: &str, key: &str) -> Map<String, Json> {
        let mut body = Map::new();
        body.insert("type".into(), kind.into());
        body.insert("key".into(), key.into());
        body.insert("source_id".into(), self.source_id.into());
        body.insert("subscription_id".into(), self.subscription_id.into());
        body.insert("incarnation".into(), self.incarnation.into());
        body
    }

    /// The text of a wake.
    pub(crate) fn wake(&self, wake: &WakeBody<'_>) -> String {
        let mut body = self.head("pg_sync.change", wake.key);
        body.insert("table".into(), self.table.into());
        body.insert("after_seq".into(), wake.after_seq.into());
        body.insert("to_seq".into(), wake.to_seq.into());
        let Counts { insert, update, delete } = wake.counts;
        body.insert("counts".into(), json!({"insert": insert, "update": update, "delete": delete}));
        let mut bytes = 0;
        let told = wake.changes.iter().take(MAX_WAKE_CHANGES).map(Change::to_json);
        let told: Vec<Json> = told
            .take_while(|change| {
                bytes += change.to_string().len() + 1;
                bytes <= MAX_WAKE_BYTES
            })
            .collect();
        body.insert("more".into(), (wake.counts.total() > told.len() as u64).into());
        body.insert("changes".into(), told.into());
        body.insert("available_from".into(), wake.available_from.into());
        if wake.throttled {
            body.insert("throttled".into(), true.into());
        }
        Json::Object(body).to_string()
    }

    /// The text of a notice.
    pub(crate) fn notice(&self, key: &str, notice: &Notice) -> String {
        let mut body = self.head(notice.kind(), key);
        let more = match notice {
            Notice::Gap { from_seq, reason, at, count, diff } => {
                let mut gap = json!({"from_seq": from_seq, "reason": reason.as_str(), "at": at, "count": count});
                if let (Some(diff), Some(gap)) = (diff, gap.as_object_mut()) {
                    gap.insert("diff".into(), diff.as_str().into());
                }
                gap
            }
            Notice::Blocked { reason, status, detail, since } => {
                let mut blocked = json!({"reason": reason.as_str(), "since": since});
                if let Some(blocked) = blocked.as_object_mut() {
                    blocked.extend(status.map(|status| ("status".to_owned(), status.into())));
                    blocked.extend(detail.as_ref().map(|detail| ("detail".to_owned(), detail.as_str().into())));
                }
                blocked
            }
            Notice::Recovered { reason, since } => json!({"reason": reason.as_str(), "since": since}),
            Notice::Throttled { limit, until } => json!({"limit": limit, "until": until}),
            Notice::Ended(reason) => json!({"reason": reason.as_str()}),
        };
        if let Json::Object(more) = more {
            body.extend(more);
        }
        Json::Object(body).to_string()
    }
}
