//! Reading JSON by the coercion rules of sync.md 2.6: maps are open, the last of duplicate keys wins, types are strict.
//!
//! One pass over the text: [`Json`] looks at a value without judging it, so that a wrong type under an ignored or
//! overwritten key does no harm; the owner of a message judges afterwards. Nothing recurses into what is not asked
//! for, so depth costs no stack.

use crate::errors::BodyError;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use uuid::Uuid;

/// A value has another type than the schema asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch;

/// What an object of interest keeps of its fields.
pub(crate) trait Fields<'a>: Default {
    /// Reads the value of `key` if the object has a use for it; false (and nothing read) if not.
    fn read<A: MapAccess<'a>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error>;
}

/// What the elements of an array become.
pub(crate) trait Item<'a>: Deserialize<'a> {
    /// Elements kept; of what follows only the fact is.
    const MAX: usize;
}

/// One JSON value: its scalar, an object's fields as `O`, an array's elements as `I`.
#[derive(Debug, Default)]
pub(crate) enum Json<'a, O = Skipped, I = Skipped> {
    /// The key did not occur.
    #[default]
    Absent,
    Null,
    Bool(bool),
    Number(f64),
    Text(Cow<'a, str>),
    Object(O),
    Array {
        items: Vec<I>,
        complete: bool,
    },
}

impl<'a, O, I> Json<'a, O, I> {
    /// A required string.
    pub(crate) fn text(self) -> Result<Cow<'a, str>, Mismatch> {
        match self {
            Self::Text(text) => Ok(text),
            _ => Err(Mismatch),
        }
    }

    /// A required string of at most `max` characters.
    pub(crate) fn short_text(self, max: usize) -> Result<Cow<'a, str>, Mismatch> {
        self.text().and_then(|text| short(text, max))
    }

    /// A string that may be absent, but not null.
    pub(crate) fn optional_text(self) -> Result<Option<Cow<'a, str>>, Mismatch> {
        match self {
            Self::Absent => Ok(None),
            value => value.text().map(Some),
        }
    }

    /// A string that may be absent or null.
    pub(crate) fn nullable_text(self) -> Result<Option<Cow<'a, str>>, Mismatch> {
        match self {
            Self::Absent | Self::Null => Ok(None),
            value => value.text().map(Some),
        }
    }

    /// A boolean that may be absent, but not null.
    pub(crate) fn optional_bool(&self) -> Result<Option<bool>, Mismatch> {
        match self {
            Self::Absent => Ok(None),
            Self::Bool(value) => Ok(Some(*value)),
            _ => Err(Mismatch),
        }
    }

    /// A required integer. See [`integer`].
    pub(crate) fn int(&self) -> Result<i64, Mismatch> {
        match self {
            Self::Number(number) => integer(*number).ok_or(Mismatch),
            _ => Err(Mismatch),
        }
    }

    /// An integer that may be absent, but not null.
    pub(crate) fn optional_int(&self) -> Result<Option<i64>, Mismatch> {
        match self {
            Self::Absent => Ok(None),
            value => value.int().map(Some),
        }
    }

    /// A UUID that may be absent, but not null.
    pub(crate) fn optional_uuid(self) -> Result<Option<Uuid>, Mismatch> {
        match self {
            Self::Absent => Ok(None),
            value => uuid(&value.text()?).map(Some).ok_or(Mismatch),
        }
    }

    /// A required object.
    pub(crate) fn object(self) -> Result<O, Mismatch> {
        match self {
            Self::Object(fields) => Ok(fields),
            _ => Err(Mismatch),
        }
    }

    /// A required array of no more elements than its kind allows.
    pub(crate) fn array(self) -> Result<Vec<I>, Mismatch> {
        match self {
            Self::Array { items, complete: true } => Ok(items),
            _ => Err(Mismatch),
        }
    }
}

/// The text, if it has no more than `max` characters. The size of the body bounds what is counted.
pub(crate) fn short(text: Cow<'_, str>, max: usize) -> Result<Cow<'_, str>, Mismatch> {
    // No text has more characters than bytes.
    if text.len() <= max || text.chars().count() <= max { Ok(text) } else { Err(Mismatch) }
}

/// 2^53: from here on JavaScript's numbers are no longer exact.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The integer a JSON number stands for: `5.0` is one, `5.5` is none, and neither is what JavaScript prints with an
/// exponent (from 1e21 on), as the reference's test goes through the printed text. Beyond ±2^53 the value is clamped:
/// no counter gets there, and comparisons keep their sense.
fn integer(number: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "clamped to ±2^53 first")]
    let clamped = number.clamp(-EXACT, EXACT) as i64;
    (number.fract() == 0.0 && number.abs() < 1e21).then_some(clamped)
}

/// A UUID of the form 8-4-4-4-12, in any case.
pub(crate) fn uuid(text: &str) -> Option<Uuid> {
    // The parser also reads the forms without dashes, in braces and as URN: they have other lengths.
    (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten()
}

/// Reads the one value of a text. `None`: the text is no JSON.
///
/// JSON that the visitors cannot hold (a lone surrogate, a number beyond all doubles) has a value of no type.
pub(crate) fn parse<'a, O: Fields<'a>>(text: &'a str) -> Option<Json<'a, O>> {
    match serde_json::from_str(text) {
        Ok(value) => Some(value),
        Err(_) if serde_json::from_str::<IgnoredAny>(text).is_ok() => Some(Json::Absent),
        Err(_) => None,
    }
}

/// Reads a request body that must be an object; `message` is the route's text for any other shape.
pub(crate) fn body<'a, O: Fields<'a>>(text: &'a str, message: &'static str) -> Result<O, BodyError> {
    if text.is_empty() {
        return Err(BodyError::Missing);
    }
    match parse(text).ok_or(BodyError::Syntax)? {
        Json::Null => Err(BodyError::Missing),
        Json::Object(fields) => Ok(fields),
        _ => Err(BodyError::Schema(message)),
    }
}

/// The text of a request body as a browser's `text()` gives it: a byte-order mark is dropped, and what is no UTF-8
/// becomes U+FFFD.
pub fn body_text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes))
}

/// A value without interest: nothing of it is kept.
#[derive(Debug, Default)]
pub(crate) struct Skipped;

impl<'a> Fields<'a> for Skipped {
    fn read<A: MapAccess<'a>>(&mut self, _: &str, _: &mut A) -> Result<bool, A::Error> {
        Ok(false)
    }
}

impl Item<'_> for Skipped {
    const MAX: usize = 0;
}

impl<'de> Deserialize<'de> for Skipped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

impl<'de, O: Fields<'de>, I: Item<'de>> Deserialize<'de> for Json<'de, O, I> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor(PhantomData))
    }
}

struct JsonVisitor<O, I>(PhantomData<(O, I)>);

impl<'de, O: Fields<'de>, I: Item<'de>> Visitor<'de> for JsonVisitor<O, I> {
    type Value = Json<'de, O, I>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Json::Bool(value))
    }

    #[expect(clippy::cast_precision_loss, reason = "JSON numbers are doubles, as in JavaScript")]
    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Json::Number(value as f64))
    }

    #[expect(clippy::cast_precision_loss, reason = "JSON numbers are doubles, as in JavaScript")]
    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Json::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Json::Number(value))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while items.len() < I::MAX {
            match seq.next_element()? {
                Some(item) => items.push(item),
                None => return Ok(Json::Array { items, complete: true }),
            }
        }
        let mut complete = true;
        while seq.next_element::<IgnoredAny>()?.is_some() {
            complete = false;
        }
        Ok(Json::Array { items, complete })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = O::default();
        while let Some(Key(key)) = map.next_key()? {
            if !fields.read(&key, &mut map)? {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Json::Object(fields))
    }
}

/// An object's key, borrowed unless it holds escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}
