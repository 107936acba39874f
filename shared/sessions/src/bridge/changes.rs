//! The log of a source, as it is read (pg-sync.md 4.13).

use database::local::SqlError;
use futures_channel::oneshot;
use pg_sync::ring::Log as _;
use serde_json::{Value, json};

use super::Platform;
use super::object::Bridge;
use crate::runtime::exchange::within;

/// Changes of one answer.
pub(crate) const MAX_LIMIT: usize = 500;
/// The same where nothing is asked for.
pub(crate) const DEFAULT_LIMIT: usize = 100;
/// How long a reader may wait, in seconds.
pub(super) const MAX_WAIT_S: u32 = 20;
/// Bytes of values in one answer, but for its last change.
const MAX_BYTES: u64 = 1 << 20;
/// Rows that are read in one go: each may have half a megabyte.
const PAGE: usize = 8;
/// Readers that wait at the same time. Further ones are answered at once.
const MAX_READERS: usize = 100;

/// What is read.
pub(super) enum Read {
    /// This.
    Page(Value),
    /// What is asked for is not kept any more; the first number that is.
    Gone(u64),
    /// There is no such source.
    Absent,
}

impl<P: Platform> Bridge<P> {
    /// Changes after a number, as soon as there are any, or none after so many seconds.
    pub(super) async fn read(&self, after: u64, limit: usize, wait_s: u32) -> Result<Read, SqlError> {
        let end = self.platform.now_ms().saturating_add(i64::from(wait_s).saturating_mul(1_000));
        // Each round ends with a change or with the time.
        loop {
            let Some((ring, source, incarnation)) = self
                .look(|bridge| (bridge.stored().ring, bridge.stored().source.id.clone(), bridge.stored().incarnation))
            else {
                return Ok(Read::Absent);
            };
            if after.saturating_add(1) < ring.first_seq {
                return Ok(Read::Gone(ring.first_seq));
            }
            let left = end.saturating_sub(self.platform.now_ms());
            if ring.last_seq > after || left <= 0 || self.readers.borrow().len() >= MAX_READERS {
                let (changes, next_after) = self.page(after, ring.last_seq, limit)?;
                let gaps: Vec<Value> = self.store.gaps(after)?.iter().map(shown_gap).collect();
                return Ok(Read::Page(json!({
                    "source_id": source,
                    "incarnation": incarnation,
                    "changes": changes,
                    "next_after": next_after,
                    "first_seq": ring.first_seq,
                    "last_seq": ring.last_seq,
                    "gaps": gaps,
                })));
            }
            let (told, wake) = oneshot::channel();
            self.readers.borrow_mut().push(told);
            // Either there is something new, or the time is over.
            let _ = within(&self.platform, u32::try_from(left).unwrap_or(u32::MAX), wake).await;
            self.readers.borrow_mut().retain(|reader| !reader.is_canceled());
        }
    }

    fn page(&self, after: u64, to: u64, limit: usize) -> Result<(Vec<Value>, u64), SqlError> {
        let (mut changes, mut last, mut bytes) = (Vec::new(), after, 0);
        // Bounded by the limit, at most MAX_LIMIT, and by the bytes.
        while changes.len() < limit && bytes < MAX_BYTES && last < to {
            let rows = self.store.changes(last, to, PAGE.min(limit - changes.len()))?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                if bytes >= MAX_BYTES {
                    break;
                }
                bytes += row.bytes();
                last = row.seq;
                changes.push(row.to_json());
            }
        }
        Ok((changes, last))
    }
}

fn shown_gap(gap: &pg_sync::bridge::Gap) -> Value {
    json!({"seq": gap.seq, "reason": gap.reason.as_str(), "at": gap.at})
}
