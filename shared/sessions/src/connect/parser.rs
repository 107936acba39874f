//! Bytes in, messages out, wherever the network cuts the stream.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::envelope::{COMPRESSED, END, HEAD_BYTES};
use super::{Error, Failure};

/// The most bytes of one envelope (agents.md 2.8: the answer of a runtime). Output of commands comes in far smaller ones.
pub const MAX_ENVELOPE_BYTES: usize = 4 * 1024 * 1024;

/// A buffer that grew beyond this for one large envelope is given back after it.
const KEPT_BYTES: usize = 64 * 1024;

/// What an envelope holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<T> {
    /// A message.
    Message(T),
    /// The end of the stream, and whether the call failed.
    End(Result<(), Failure>),
}

/// An incremental parser for one stream. It holds at most one envelope, not larger than the limit.
#[derive(Debug)]
pub struct Parser {
    limit: usize,
    /// What has come of an envelope that is not whole.
    held: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Ended,
    Failed,
}

impl Default for Parser {
    fn default() -> Self {
        Self::new(MAX_ENVELOPE_BYTES)
    }
}

impl Parser {
    /// A parser for a new stream. A payload may have at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, held: Vec::new(), state: State::Open }
    }

    /// Takes bytes off the front of `input` up to the end of the next envelope. `None` when all of them are taken: more
    /// must come. Call it again with the same `input` until then.
    ///
    /// `T` should name what it needs and no more: a tree of any JSON takes many times the size of its text. After an error
    /// nothing can be found in the stream any more, and all further bytes are ignored.
    pub fn read<T: DeserializeOwned>(&mut self, input: &mut &[u8]) -> Option<Result<Part<T>, Error>> {
        let part = match self.state {
            _ if input.is_empty() => return None,
            State::Open => self.envelope(input).transpose()?,
            State::Ended => Err(Error::AfterEnd),
            State::Failed => {
                *input = &[];
                return None;
            }
        };
        match part {
            Ok(Part::Message(_)) => {}
            Ok(Part::End(_)) => self.state = State::Ended,
            Err(_) => {
                self.state = State::Failed;
                self.held = Vec::new();
                *input = &[];
            }
        }
        Some(part)
    }

    /// Says whether the stream may stop here. It may not before the envelope that ends it, nor after an error.
    pub fn finish(self) -> Result<(), Error> {
        if self.state == State::Ended { Ok(()) } else { Err(Error::MissingEnd) }
    }

    fn envelope<T: DeserializeOwned>(&mut self, input: &mut &[u8]) -> Result<Option<Part<T>>, Error> {
        self.hold(input, HEAD_BYTES);
        let Some(&[flags, size @ ..]) = self.held.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        if flags & COMPRESSED != 0 {
            return Err(Error::Compressed);
        }
        if flags & !END != 0 {
            return Err(Error::Flags(flags));
        }
        let size = usize::try_from(u32::from_be_bytes(size)).unwrap_or(usize::MAX);
        if size > self.limit {
            return Err(Error::TooLarge { size, limit: self.limit });
        }
        let whole = HEAD_BYTES.saturating_add(size);
        self.hold(input, whole);
        if self.held.len() < whole {
            return Ok(None);
        }
        let payload = self.held.get(HEAD_BYTES..).unwrap_or_default();
        let part = if flags & END == 0 { Part::Message(message(payload)?) } else { Part::End(outcome(payload)?) };
        self.held.clear();
        self.held.shrink_to(KEPT_BYTES);
        Ok(Some(part))
    }

    /// Takes bytes off the input until `wanted` are held. Memory grows with what has come, not with what is announced.
    fn hold(&mut self, input: &mut &[u8], wanted: usize) {
        let missing = wanted.saturating_sub(self.held.len());
        let (part, rest) = input.split_at(missing.min(input.len()));
        self.held.extend_from_slice(part);
        *input = rest;
    }
}

fn message<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(payload).map_err(|_| Error::Payload)
}

fn outcome(payload: &[u8]) -> Result<Result<(), Failure>, Error> {
    #[derive(Deserialize)]
    struct EndOfStream {
        error: Option<Failure>,
    }
    let end: EndOfStream = message(payload)?;
    Ok(end.error.map_or(Ok(()), |failure| Err(failure.bounded())))
}
