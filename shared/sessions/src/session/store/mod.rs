//! What a session keeps, in its own database (agents.md 3.1). Every change that belongs together is one transaction.

mod feedback;
mod idempotency;
mod log;
mod outbox;
mod recent;
mod rows;
mod watches;

pub use feedback::{Feedback, Said};
pub use idempotency::{Begun, Idempotency, LEASE_MS};
pub use log::{EventLog, Limits, Stored};
pub use outbox::{Delivery, DeliveryState, NewDelivery, Outbox, Outcome};
pub use recent::recent_events;
pub use rows::{Loaded, Order, Rows, StoredPiece};
pub use watches::{Observation, Watches};

use std::ops::ControlFlow;

use database::Param;
use database::local::{Sql, SqlError};

/// The tables. The body of an event is its whole JSON text, so that replaying the log copies texts; `bytes` is its length.
const TABLES: [&str; 12] = [
    "CREATE TABLE IF NOT EXISTS session (k TEXT PRIMARY KEY, v TEXT) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS events (cursor INTEGER PRIMARY KEY, type TEXT, ts INTEGER, bytes INTEGER, body TEXT)",
    "CREATE TABLE IF NOT EXISTS orders (seq INTEGER PRIMARY KEY, message TEXT, kind TEXT, by_user TEXT, ts INTEGER)",
    "CREATE TABLE IF NOT EXISTS approvals (request_id TEXT PRIMARY KEY, closed INTEGER, data TEXT) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS branches (name TEXT PRIMARY KEY, sha TEXT, created_at INTEGER) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS idempotency (key TEXT PRIMARY KEY, request_hash TEXT, status INTEGER, body TEXT, ts INTEGER, \
     lease_until INTEGER) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS texts (slot INTEGER, at INTEGER, text TEXT, PRIMARY KEY (slot, at))",
    "CREATE TABLE IF NOT EXISTS outbox (event_id TEXT PRIMARY KEY, ts INTEGER, body TEXT) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS deliveries (delivery_id TEXT PRIMARY KEY, webhook_id TEXT, type TEXT, body TEXT, state TEXT, \
     attempts INTEGER, last_status INTEGER, at INTEGER, created_at INTEGER, told INTEGER) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS deliveries_at ON deliveries (at)",
    "CREATE TABLE IF NOT EXISTS feedback (seq INTEGER PRIMARY KEY, delivery_id TEXT UNIQUE, number INTEGER, \
     by_user TEXT, text TEXT, at INTEGER, waits INTEGER)",
    NEWEST,
];

/// What was added last: where it is missing, the session was made by an earlier version.
const NEWEST: &str =
    "CREATE TABLE IF NOT EXISTS watches (id TEXT PRIMARY KEY, observation TEXT, waiting TEXT) WITHOUT ROWID";

/// Whether the database holds a session. Looking does not write: whoever guesses ids leaves nothing behind.
fn exists(sql: &impl Sql) -> Result<bool, SqlError> {
    has(sql, "session")
}

fn has(sql: &impl Sql, name: &str) -> Result<bool, SqlError> {
    Ok(text(sql, "SELECT name FROM sqlite_master WHERE name = ?", &[Param::Text(name)])?.is_some())
}

/// Makes what a session of an earlier version does not have.
fn complete(sql: &impl Sql) -> Result<(), SqlError> {
    if has(sql, "watches")? { Ok(()) } else { create(sql) }
}

fn create(sql: &impl Sql) -> Result<(), SqlError> {
    TABLES.iter().try_for_each(|table| sql.execute(table, &[]))
}

/// The first column of the first row, as text.
fn text(sql: &impl Sql, statement: &str, params: &[Param<'_>]) -> Result<Option<String>, SqlError> {
    let mut found = None;
    sql.query(statement, params, &mut |row| {
        found = row.text(0)?.map(std::borrow::Cow::into_owned);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}

/// Columns of numbers of the first row.
fn numbers<const N: usize>(
    sql: &impl Sql,
    statement: &str,
    params: &[Param<'_>],
) -> Result<Option<[Option<i64>; N]>, SqlError> {
    let mut found = None;
    sql.query(statement, params, &mut |row| {
        let mut columns = [None; N];
        for (column, value) in columns.iter_mut().enumerate() {
            *value = row.int(column)?;
        }
        found = Some(columns);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}

fn unreadable(error: impl std::fmt::Display) -> SqlError {
    SqlError::Other(format!("unreadable row: {error}"))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: Option<i64>) -> u64 {
    number.and_then(|number| u64::try_from(number).ok()).unwrap_or_default()
}
