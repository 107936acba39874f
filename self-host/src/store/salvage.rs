//! What can be read of a damaged database file, in a new one. Tables are copied as they are, whatever they hold.

use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params_from_iter};

use super::quarantine::{Quarantine, beside};

/// What was saved.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Saved {
    /// Rows.
    pub(crate) rows: u64,
    /// Tables of which something could not be read.
    pub(crate) lost: Vec<String>,
}

/// What SQLite says of a database file.
pub(crate) fn look(path: &Path) -> Result<(), String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags);
    let found = connection.and_then(|it| it.query_row("PRAGMA integrity_check(1)", (), |row| row.get::<_, String>(0)));
    match found {
        Ok(found) if found == "ok" => Ok(()),
        Ok(found) => Err(found),
        Err(error) => Err(error.to_string()),
    }
}

/// Makes a new file of what can be read of a damaged one. With a quarantine it takes the damaged one's place, which goes there.
pub(crate) fn renew(path: &Path, quarantine: Option<&Quarantine>) -> Result<Saved, String> {
    let draft = beside(path, ".salvaged");
    let _ = std::fs::remove_file(&draft);
    let saved = salvage(path, &draft).map_err(|error| error.to_string());
    let (saved, quarantine) = match (saved, quarantine) {
        (Ok(saved), Some(quarantine)) => (saved, quarantine),
        (outcome, _) => {
            let _ = std::fs::remove_file(&draft);
            return outcome;
        }
    };
    let failed = |error: std::io::Error| error.to_string();
    std::fs::File::open(&draft).and_then(|file| file.sync_all()).map_err(failed)?;
    quarantine.copy(path).map_err(failed)?;
    for end in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(beside(path, end));
    }
    std::fs::rename(&draft, path).map_err(failed)?;
    Ok(saved)
}

/// Copies what can be read. Each table is read forwards to the first row that cannot be read, and backwards to the last one.
fn salvage(from: &Path, to: &Path) -> rusqlite::Result<Saved> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let damaged = Connection::open_with_flags(from, flags)?;
    let fresh = Connection::open(to)?;
    let mut schema = damaged.prepare(
        "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY type = 'table' DESC",
    )?;
    let parts = schema.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let parts: Vec<(String, String, String)> = parts.collect::<Result<_, _>>()?;
    let mut saved = Saved::default();
    let transaction = fresh.unchecked_transaction()?;
    for (kind, name, sql) in &parts {
        // Indexes come last, over what was saved; one that this cannot bear is made by the next start.
        if transaction.execute_batch(sql).is_err() || kind != "table" {
            continue;
        }
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        let forwards = copy(&damaged, &transaction, &quoted, "ASC", &mut saved)?;
        if !forwards {
            saved.lost.push(name.clone());
            copy(&damaged, &transaction, &quoted, "DESC", &mut saved)?;
        }
    }
    transaction.commit()?;
    fresh.pragma_update(None, "journal_mode", "WAL")?;
    Ok(saved)
}

/// Copies rows in one direction. False: not all could be read.
fn copy(from: &Connection, to: &Connection, table: &str, order: &str, saved: &mut Saved) -> rusqlite::Result<bool> {
    let Ok(mut statement) = from.prepare(&format!("SELECT * FROM {table} ORDER BY rowid {order}")) else {
        return Ok(false);
    };
    let columns = statement.column_count();
    let marks = vec!["?"; columns].join(", ");
    let mut insert = to.prepare(&format!("INSERT OR IGNORE INTO {table} VALUES ({marks})"))?;
    let Ok(mut rows) = statement.query(()) else { return Ok(false) };
    loop {
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(true),
            Err(_) => return Ok(false),
        };
        let Ok(values) = (0..columns).map(|column| row.get(column)).collect::<Result<Vec<Value>, _>>() else {
            return Ok(false);
        };
        saved.rows += insert.execute(params_from_iter(values))? as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_whole_is_saved_and_what_is_lost_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a"), folder.path().join("b"));
        let connection = Connection::open(&from).unwrap();
        connection
            .execute_batch("create table t (id integer primary key, text text); create index i on t (text)")
            .unwrap();
        connection.execute_batch("begin").unwrap();
        for number in 0..2_000 {
            connection.execute("insert into t values (?, ?)", (number, "x".repeat(100))).unwrap();
        }
        connection.execute_batch("commit").unwrap();
        drop(connection);
        let mut bytes = std::fs::read(&from).unwrap();
        let middle = bytes.len() / 3 / 4096 * 4096;
        bytes[middle..middle + 4096].fill(0xFF);
        std::fs::write(&from, bytes).unwrap();
        let saved = salvage(&from, &to).unwrap();
        assert_eq!(saved.lost, ["t"]);
        let fresh = Connection::open(&to).unwrap();
        let check: String = fresh.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
        let (count, last): (i64, i64) =
            fresh.query_row("SELECT count(*), max(id) FROM t", (), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!((check.as_str(), count, last), ("ok", saved.rows.try_into().unwrap(), 1_999));
        assert!((1_000..2_000).contains(&count), "{count}");
    }
}
