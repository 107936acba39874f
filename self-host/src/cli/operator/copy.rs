//! A graph's database file, looked at in a copy: whoever it belongs to may go on writing, and nothing of it is changed.

use std::path::Path;

use database::local_sqlite::{Rusqlite, Synchronous};
use graph::{Graph, Options};
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use super::at;
use crate::cli::failure::{Failure, exit};
use crate::host::now_ms;
use crate::store::beside;

/// A copy, which goes with this.
pub(super) struct Copied {
    /// The graph in it.
    pub(super) graph: Graph<Rusqlite>,
    _folder: TempDir,
}

/// Opens a database file to be read. One without a log beside it is read as it is, so that none is left there; on read-only
/// media nothing else works.
pub(super) fn read_only(path: &Path) -> Result<Connection, Failure> {
    let failed = |error: rusqlite::Error| damaged(path, &error.to_string());
    if !path.is_file() {
        return Err(Failure::new("file-not-found", exit::FAILED, format!("{}: there is no such file", path.display())));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let has_log = beside(path, "-wal").exists();
    let address = |more: &str| format!("file:{}{more}", web::url::encode(&path.to_string_lossy()));
    let open = |more: &str| Connection::open_with_flags(address(more), flags);
    let connection = open(if has_log { "" } else { "?immutable=1" }).map_err(failed)?;
    let looked = connection.query_row("SELECT count(*) FROM sqlite_master", (), |row| row.get::<_, i64>(0));
    match looked {
        Ok(_) => Ok(connection),
        Err(error) if has_log && error.sqlite_error_code() == Some(rusqlite::ErrorCode::CannotOpen) => {
            let text = format!("{}: its write-ahead log cannot be read where nothing can be written", path.display());
            Err(Failure::new("copy-first", exit::FAILED, text)
                .with_hint("copy the file with its -wal elsewhere, and name the copy"))
        }
        Err(error) => Err(failed(error)),
    }
}

fn damaged(path: &Path, why: &str) -> Failure {
    Failure::new("graph-damaged", exit::FAILED, format!("{}: {why}", path.display()))
}

/// Copies the database file of a graph, as it is at one moment.
pub(super) fn copy(path: &Path) -> Result<Copied, Failure> {
    let connection = read_only(path)?;
    let folder = tempfile::tempdir().map_err(at(&std::env::temp_dir()))?;
    let target = folder.path().join("db.sqlite");
    let failed = |error: rusqlite::Error| damaged(path, &error.to_string());
    let rows = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'kvs'";
    let has_rows: i64 = connection.query_row(rows, (), |row| row.get(0)).map_err(failed)?;
    if has_rows == 0 {
        return Err(Failure::new("no-graph", exit::FAILED, format!("{} is no database of a graph", path.display())));
    }
    connection.execute("VACUUM INTO ?", [target.to_string_lossy().into_owned()]).map_err(failed)?;
    let sql = Rusqlite::open(&target, Synchronous::Normal).map_err(|error| damaged(path, &error.to_string()))?;
    Ok(Copied { graph: Graph::new(sql, now_ms, Options::DEFAULT), _folder: folder })
}

/// What a graph says of itself that cannot be read.
pub(super) fn unreadable(path: &Path) -> impl Fn(graph::Error) -> Failure {
    move |error| damaged(path, &error.to_string())
}
