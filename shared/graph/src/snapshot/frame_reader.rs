//! Frames: a 4-byte big-endian length, then so many bytes of Transit (sync.md 10.1).

use datascript::Row;
use protocol::limits;

use super::row_parser::{FrameError, RowParser};

/// Reads rows out of a stream of frames, whatever the pieces it arrives in; holds one row.
#[derive(Debug)]
pub struct FrameReader {
    parser: RowParser,
    header: [u8; 4],
    /// Bytes of the header seen; 4 while inside a frame.
    header_len: usize,
    /// Bytes of the frame to come.
    left: usize,
}

impl Default for FrameReader {
    fn default() -> Self {
        Self::new()
    }
}

impl FrameReader {
    /// A reader at the start of a stream.
    pub const fn new() -> Self {
        Self { parser: RowParser::new(limits::ROW_CONTENT_BYTES), header: [0; 4], header_len: 0, left: 0 }
    }

    /// Takes of the next piece what it needs to complete a row. `None`: it took everything.
    ///
    /// # Errors
    /// [`FrameError`]. Afterwards the reader is of no more use.
    pub fn next_row(&mut self, bytes: &mut &[u8]) -> Result<Option<Row>, FrameError> {
        // Each round takes at least one byte.
        while !bytes.is_empty() {
            if let Some(slot) = self.header.get_mut(self.header_len..).filter(|slot| !slot.is_empty()) {
                let (taken, rest) = bytes.split_at(slot.len().min(bytes.len()));
                slot.iter_mut().zip(taken).for_each(|(slot, byte)| *slot = *byte);
                self.header_len += taken.len();
                *bytes = rest;
                if self.header_len == self.header.len() {
                    self.left = u32::from_be_bytes(self.header) as usize;
                    if self.left == 0 || self.left > limits::SNAPSHOT_FRAME_BYTES {
                        return Err(FrameError::Invalid);
                    }
                    self.parser.restart();
                }
            } else {
                let (mut payload, _) = bytes.split_at(self.left.min(bytes.len()));
                let offered = payload.len();
                let row = self.parser.next_row(&mut payload)?;
                let taken = offered.saturating_sub(payload.len());
                *bytes = bytes.split_at(taken).1;
                self.left -= taken;
                if self.left == 0 {
                    if !self.parser.is_complete() {
                        return Err(FrameError::Invalid);
                    }
                    self.header_len = 0;
                }
                if row.is_some() {
                    return Ok(row);
                }
            }
        }
        Ok(None)
    }

    /// Ends the stream, which must be at the end of a frame.
    ///
    /// # Errors
    /// [`FrameError::Invalid`] inside a frame or its header.
    pub const fn end(&self) -> Result<(), FrameError> {
        if self.header_len == 0 { Ok(()) } else { Err(FrameError::Invalid) }
    }
}
