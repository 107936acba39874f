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
//! Between pieces others get their turn: a small body may unpack to a gigabyte. A body that breaks off ends with
//! [`Graph::abandon_upload`].
//!
//! Rows go straight into a closed graph. Rows for an open one (`reset=false` outside of an upload) wait in a table of
//! their own until the request has ended well, so that a bad body changes nothing. A request that fails gives back the
//! space of its rows: those that wait, and those of a graph that it wiped itself. What earlier requests brought stays, so
//! that a client can repeat the one that failed.
//!
//! [`Graph::begin_upload`]: crate::Graph::begin_upload
//! [`Graph::close_for_upload`]: crate::Graph::close_for_upload
//! [`Graph::upload_piece`]: crate::Graph::upload_piece
//! [`Graph::abandon_upload`]: crate::Graph::abandon_upload
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

/// Bytes unpacked in one piece of work, a few milliseconds.
const PIECE_BYTES: usize = 1 << 20;

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
    plan: Plan,
    /// The body's bytes that are not unpacked yet, up to `packed_at` done with.
    packed: Vec<u8>,
    packed_at: usize,
    inflate: Inflate,
    /// Unpacked bytes, up to `plain_at` read.
    plain: Vec<u8>,
    plain_at: usize,
    frames: FrameReader,
    /// Rows that are not stored yet, and their bytes.
    rows: Vec<Row>,
    rows_bytes: usize,
    count: u64,
}

/// What is to be done next about an upload.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Store the rows that are there.
    Storing,
    /// Give others their turn.
    Turn,
    /// More of the body.
    Bytes,
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

/// Whether the rows of the graph make way for those of the request.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wipe {
    /// No: they stay.
    Never,
    /// With its first row.
    Owed,
    /// They have: all rows there are are its own.
    Done,
}

/// What an upload is about.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) wipe: Wipe,
    pub(crate) resets: bool,
    pub(crate) finished: bool,
    pub(crate) checksum: Option<String>,
    pub(crate) target: Target,
    /// The graph's upload epoch this request belongs to.
    pub(crate) epoch: u64,
    /// The counter at the start.
    pub(crate) t: i64,
}

impl Upload {
    pub(crate) fn new(plan: Plan, gzip: bool) -> Self {
        Self {
            plan,
            packed: Vec::new(),
            packed_at: 0,
            inflate: Inflate::new(gzip, limits::UPLOAD_INFLATED_BYTES),
            plain: Vec::new(),
            plain_at: 0,
            frames: FrameReader::new(),
            rows: Vec::new(),
            rows_bytes: 0,
            count: 0,
        }
    }

    /// Whether the graph has to be closed before the body is read: first in the index, then here.
    pub const fn closes_graph(&self) -> bool {
        self.plan.resets
    }

    /// Takes a piece of the body; to be called when all before it was taken in.
    pub fn push(&mut self, bytes: Vec<u8>) {
        if self.packed_at < self.packed.len() {
            self.packed.extend_from_slice(&bytes);
        } else {
            (self.packed, self.packed_at) = (bytes, 0);
        }
    }

    pub(crate) const fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(crate) const fn set_epoch(&mut self, epoch: u64) {
        self.plan.epoch = epoch;
    }

    /// Reads on until something is to be done: at most [`PIECE_BYTES`] unpacked, at most a buffer full of rows.
    pub(crate) fn advance(&mut self) -> Result<Need, UploadError> {
        let mut unpacked = 0;
        // Each round reads all that is unpacked, or stops, and unpacks more, up to the limit of a piece.
        loop {
            if self.read_rows()? {
                return Ok(Need::Storing);
            }
            if unpacked >= PIECE_BYTES {
                return Ok(Need::Turn);
            }
            let mut input = self.packed.get(self.packed_at..).unwrap_or_default();
            if input.is_empty() {
                return Ok(Need::Bytes);
            }
            self.inflate.step(&mut input, &mut self.plain)?;
            self.packed_at = self.packed.len() - input.len();
            unpacked += self.plain.len();
        }
    }

    /// Takes the end of the body: what it ends with is unpacked. To be called when everything before was taken in.
    pub(crate) fn end(&mut self) -> Result<(), UploadError> {
        Ok(self.inflate.end(&mut self.plain)?)
    }

    /// After the end: whether the rows are whole, and how many there were.
    pub(crate) fn counted(&self) -> Result<Uploaded, UploadError> {
        self.frames.end()?;
        Ok(Uploaded { count: self.count, opened: self.plan.finished })
    }

    /// Whether rows wait, or the graph is to be wiped.
    pub(crate) const fn has_rest(&self) -> bool {
        matches!(self.plan.wipe, Wipe::Owed) || !self.rows.is_empty()
    }

    /// The rows to be stored.
    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The rows were stored.
    pub(crate) fn stored(&mut self) {
        if self.plan.wipe == Wipe::Owed {
            self.plan.wipe = Wipe::Done;
        }
        self.rows.clear();
        self.rows_bytes = 0;
    }

    /// Reads rows out of what is unpacked. True: they are enough to be stored. False: all was read.
    fn read_rows(&mut self) -> Result<bool, UploadError> {
        let mut bytes = self.plain.get(self.plain_at..).unwrap_or_default();
        while self.rows.len() < BUFFER_ROWS && self.rows_bytes < BUFFER_BYTES {
            let Some(row) = self.frames.next_row(&mut bytes)? else {
                self.plain.clear();
                self.plain_at = 0;
                return Ok(false);
            };
            self.plain_at = self.plain.len() - bytes.len();
            self.rows_bytes += row.content.len() + row.addresses.as_deref().map_or(0, str::len);
            self.count += 1;
            self.rows.push(row);
        }
        Ok(true)
    }
}
