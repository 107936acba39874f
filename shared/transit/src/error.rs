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
    /// A number that JSON does not allow, such as `01`.
    #[error("invalid number")]
    InvalidNumber,
    /// A cache code whose slot is empty or cannot exist.
    #[error("unknown cache code")]
    UnknownCacheCode,
    /// A tag where a value is expected, or a tagged array that has not exactly one value.
    #[error("misplaced tag")]
    MisplacedTag,
    /// The value under a known tag is not of its shape, such as a set of a number.
    #[error("wrong shape under a tag")]
    WrongShape,
    /// Deeper than [`Limits::max_depth`](crate::Limits::max_depth).
    #[error("nested too deeply")]
    TooDeep,
    /// Longer than [`Limits::max_bytes`](crate::Limits::max_bytes).
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
