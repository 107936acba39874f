//! The body of an upload: bytes are pushed as they come, batches of rows are pulled.

use datascript::Row;
use protocol::limits;

use super::UploadError;
use crate::snapshot::frame_reader::FrameReader;
use crate::snapshot::inflate::Inflate;

/// A batch is full once it passes so many bytes, or so many rows.
const BATCH_BYTES: usize = 1 << 20;
const BATCH_ROWS: usize = 330;

/// Bytes unpacked in one piece of work, a few milliseconds.
const PIECE_BYTES: usize = 1 << 20;

/// What a pull has led to.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Pulled {
    /// The batch is full: it is to be stored before the next pull.
    Batch,
    /// There is more to read, but others are to have their turn first.
    Turn,
    /// All that was pushed is read.
    Everything,
}

/// Unpacks what is pushed and reads rows out of it, in bounded memory.
#[derive(Debug)]
pub(super) struct Body {
    /// Bytes that were pushed, unpacked up to `packed_at`.
    packed: Vec<u8>,
    packed_at: usize,
    inflate: Inflate,
    /// Unpacked bytes, read up to `plain_at`.
    plain: Vec<u8>,
    plain_at: usize,
    frames: FrameReader,
    batch: Vec<Row>,
    batch_bytes: usize,
    count: u64,
}

impl Body {
    pub(super) fn new(gzip: bool) -> Self {
        Self {
            packed: Vec::new(),
            packed_at: 0,
            inflate: Inflate::new(gzip, limits::UPLOAD_INFLATED_BYTES),
            plain: Vec::new(),
            plain_at: 0,
            frames: FrameReader::new(),
            batch: Vec::new(),
            batch_bytes: 0,
            count: 0,
        }
    }

    /// Takes the next bytes. Without a copy where all before was read.
    pub(super) fn push(&mut self, bytes: Vec<u8>) {
        if self.packed_at < self.packed.len() {
            self.packed.extend_from_slice(&bytes);
        } else {
            (self.packed, self.packed_at) = (bytes, 0);
        }
    }

    /// Takes the end: what the unpacker has held back, some kilobytes, can be pulled then. To be called when everything
    /// before was pulled.
    pub(super) fn end(&mut self) -> Result<(), UploadError> {
        Ok(self.inflate.end(&mut self.plain)?)
    }

    /// Adds rows to the batch: unpacks at most [`PIECE_BYTES`], and stops when the batch is full.
    pub(super) fn pull(&mut self) -> Result<Pulled, UploadError> {
        let mut unpacked = 0;
        // Each round reads all that is unpacked, or stops, and unpacks more, up to the limit of a piece.
        loop {
            if self.read_rows()? {
                return Ok(Pulled::Batch);
            }
            if unpacked >= PIECE_BYTES {
                return Ok(Pulled::Turn);
            }
            let mut input = self.packed.get(self.packed_at..).unwrap_or_default();
            if input.is_empty() {
                return Ok(Pulled::Everything);
            }
            self.inflate.step(&mut input, &mut self.plain)?;
            self.packed_at = self.packed.len() - input.len();
            unpacked += self.plain.len();
        }
    }

    /// The rows that were read and not stored yet.
    pub(super) fn batch(&self) -> &[Row] {
        &self.batch
    }

    /// Begins a new batch.
    pub(super) fn clear_batch(&mut self) {
        self.batch.clear();
        self.batch_bytes = 0;
    }

    /// After the end: how many rows there were.
    ///
    /// # Errors
    /// [`UploadError::Invalid`] for a body that ends within a frame.
    pub(super) fn row_count(&self) -> Result<u64, UploadError> {
        self.frames.end()?;
        Ok(self.count)
    }

    /// Reads rows out of what is unpacked. True: the batch is full. False: all was read.
    fn read_rows(&mut self) -> Result<bool, UploadError> {
        let mut bytes = self.plain.get(self.plain_at..).unwrap_or_default();
        while self.batch.len() < BATCH_ROWS && self.batch_bytes < BATCH_BYTES {
            let Some(row) = self.frames.next_row(&mut bytes)? else {
                self.plain.clear();
                self.plain_at = 0;
                return Ok(false);
            };
            self.plain_at = self.plain.len() - bytes.len();
            self.batch_bytes += row.content.len() + row.addresses.as_deref().map_or(0, str::len);
            self.count += 1;
            self.batch.push(row);
        }
        Ok(true)
    }
}
