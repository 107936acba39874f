//! Decompression as bytes arrive, in bounded memory.

use std::io::Write;

use flate2::write::MultiGzDecoder;

/// Compressed bytes taken at once: deflate grows at most about a thousandfold, so that at most 256 KiB come out.
const PACKED_STEP: usize = 256;

/// Plain bytes taken at once.
const PLAIN_STEP: usize = 64 << 10;

/// Why a body cannot be read.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum InflateError {
    /// Not gzip, cut short, or followed by something else.
    Invalid,
    /// More bytes than allowed come out.
    TooLarge,
}

/// A body, plain or compressed. Counts what comes out.
#[derive(Debug)]
pub(super) struct Inflate {
    /// One member after another, as senders may write them (RFC 1952, 2.2).
    gzip: Option<MultiGzDecoder<Vec<u8>>>,
    /// Bytes that may still come out.
    left: u64,
    /// Whether any byte came in.
    started: bool,
}

impl Inflate {
    pub(super) fn new(gzip: bool, limit: u64) -> Self {
        Self { gzip: gzip.then(|| MultiGzDecoder::new(Vec::new())), left: limit, started: false }
    }

    /// Takes the next bytes of the input and appends what comes out of them, a few hundred kilobytes at most, to `out`.
    pub(super) fn step(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<(), InflateError> {
        self.started |= !input.is_empty();
        let step = if self.gzip.is_some() { PACKED_STEP } else { PLAIN_STEP };
        let (taken, rest) = input.split_at(step.min(input.len()));
        *input = rest;
        match &mut self.gzip {
            Some(gzip) => gzip.write_all(taken).map_err(|_| InflateError::Invalid)?,
            None => return self.hand_on(taken, out),
        }
        self.hand_on_unpacked(out)
    }

    /// Takes the end of the input. An empty body is empty whether it was said to be compressed or not.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) -> Result<(), InflateError> {
        match &mut self.gzip {
            Some(gzip) if self.started => gzip.try_finish().map_err(|_| InflateError::Invalid)?,
            _ => return Ok(()),
        }
        self.hand_on_unpacked(out)
    }

    fn hand_on_unpacked(&mut self, out: &mut Vec<u8>) -> Result<(), InflateError> {
        let Some(gzip) = &mut self.gzip else { return Ok(()) };
        let mut unpacked = std::mem::take(gzip.get_mut());
        let handed_on = self.hand_on(&unpacked, out);
        unpacked.clear();
        if let Some(gzip) = &mut self.gzip {
            *gzip.get_mut() = unpacked;
        }
        handed_on
    }

    fn hand_on(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), InflateError> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or(InflateError::TooLarge)?;
        out.extend_from_slice(bytes);
        Ok(())
    }
}
