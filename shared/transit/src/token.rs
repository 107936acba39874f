//! What the pull reader yields.

use std::ops::Deref;
use std::sync::Arc;

use uuid::Uuid;

/// A text: a part of the input, or decoded from JSON escapes and shared. Cloning never copies it.
#[derive(Clone, Debug)]
pub enum Text<'a> {
    /// A part of the input.
    Borrowed(&'a str),
    /// Decoded from escapes.
    Shared(Arc<str>),
}

impl Text<'_> {
    /// The text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }

    /// The text to keep; a decoded one is not copied again.
    pub fn into_arc(self) -> Arc<str> {
        match self {
            Self::Borrowed(text) => Arc::from(text),
            Self::Shared(text) => text,
        }
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

/// A text together with the slot of the read cache where it stands, if it is cacheable.
///
/// Within one input a slot keeps its text until [`CACHE_SLOTS`](crate::CACHE_SLOTS) others were cached after it, so a
/// consumer may remember what it made of the text per slot instead of looking it up each time; [`Cached::fresh`] tells
/// when a slot has received a new text.
#[derive(Clone, Debug, PartialEq)]
pub struct Cached<'a> {
    /// The text without its tag: `ns/name` of `~:ns/name`.
    pub text: Text<'a>,
    /// The slot, below [`CACHE_SLOTS`](crate::CACHE_SLOTS).
    pub slot: Option<u16>,
    /// Whether the text was spelled out here, rather than referred to by a code. Anything remembered for the slot is then
    /// out of date.
    pub fresh: bool,
}

impl<'a> Cached<'a> {
    pub(crate) fn new(text: Text<'a>) -> Self {
        Self { text, slot: None, fresh: true }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.text.as_str()
    }
}

impl Deref for Cached<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        self.text.as_str()
    }
}

/// One step of a Transit text.
///
/// Quoting (`["~#'",x]`) is resolved: only `x` is seen. Maps come as keys and values in turn, whichever of the forms
/// `["^ ",…]` and `{…}` they have; a missing last value is a [`Token::Nil`]. Any other tag, `list`, `set` and `cmap`
/// included, comes as [`Token::TagStart`], the tokens of one value, [`Token::TagEnd`].
#[derive(Clone, Debug, PartialEq)]
pub enum Token<'a> {
    /// nil
    Nil,
    /// A boolean.
    Bool(bool),
    /// An integer within ±(2^53 − 1).
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A text.
    String(Cached<'a>),
    /// The text of a keyword, without the colon.
    Keyword(Cached<'a>),
    /// The text of a symbol.
    Symbol(Cached<'a>),
    /// A well-formed UUID.
    Uuid(Uuid),
    /// Milliseconds since the epoch.
    Instant(i64),
    /// A one-character tag that is kept as it is; see [`Scalar`](crate::Scalar).
    Scalar {
        /// The tag's character.
        tag: char,
        /// The text after it.
        rep: Cached<'a>,
    },
    /// A vector begins, or the payload of a tag such as `list`.
    ArrayStart,
    /// The innermost array ends.
    ArrayEnd,
    /// A map begins.
    MapStart,
    /// The innermost map ends.
    MapEnd,
    /// A tagged value begins: the tag without `~#`.
    TagStart(Cached<'a>),
    /// The innermost tagged value ends.
    TagEnd,
}

impl<'a> Token<'a> {
    /// The text that the token carries.
    pub(crate) fn cached(&self) -> Option<&Cached<'a>> {
        match self {
            Self::String(cached)
            | Self::Keyword(cached)
            | Self::Symbol(cached)
            | Self::Scalar { rep: cached, .. }
            | Self::TagStart(cached) => Some(cached),
            _ => None,
        }
    }

    /// The text that the token carries, to change.
    pub(crate) fn cached_mut(&mut self) -> Option<&mut Cached<'a>> {
        match self {
            Self::String(cached)
            | Self::Keyword(cached)
            | Self::Symbol(cached)
            | Self::Scalar { rep: cached, .. }
            | Self::TagStart(cached) => Some(cached),
            _ => None,
        }
    }
}
