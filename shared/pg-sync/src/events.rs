//! The log of a bridge as a durable stream, in the words of the reference (pg-sync.md 2.4, 4.14).
//!
//! What is kept of a message is its key, its values and its place: `headers` are made of these, so that members of the service's own
//! such as `relation` are not among them.

use durable_streams::{Extent, MAX_BYTES, MAX_MESSAGES, Messages, Page};
use serde_json::{Map, Value as Json, json};

use crate::bridge::Stored;
use crate::change::Change;
use crate::ring::Log;

/// A bridge's log to be read.
#[derive(Debug)]
pub struct Events<'a, L> {
    /// What there is ([`extent`]).
    pub extent: Extent,
    /// The rows.
    pub log: &'a L,
}

/// What there is of a bridge's log.
pub fn extent(stored: &Stored) -> Extent {
    Extent {
        incarnation: stored.incarnation.unsigned_abs(),
        first_seq: stored.ring.first_seq,
        last_seq: stored.ring.last_seq,
    }
}

/// Rows behind a number, as many as one answer holds but not more than `limit`, and the number that reading goes on behind.
pub fn page<L: Log>(log: &L, extent: Extent, after: u64, limit: usize) -> Result<(Vec<Change>, u64), L::Error> {
    let mut bytes = 0;
    let mut to = None;
    // Sizes first: so many of the largest rows would not fit into memory.
    for kept in log.kept(after, extent.last_seq, limit.min(MAX_MESSAGES))? {
        bytes += kept.bytes;
        if to.is_some() && bytes > MAX_BYTES {
            break;
        }
        to = Some(kept.seq);
    }
    match to {
        Some(to) => Ok((log.changes(after, to, MAX_MESSAGES)?, to)),
        // Numbers without rows: what came at once and had no room.
        None => Ok((Vec::new(), extent.last_seq)),
    }
}

/// A change as an event.
pub fn event(change: &Change) -> Json {
    let parsed = |text: &str| serde_json::from_str::<Json>(text).unwrap_or(Json::Null);
    let mut headers = Map::new();
    headers.insert("operation".into(), change.operation.as_str().into());
    if let Some(position) = change.position {
        // As text: the position of a commit has 64 bits.
        headers.insert("lsn".into(), position.tx.to_string().into());
        headers.insert("op_position".into(), position.op.into());
    }
    if change.synthetic {
        headers.insert("synthetic".into(), true.into());
    }
    let mut message = Map::new();
    message.insert("key".into(), change.key.as_str().into());
    message.insert("value".into(), parsed(&change.value));
    if let Some(old) = &change.old_value {
        message.insert("old_value".into(), parsed(old));
    }
    message.insert("headers".into(), headers.clone().into());
    json!({"type": "pg_sync_change", "key": change.key, "value": message, "headers": headers})
}

impl<L: Log> Messages for Events<'_, L> {
    type Error = L::Error;

    fn extent(&self) -> Extent {
        self.extent
    }

    fn content_type(&self) -> &'static str {
        "application/json"
    }

    fn page(&self, after: u64) -> Result<Page, L::Error> {
        let (changes, last_seq) = page(self.log, self.extent, after, MAX_MESSAGES)?;
        let events: Vec<Json> = changes.iter().map(event).collect();
        Ok(Page { body: Json::from(events).to_string().into_bytes(), last_seq })
    }
}
