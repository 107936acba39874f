//! Bridges in tables, over the synchronous port of a database (pg-sync.md 4.5).
//!
//! Several bridges share the tables of one database, by a small number each; where an object has a database of its own there is
//! one, number 0. Everything of a decision is written in one transaction.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use database::Param;
use database::local::{self, Sql, SqlError};

use crate::body::GapReason;
use crate::bridge::{Bridge, Commit, Gap, MAX_GAPS, Observer, Stored};
use crate::change::{Change, Operation, Position};
use crate::ring::{Kept, Log, MAX_ROWS, slot};
use crate::rows::Row;

/// Makes the tables that are not there.
const TABLES: [&str; 5] = [
    "CREATE TABLE IF NOT EXISTS pg_bridges (number INTEGER PRIMARY KEY, source_id TEXT NOT NULL UNIQUE, stored TEXT NOT NULL)",
    // No index beside the key: each change is one row written.
    "CREATE TABLE IF NOT EXISTS pg_changes (slot INTEGER PRIMARY KEY, seq INTEGER NOT NULL, gap_seq INTEGER NOT NULL, tx TEXT, op INTEGER, \
     key TEXT NOT NULL, operation TEXT NOT NULL, value TEXT NOT NULL, old_value TEXT, at INTEGER NOT NULL, flags INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS pg_observers (bridge INTEGER NOT NULL, id TEXT NOT NULL, stored TEXT NOT NULL, \
     PRIMARY KEY (bridge, id)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS pg_rows (bridge INTEGER NOT NULL, key TEXT NOT NULL, columns TEXT NOT NULL, \
     PRIMARY KEY (bridge, key)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS pg_gaps (bridge INTEGER NOT NULL, gap_seq INTEGER NOT NULL, seq INTEGER NOT NULL, reason TEXT NOT NULL, \
     at INTEGER NOT NULL, PRIMARY KEY (bridge, gap_seq)) WITHOUT ROWID",
];

const PARTIAL: i64 = 1;
const TRUNCATED: i64 = 2;
const SYNTHETIC: i64 = 4;

/// A bridge's part of a database.
#[derive(Clone, Debug)]
pub struct Store<S> {
    sql: S,
    number: u64,
}

/// Makes the tables.
pub fn create_tables(sql: &impl Sql) -> Result<(), SqlError> {
    TABLES.iter().try_for_each(|table| sql.execute(table, &[]))
}

/// Whether the tables are there. Looking does not write: whoever guesses names leaves nothing behind.
pub fn has_tables(sql: &impl Sql) -> Result<bool, SqlError> {
    let mut found = false;
    sql.query("SELECT name FROM sqlite_master WHERE name = 'pg_bridges'", &[], &mut |_| {
        found = true;
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}

/// All bridges: their numbers and the names of their sources.
pub fn bridges(sql: &impl Sql) -> Result<Vec<(u64, String)>, SqlError> {
    let mut found = Vec::new();
    sql.query("SELECT number, source_id FROM pg_bridges ORDER BY number", &[], &mut |row| {
        found.push((number(row, 0)?, text(row, 1)?));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

/// After an older copy of the tables took the place of others: numbers of changes are given again, for other changes. So each bridge counts
/// as a new one, and nobody takes what comes for what was heard before.
pub fn renew(sql: &impl Sql, now: i64) -> Result<(), SqlError> {
    for (number, _) in bridges(sql)? {
        let mut stored: Option<Stored> = None;
        sql.query("SELECT stored FROM pg_bridges WHERE number = ?", &[int(number)], &mut |row| {
            stored = Some(parsed(&text(row, 0)?)?);
            Ok(ControlFlow::Break(()))
        })?;
        let Some(mut stored) = stored else { continue };
        stored.incarnation = now.max(stored.incarnation.saturating_add(1));
        let stored = json(&stored)?;
        sql.execute("UPDATE pg_bridges SET stored = ? WHERE number = ?", &[Param::Text(&stored), int(number)])?;
    }
    Ok(())
}

impl<S: Sql> Store<S> {
    /// The part of the bridge with this number.
    pub const fn new(sql: S, number: u64) -> Self {
        Self { sql, number }
    }

    /// Writes a bridge that is new.
    pub fn create(&self, stored: &Stored) -> Result<(), SqlError> {
        self.sql.execute(
            "INSERT INTO pg_bridges (number, source_id, stored) VALUES (?, ?, ?)",
            &[self.number(), Param::Text(&stored.source.id), Param::Text(&json(stored)?)],
        )
    }

    /// Opens the bridge; `None` when there is none.
    pub fn open(&self) -> Result<Option<Bridge>, SqlError> {
        let mut stored: Option<Stored> = None;
        self.sql.query("SELECT stored FROM pg_bridges WHERE number = ?", &[self.number()], &mut |row| {
            stored = Some(parsed(&text(row, 0)?)?);
            Ok(ControlFlow::Break(()))
        })?;
        let Some(stored) = stored else { return Ok(None) };
        let mut observers: Vec<Observer> = Vec::new();
        self.sql.query("SELECT stored FROM pg_observers WHERE bridge = ?", &[self.number()], &mut |row| {
            observers.push(parsed(&text(row, 0)?)?);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(Some(Bridge::open(stored, observers)))
    }

    /// Writes all that a decision wants stored, or nothing of it.
    pub fn store(&self, bridge: &Bridge, commit: &Commit) -> Result<(), SqlError> {
        if commit.is_empty() {
            return Ok(());
        }
        self.sql.transaction(&mut || self.write(bridge, commit))
    }

    fn write(&self, bridge: &Bridge, commit: &Commit) -> Result<(), SqlError> {
        if let Some((first, last)) = commit.delete {
            self.delete(first, last)?;
        }
        for change in &commit.changes {
            self.insert(change)?;
        }
        if commit.bridge {
            let stored = json(bridge.stored())?;
            let params = [Param::Text(&stored), self.number()];
            self.sql.execute("UPDATE pg_bridges SET stored = ? WHERE number = ?", &params)?;
        }
        for id in &commit.observers {
            let Some(observer) = bridge.observers().get(id) else { continue };
            let stored = json(observer)?;
            self.sql.execute(
                "INSERT OR REPLACE INTO pg_observers (bridge, id, stored) VALUES (?, ?, ?)",
                &[self.number(), Param::Text(id), Param::Text(&stored)],
            )?;
        }
        for id in &commit.gone {
            let params = [self.number(), Param::Text(id)];
            self.sql.execute("DELETE FROM pg_observers WHERE bridge = ? AND id = ?", &params)?;
        }
        if commit.forgets_rows {
            self.sql.execute("DELETE FROM pg_rows WHERE bridge = ?", &[self.number()])?;
        }
        for (key, row) in &commit.rows {
            self.remember(key, row.as_ref())?;
        }
        if let Some(gap) = commit.gap {
            let of =
                [self.number(), int(gap.gap_seq), int(gap.seq), Param::Text(gap.reason.as_str()), Param::Int(gap.at)];
            self.sql.execute(
                "INSERT OR REPLACE INTO pg_gaps (bridge, gap_seq, seq, reason, at) VALUES (?, ?, ?, ?, ?)",
                &of,
            )?;
            let old = [self.number(), int(gap.gap_seq.saturating_sub(MAX_GAPS))];
            self.sql.execute("DELETE FROM pg_gaps WHERE bridge = ? AND gap_seq <= ?", &old)?;
        }
        Ok(())
    }

    fn remember(&self, key: &str, row: Option<&Row>) -> Result<(), SqlError> {
        let Some(row) = row else {
            let params = [self.number(), Param::Text(key)];
            return self.sql.execute("DELETE FROM pg_rows WHERE bridge = ? AND key = ?", &params);
        };
        let columns = row.to_text();
        self.sql.execute(
            "INSERT OR REPLACE INTO pg_rows (bridge, key, columns) VALUES (?, ?, ?)",
            &[self.number(), Param::Text(key), Param::Text(&columns)],
        )
    }

    fn insert(&self, change: &Change) -> Result<(), SqlError> {
        let tx = change.position.map(|position| position.tx.to_string());
        let flags = i64::from(change.partial) * PARTIAL
            + i64::from(change.truncated) * TRUNCATED
            + i64::from(change.synthetic) * SYNTHETIC;
        self.sql.execute(
            "INSERT OR REPLACE INTO pg_changes (slot, seq, gap_seq, tx, op, key, operation, value, old_value, at, flags) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            &[
                int(self.base() + slot(change.seq)),
                int(change.seq),
                int(change.gap_seq),
                tx.as_deref().map_or(Param::Null, Param::Text),
                change.position.map_or(Param::Null, |position| int(position.op)),
                Param::Text(&change.key),
                Param::Text(change.operation.as_str()),
                Param::Text(&change.value),
                change.old_value.as_deref().map_or(Param::Null, Param::Text),
                Param::Int(change.at),
                Param::Int(flags),
            ],
        )
    }

    /// Deletes rows by number. Their slots are one range, or two when the ring begins anew between them.
    fn delete(&self, first: u64, last: u64) -> Result<(), SqlError> {
        for (from, to) in slots(first, last) {
            self.sql.execute(
                "DELETE FROM pg_changes WHERE slot BETWEEN ? AND ? AND seq BETWEEN ? AND ?",
                &[int(self.base() + from), int(self.base() + to), int(first), int(last)],
            )?;
        }
        Ok(())
    }

    /// Deletes everything of the bridge.
    pub fn remove(&self) -> Result<(), SqlError> {
        self.sql.transaction(&mut || {
            for of in
                ["pg_observers WHERE bridge", "pg_rows WHERE bridge", "pg_gaps WHERE bridge", "pg_bridges WHERE number"]
            {
                self.sql.execute(&format!("DELETE FROM {of} = ?"), &[self.number()])?;
            }
            let range = [int(self.base()), int(self.base() + MAX_ROWS - 1)];
            self.sql.execute("DELETE FROM pg_changes WHERE slot BETWEEN ? AND ?", &range)
        })
    }

    /// Gaps after a number, oldest first; at most [`MAX_GAPS`] are kept.
    pub fn gaps(&self, after: u64) -> Result<Vec<Gap>, SqlError> {
        let mut gaps = Vec::new();
        let of = [self.number(), int(after)];
        let query = "SELECT gap_seq, seq, reason, at FROM pg_gaps WHERE bridge = ? AND seq >= ? ORDER BY gap_seq";
        self.sql.query(query, &of, &mut |row| {
            let reason = text(row, 2)?;
            let known = GapReason::ALL.into_iter().find(|known| known.as_str() == reason);
            let reason = known.ok_or_else(|| SqlError::Other("an unknown reason".into()))?;
            let at = row.int(3)?.unwrap_or_default();
            gaps.push(Gap { gap_seq: number(row, 0)?, seq: number(row, 1)?, reason, at });
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(gaps)
    }

    fn rows(
        &self,
        columns: &str,
        (after, to): (u64, u64),
        limit: usize,
        each: &mut dyn FnMut(&dyn local::Row) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        let mut left = i64::try_from(limit).unwrap_or(i64::MAX);
        for (from, until) in slots(after + 1, to) {
            let range = [int(self.base() + from), int(self.base() + until), int(after), int(to), Param::Int(left)];
            let query = format!(
                "SELECT {columns} FROM pg_changes WHERE slot BETWEEN ? AND ? AND seq > ? AND seq <= ? ORDER BY slot LIMIT ?"
            );
            self.sql.query(&query, &range, &mut |row| {
                left -= 1;
                each(row)?;
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(())
    }

    const fn base(&self) -> u64 {
        self.number * MAX_ROWS
    }

    fn number<'p>(&self) -> Param<'p> {
        int(self.number)
    }
}

impl<S: Sql> Log for Store<S> {
    type Error = SqlError;

    fn changes(&self, after: u64, to: u64, limit: usize) -> Result<Vec<Change>, SqlError> {
        let mut changes = Vec::new();
        let columns = "seq, gap_seq, tx, op, key, operation, value, old_value, at, flags";
        self.rows(columns, (after, to), limit, &mut |row| {
            changes.push(change(row)?);
            Ok(())
        })?;
        Ok(changes)
    }

    fn kept(&self, after: u64, to: u64, limit: usize) -> Result<Vec<Kept>, SqlError> {
        let mut kept = Vec::new();
        // In bytes, not letters.
        let columns = "seq, length(CAST(key AS BLOB)) + length(CAST(value AS BLOB)) + COALESCE(length(CAST(old_value AS BLOB)), 0), at";
        self.rows(columns, (after, to), limit, &mut |row| {
            kept.push(Kept { seq: number(row, 0)?, bytes: number(row, 1)?, at: row.int(2)?.unwrap_or_default() });
            Ok(())
        })?;
        Ok(kept)
    }

    fn row(&self, key: &str) -> Result<Option<Row>, SqlError> {
        let mut found = None;
        let of = [self.number(), Param::Text(key)];
        self.sql.query("SELECT columns FROM pg_rows WHERE bridge = ? AND key = ?", &of, &mut |row| {
            found = Some(remembered(&text(row, 0)?)?);
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }

    fn rows(&self) -> Result<BTreeMap<String, Row>, SqlError> {
        let mut rows = BTreeMap::new();
        self.sql.query("SELECT key, columns FROM pg_rows WHERE bridge = ?", &[self.number()], &mut |row| {
            rows.insert(text(row, 0)?, remembered(&text(row, 1)?)?);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(rows)
    }
}

fn remembered(columns: &str) -> Result<Row, SqlError> {
    Row::from_text(columns).ok_or_else(|| SqlError::Other("a row that nobody wrote".into()))
}

/// The slots of a range of numbers, in the order of the numbers.
fn slots(first: u64, last: u64) -> Vec<(u64, u64)> {
    if first > last {
        return Vec::new();
    }
    if last - first >= MAX_ROWS {
        // More than there can be: the newest of them.
        return slots(last - (MAX_ROWS - 1), last);
    }
    match (slot(first), slot(last)) {
        (from, to) if from <= to => vec![(from, to)],
        (from, to) => vec![(from, MAX_ROWS - 1), (0, to)],
    }
}

fn change(row: &dyn local::Row) -> Result<Change, SqlError> {
    let operation = text(row, 5)?;
    let operation = Operation::ALL.into_iter().find(|known| known.as_str() == operation);
    let flags = row.int(9)?.unwrap_or_default();
    let tx = row.text(2)?.and_then(|tx| tx.parse().ok());
    Ok(Change {
        seq: number(row, 0)?,
        gap_seq: number(row, 1)?,
        key: text(row, 4)?,
        operation: operation.ok_or_else(|| SqlError::Other("an unknown operation".into()))?,
        value: text(row, 6)?.into(),
        old_value: row.text(7)?.map(|old| old.into_owned().into()),
        position: tx.zip(row.int(3)?).map(|(tx, op)| Position { tx, op: op.unsigned_abs() }),
        at: row.int(8)?.unwrap_or_default(),
        partial: flags & PARTIAL != 0,
        truncated: flags & TRUNCATED != 0,
        synthetic: flags & SYNTHETIC != 0,
    })
}

fn int<'p>(number: u64) -> Param<'p> {
    Param::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn number(row: &dyn local::Row, column: usize) -> Result<u64, SqlError> {
    Ok(row.int(column)?.unwrap_or_default().unsigned_abs())
}

fn text(row: &dyn local::Row, column: usize) -> Result<String, SqlError> {
    Ok(row.text(column)?.unwrap_or_default().into_owned())
}

fn json(value: &impl serde::Serialize) -> Result<String, SqlError> {
    serde_json::to_string(value).map_err(|error| SqlError::Other(error.to_string()))
}

fn parsed<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, SqlError> {
    serde_json::from_str(text).map_err(|error| SqlError::Other(error.to_string()))
}
