//! Table definitions (sync.md 9.1).

use std::ops::ControlFlow;

use super::discard::{self, Table};
use super::upload_mark::NO_ADDR;
use super::{kvs, meta};
use database::Param;
use database::local::{Sql, SqlError};

/// The three tables of the reference, and six of our own: transactions whose nodes are not stored yet (datascript.md 13.5);
/// rows saved for running exports (sync.md 10.3) with the number
/// of the commit that overwrote them, and rows of an upload that wait for its end, both empty while nothing runs; what is left
/// of tables that were replaced; removals of users, and the mark of a deleted graph.
const TABLES: [&str; 9] = [
    Table::Kvs.definition(),
    Table::Log.definition(),
    "CREATE TABLE IF NOT EXISTS sync_meta (key TEXT PRIMARY KEY, value TEXT)",
    "CREATE TABLE IF NOT EXISTS journal (slot INTEGER PRIMARY KEY, seq INTEGER NOT NULL, t INTEGER NOT NULL, checksum TEXT, \
     txs TEXT NOT NULL)",
    Table::SavedRows.definition(),
    Table::UploadRows.definition(),
    discard::DEFINITION,
    "CREATE TABLE IF NOT EXISTS revocations (user_id TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS tombstone (id INTEGER PRIMARY KEY, deleted_at INTEGER NOT NULL)",
];

const PROBES: [&str; 3] =
    ["SELECT 1 FROM kvs LIMIT 1", "SELECT 1 FROM tx_log LIMIT 1", "SELECT 1 FROM sync_meta LIMIT 1"];

/// Creates what is missing and drops what an export or an upload left behind when the process ended.
///
/// Where a definition is refused, the tables may still be there and usable: only a failing probe is an error
/// (sync.md 5, ensure-schema).
pub(crate) fn ensure(sql: &impl Sql) -> Result<(), SqlError> {
    if let Err(refused) = define(sql)
        && PROBES.iter().any(|probe| sql.execute(probe, &[]).is_err())
    {
        return Err(refused);
    }
    Ok(())
}

fn define(sql: &impl Sql) -> Result<(), SqlError> {
    for table in TABLES {
        sql.execute(table, &[])?;
    }
    // Graphs of older servers lack the column.
    if sql.execute("SELECT outliner_op FROM tx_log LIMIT 0", &[]).is_err() {
        sql.execute("ALTER TABLE tx_log ADD COLUMN outliner_op TEXT", &[])?;
    }
    // Saved rows as an earlier version kept them.
    sql.execute("DROP TABLE IF EXISTS export_rows", &[])?;
    if any(sql, "SELECT 1 FROM saved_rows LIMIT 1", &[])? {
        kvs::drop_saved(sql)?;
    }
    // Parts of an upload that have ended stay until it goes on or is given up.
    let meta = meta::load(sql)?;
    let kept = meta.upload.filter(|_| meta.uploading).map_or(NO_ADDR, |upload| upload.last);
    if any(sql, "SELECT 1 FROM upload_rows WHERE addr > ? LIMIT 1", &[Param::Int(kept)])? {
        kvs::drop_staged_after(sql, kept)?;
    }
    Ok(())
}

fn any(sql: &impl Sql, probe: &str, params: &[Param<'_>]) -> Result<bool, SqlError> {
    let mut found = false;
    sql.query(probe, params, &mut |_| {
        found = true;
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}
