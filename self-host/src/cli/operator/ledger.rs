//! The index that a verb reads and writes: a data directory's, or a deployment's D1.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use daemon_lifecycle::lock::{self, Held};
use daemon_lifecycle::{Owner, Scope};
use database::sqlite::Sqlite;
use database::{Database, DbError, Param, ReadFrom, Row, Statement};
use index::migrations::MIGRATIONS;
use rusqlite::Connection;

use super::target::Target;
use super::wrangler::Wrangler;
use crate::cli::failure::{Failure, exit};
use crate::daemon::Hold;
use crate::store::DataDir;

/// How long a writer waits for another one.
pub(super) const BUSY: Duration = Duration::from_secs(10);

/// The index of a target.
pub(super) enum Ledger {
    /// A file. Where no server runs, its directory is locked for as long as this lives.
    File {
        /// The open file.
        index: Sqlite,
        /// The lock, unless a server has it: SQLite keeps the two apart.
        _held: Option<Locked>,
    },
    /// D1.
    D1(Wrangler),
}

/// The lock of a data directory that no server runs on.
pub(super) struct Locked(pub(super) Arc<Hold>);

impl Drop for Locked {
    fn drop(&mut self) {
        self.0.holder().clean_up();
    }
}

/// Locks a data directory. None: somebody has it locked, most likely a server.
pub(super) fn lock(data: &DataDir) -> Result<Option<Locked>, Failure> {
    let scope = scope(data)?;
    match Hold::take(&scope, Owner::Cli, Duration::ZERO, false) {
        Ok(taken) => Ok(Some(Locked(taken.hold))),
        Err(daemon_lifecycle::Error::RepoLocked { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The scope of a data directory.
pub(super) fn scope(data: &DataDir) -> Result<Scope, Failure> {
    Scope::new(data.root(), None).map_err(Failure::usage)
}

/// Whether somebody has a data directory locked.
pub(super) fn is_locked(scope: &Scope) -> bool {
    lock::ask(&scope.lock()).is_ok_and(|held| held != Held::Free)
}

/// The data directory, which must be one already.
pub(super) fn existing(path: &Path) -> Result<DataDir, Failure> {
    looked_at(path)?;
    Ok(DataDir::open(path)?)
}

/// The same for who only looks: the directory may lie on read-only media.
pub(super) fn looked_at(path: &Path) -> Result<DataDir, Failure> {
    if !path.join("index.sqlite").is_file() {
        let text = format!("{} is no data directory: there is no index.sqlite", path.display());
        return Err(
            Failure::new("no-data-dir", exit::FAILED, text).with_hint("name it with --data-dir or DB_SYNC_DATA_DIR")
        );
    }
    Ok(DataDir::look(path)?)
}

impl Ledger {
    /// The index of a target that has one. Without `create` a data directory must be there.
    pub(super) fn open(target: &Target, create: bool) -> Result<Self, Failure> {
        match target {
            Target::D1(wrangler, _) => Ok(Self::D1(wrangler.clone())),
            Target::Data(path) => Self::of(&if create { DataDir::open(path)? } else { existing(path)? }),
            Target::Server(_) => Err(Failure::usage("a server does not show its index: name --data-dir or --d1")),
        }
    }

    /// The index of a data directory.
    pub(super) fn of(data: &DataDir) -> Result<Self, Failure> {
        let held = lock(data)?;
        let path = data.index();
        let damaged = |error: &dyn std::fmt::Display| {
            Failure::new("index-damaged", exit::IO, format!("the index {} is damaged: {error}", path.display()))
                .with_hint("restore a backup of index.sqlite, or run `logseq-sync repair index-db`")
        };
        let connection = Connection::open(&path).map_err(|error| damaged(&error))?;
        connection.busy_timeout(BUSY).map_err(|error| damaged(&error))?;
        if held.is_some() {
            // A server that runs knows whether locks hold here, and what journal the file has.
            connection.pragma_update(None, "journal_mode", "WAL").map_err(|error| damaged(&error))?;
        }
        connection.pragma_update(None, "synchronous", "FULL").map_err(|error| damaged(&error))?;
        // A server that runs has brought the schema up to date itself.
        let migrations = if held.is_some() { MIGRATIONS } else { &[] };
        let index = Sqlite::new(connection, migrations).map_err(|error| damaged(&error))?;
        Ok(Self::File { index, _held: held })
    }
}

impl Database for Ledger {
    async fn query(&self, from: ReadFrom, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DbError> {
        match self {
            Self::File { index, .. } => index.query(from, sql, params).await,
            Self::D1(wrangler) => wrangler.query(from, sql, params).await,
        }
    }

    async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, DbError> {
        match self {
            Self::File { index, .. } => index.execute(sql, params).await,
            Self::D1(wrangler) => wrangler.execute(sql, params).await,
        }
    }

    async fn batch(&self, statements: &[Statement<'_>]) -> Result<Vec<u64>, DbError> {
        match self {
            Self::File { index, .. } => index.batch(statements).await,
            Self::D1(wrangler) => wrangler.batch(statements).await,
        }
    }
}
