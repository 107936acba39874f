//! Connections (docs/spec/session-mailbox.md 4.3, 4.4): how a file is opened by its writer, and how by the other side.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use crate::{Error, schema};

/// How long a writer waits for a lock, in milliseconds.
const WRITER_WAIT_MS: u64 = 5_000;
/// How long a reader does.
const READER_WAIT_MS: u64 = 1_000;
/// The longest value that is read of the other side's file, in bytes.
const MAX_VALUE_BYTES: i32 = 8 << 20;
/// The longest time that a query over the other side's file takes.
const MAX_QUERY: Duration = Duration::from_secs(10);
/// After so many steps of a query its time is looked at.
const STEPS: i32 = 10_000;

/// Which of the two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The host writes it.
    In,
    /// The agent's side writes it.
    Out,
}

/// Opens a file of one's own. With `make`, one that is absent is made with its tables.
pub(crate) fn writer(path: &Path, side: Side, make: Option<&str>) -> Result<Connection, Error> {
    let mut flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NOFOLLOW | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if make.is_some() {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_millis(WRITER_WAIT_MS))?;
    connection.execute_batch(
        // EXTRA: the folder reaches the disk too when the journal is deleted, so that a power cut takes no commit back that
        // was told of.
        "PRAGMA trusted_schema = OFF; PRAGMA journal_mode = DELETE; PRAGMA synchronous = EXTRA; PRAGMA foreign_keys = ON; \
         PRAGMA temp_store = MEMORY;",
    )?;
    if side == Side::In {
        // Passwords pass through this file, sealed; they do not stay in its free pages.
        connection.execute_batch("PRAGMA secure_delete = ON;")?;
    }
    if let Some(mailbox) = make {
        prepare(&mut connection, side, mailbox)?;
    }
    known(&connection)?;
    Ok(connection)
}

fn prepare(connection: &mut Connection, side: Side, mailbox: &str) -> Result<(), Error> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version != 0 {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    // Somebody may have done it since.
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == 0 {
        let tables = if side == Side::In { schema::INBOUND } else { schema::OUTBOUND };
        for statement in tables {
            transaction.execute_batch(statement)?;
        }
        transaction.execute("INSERT INTO meta(id, mailbox_id) VALUES (1, ?1)", [mailbox])?;
        transaction.pragma_update(None, "user_version", schema::VERSION)?;
    }
    Ok(transaction.commit()?)
}

/// Opens the other side's file for reading: freshly for each look, unless it is known that a reader that stays sees everything.
pub(crate) fn reader(path: &Path, side: Side) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NOFOLLOW | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_millis(READER_WAIT_MS))?;
    if side == Side::Out {
        // First of all: a file that claims to have a write-ahead log is an error then, instead of making files beside it.
        connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE;")?;
    }
    connection.execute_batch(
        "PRAGMA trusted_schema = OFF; PRAGMA query_only = ON; PRAGMA mmap_size = 0; PRAGMA cell_size_check = ON; \
         PRAGMA temp_store = MEMORY;",
    )?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)?;
    begin_look(&mut connection)?;
    known(&connection)?;
    if side == Side::Out {
        ours(&connection)?;
    }
    Ok(connection)
}

/// Gives the queries that follow their time: to be called again for a connection that was used before.
pub(crate) fn begin_look(connection: &mut Connection) -> Result<(), Error> {
    let deadline = Instant::now() + MAX_QUERY;
    Ok(connection.progress_handler(STEPS, Some(move || Instant::now() > deadline))?)
}

fn known(connection: &Connection) -> Result<(), Error> {
    match connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))? {
        found if found > schema::VERSION => Err(Error::Newer(found)),
        // Made, and not filled yet.
        found if found < schema::VERSION => Err(Error::CannotOpen),
        _ => Ok(()),
    }
}

fn ours(connection: &Connection) -> Result<(), Error> {
    let mut statement = connection.prepare(schema::OWN_TABLES)?;
    let mut rows = statement.query([])?;
    let mut expected = schema::OUTBOUND.iter();
    // Bounded by the list of tables: one row that differs ends it.
    while let Some(row) = rows.next()? {
        let found = row.get_ref(0)?.as_str().map_err(|_| Error::Hostile("tables of another form"))?;
        if expected.next().is_none_or(|sql| *sql != found) {
            return Err(Error::Hostile("tables of another form"));
        }
    }
    if expected.next().is_some() { Err(Error::Hostile("tables of another form")) } else { Ok(()) }
}

/// Which mailbox a file belongs to.
pub(crate) fn mailbox_id(connection: &Connection) -> Result<String, Error> {
    let found = connection.query_row("SELECT mailbox_id FROM meta WHERE id = 1", [], |row| row.get(0)).optional()?;
    found.ok_or(Error::Mixed)
}
