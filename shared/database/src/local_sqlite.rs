//! [`Sql`] over rusqlite: tests, simulation, benches and the native server.

use std::borrow::Cow;
use std::cell::Cell;
use std::ops::ControlFlow;
use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use crate::Param;
use crate::local::{OnRow, Row, Sql, SqlError};

/// How far a commit goes before it returns.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Synchronous {
    /// Survives a crash of the process; a power cut may lose the last commits.
    Normal,
    /// Survives a power cut.
    Full,
}

/// Where what a transaction changes is kept until it is whole.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Journal {
    /// In a log beside the file, through memory that all processes share: on one machine alone.
    WriteAhead,
    /// What is overwritten is kept in a file, which the commit removes.
    Rollback,
}

/// Pages a connection may keep, in KiB: SQLite's own 2 MiB do not hold the index nodes that a batch rewrites, which would be
/// read again with each.
const PAGE_CACHE_KIB: i64 = 16 << 10;

/// A database file, or one in memory, behind [`Sql`].
///
/// A write-ahead log, unless something else is asked for; every statement is prepared once and kept.
#[derive(Debug)]
pub struct Rusqlite {
    connection: Connection,
    in_transaction: Cell<bool>,
    damaged: Cell<bool>,
}

impl Rusqlite {
    /// Opens or creates a file.
    ///
    /// # Errors
    /// What `SQLite` reports: no such folder, no permission, not a database.
    pub fn open(path: &Path, synchronous: Synchronous) -> Result<Self, SqlError> {
        Self::open_with(path, Journal::WriteAhead, synchronous)
    }

    /// The same with another journal, which the file has from then on.
    ///
    /// # Errors
    /// What `SQLite` reports; also when somebody else has the file open in a way that keeps the journal.
    pub fn open_with(path: &Path, journal: Journal, synchronous: Synchronous) -> Result<Self, SqlError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Self::new(Connection::open_with_flags(path, flags).map_err(error)?, journal, synchronous)
    }

    /// Opens a file to look at it, and fixes what is seen: the state of this moment, whatever others write afterwards.
    ///
    /// # Errors
    /// What `SQLite` reports: no such file, not a database.
    pub fn snapshot(path: &Path) -> Result<Self, SqlError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(error)?;
        connection.pragma_update(None, "cache_size", -PAGE_CACHE_KIB).map_err(error)?;
        connection.set_prepared_statement_cache_capacity(128);
        // A transaction begins with its first statement.
        connection.execute_batch("BEGIN; SELECT count(*) FROM sqlite_master").map_err(error)?;
        Ok(Self { connection, in_transaction: Cell::new(true), damaged: Cell::new(false) })
    }

    /// A new empty database in memory.
    ///
    /// # Errors
    /// What `SQLite` reports: out of memory.
    pub fn in_memory() -> Result<Self, SqlError> {
        Self::new(Connection::open_in_memory().map_err(error)?, Journal::WriteAhead, Synchronous::Normal)
    }

    fn new(connection: Connection, journal: Journal, synchronous: Synchronous) -> Result<Self, SqlError> {
        let mode = match journal {
            Journal::WriteAhead => "WAL",
            Journal::Rollback => "DELETE",
        };
        let level = match synchronous {
            Synchronous::Normal => "NORMAL",
            Synchronous::Full => "FULL",
        };
        connection.pragma_update(None, "journal_mode", mode).map_err(error)?;
        connection.pragma_update(None, "synchronous", level).map_err(error)?;
        // Statements over many rows keep what they overwrite aside until they end: in memory, not in a file.
        connection.pragma_update(None, "temp_store", "MEMORY").map_err(error)?;
        connection.pragma_update(None, "cache_size", -PAGE_CACHE_KIB).map_err(error)?;
        connection.set_prepared_statement_cache_capacity(128);
        Ok(Self { connection, in_transaction: Cell::new(false), damaged: Cell::new(false) })
    }

    /// The connection itself, for what is not a graph's business: backups, pragmas, checks in tests.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The same, for what changes it: hooks.
    pub fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Whether a statement has found that the file is no database, or not a whole one.
    pub fn is_damaged(&self) -> bool {
        self.damaged.get()
    }

    fn simple(&self, sql: &str) -> Result<(), SqlError> {
        let done = self.connection.prepare_cached(sql).and_then(|mut statement| statement.execute([]));
        done.map(drop).map_err(|error| self.noted(error))
    }

    fn noted(&self, failure: rusqlite::Error) -> SqlError {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        if matches!(failure.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase)) {
            self.damaged.set(true);
        }
        error(failure)
    }
}

impl Sql for Rusqlite {
    fn query(&self, sql: &str, params: &[Param<'_>], row: &mut OnRow<'_>) -> Result<(), SqlError> {
        let noted = |failure| self.noted(failure);
        let mut statement = self.connection.prepare_cached(sql).map_err(noted)?;
        let mut rows = statement.query(rusqlite::params_from_iter(params)).map_err(noted)?;
        while let Some(next) = rows.next().map_err(noted)? {
            if row(&ResultRow(next))?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<(), SqlError> {
        self.query(sql, params, &mut |_| Ok(ControlFlow::Break(())))
    }

    fn transaction(&self, body: &mut dyn FnMut() -> Result<(), SqlError>) -> Result<(), SqlError> {
        if self.in_transaction.replace(true) {
            return Err(SqlError::Other("a transaction inside a transaction".into()));
        }
        let outcome = self.simple("BEGIN IMMEDIATE").and_then(|()| {
            body().and_then(|()| self.simple("COMMIT")).inspect_err(|_| {
                // The first error is the one worth reporting; a rollback fails only where SQLite already did it.
                let _ = self.simple("ROLLBACK");
            })
        });
        self.in_transaction.set(false);
        outcome
    }

    fn delete_all(&self) -> Result<(), SqlError> {
        let mut tables = Vec::new();
        self.query(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
            &[],
            &mut |row| {
                tables.extend(row.text(0)?.map(Cow::into_owned));
                Ok(ControlFlow::Continue(()))
            },
        )?;
        self.transaction(&mut || {
            tables.iter().try_for_each(|table| {
                let quoted = table.replace('"', "\"\"");
                self.connection.execute_batch(&format!("DROP TABLE \"{quoted}\"")).map_err(|error| self.noted(error))
            })
        })
    }

    fn was_opened(&self) {
        self.connection.flush_prepared_statement_cache();
        // Pages are read again when they are needed; that they could not be given back is no failure.
        let _ = self.connection.execute_batch("PRAGMA shrink_memory");
    }
}

struct ResultRow<'r, 's>(&'r rusqlite::Row<'s>);

impl Row for ResultRow<'_, '_> {
    fn int(&self, column: usize) -> Result<Option<i64>, SqlError> {
        match self.0.get_ref(column).map_err(error)? {
            ValueRef::Null => Ok(None),
            ValueRef::Integer(number) => Ok(Some(number)),
            other => Err(unexpected(column, &other)),
        }
    }

    fn text(&self, column: usize) -> Result<Option<Cow<'_, str>>, SqlError> {
        match self.0.get_ref(column).map_err(error)? {
            ValueRef::Null => Ok(None),
            ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => Ok(Some(Cow::Borrowed(text))),
                Err(_) => Err(SqlError::Other(format!("column {column} is not UTF-8"))),
            },
            other => Err(unexpected(column, &other)),
        }
    }
}

fn unexpected(column: usize, value: &ValueRef<'_>) -> SqlError {
    SqlError::Other(format!("column {column} is of type {}", value.data_type()))
}

#[expect(clippy::needless_pass_by_value, reason = "the shape map_err wants")]
fn error(error: rusqlite::Error) -> SqlError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::TooBig) => SqlError::TooBig(error.to_string()),
        _ => SqlError::from_message(error.to_string()),
    }
}
