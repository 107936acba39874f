//! Events: what a session keeps, streams and answers (agents.md 3.3).
//!
//! Whatever happens is first a [`Draft`]. [`Event::seal`] takes secrets out of it, bounds it and gives it its place in time;
//! nothing reaches the log or a viewer without it.

mod budget;
mod drafts;
mod fit;
mod forms;
mod git;
mod kind;
mod pg_sync;
mod query;
mod redact;
mod sanitize;
mod split;

use serde::Serialize;
use serde_json::Value;

pub use drafts::{Checkpoint, Provisioned, message_item};
pub use fit::{DEFAULT_EVENT_BYTES, PREVIEW_BYTES, json_bytes};
pub use git::{GitFailure, PullRequest};
pub use kind::{Kind, MAX_NAME_BYTES};
pub use query::{DEFAULT_LIMIT, Dropped, MAX_LIMIT, Page, Query};
pub use redact::{MIN_SECRET_BYTES, REDACTED, Redactor};
pub use sanitize::{sanitize, strip_agent};
pub use split::Pieces;

/// What is to be said, before it has a place in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// What it is about.
    pub kind: Kind,
    /// What there is to know about it.
    pub data: Value,
    /// Whether some of `data` is missing already (agents.md 2.8, text of a turn).
    pub clipped: bool,
}

impl Draft {
    /// A draft whose data is complete.
    pub fn new(kind: Kind, data: Value) -> Self {
        Self { kind, data, clipped: false }
    }
}

/// Where and when an event stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Number in the log; none for what is only streamed.
    pub cursor: Option<u64>,
    /// A random UUID, or the name of a live message.
    pub event_id: &'a str,
    /// The session.
    pub session_id: &'a str,
    /// Milliseconds since 1970; see [`next_ts`].
    pub ts: i64,
}

/// One event as it is stored, streamed and answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Event {
    /// A random UUID, or the name of a live message.
    pub event_id: String,
    /// The session.
    pub session_id: String,
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Milliseconds since 1970, growing within a session.
    pub ts: i64,
    /// What there is to know about it.
    pub data: Value,
    /// Number in the log; none for what is only streamed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<u64>,
    /// Present when data was cut (agents.md 2.8).
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
}

/// What stands beside data that was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Cut {
    /// Always true.
    pub truncated: bool,
    /// Bytes that the event had as JSON before it was cut.
    pub size: u64,
}

impl Event {
    /// Makes an event of a draft: secrets go first, so that none is cut in half and then not recognised; then the event is
    /// brought to at most `max_bytes` of JSON (agents.md 2.8, 3.15).
    pub fn seal(draft: Draft, place: &Place<'_>, redactor: &Redactor, max_bytes: usize) -> Self {
        let Draft { kind, mut data, clipped } = draft;
        sanitize(&mut data, redactor);
        let mut event = Self {
            event_id: place.event_id.to_owned(),
            session_id: place.session_id.to_owned(),
            kind,
            ts: place.ts,
            data,
            cursor: place.cursor,
            cut: None,
        };
        let size = json_bytes(&event);
        if clipped || size > max_bytes {
            event.cut = Some(Cut { truncated: true, size: size as u64 });
            let beside = json_bytes(&event).saturating_sub(json_bytes(&event.data));
            event.data = fit::fit(std::mem::take(&mut event.data), max_bytes.saturating_sub(beside));
        }
        event
    }
}

/// The time of the next event: now, but later than the last one, so that a client that asks for what came after a time
/// loses nothing (agents.md 3.3). Milliseconds since 1970.
pub fn next_ts(now: i64, last: Option<i64>) -> i64 {
    last.map_or(now, |last| now.max(last.saturating_add(1)))
}
