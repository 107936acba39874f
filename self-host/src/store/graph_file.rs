//! The database file of a graph.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use database::local::SqlError;
use database::local_sqlite::{Journal, Rusqlite, Synchronous};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::DataDirError;
use super::data_dir::{make_folder, refuse_link, sync_folder};
use crate::daemon::Hold;
use crate::graphs::Commits;

/// How long a statement waits for another process that has the file, as SQLite's driver has it.
const BUSY: Duration = Duration::from_secs(5);

/// Why a graph cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// Its folder.
    #[error(transparent)]
    Folder(#[from] DataDirError),
    /// Its file.
    #[error("{path}: {cause}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// What SQLite says.
    #[error("{path}: {cause}")]
    Sql {
        /// Which file.
        path: PathBuf,
        /// What it says.
        cause: SqlError,
    },
}

/// An open database of a graph.
pub(crate) struct Opened {
    /// The database. Its commits do not wait for the disk where they go into a log.
    pub(crate) sql: Rusqlite,
    /// How many there were.
    pub(crate) commits: Commits,
    /// The file.
    pub(crate) path: PathBuf,
    /// It was made just now.
    pub(crate) is_new: bool,
}

/// The database file in a graph's folder.
pub(crate) fn graph_file(folder: &Path) -> PathBuf {
    folder.join("db.sqlite")
}

/// Writes all of a log into the rows, puts both on the disk and empties the log. After a sync that failed nobody knows what of
/// the log the disk has, however well another one goes; what was written anew is there.
pub(crate) fn empty_log(sql: &Rusqlite) -> Result<(), SqlError> {
    let connection = sql.connection();
    let text = |error: rusqlite::Error| SqlError::from_message(error.to_string());
    // Others of the thread are not kept waiting for whoever reads the file.
    connection.busy_timeout(Duration::ZERO).map_err(text)?;
    let emptied = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get::<_, i64>(0));
    connection.busy_timeout(BUSY).map_err(text)?;
    match emptied {
        Ok(0) => Ok(()),
        Ok(_) => Err(SqlError::from_message("the write-ahead log is in use")),
        Err(error) => Err(text(error)),
    }
}

/// Whether a file is no whole database, as another connection sees it. A disk that cannot be read makes SQLite speak of damage, too:
/// what cannot be read now is not known to be damaged.
pub(crate) fn is_damaged(file: &Path) -> bool {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let found = Connection::open_with_flags(file, flags)
        .and_then(|connection| connection.query_row("PRAGMA quick_check(1)", (), |row| row.get::<_, String>(0)));
    match found {
        Ok(found) => found != "ok" && !found.contains("unable to get the page"),
        Err(error) => matches!(
            error.sqlite_error_code(),
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
        ),
    }
}

/// Refuses or allows statements that write.
pub(crate) fn read_only(sql: &Rusqlite, only: bool) -> Result<(), SqlError> {
    sql.connection().pragma_update(None, "query_only", only).map_err(|error| SqlError::from_message(error.to_string()))
}

/// The log stays as it is when the database is closed, and nothing of it is written into the rows.
pub(crate) fn leave_log(sql: &Rusqlite) {
    // It has no way to fail for a database that is open.
    let _ = sql.connection().set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
}

/// Opens the database in a graph's folder, or makes both. It is written for as long as the lock is held.
pub(crate) fn open_graph(folder: &Path, hold: &Arc<Hold>) -> Result<Opened, OpenError> {
    let path = graph_file(folder);
    refuse_link(folder)?;
    refuse_link(&path)?;
    let is_new = !path.exists();
    if is_new {
        create(folder, &path).map_err(|cause| OpenError::File { path: path.clone(), cause })?;
    }
    let failed = |cause| OpenError::Sql { path: path.clone(), cause };
    // With a log they are synced together, by whoever counts them.
    let synchronous = match hold.journal() {
        Journal::WriteAhead => Synchronous::Normal,
        Journal::Rollback => Synchronous::Full,
    };
    let mut sql = Rusqlite::open_with(&path, hold.journal(), synchronous).map_err(failed)?;
    let commits = Commits::new(Arc::clone(hold));
    let counted = commits.clone();
    // True would make of the commit a rollback: after a sync that failed nothing is added to what may be lost, and without
    // the lock nothing is written at all.
    let hook = sql.connection_mut().commit_hook(Some(move || counted.add()));
    hook.map_err(|error| failed(SqlError::from_message(error.to_string())))?;
    Ok(Opened { sql, commits, path, is_new })
}

/// An empty file, whose name is on the disk before anything is written into it. SQLite gives its other files the same mode.
fn create(folder: &Path, path: &Path) -> std::io::Result<()> {
    make_folder(folder)?;
    File::options().create(true).append(true).mode(0o600).open(path)?.sync_all()?;
    sync_folder(folder)?;
    folder.parent().map_or(Ok(()), sync_folder)
}

/// Removes the folder of a graph that is closed.
pub(crate) fn remove_graph(folder: &Path) -> std::io::Result<()> {
    std::fs::remove_dir_all(folder)?;
    folder.parent().map_or(Ok(()), sync_folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(sql: &Rusqlite) -> i64 {
        sql.connection().query_row("select count(*) from rows", (), |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_log_in_doubt_is_left_and_emptied_by_who_opens_it_again() {
        let folder = tempfile::tempdir().unwrap();
        let hold = Hold::of_test(folder.path());
        let graph = folder.path().join("graphs/g");
        let log = graph.join("db.sqlite-wal");
        let first = open_graph(&graph, &hold).unwrap();
        first.sql.connection().execute_batch("create table rows (id integer); insert into rows values (1)").unwrap();
        leave_log(&first.sql);
        drop(first);
        assert!(log.metadata().unwrap().len() > 0, "closing has left it");
        let again = open_graph(&graph, &hold).unwrap();
        empty_log(&again.sql).unwrap();
        assert_eq!((count(&again.sql), log.metadata().unwrap().len()), (1, 0));
        read_only(&again.sql, true).unwrap();
        let refused = again.sql.connection().execute_batch("insert into rows values (2)").unwrap_err().to_string();
        assert_eq!(database::Trouble::of(&refused), Some(database::Trouble::ReadOnly), "{refused}");
        assert_eq!(count(&again.sql), 1, "it can be read");
        read_only(&again.sql, false).unwrap();
        again.sql.connection().execute_batch("insert into rows values (2)").unwrap();
        // Whoever reads an old state keeps the log from being emptied.
        let reader = rusqlite::Connection::open(graph_file(&graph)).unwrap();
        reader.execute_batch("begin; select count(*) from rows").unwrap();
        again.sql.connection().execute_batch("insert into rows values (3)").unwrap();
        assert!(empty_log(&again.sql).is_err());
    }
}
