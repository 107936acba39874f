//! The value model.

use std::sync::Arc;

use uuid::Uuid;

use crate::keyword::{Keyword, Symbol};

/// Greatest integer that a JavaScript number holds exactly together with its neighbours: 2^53 − 1.
pub const MAX_SAFE_INTEGER: i64 = 9_007_199_254_740_991;

/// One Transit value (datascript.md 1).
///
/// The type is 24 bytes, and cloning it is at most a reference count: collections and texts are shared and immutable.
///
/// Numbers are canonical, as JavaScript knows one number type only: an integer within ±(2^53 − 1) is always
/// [`Value::Int`] (`1.0` and `-0.0` as well), any other number is [`Value::Float`]. [`Value::number`] keeps to that.
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// `nil`; the JSON `null`.
    #[default]
    Nil,
    /// A boolean.
    Bool(bool),
    /// An integer within ±(2^53 − 1).
    Int(i64),
    /// Any other number: fractions, integers beyond 2^53 − 1, infinities and NaN.
    Float(f64),
    /// A text.
    String(Arc<str>),
    /// A keyword, `:ns/name`.
    Keyword(Keyword),
    /// A symbol, `ns/name`.
    Symbol(Symbol),
    /// A well-formed UUID; anything else under the tag `u` is a [`Value::Scalar`].
    Uuid(Uuid),
    /// Milliseconds since the Unix epoch.
    Instant(i64),
    /// A vector (JSON array).
    Vector(Arc<[Value]>),
    /// A list (`["~#list",[…]]`): equal to a vector of the same elements, but not a vector where that matters
    /// (datascript.md 9.2).
    List(Arc<[Value]>),
    /// A set: distinct members in the order in which they were first seen.
    Set(Arc<[Value]>),
    /// A map: distinct keys in the order in which they were first seen.
    Map(Arc<[(Value, Value)]>),
    /// A one-character tag with a text that has no meaning here.
    Scalar(Arc<Scalar>),
    /// A longer tag with a value that has no meaning here.
    Tagged(Arc<Tagged>),
}

/// A value under a one-character tag that is kept as it is: an integer beyond ±(2^53 − 1) (`i`), big integer (`n`),
/// big decimal (`f`), URI (`r`), binary (`b`), a malformed UUID (`u`, its text in lower case), any unknown tag.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scalar {
    /// The tag's character.
    pub tag: char,
    /// The text after the tag.
    pub rep: Arc<str>,
}

/// A value under a longer tag that is kept as it is, such as `datascript/Datom` or `error`.
#[derive(Clone, Debug, PartialEq)]
pub struct Tagged {
    /// The tag without `~#`.
    pub tag: Arc<str>,
    /// The tagged value.
    pub rep: Value,
}

impl Value {
    /// A number in canonical form.
    #[expect(clippy::cast_possible_truncation, reason = "the branch holds integers within ±(2^53 − 1) only")]
    #[expect(clippy::cast_precision_loss, reason = "2^53 − 1 is exact")]
    pub fn number(number: f64) -> Self {
        if number.fract() == 0.0 && number.abs() <= MAX_SAFE_INTEGER as f64 {
            Self::Int(number as i64)
        } else {
            Self::Float(number)
        }
    }

    /// A text.
    pub fn string(text: &str) -> Self {
        Self::String(Arc::from(text))
    }

    /// A keyword from its text without the colon.
    pub fn keyword(text: &str) -> Self {
        Self::Keyword(Keyword::new(text))
    }

    /// A vector.
    pub fn vector(items: impl IntoIterator<Item = Self>) -> Self {
        Self::Vector(items.into_iter().collect())
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// An integer within ±(2^53 − 1).
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// Any number.
    #[expect(clippy::cast_precision_loss, reason = "canonical integers are exact in f64")]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// The keyword.
    pub fn as_keyword(&self) -> Option<&Keyword> {
        match self {
            Self::Keyword(keyword) => Some(keyword),
            _ => None,
        }
    }

    /// A well-formed UUID.
    pub fn as_uuid(&self) -> Option<Uuid> {
        match self {
            Self::Uuid(uuid) => Some(*uuid),
            _ => None,
        }
    }

    /// The elements of a vector (not of a list).
    pub fn as_vector(&self) -> Option<&[Self]> {
        match self {
            Self::Vector(items) => Some(items),
            _ => None,
        }
    }

    /// The elements of a vector or list.
    pub fn as_seq(&self) -> Option<&[Self]> {
        match self {
            Self::Vector(items) | Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// The members of a set.
    pub fn as_set(&self) -> Option<&[Self]> {
        match self {
            Self::Set(items) => Some(items),
            _ => None,
        }
    }

    /// The entries of a map.
    pub fn as_map(&self) -> Option<&[(Self, Self)]> {
        match self {
            Self::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value under a keyword key of a map, by the keyword's text. `None` when this is not a map.
    pub fn get(&self, keyword: &str) -> Option<&Self> {
        self.as_map()?.iter().find(|(key, _)| key.is_keyword(keyword)).map(|(_, value)| value)
    }

    /// Whether this is the keyword of that text.
    pub fn is_keyword(&self, text: &str) -> bool {
        matches!(self, Self::Keyword(keyword) if keyword.as_str() == text)
    }

    /// Whether this is nil.
    pub fn is_nil(&self) -> bool {
        matches!(self, Self::Nil)
    }

    /// Whether a ClojureScript condition takes this for true: everything but nil and false.
    pub fn is_truthy(&self) -> bool {
        !matches!(self, Self::Nil | Self::Bool(false))
    }

    /// How many arrays of the written text lie within one another where this value stands: 0 for a scalar. A map with a
    /// collection among its keys is written as an array under a tag, which is two.
    pub fn written_depth(&self) -> usize {
        let deepest = |items: &[Self]| items.iter().map(Self::written_depth).max().unwrap_or_default();
        match self {
            Self::Vector(items) => 1 + deepest(items),
            Self::List(items) | Self::Set(items) => 2 + deepest(items),
            Self::Tagged(tagged) => 1 + tagged.rep.written_depth(),
            Self::Map(entries) => {
                let keys = entries.iter().map(|(key, _)| key.written_depth()).max().unwrap_or_default();
                let values = entries.iter().map(|(_, value)| value.written_depth()).max().unwrap_or_default();
                let plain = entries.iter().all(|(key, _)| key.is_stringable());
                keys.max(values) + if plain { 1 } else { 2 }
            }
            _ => 0,
        }
    }

    /// Whether the value can be the key of a plain map (datascript.md 2.1): every scalar can, no collection.
    pub fn is_stringable(&self) -> bool {
        !matches!(self, Self::Vector(_) | Self::List(_) | Self::Set(_) | Self::Map(_) | Self::Tagged(_))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Int(value.into())
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Int(value.into())
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::number(value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::string(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text.into())
    }
}

impl From<Keyword> for Value {
    fn from(keyword: Keyword) -> Self {
        Self::Keyword(keyword)
    }
}

impl From<Uuid> for Value {
    fn from(uuid: Uuid) -> Self {
        Self::Uuid(uuid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stays_small() {
        assert!(size_of::<Value>() <= 24);
        assert!(size_of::<Option<Value>>() <= 24);
    }

    #[test]
    fn numbers_are_canonical() {
        assert!(matches!(Value::number(1.0), Value::Int(1)));
        assert!(matches!(Value::number(-0.0), Value::Int(0)));
        assert!(matches!(Value::number(9_007_199_254_740_991.0), Value::Int(MAX_SAFE_INTEGER)));
        assert!(matches!(Value::number(9_007_199_254_740_992.0), Value::Float(_)));
        assert!(matches!(Value::number(1.5), Value::Float(_)));
        assert!(matches!(Value::number(f64::INFINITY), Value::Float(_)));
    }
}
