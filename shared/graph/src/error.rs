//! What can go wrong with a graph, apart from bad uploads ([`UploadError`](crate::snapshot::UploadError)).

use database::local::SqlError;

/// A failure of an operation on a graph. The texts are for logs; clients see a generic body (sync.md D-21).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database refused a statement.
    #[error("storage: {0}")]
    Sql(#[from] SqlError),
    /// The stored rows are not a graph that this server understands.
    #[error("stored graph: {0}")]
    Corrupt(String),
    /// The graph is being uploaded; it opens when a complete upload has ended (sync.md 10.5).
    #[error("graph not ready")]
    NotReady,
    /// What a stream was reading is gone: the graph was wiped under it.
    #[error("the graph was replaced while it was read")]
    Replaced,
    /// The graph was deleted; nothing but its mark is left, or will be soon.
    #[error("graph deleted")]
    Deleted,
    /// A step of a deletion that was not begun.
    #[error("the graph is not deleted")]
    NotDeleted,
    /// As many exports run as may at a time (sync.md 7.5).
    #[error("too many downloads at a time")]
    TooManyExports,
    /// Nobody read an export for too long, and its rows were given up.
    #[error("the download stalled")]
    Stalled,
    /// A pull that is to be one message would be longer than one may be (sync.md 7.5).
    #[error("the pull is too long for a message")]
    PullTooLong,
    /// A test ended the world here ([`faults`](crate::faults)).
    #[error("fault: {0}")]
    Fault(&'static str),
}

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
