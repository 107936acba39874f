//! Rows that nothing refers to any more, however many there are (sync.md D-40).
//!
//! A table that is replaced is renamed, which costs the same for a small and for a large one, and its rows are deleted in
//! small steps afterwards. What is left of it is noted in a table of its own, so that a crash between two steps loses no
//! track of it.

use std::ops::ControlFlow;

use database::Param;
use database::local::{Sql, SqlError};

/// A table whose rows can be discarded as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    Kvs,
    Log,
    SavedRows,
    UploadRows,
}

impl Table {
    const fn name(self) -> &'static str {
        match self {
            Self::Kvs => "kvs",
            Self::Log => "tx_log",
            Self::SavedRows => "saved_rows",
            Self::UploadRows => "upload_rows",
        }
    }

    /// The definition, which the schema has as well.
    pub(super) const fn definition(self) -> &'static str {
        match self {
            Self::Kvs => "CREATE TABLE IF NOT EXISTS kvs (addr INTEGER PRIMARY KEY, content TEXT, addresses JSON)",
            Self::Log => {
                "CREATE TABLE IF NOT EXISTS tx_log (t INTEGER PRIMARY KEY, tx TEXT NOT NULL, created_at INTEGER, \
                 outliner_op TEXT)"
            }
            Self::SavedRows => {
                "CREATE TABLE IF NOT EXISTS saved_rows (addr INTEGER, overwritten INTEGER, content TEXT, addresses JSON, \
                 PRIMARY KEY (addr, overwritten)) WITHOUT ROWID"
            }
            Self::UploadRows => {
                "CREATE TABLE IF NOT EXISTS upload_rows (addr INTEGER PRIMARY KEY, content TEXT, addresses JSON)"
            }
        }
    }

    /// The column by which rows are ordered, and the one that is long.
    const fn columns(self) -> (&'static str, &'static str) {
        match self {
            Self::Log => ("t", "tx"),
            Self::Kvs | Self::SavedRows | Self::UploadRows => ("addr", "content"),
        }
    }
}

/// What is left of tables that were discarded.
pub(super) const DEFINITION: &str =
    "CREATE TABLE IF NOT EXISTS discarded (id INTEGER PRIMARY KEY, key TEXT NOT NULL, content TEXT NOT NULL)";

/// Rows that one step deletes at most, and bytes after which it ends.
const STEP_ROWS: usize = 500;
const STEP_BYTES: i64 = 1 << 20;

/// Puts an empty table in the place of one. To be called within a transaction.
pub(crate) fn discard(sql: &impl Sql, table: Table) -> Result<(), SqlError> {
    if is_empty(sql, table.name())? {
        return Ok(());
    }
    set_aside(sql, table)?;
    sql.execute(table.definition(), &[])
}

/// The rows of an upload take the place of the graph's, whose log begins anew. To be called within a transaction.
pub(crate) fn take_over(sql: &impl Sql) -> Result<(), SqlError> {
    set_aside(sql, Table::Kvs)?;
    sql.execute("ALTER TABLE upload_rows RENAME TO kvs", &[])?;
    sql.execute(Table::UploadRows.definition(), &[])?;
    discard(sql, Table::Log)?;
    discard(sql, Table::SavedRows)?;
    // Both are small: some values, and as many rows as a journal may have.
    sql.execute("DELETE FROM sync_meta", &[])?;
    sql.execute("DELETE FROM journal", &[])
}

/// Renames a table to where its rows are deleted later.
fn set_aside(sql: &impl Sql, table: Table) -> Result<(), SqlError> {
    let id = last(sql)?.map_or(1, |last| last.id + 1);
    let (key, content) = table.columns();
    sql.execute(&format!("ALTER TABLE {} RENAME TO {}", table.name(), name(id)), &[])?;
    sql.execute(
        "INSERT INTO discarded (id, key, content) VALUES (?, ?, ?)",
        &[Param::Int(id), Param::Text(key), Param::Text(content)],
    )
}

/// Whether rows wait to be deleted.
pub(crate) fn any(sql: &impl Sql) -> Result<bool, SqlError> {
    Ok(last(sql)?.is_some())
}

/// Deletes about a megabyte of what was discarded. False: nothing is left, or only a table without rows that cannot be dropped
/// yet. A download that was read page by page leaves statements that end when they are collected.
pub(crate) fn sweep(sql: &impl Sql) -> Result<bool, SqlError> {
    let Some(Discarded { id, key, content }) = last(sql)? else { return Ok(false) };
    let name = name(id);
    let (mut until, mut bytes) = (None, 0_i64);
    let some =
        format!("SELECT {key}, coalesce(octet_length({content}), 0) FROM {name} ORDER BY {key} LIMIT {STEP_ROWS}");
    sql.query(&some, &[], &mut |row| {
        until = row.int(0)?;
        bytes = bytes.saturating_add(row.int(1)?.unwrap_or_default());
        Ok(if bytes < STEP_BYTES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    if let Some(until) = until {
        sql.execute(&format!("DELETE FROM {name} WHERE {key} <= ?"), &[Param::Int(until)])?;
        return Ok(true);
    }
    let dropped = sql.transaction(&mut || {
        sql.execute(&format!("DROP TABLE {name}"), &[])?;
        sql.execute("DELETE FROM discarded WHERE id = ?", &[Param::Int(id)])
    });
    match dropped {
        Ok(()) => Ok(true),
        Err(SqlError::Locked(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

struct Discarded {
    id: i64,
    /// Names of columns, as [`Table::columns`] gave them.
    key: String,
    content: String,
}

fn last(sql: &impl Sql) -> Result<Option<Discarded>, SqlError> {
    let mut found = None;
    sql.query("SELECT id, key, content FROM discarded ORDER BY id DESC LIMIT 1", &[], &mut |row| {
        let text = |column| Ok::<_, SqlError>(row.text(column)?.unwrap_or_default().into_owned());
        found = Some(Discarded { id: row.int(0)?.unwrap_or_default(), key: text(1)?, content: text(2)? });
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}

fn name(id: i64) -> String {
    format!("discarded_{id}")
}

fn is_empty(sql: &impl Sql, table: &str) -> Result<bool, SqlError> {
    let mut empty = true;
    sql.query(&format!("SELECT 1 FROM {table} LIMIT 1"), &[], &mut |_| {
        empty = false;
        Ok(ControlFlow::Break(()))
    })?;
    Ok(empty)
}
