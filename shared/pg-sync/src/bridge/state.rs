//! What is stored of a bridge, and the states that it goes through (pg-sync.md 4.5, 4.6).

use serde::{Deserialize, Serialize};

use crate::body::{BlockedReason, GapReason};
use crate::change::Position;
use crate::options::Options;
use crate::ring::Ring;
use crate::rows::Known;
use crate::shape::{Cursor, LogMode};
use crate::snapshot::Shown;

/// What a source is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its name ([`crate::identity::source_id`]).
    pub id: String,
    /// Whose it is.
    pub owner: String,
    /// The name of its connection, or the address itself.
    pub connection: String,
    /// What is observed.
    pub options: Options,
}

/// What a bridge does. Each state that waits says until when, and what waits for nobody goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is new: the service is asked where its log ends.
    Probing {
        /// Until when the service may answer.
        until: i64,
        /// Then the bridge is removed. Whoever waited has been told before.
        remove_at: i64,
    },
    /// It reads what there is.
    Catching,
    /// It has read everything and follows.
    Live,
    /// It has no cursor, and asks for the end of the log.
    Resync {
        /// When it asks.
        next_at: i64,
    },
    /// It waits after a failure.
    Backoff {
        /// Until when.
        until: i64,
    },
    /// It waits for somebody; it tries by itself now and then.
    Blocked {
        /// When it tries.
        retry_at: i64,
    },
    /// Nobody observes it.
    Idle {
        /// When it is removed.
        until: i64,
    },
}

impl State {
    /// As it is told.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Probing { .. } => "probing",
            Self::Catching => "catching",
            Self::Live => "live",
            Self::Resync { .. } => "resync",
            Self::Backoff { .. } => "backoff",
            Self::Blocked { .. } => "blocked",
            Self::Idle { .. } => "idle",
        }
    }
}

/// A gap whose end is not known yet: there is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenGap {
    /// Why.
    pub reason: GapReason,
    /// The last number before it.
    pub seq: u64,
    /// When it was noticed, in milliseconds since 1970.
    pub at: i64,
}

/// Why a bridge is blocked, until it has recovered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Why.
    pub reason: BlockedReason,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// What it said.
    pub detail: Option<String>,
    /// Since when, in milliseconds since 1970.
    pub since: i64,
}

/// How often what went wrong, since something went right.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    /// Failures after which it waits longer each time.
    pub attempt: u32,
    /// Refusals.
    pub refused: u32,
    /// Replaced logs, since a request with a handle was answered.
    pub rotated: u32,
    /// Unreadable answers that were the same.
    pub same: u32,
    /// What tells whether they are the same.
    pub mark: Option<String>,
    /// The last failure, as it is shown.
    pub last: Option<String>,
}

/// Somebody reads the log, and is not woken (pg-sync.md 4.14).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reader {
    /// The name under which it is read ([`crate::reference::of_source`]).
    pub source_ref: String,
    /// Until when it counts as one who observes, in milliseconds since 1970.
    pub until: i64,
}

/// What the rows show that were compared last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownUntil {
    /// Which transactions.
    pub shown: Shown,
    /// Until when that is looked at, in milliseconds since 1970: numbers of transactions come again.
    pub until: i64,
}

fn readable_or_none<'de, D: serde::Deserializer<'de>>(stored: D) -> Result<Option<Cursor>, D::Error> {
    let stored = serde_json::Value::deserialize(stored)?;
    let nowhere = || Cursor { handle: String::new(), offset: String::new(), log_mode: LogMode::ChangesOnly };
    let is_none = stored.is_null();
    Ok((!is_none).then(|| serde_json::from_value(stored).unwrap_or_else(|_| nowhere())))
}

const fn is_unknown(known: &Known) -> bool {
    matches!(known, Known::Unavailable)
}

/// What is stored of a bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// What it follows.
    pub source: Source,
    /// When it was made, in milliseconds since 1970. Numbers begin anew with a bridge that is made again: observers tell
    /// them apart by it.
    pub incarnation: i64,
    /// The revision of the connection that the cursor belongs to; `None` before it was read.
    pub connection_revision: Option<i64>,
    /// The pause between two requests that the connection asks for, in milliseconds, as it was read last; `None` where it is followed
    /// without pauses, and before it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<i64>,
    /// When a change came last, or its place moved without one, in milliseconds since 1970: written with those alone. A bridge that was stored
    /// without it counts as one that was quiet for long.
    #[serde(default)]
    pub changed_at: i64,
    /// What it does.
    pub state: State,
    /// Where it is. None while it probes, and while a gap is open. One that is stored and means nothing is read as no place at all
    /// ([`Cursor::is_readable`]): what came since it was stored is a gap.
    #[serde(deserialize_with = "readable_or_none")]
    pub cursor: Option<Cursor>,
    /// The types of columns, as the service says.
    pub schema: Option<String>,
    /// A gap whose end is not known yet.
    pub gap: Option<OpenGap>,
    /// All rows are asked for, on top of the cursor: until when at the latest (pg-sync.md 4.8).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparing: Option<i64>,
    /// Whether it is remembered what its rows are.
    #[serde(default, skip_serializing_if = "is_unknown")]
    pub known: Known,
    /// Changes of these transactions have been told already, as differences of rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<ShownUntil>,
    /// How many gaps there were.
    pub gap_seq: u64,
    /// The place of the last change in the log of the database.
    pub position: Option<Position>,
    /// What is kept of the log.
    pub ring: Ring,
    /// What goes wrong.
    pub failures: Failures,
    /// Why it is blocked; observers know of it.
    pub block: Option<Block>,
    /// When the service last said that nothing more is there, in milliseconds since 1970; written now and then.
    pub last_ok_at: Option<i64>,
    /// Who reads it as a stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reader: Option<Reader>,
    /// Changes that came twice, and were dropped.
    pub repeated: u64,
    /// Changes that came at once and had no room in the log. They count for wakes.
    pub overrun: u64,
    /// Messages that nobody understood, and were passed over.
    pub odd: u64,
}

impl Stored {
    /// A bridge that is new. It is removed a minute after the service has had its time, unless it has answered.
    pub fn new(source: Source, now: i64) -> Self {
        Self {
            source,
            incarnation: now,
            connection_revision: None,
            interval_ms: None,
            changed_at: now,
            state: State::Probing {
                until: now,
                remove_at: now.saturating_add(super::poll::PROBE_MS + super::poll::PROBE_KEPT_MS),
            },
            cursor: None,
            schema: None,
            gap: None,
            comparing: None,
            known: Known::Unavailable,
            shown: None,
            gap_seq: 0,
            position: None,
            ring: Ring { first_seq: 1, last_seq: 0, bytes: 0 },
            failures: Failures::default(),
            block: None,
            last_ok_at: None,
            reader: None,
            repeated: 0,
            overrun: 0,
            odd: 0,
        }
    }
}
