//! How much of a source's log is kept (pg-sync.md 4.5).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::change::Change;
use crate::rows::Row;

/// Most rows. The row of a number is written at [`slot`], over the one that is so many numbers older.
pub const MAX_ROWS: u64 = 10_000;
/// Most bytes of all rows together.
pub const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// How long a row is kept, in milliseconds: 7 days.
pub const MAX_AGE_MS: i64 = 7 * 86_400_000;
/// How many rows are looked at in one go.
const PAGE: usize = 500;

/// Where a row is stored.
pub const fn slot(seq: u64) -> u64 {
    seq % MAX_ROWS
}

/// What is kept: numbers and size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ring {
    /// The oldest number that is kept; one more than `last_seq` when nothing is.
    pub first_seq: u64,
    /// The newest number that was given.
    pub last_seq: u64,
    /// Size of the rows that are kept.
    pub bytes: u64,
}

/// Size and age of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its number.
    pub seq: u64,
    /// Its size ([`Change::bytes`]).
    pub bytes: u64,
    /// When it came, in milliseconds since 1970.
    pub at: i64,
}

/// The rows of a source, as they were before a decision.
pub trait Log {
    /// Why rows cannot be read.
    type Error;

    /// Rows whose number is above `after` and at most `to`, oldest first, at most `limit`. `to` is not above the newest number.
    fn changes(&self, after: u64, to: u64, limit: usize) -> Result<Vec<Change>, Self::Error>;

    /// The same rows without their content.
    fn kept(&self, after: u64, to: u64, limit: usize) -> Result<Vec<Kept>, Self::Error>;

    /// What is remembered of the row of the source with this key.
    fn row(&self, key: &str) -> Result<Option<Row>, Self::Error>;

    /// What is remembered of all rows of the source, by their keys: at most [`crate::rows::MAX_KNOWN_ROWS`].
    fn rows(&self) -> Result<BTreeMap<String, Row>, Self::Error>;
}

impl Ring {
    /// Makes room for what has just been added, `new` of it in bytes, and lets go of what is too old. Tells the first and the last
    /// number of the rows that have to be deleted, beyond those that new ones are written over.
    pub fn trim<L: Log>(&mut self, log: &L, added: &[Change], now: i64) -> Result<Option<(u64, u64)>, L::Error> {
        let overwritten = (self.last_seq + 1).saturating_sub(MAX_ROWS);
        let oldest_added = added.first().map_or(self.last_seq + 1, |change| change.seq);
        let first = self.first_seq;
        // Each row leaves once; there are at most `MAX_ROWS` of them.
        'pages: while self.first_seq < oldest_added {
            let page = log.kept(self.first_seq.saturating_sub(1), oldest_added - 1, PAGE)?;
            if page.is_empty() {
                self.first_seq = oldest_added;
            }
            for row in page {
                let is_old = row.at < now.saturating_sub(MAX_AGE_MS);
                if row.seq >= overwritten && self.bytes <= MAX_BYTES && !is_old {
                    self.first_seq = row.seq;
                    break 'pages;
                }
                self.bytes = self.bytes.saturating_sub(row.bytes);
                self.first_seq = row.seq + 1;
            }
        }
        // What has just come is kept as a whole, but for what the ring has no room for.
        for change in added {
            if self.bytes <= MAX_BYTES || change.seq == self.last_seq {
                break;
            }
            self.bytes = self.bytes.saturating_sub(change.bytes());
            self.first_seq = change.seq + 1;
        }
        // What has come just now and has no room is not stored in the first place, and not written over anything.
        let begin = if self.first_seq > oldest_added { first } else { first.max(overwritten) };
        let end = self.first_seq.min(oldest_added);
        Ok((begin < end).then(|| (begin, end - 1)))
    }
}
