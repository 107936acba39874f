//! Digests of tuples, and sums of them (sync.md 12.3).

use std::fmt;
use std::str::FromStr;

use datascript::{Attr, Value};
use uuid::Uuid;

use super::print::print;
use crate::rules::attrs;

const FNV_PRIME: u32 = 16_777_619;
const SEPARATOR: u16 = 31;

/// The checksum of a graph: two words, each the wrapping sum of a digest over all tuples. As a text: 16 hexadecimal
/// digits, lower case where written, any case where read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Checksum(pub u32, pub u32);

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}{:08x}", self.0, self.1)
    }
}

/// A text that is not 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a checksum is 16 hexadecimal digits")]
pub struct NoChecksum;

impl FromStr for Checksum {
    type Err = NoChecksum;

    fn from_str(text: &str) -> Result<Self, NoChecksum> {
        if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NoChecksum);
        }
        let number = u64::from_str_radix(text, 16).map_err(|_| NoChecksum)?;
        #[expect(clippy::cast_possible_truncation, reason = "the two halves of the number")]
        Ok(Self((number >> 32) as u32, number as u32))
    }
}

impl Checksum {
    /// The sum with `times` times a tuple's digest added.
    #[must_use]
    pub fn plus(self, digest: Self, times: u32) -> Self {
        Self(self.0.wrapping_add(digest.0.wrapping_mul(times)), self.1.wrapping_add(digest.1.wrapping_mul(times)))
    }

    /// The sum with `times` times a tuple's digest taken away.
    #[must_use]
    pub(super) fn minus(self, digest: Self, times: u32) -> Self {
        self.plus(Self(digest.0.wrapping_neg(), digest.1.wrapping_neg()), times)
    }
}

/// State of a digest that is being fed.
#[derive(Clone, Copy)]
pub(super) struct Digest(Checksum);

impl Digest {
    /// A digest that was fed the uuid of a tuple's entity: the common start of all of its tuples.
    pub(super) fn of_entity(uuid: &Value) -> Self {
        let mut digest = Self(Checksum(2_166_136_261, 5381));
        digest.value(uuid);
        digest.unit(SEPARATOR);
        digest
    }

    /// The digest of one of the entity's tuples; no value feeds nothing.
    pub(super) fn tuple(mut self, attr: Attr, value: Option<&Value>) -> Checksum {
        self.ascii(attr_text(attr));
        self.unit(SEPARATOR);
        if let Some(value) = value {
            self.value(value);
        }
        self.0
    }

    #[inline]
    fn unit(&mut self, unit: u16) {
        let Checksum(fnv, djb) = self.0;
        let unit = u32::from(unit);
        self.0 = Checksum((fnv ^ unit).wrapping_mul(FNV_PRIME), djb.wrapping_mul(33).wrapping_add(unit));
    }

    #[inline]
    fn ascii(&mut self, text: &[u8]) {
        for byte in text {
            self.unit(u16::from(*byte));
        }
    }

    fn text(&mut self, text: &str) {
        if text.is_ascii() {
            self.ascii(text.as_bytes());
        } else {
            for unit in text.encode_utf16() {
                self.unit(unit);
            }
        }
    }

    /// Feeds a value's text as ClojureScript's `str` gives it. Values of these attributes are texts and uuids; others can
    /// only come from clients that break the rules.
    fn value(&mut self, value: &Value) {
        match value {
            Value::Nil => {}
            Value::String(text) => self.text(text),
            Value::Uuid(uuid) => self.ascii(uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes()),
            Value::Scalar(scalar) => self.text(&scalar.rep),
            _ => {
                let mut text = String::new();
                print(value, &mut text);
                self.text(&text);
            }
        }
    }
}

/// The text of a checksum attribute, with the colon.
fn attr_text(attr: Attr) -> &'static [u8] {
    match attr {
        attrs::BLOCK_UUID => b":block/uuid",
        attrs::BLOCK_PARENT => b":block/parent",
        attrs::BLOCK_PAGE => b":block/page",
        attrs::BLOCK_ORDER => b":block/order",
        attrs::BLOCK_TITLE => b":block/title",
        attrs::BLOCK_NAME => b":block/name",
        _ => b"",
    }
}

/// The digest of one tuple: an entity's uuid, an attribute of sync.md 12.2, and its value, which for references is the
/// target's uuid, if it has one.
pub fn tuple_digest(uuid: &Value, attr: Attr, value: Option<&Value>) -> Checksum {
    Digest::of_entity(uuid).tuple(attr, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uuid(text: &str) -> Value {
        Value::Uuid(text.parse().unwrap())
    }

    /// sync.md 23
    #[test]
    fn digests_of_tuples() {
        let u1 = uuid("00000000-0000-0000-0000-000000000001");
        let u2 = uuid("00000000-0000-0000-0000-000000000002");
        let text = |text: &str| Value::from(text);
        assert_eq!(Checksum::default().to_string(), "0000000000000000");
        assert_eq!(tuple_digest(&u1, attrs::BLOCK_UUID, Some(&u1)).to_string(), "d8f824845497f938");
        assert_eq!(tuple_digest(&u1, attrs::BLOCK_TITLE, Some(&text("Hello"))).to_string(), "8a665c36710be462");
        assert_eq!(tuple_digest(&u2, attrs::BLOCK_PARENT, None).to_string(), "0190c0c5c00b0497");
        assert_eq!(tuple_digest(&u1, attrs::BLOCK_TITLE, Some(&text("日本語😀"))).to_string(), "d96938eeda94241a");
        let order = |value: &Value| tuple_digest(&u1, attrs::BLOCK_ORDER, Some(value));
        assert_eq!(order(&Value::Int(5)), order(&text("5")));
    }

    #[test]
    fn texts() {
        assert_eq!("D8f824845497f938".parse(), Ok(Checksum(0xd8f8_2484, 0x5497_f938)));
        assert_eq!(Checksum(1, 2).to_string(), "0000000100000002");
        for text in ["", "d8f824845497f93", "d8f824845497f9380", "+8f824845497f938", "é8f824845497f93"] {
            assert_eq!(text.parse::<Checksum>(), Err(NoChecksum));
        }
    }

    #[test]
    fn sums() {
        let digest = Checksum(u32::MAX, 7);
        assert_eq!(Checksum(1, 1).plus(digest, 2), Checksum(u32::MAX, 15));
        assert_eq!(Checksum(1, 1).plus(digest, 2).minus(digest, 2), Checksum(1, 1));
    }
}
