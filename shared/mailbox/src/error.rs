//! How work with a mailbox fails.

use std::io;

use rusqlite::ffi;

/// A failure. [`Error::code`] is what notices and logs say.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of a later version than this program knows (docs/spec/session-mailbox.md 4.3).
    #[error("the mailbox is of version {0}, this program knows version 1")]
    Newer(i64),
    /// The two files, or the file that names them, belong to different mailboxes.
    #[error("the files belong to different mailboxes")]
    Mixed,
    /// What SQLite takes for no whole database.
    #[error("the database is damaged: {0}")]
    Corrupt(String),
    /// The other side's directory holds what it may not hold.
    #[error("the agent's directory is hostile: {0}")]
    Hostile(&'static str),
    /// A writer died in its transaction, or is in the middle of one where locks do not reach. Somebody has to open the file
    /// for writing (docs/spec/session-mailbox.md 4.4).
    #[error("a journal waits to be rolled back")]
    HotJournal,
    /// Somebody holds a lock for longer than is waited.
    #[error("the database is locked")]
    Busy,
    /// The file is not there, or cannot be opened yet.
    #[error("the database cannot be opened")]
    CannotOpen,
    /// The file or its folder cannot be written.
    #[error("the database cannot be written")]
    ReadOnly,
    /// No room is left on the disk.
    #[error("the disk is full")]
    Full,
    /// A message of this id is there already, with another content.
    #[error("id conflict")]
    Conflict,
    /// A newer generation exists: this process writes nothing more.
    #[error("generation {0} has taken over")]
    Fenced(i64),
    /// The last generation was not settled, so that no new one may begin.
    #[error("the last generation is not settled")]
    Unsettled,
    /// A directory that others may write, or that is no directory of ours.
    #[error("the directory {0} is not safe")]
    Unsafe(String),
    /// A name that is none of a file in a folder of the mailbox.
    #[error("not a name of a file")]
    BadName,
    /// A configuration that is not taken.
    #[error("{0}")]
    Config(String),
    /// Anything else that SQLite reports.
    #[error("SQLite: {0}")]
    Sql(String),
    /// Anything else that the system reports.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Error {
    /// The name in notices and logs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Newer(_) => "mailbox_newer",
            Self::Mixed => "mailbox_mixed",
            Self::Corrupt(_) => "mailbox_corrupt",
            Self::Hostile(_) => "mailbox_hostile",
            Self::HotJournal => "hot_journal",
            Self::Busy => "lock_held",
            Self::CannotOpen => "cannot_open",
            Self::ReadOnly => "read_only",
            Self::Full => "disk_full",
            Self::Conflict => "id conflict",
            Self::Fenced(_) => "fenced",
            Self::Unsettled => "unsettled",
            Self::Unsafe(_) => "state-permissions",
            Self::BadName => "bad_name",
            Self::Config(_) => "config",
            Self::Sql(_) => "sqlite",
            Self::Io(error) if error.kind() == io::ErrorKind::StorageFull => "disk_full",
            Self::Io(_) => "io",
        }
    }

    /// Whether no room is left on the disk, whoever says so.
    pub fn is_full(&self) -> bool {
        self.code() == "disk_full"
    }

    /// Whether a reader of a file that somebody else writes just tries again at its next poll
    /// (docs/spec/session-mailbox.md 4.4): where locks do not cross a mount, each of these may show for one poll.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::HotJournal | Self::Busy | Self::Corrupt(_) | Self::CannotOpen)
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        let rusqlite::Error::SqliteFailure(failure, text) = &error else {
            return match error {
                // A value of another type than the column's: only a file that SQLite did not check can hold it.
                rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::Utf8Error(..) => Self::Corrupt("a value of another type".into()),
                other => Self::Sql(other.to_string()),
            };
        };
        let said = text.clone().unwrap_or_default();
        if failure.extended_code == ffi::SQLITE_READONLY_ROLLBACK {
            return Self::HotJournal;
        }
        match failure.extended_code & 0xff {
            ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => Self::Busy,
            ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB => Self::Corrupt(said),
            ffi::SQLITE_CANTOPEN => Self::CannotOpen,
            ffi::SQLITE_READONLY => Self::ReadOnly,
            ffi::SQLITE_FULL => Self::Full,
            ffi::SQLITE_TOOBIG => Self::Hostile("a value is too long"),
            ffi::SQLITE_INTERRUPT => Self::Hostile("a query takes too long"),
            _ => Self::Sql(said),
        }
    }
}

impl From<rustix::io::Errno> for Error {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Io(error.into())
    }
}
