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

use datascript::Row;
use datascript::verify::Verify;
use protocol::limits;

use super::frame_reader::{FrameError, FrameReader};
use super::inflate::{Inflate, InflateError};
use crate::error::Error;
use crate::repair::Repair;
use crate::store::upload_mark::NO_ADDR;
use database::local::SqlError;

/// Rows are stored once they pass so many bytes, or so many rows.
const BUFFER_BYTES: usize = 1 << 20;
const BUFFER_ROWS: usize = 330;

/// Bytes unpacked in one piece of work, a few milliseconds.
const PIECE_BYTES: usize = 1 << 20;

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
            SqlError::Full(_) | SqlError::Other(_) => Self::Graph(error.into()),
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
    /// Present once damage was found.
    pub(crate) repair: Option<Repair>,
}

impl Ending {
    /// The request, to be given up.
    pub fn into_upload(self) -> Upload {
        self.upload
    }
}

/// What becomes of the rows of an upload.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Aim {
    /// They take the place of all rows that there are.
    Replace,
    /// They go over those of an open graph.
    Merge,
}

/// What a request is about.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) aim: Aim,
    pub(crate) resets: bool,
    pub(crate) finished: bool,
    /// Only of a request that finishes.
    pub(crate) checksum: Option<String>,
    pub(crate) owner: String,
    /// The graph's upload epoch that began with this request's rows; none before they come.
    pub(crate) epoch: Option<u64>,
    /// The graph's generation at the start.
    pub(crate) generation: u64,
    /// When the upload began that it is a part of.
    pub(crate) begun_ms: i64,
    /// The counter at the start.
    pub(crate) t: i64,
    /// The address after which its rows begin, once it was found to go on with the upload.
    pub(crate) base: Option<i64>,
    /// Addresses of its first row and of its greatest.
    pub(crate) first: i64,
    pub(crate) last: i64,
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

    /// Whether the graph has to be closed before the body is read: first in the index, then here. Its sockets then close.
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

    pub(crate) const fn plan_mut(&mut self) -> &mut Plan {
        &mut self.plan
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

    /// The rows to be stored.
    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The rows were stored.
    pub(crate) fn stored(&mut self) {
        for row in &self.rows {
            let addr = i64::from(row.addr);
            if self.plan.first == NO_ADDR {
                self.plan.first = addr;
            }
            self.plan.last = self.plan.last.max(addr);
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
