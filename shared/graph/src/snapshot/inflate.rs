//! Decompression as bytes arrive, in bounded memory.

use std::io::Write;

use flate2::write::GzDecoder;

/// Compressed bytes taken at once: deflate grows at most about a thousandfold, so that at most a megabyte comes out.
const STEP: usize = 1024;

/// Why a body cannot be read.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum InflateError {
    /// Not gzip, cut short, or followed by something.
    Invalid,
    /// More bytes than allowed come out.
    TooLarge,
}

/// A body, plain or compressed. Counts what comes out.
#[derive(Debug)]
pub(super) struct Inflate {
    gzip: Option<GzDecoder<Vec<u8>>>,
    /// Bytes that may still come out.
    left: u64,
    /// Whether any byte came in.
    started: bool,
}

impl Inflate {
    pub(super) fn new(gzip: bool, limit: u64) -> Self {
        Self { gzip: gzip.then(|| GzDecoder::new(Vec::new())), left: limit, started: false }
    }

    pub(super) fn feed<E: From<InflateError>>(
        &mut self,
        bytes: &[u8],
        plain: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.started |= !bytes.is_empty();
        let Some(gzip) = &mut self.gzip else {
            return Self::hand_on(&mut self.left, bytes, plain);
        };
        for step in bytes.chunks(STEP) {
            gzip.write_all(step).map_err(|_| InflateError::Invalid)?;
            Self::hand_on(&mut self.left, gzip.get_ref(), plain)?;
            gzip.get_mut().clear();
        }
        Ok(())
    }

    /// An empty body is empty whether it was said to be compressed or not.
    pub(super) fn end<E: From<InflateError>>(
        &mut self,
        plain: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        match &mut self.gzip {
            Some(gzip) if self.started => {
                gzip.try_finish().map_err(|_| InflateError::Invalid)?;
                Self::hand_on(&mut self.left, gzip.get_ref(), plain)?;
                gzip.get_mut().clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn hand_on<E: From<InflateError>>(
        left: &mut u64,
        bytes: &[u8],
        plain: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        *left = left.checked_sub(bytes.len() as u64).ok_or(InflateError::TooLarge)?;
        if bytes.is_empty() { Ok(()) } else { plain(bytes) }
    }
}
