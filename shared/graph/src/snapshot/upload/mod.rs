//! Taking an upload in as it arrives (sync.md 10.4).
//!
//! One request is one [`Upload`], driven by the HTTP layer, which also owns the index's ready flag:
//!
//! 1. [`Graph::begin_upload`]: everything that can be refused before anything changes;
//! 2. where [`Upload::closes_graph`]: set the index's flag to "not ready", then [`Graph::close_for_upload`] (D-29);
//! 3. [`Upload::push`] for each piece of the body, and [`Graph::upload_piece`] until it wants the next;
//! 4. [`Graph::store_rest`] at its end, [`Graph::verify_piece`] until there is no more, and [`Graph::finish_upload`];
//!    where it [opened](Uploaded::opened) the graph, set the index's flag to "ready".
//!
//! Between pieces others get their turn: a small body may unpack to a gigabyte. A request that is given up, because its body
//! broke off or its sender may no longer send it, ends with [`Graph::abandon_upload`].
//!
//! Rows wait in a table of their own until the upload has ended well (D-40), so that nothing is lost by one that fails. An
//! upload that replaces the graph closes it meanwhile, and may come in several requests. It belongs to whoever began it, and
//! its parts ascend by address: what does not go on with it is refused and leaves no row behind (D-81). Rows for an open
//! graph are taken where nothing was transacted since its upload, or where its checksum shows that they lose nothing.
//!
//! An upload of which no request was heard for [`limits::UPLOAD_IDLE_MS`] is over: the graph is open again as it was.
//!
//! [`Graph::begin_upload`]: crate::Graph::begin_upload
//! [`Graph::close_for_upload`]: crate::Graph::close_for_upload
//! [`Graph::upload_piece`]: crate::Graph::upload_piece
//! [`Graph::abandon_upload`]: crate::Graph::abandon_upload
//! [`Graph::store_rest`]: crate::Graph::store_rest
//! [`Graph::verify_piece`]: crate::Graph::verify_piece
//! [`Graph::finish_upload`]: crate::Graph::finish_upload

mod body;
mod claim;
mod opening;
mod steps;

use datascript::Row;
use datascript::verify::Verify;
#[cfg(doc)]
use protocol::limits;

pub(crate) use claim::Running;

use self::body::Body;
use super::inflate::InflateError;
use super::row_parser::FrameError;
use crate::error::Error;
use crate::repair::Repair;
use crate::store::upload_mark::NO_ADDR;
use database::local::SqlError;

/// Why a request failed. What it brought is dropped; a graph that is being replaced stays closed, with what earlier requests
/// brought.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// An empty body would wipe the graph (D-37): 400.
    #[error("missing body")]
    MissingBody,
    /// The given checksum is not the stored one (D-36), or not that of the rows (D-81): 409.
    #[error("checksum conflict")]
    ChecksumConflict,
    /// Not a framed stream of rows, or rows of a finished graph that cannot be worked with (D-36): 400.
    #[error("invalid snapshot")]
    Invalid,
    /// A row passes [`limits::ROW_CONTENT_BYTES`], or the database's own limit: 413.
    #[error("snapshot row too large")]
    RowTooLarge,
    /// The request passes [`limits::UPLOAD_INFLATED_BYTES`]: 413.
    #[error("request too large")]
    TooLarge,
    /// The rows neither go on with the upload that runs nor belong to the graph as it is (D-81): 409.
    #[error("upload conflict")]
    Conflict,
    /// Another request, or an admin reset, took the upload over while this one ran: 409.
    #[error("upload superseded")]
    Superseded,
    /// The database failed: 500.
    #[error(transparent)]
    Graph(#[from] Error),
}

impl From<FrameError> for UploadError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Invalid => Self::Invalid,
            FrameError::RowTooLarge => Self::RowTooLarge,
        }
    }
}

impl From<InflateError> for UploadError {
    fn from(error: InflateError) -> Self {
        match error {
            InflateError::Invalid => Self::Invalid,
            InflateError::TooLarge => Self::TooLarge,
        }
    }
}

impl From<SqlError> for UploadError {
    fn from(error: SqlError) -> Self {
        match error {
            SqlError::TooBig(_) => Self::RowTooLarge,
            SqlError::Full(_) | SqlError::Locked(_) | SqlError::Other(_) => Self::Graph(error.into()),
        }
    }
}

/// One request of an upload. Belongs to the graph that began it.
#[must_use = "the graph stays closed until the upload is finished or abandoned"]
pub struct Upload {
    plan: Plan,
    body: Body,
    /// Present once the end of the body was taken in.
    stored: Option<Stored>,
    /// Whether it was finished or given up.
    ended: bool,
}

/// What there is to know about a request whose rows are all stored.
struct Stored {
    /// Rows in this request.
    count: u64,
    /// Absent where there is nothing to look at.
    verify: Option<Verify>,
    /// Present once damage was found.
    repair: Option<Repair>,
}

/// A request that ended well.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// Rows in this request.
    pub count: u64,
    /// Whether the upload is complete and the graph open.
    pub opened: bool,
}

/// What becomes of the rows of an upload.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Aim {
    /// They take the place of all rows that there are.
    Replace,
    /// They go over those of an open graph.
    Merge,
}

/// What a request is about.
#[derive(Debug)]
struct Plan {
    aim: Aim,
    resets: bool,
    finished: bool,
    /// Only of a request that finishes.
    checksum: Option<String>,
    owner: String,
    /// The graph's upload epoch that began with this request's rows; none before they come.
    epoch: Option<u64>,
    /// The graph's generation at the start.
    generation: u64,
    /// When the upload began that it is a part of.
    begun_ms: i64,
    /// The counter at the start.
    t: i64,
    /// The address after which its rows begin, once it was found to go on with the upload.
    base: Option<i64>,
    /// Addresses of its first row and of its greatest.
    first: i64,
    last: i64,
}

impl Plan {
    /// The rows were stored.
    fn note_stored(&mut self, rows: &[Row]) {
        for row in rows {
            let addr = i64::from(row.addr);
            if self.first == NO_ADDR {
                self.first = addr;
            }
            self.last = self.last.max(addr);
        }
    }
}

impl Upload {
    /// Whether the graph has to be closed before the body is read: first in the index, then here. Its sockets then close.
    pub const fn closes_graph(&self) -> bool {
        self.plan.resets
    }

    /// Takes a piece of the body; to be called when all before it was taken in.
    pub fn push(&mut self, bytes: Vec<u8>) {
        self.body.push(bytes);
    }
}
