//! The Connect protocol with JSON, as far as running commands in a sandbox needs it (agents.md 6.4): a stream is a
//! sequence of envelopes, each a byte of flags, the length of the payload in four bytes (big-endian), and the payload.
//! The last one is marked, and says whether the call failed.

mod envelope;
mod failure;
mod parser;

pub use envelope::{write_end, write_message};
pub use failure::{Code, Failure, MAX_MESSAGE_BYTES};
pub use parser::{MAX_ENVELOPE_BYTES, Parser, Part};

/// Why a stream cannot be read, or an envelope not be written. No text contains anything of a payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The payload is compressed, which was not agreed on.
    #[error("an envelope is compressed")]
    Compressed,
    /// A flag is set that the protocol does not know.
    #[error("an envelope has unknown flags: {0:#04x}")]
    Flags(u8),
    /// The payload has more bytes than allowed, by the length that stands before it.
    #[error("an envelope of {size} bytes is larger than {limit}")]
    TooLarge {
        /// Bytes of the payload.
        size: usize,
        /// What was allowed.
        limit: usize,
    },
    /// The payload is not JSON, or not of the expected form.
    #[error("the payload of an envelope cannot be read")]
    Payload,
    /// Something comes after the envelope that ends the stream.
    #[error("the stream goes on after its end")]
    AfterEnd,
    /// The stream stopped without the envelope that ends it, perhaps within another one.
    #[error("the stream stopped before its end")]
    MissingEnd,
}
