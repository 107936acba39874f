//! The log of events: rows by cursor, whose times grow with it.

use std::ops::ControlFlow;

use database::Param;
use database::local::{Sql, SqlError};
use serde::{Deserialize, Serialize};

use super::{numbers, signed, text, unreadable, unsigned};
use crate::event::{Dropped, Kind};

/// How much is kept (agents.md 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rows.
    pub rows: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
}

/// An event as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its number.
    pub cursor: u64,
    /// Its whole JSON text.
    pub body: String,
}

/// Counts are written down with every so many events; after a start the rest is counted.
const SAVE_EVERY: u64 = 256;
/// The first event has the number after this one: whoever asks for what came after 0 or after 1 gets everything.
const BEFORE_FIRST: u64 = 1;
/// How far back an event of a kind is looked for.
const NEWEST: u64 = 5_000;
/// Rows that one clean-up removes at most.
const DROP_ROWS: i64 = 500;

/// What runtimes said, oldest first.
const RUNTIME: &str =
    "SELECT cursor, ts, bytes FROM events WHERE cursor > ? AND type = 'agent.runtime' ORDER BY cursor LIMIT ?";
/// What has no meaning to the service, oldest first.
const OTHERS: &str = "SELECT cursor, ts, bytes FROM events WHERE cursor > ? AND NOT (type LIKE 'session.%' OR type LIKE 'git.%' OR \
                      type LIKE 'sandbox.%' OR type LIKE 'agent.%' OR type IN ('audit.log', 'item.completed', \
                      'turn.completed')) ORDER BY cursor LIMIT ?";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Counts {
    /// The last event that is counted.
    cursor: u64,
    rows: u64,
    bytes: u64,
    /// The last event that was dropped, and its time.
    dropped: u64,
    dropped_ts: i64,
    /// How far other events than `agent.runtime` were dropped.
    dropped_others: u64,
}

/// The log, and what is known of it without looking.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventLog {
    counts: Counts,
    last_cursor: u64,
    last_ts: Option<i64>,
    unsaved: u64,
}

impl EventLog {
    /// Reads what is known of the log of a session.
    pub fn open(sql: &impl Sql) -> Result<Self, SqlError> {
        let counts = text(sql, "SELECT v FROM session WHERE k = 'log'", &[])?;
        let mut counts: Counts =
            counts.map_or(Ok(Counts::default()), |counts| serde_json::from_str(&counts)).map_err(unreadable)?;
        let after = [Param::Int(signed(counts.cursor))];
        let rest = numbers::<3>(sql, "SELECT COUNT(*), SUM(bytes), MAX(cursor) FROM events WHERE cursor > ?", &after)?;
        let [rows, bytes, last] = rest.unwrap_or_default();
        counts.rows = counts.rows.saturating_add(unsigned(rows));
        counts.bytes = counts.bytes.saturating_add(unsigned(bytes));
        counts.cursor = counts.cursor.max(unsigned(last));
        let newest = numbers::<2>(sql, "SELECT cursor, ts FROM events ORDER BY cursor DESC LIMIT 1", &[])?;
        let [_, ts] = newest.unwrap_or_default();
        let last_cursor = counts.cursor.max(counts.dropped).max(BEFORE_FIRST);
        Ok(Self { counts, last_cursor, last_ts: ts, unsaved: 0 })
    }

    /// The number of the next event.
    pub fn next_cursor(&self) -> u64 {
        self.last_cursor.saturating_add(1)
    }

    /// The number of the last event; 0 before the first.
    pub fn last_cursor(&self) -> u64 {
        self.last_cursor
    }

    /// The time of the last event, in milliseconds since 1970.
    pub fn last_ts(&self) -> Option<i64> {
        self.last_ts
    }

    /// Appends an event under [`next_cursor`](Self::next_cursor).
    pub fn append(&mut self, sql: &impl Sql, kind: &Kind, ts: i64, body: &str) -> Result<(), SqlError> {
        let cursor = self.next_cursor();
        let row = [
            Param::Int(signed(cursor)),
            Param::Text(kind.as_str()),
            Param::Int(ts),
            Param::count(body.len()),
            Param::Text(body),
        ];
        sql.execute("INSERT INTO events (cursor, type, ts, bytes, body) VALUES (?, ?, ?, ?, ?)", &row)?;
        self.last_cursor = cursor;
        self.last_ts = Some(ts);
        self.counts.cursor = cursor;
        self.counts.rows = self.counts.rows.saturating_add(1);
        self.counts.bytes = self.counts.bytes.saturating_add(body.len() as u64);
        self.unsaved = self.unsaved.saturating_add(1);
        if self.unsaved >= SAVE_EVERY { self.save(sql) } else { Ok(()) }
    }

    fn save(&mut self, sql: &impl Sql) -> Result<(), SqlError> {
        let counts = serde_json::to_string(&self.counts).map_err(unreadable)?;
        sql.execute("INSERT OR REPLACE INTO session (k, v) VALUES ('log', ?)", &[Param::Text(&counts)])?;
        self.unsaved = 0;
        Ok(())
    }

    /// Drops the oldest rows beyond the limits: first what runtimes said, then what has no meaning to the service. The story of
    /// the session itself is never dropped. Each call removes at most [`DROP_ROWS`] rows.
    pub fn trim(&mut self, sql: &impl Sql, limits: &Limits) -> Result<(), SqlError> {
        if self.counts.rows <= limits.rows && self.counts.bytes <= limits.bytes {
            return Ok(());
        }
        let mut dropped = self.drop_rows(sql, limits, RUNTIME, self.counts.dropped, true)?;
        if dropped == 0 {
            dropped = self.drop_rows(sql, limits, OTHERS, self.counts.dropped_others, false)?;
        }
        if dropped > 0 { self.save(sql) } else { Ok(()) }
    }

    fn drop_rows(
        &mut self,
        sql: &impl Sql,
        limits: &Limits,
        statement: &str,
        after: u64,
        is_runtime: bool,
    ) -> Result<usize, SqlError> {
        let mut rows: Vec<(i64, i64, u64)> = Vec::new();
        let (mut kept_rows, mut kept_bytes) = (self.counts.rows, self.counts.bytes);
        sql.query(statement, &[Param::Int(signed(after)), Param::Int(DROP_ROWS)], &mut |row| {
            if kept_rows <= limits.rows && kept_bytes <= limits.bytes {
                return Ok(ControlFlow::Break(()));
            }
            let (cursor, ts) = (row.int(0)?.unwrap_or_default(), row.int(1)?.unwrap_or_default());
            let bytes = unsigned(row.int(2)?);
            kept_rows = kept_rows.saturating_sub(1);
            kept_bytes = kept_bytes.saturating_sub(bytes);
            rows.push((cursor, ts, bytes));
            Ok(ControlFlow::Continue(()))
        })?;
        for (cursor, ts, _) in &rows {
            sql.execute("DELETE FROM events WHERE cursor = ?", &[Param::Int(*cursor)])?;
            let cursor = unsigned(Some(*cursor));
            if is_runtime {
                self.counts.dropped = cursor;
            } else {
                self.counts.dropped_others = cursor;
            }
            self.counts.dropped_ts = self.counts.dropped_ts.max(*ts);
        }
        self.counts.rows = kept_rows;
        self.counts.bytes = kept_bytes;
        Ok(rows.len())
    }

    /// The last event that is missing, if any is.
    pub fn dropped(&self) -> Option<Dropped> {
        let cursor = self.counts.dropped.max(self.counts.dropped_others);
        (cursor > 0).then_some(Dropped { cursor, ts: self.counts.dropped_ts })
    }

    /// Events after a cursor, oldest first: at most so many, and no more once so many bytes were read.
    pub fn page(sql: &impl Sql, after: u64, rows: usize, bytes: usize) -> Result<Vec<Stored>, SqlError> {
        let mut page = Vec::new();
        let mut read = 0_usize;
        let params = [Param::Int(signed(after)), Param::count(rows)];
        sql.query("SELECT cursor, body FROM events WHERE cursor > ? ORDER BY cursor LIMIT ?", &params, &mut |row| {
            let body = row.text(1)?.unwrap_or_default().into_owned();
            read = read.saturating_add(body.len());
            page.push(Stored { cursor: unsigned(row.int(0)?), body });
            Ok(if read >= bytes { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(page)
    }

    /// The last event of a kind among the newest ones.
    pub fn last_of(&self, sql: &impl Sql, kind: &Kind) -> Result<Option<String>, SqlError> {
        let after = signed(self.last_cursor.saturating_sub(NEWEST));
        let params = [Param::Int(after), Param::Text(kind.as_str())];
        text(sql, "SELECT body FROM events WHERE cursor > ? AND type = ? ORDER BY cursor DESC LIMIT 1", &params)
    }

    /// The cursor after which all events are younger than a time: times grow with cursors, so some twenty looks find it among
    /// a million.
    pub fn cursor_at(&self, sql: &impl Sql, since: i64) -> Result<u64, SqlError> {
        let (mut low, mut high) = (0_u64, self.last_cursor.saturating_add(1));
        // The first cursor in [low, high] whose event is younger. Each round halves the distance.
        while low < high {
            let middle = low.midpoint(high);
            let next = numbers::<2>(
                sql,
                "SELECT cursor, ts FROM events WHERE cursor >= ? ORDER BY cursor LIMIT 1",
                &[Param::Int(signed(middle))],
            )?;
            match next {
                Some([cursor, Some(ts)]) if ts <= since => low = unsigned(cursor).max(middle).saturating_add(1),
                _ => high = middle,
            }
        }
        Ok(low.saturating_sub(1))
    }
}
