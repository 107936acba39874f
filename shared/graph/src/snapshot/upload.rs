//! Taking an upload in as it arrives (sync.md 10.4).
//!
//! One request is one [`Upload`], driven by the HTTP layer, which also owns the index's ready flag:
//!
//! 1. [`Graph::begin_upload`]: everything that can be refused before anything changes;
//! 2. where [`Upload::closes_graph`]: set the index's flag to "not ready", then [`Graph::close_for_upload`] (D-29);
//! 3. [`Graph::feed_upload`] for each piece of the body;
//! 4. [`Graph::store_rest`] at its end, [`Graph::verify_piece`] until there is no more, so that others get their turn
//!    meanwhile, and [`Graph::finish_upload`]; where it [opened](Uploaded::opened) the graph, set the index's flag to
//!    "ready".
//!
//! Rows go straight into a closed graph. Rows for an open one (`reset=false` outside of an upload) wait in a table of
//! their own until the request has ended well, so that a bad body changes nothing.
//!
//! [`Graph::begin_upload`]: crate::Graph::begin_upload
//! [`Graph::close_for_upload`]: crate::Graph::close_for_upload
//! [`Graph::feed_upload`]: crate::Graph::feed_upload
//! [`Graph::store_rest`]: crate::Graph::store_rest
//! [`Graph::verify_piece`]: crate::Graph::verify_piece
//! [`Graph::finish_upload`]: crate::Graph::finish_upload

use datascript::Row;
use datascript::verify::Verify;
use protocol::limits;

use super::frame_reader::{FrameError, FrameReader};
use super::inflate::{Inflate, InflateError};
use crate::error::Error;
use crate::sql::SqlError;
use crate::store::kvs::Target;

/// Rows are stored once they pass so many bytes, or so many rows.
const BUFFER_BYTES: usize = 1 << 20;
const BUFFER_ROWS: usize = 330;

/// Why an upload failed. The first group changes nothing; the second leaves a graph that was being replaced closed.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// An empty body would wipe the graph (D-37): 400.
    #[error("missing body")]
    MissingBody,
    /// The given checksum is not the stored one (D-36): 409.
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
    /// Another upload, or an admin reset, took the graph over while this one ran: 409.
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
            SqlError::Other(_) => Self::Graph(error.into()),
        }
    }
}

/// One request of an upload. Belongs to the graph that began it.
#[derive(Debug)]
pub struct Upload {
    inflate: Inflate,
    rows: Rows,
}

/// A request that ended well.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// Rows in this request.
    pub count: u64,
    /// Whether the upload is complete and the graph open.
    pub opened: bool,
}

/// A request of which all rows are stored, while they are looked at.
#[must_use = "the graph stays closed until the upload is finished"]
pub struct Ending {
    pub(crate) upload: Upload,
    pub(crate) uploaded: Uploaded,
    /// Absent where there is nothing to look at.
    pub(crate) verify: Option<Verify>,
}

/// The request's nature and the rows that are not stored yet.
#[derive(Debug)]
struct Rows {
    plan: Plan,
    frames: FrameReader,
    buffer: Vec<Row>,
    buffered: usize,
    count: u64,
}

/// What an upload is about.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The graph is wiped before the first row; false again once that was done.
    pub(crate) reset_pending: bool,
    pub(crate) resets: bool,
    pub(crate) finished: bool,
    pub(crate) checksum: Option<String>,
    pub(crate) target: Target,
    /// The graph's upload epoch this request belongs to.
    pub(crate) epoch: u64,
    /// The counter at the start.
    pub(crate) t: i64,
}

/// Takes rows to the database; does a pending reset first.
pub(crate) type Store<'f> = dyn FnMut(&Plan, &[Row]) -> Result<(), UploadError> + 'f;

impl Upload {
    pub(crate) fn new(plan: Plan, gzip: bool) -> Self {
        Self {
            inflate: Inflate::new(gzip, limits::UPLOAD_INFLATED_BYTES),
            rows: Rows { plan, frames: FrameReader::new(), buffer: Vec::new(), buffered: 0, count: 0 },
        }
    }

    /// Whether the graph has to be closed before the body is read: first in the index, then here.
    pub const fn closes_graph(&self) -> bool {
        self.rows.plan.resets
    }

    pub(crate) const fn plan(&self) -> &Plan {
        &self.rows.plan
    }

    pub(crate) const fn set_epoch(&mut self, epoch: u64) {
        self.rows.plan.epoch = epoch;
    }

    /// Takes a piece of the body.
    pub(crate) fn feed(&mut self, bytes: &[u8], store: &mut Store<'_>) -> Result<(), UploadError> {
        let rows = &mut self.rows;
        self.inflate.feed(bytes, &mut |plain| rows.take(plain, store))
    }

    /// Takes the end of the body; everything it held is stored afterwards, and a pending reset done.
    pub(crate) fn end(&mut self, store: &mut Store<'_>) -> Result<Uploaded, UploadError> {
        let rows = &mut self.rows;
        self.inflate.end(&mut |plain| rows.take(plain, store))?;
        rows.frames.end()?;
        if rows.plan.reset_pending || !rows.buffer.is_empty() {
            rows.flush(store)?;
        }
        Ok(Uploaded { count: rows.count, opened: rows.plan.finished })
    }
}

impl Rows {
    fn take(&mut self, plain: &[u8], store: &mut Store<'_>) -> Result<(), UploadError> {
        // The reader is moved out while it hands rows to its owner.
        let mut frames = std::mem::take(&mut self.frames);
        frames.feed(plain, |row: Row| {
            self.buffered += row.content.len() + row.addresses.as_deref().map_or(0, str::len);
            self.count += 1;
            self.buffer.push(row);
            if self.buffer.len() >= BUFFER_ROWS || self.buffered >= BUFFER_BYTES { self.flush(store) } else { Ok(()) }
        })?;
        self.frames = frames;
        Ok(())
    }

    fn flush(&mut self, store: &mut Store<'_>) -> Result<(), UploadError> {
        store(&self.plan, &self.buffer)?;
        self.plan.reset_pending = false;
        self.buffer.clear();
        self.buffered = 0;
        Ok(())
    }
}
