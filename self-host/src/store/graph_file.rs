//! The database file of a graph.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use database::local::SqlError;
use database::local_sqlite::{Rusqlite, Synchronous};

use super::DataDirError;
use super::data_dir::{make_folder, refuse_link, sync_folder};
use crate::daemon::Hold;
use crate::graphs::Commits;

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
    /// The database. Its commits do not wait for the disk.
    pub(crate) sql: Rusqlite,
    /// How many there were.
    pub(crate) commits: Commits,
    /// The file.
    pub(crate) path: PathBuf,
    /// It was made just now.
    pub(crate) is_new: bool,
}

/// Opens the database in a graph's folder, or makes both. It is written for as long as the lock is held.
pub(crate) fn open_graph(folder: &Path, hold: &Arc<Hold>) -> Result<Opened, OpenError> {
    let path = folder.join("db.sqlite");
    refuse_link(folder)?;
    refuse_link(&path)?;
    let is_new = !path.exists();
    if is_new {
        create(folder, &path).map_err(|cause| OpenError::File { path: path.clone(), cause })?;
    }
    let failed = |cause| OpenError::Sql { path: path.clone(), cause };
    let mut sql = Rusqlite::open(&path, Synchronous::Normal).map_err(failed)?;
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
