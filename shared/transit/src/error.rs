//! Why a text cannot be read.

use thiserror::Error;

/// Why and where a text cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{kind} at byte {offset}")]
pub struct ReadError {
    /// What is wrong.
    pub kind: ErrorKind,
    /// Where: a byte offset into the text.
    pub offset: usize,
}

/// What is wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The text ends within a value.
    #[error("unexpected end of text")]
    UnexpectedEnd,
    /// A character that JSON does not allow here.
    #[error("unexpected character")]
    UnexpectedCharacter,
    /// More text after the value.
    #[error("text after the value")]
    TrailingText,
    /// A byte sequence that is not UTF-8.
    #[error("invalid UTF-8")]
    InvalidUtf8,
    /// A `\` sequence that JSON does not know.
    #[error("invalid escape")]
    InvalidEscape,
    /// A control character inside a string.
    #[error("control character in a string")]
    ControlCharacter,
    /// A number that JSON does not allow, such as `01`; one beyond the range of numbers; a text that is none under a
    /// number's tag.
    #[error("invalid number")]
    InvalidNumber,
    /// A cache code whose slot is empty or cannot exist.
    #[error("unknown cache code")]
    UnknownCacheCode,
    /// A cache code in place of a value that no writer repeats, such as a string.
    #[error("misplaced cache code")]
    MisplacedCacheCode,
    /// A tag where a value is expected, or a tagged array that has not exactly one value.
    #[error("misplaced tag")]
    MisplacedTag,
    /// The value under a known tag is not of its shape, such as a set of a number; or a map that is not `~#cmap` has a
    /// collection among its keys.
    #[error("wrong shape under a tag")]
    WrongShape,
    /// A text that is no instant under an instant's tag.
    #[error("invalid instant")]
    InvalidInstant,
    /// A text that is not base64 under the tag of binary data.
    #[error("invalid binary data")]
    InvalidBinary,
    /// A tag that clients take for something else.
    #[error("reserved tag")]
    ReservedTag,
    /// A map key that breaks clients.
    #[error("reserved key")]
    ReservedKey,
    /// Deeper than [`Limits::max_depth`](crate::Limits::max_depth).
    #[error("nested too deeply")]
    TooDeep,
    /// Longer than [`Limits::max_bytes`](crate::Limits::max_bytes), or standing for more than
    /// [`Limits::max_repeats`](crate::Limits::max_repeats) allows.
    #[error("text too large")]
    TooLarge,
    /// More values than [`Limits::max_values`](crate::Limits::max_values).
    #[error("too many values")]
    TooManyValues,
}

impl ErrorKind {
    /// The error at a place.
    pub(crate) fn at(self, offset: usize) -> ReadError {
        ReadError { kind: self, offset }
    }
}
