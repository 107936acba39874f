//! Frames: a 4-byte big-endian length, then so many bytes of Transit (sync.md 10.1).

use datascript::Row;
use protocol::limits;

use super::row_parser::RowParser;

/// Why bytes are not a framed snapshot.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not frames of rows, or cut short.
    #[error("invalid snapshot")]
    Invalid,
    /// A row's content passes the limit of sync.md 7.5.
    #[error("snapshot row too large")]
    RowTooLarge,
}

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

    /// Takes the next piece and hands on every row that it completes.
    ///
    /// # Errors
    /// [`FrameError`], or what `row` returns. After an error the reader is of no more use.
    pub fn feed<E: From<FrameError>>(
        &mut self,
        mut bytes: &[u8],
        mut row: impl FnMut(Row) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            if let Some(slot) = self.header.get_mut(self.header_len..).filter(|slot| !slot.is_empty()) {
                let (taken, rest) = bytes.split_at(slot.len().min(bytes.len()));
                slot.iter_mut().zip(taken).for_each(|(slot, byte)| *slot = *byte);
                self.header_len += taken.len();
                bytes = rest;
                if self.header_len == self.header.len() {
                    self.left = u32::from_be_bytes(self.header) as usize;
                    if self.left == 0 || self.left > limits::SNAPSHOT_FRAME_BYTES {
                        return Err(FrameError::Invalid.into());
                    }
                    self.parser.restart();
                }
            } else {
                let (payload, rest) = bytes.split_at(self.left.min(bytes.len()));
                self.parser.feed(payload, &mut row)?;
                self.left -= payload.len();
                bytes = rest;
                if self.left == 0 {
                    if !self.parser.is_complete() {
                        return Err(FrameError::Invalid.into());
                    }
                    self.header_len = 0;
                }
            }
        }
        Ok(())
    }

    /// Ends the stream, which must be at the end of a frame.
    ///
    /// # Errors
    /// [`FrameError::Invalid`] inside a frame or its header.
    pub const fn end(&self) -> Result<(), FrameError> {
        if self.header_len == 0 { Ok(()) } else { Err(FrameError::Invalid) }
    }
}
