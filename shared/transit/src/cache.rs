//! The cache of repeated strings (datascript.md 2.3): what is cached, how codes are spelled, and the reader's side.

use crate::error::{ErrorKind, ReadError};
use crate::token::Token;
use crate::value::Value;

/// Slots of the cache: 44², the number of two-character codes.
pub const CACHE_SLOTS: usize = 44 * 44;

/// As many strings as a row of a graph has at most, usually: so much is allocated at once.
pub(crate) const USUAL: usize = 16;

/// Codes count from this character.
const FIRST: u8 = b'0';
const DIGITS: usize = 44;

/// Whether a string of that encoded form, its tag prefix included, is long enough to be cached: 4 UTF-16 units. Whether
/// its kind and place allow it is the caller's to know.
pub(crate) fn long_enough(prefix: usize, text: &str) -> bool {
    // A unit takes at most three bytes of UTF-8, so that only short texts have to be counted.
    prefix + text.len() >= 4 && (text.len() >= 10 || prefix + text.encode_utf16().count() >= 4)
}

/// Appends the code of a slot.
#[expect(clippy::cast_possible_truncation, reason = "both digits are below 44 as a slot is below 44²")]
pub(crate) fn write_code(out: &mut String, slot: usize) {
    let digit = |digit: usize| char::from(FIRST + digit as u8);
    out.push('^');
    if slot >= DIGITS {
        out.push(digit(slot / DIGITS % DIGITS));
    }
    out.push(digit(slot % DIGITS));
}

/// Whether a string is a code rather than itself: it begins with `^`, but not with `^` and a space.
pub(crate) fn is_code(text: &[u8]) -> bool {
    text.first() == Some(&b'^') && text.get(1) != Some(&b' ')
}

/// The slot that a code names; `None` when it names none.
fn slot_of(code: &[u8]) -> Option<usize> {
    let digit = |byte: u8| Some(usize::from(byte.checked_sub(FIRST)?)).filter(|&digit| digit < DIGITS);
    match *code {
        [_, low] => digit(low),
        [_, high, low] => Some(digit(high)? * DIGITS + digit(low)?),
        _ => None,
    }
}

/// What the reader has seen that can be repeated by a code.
#[derive(Debug)]
pub(crate) struct ReadCache<'a> {
    slots: Vec<Slot<'a>>,
    next: usize,
    /// Bytes of text that codes may still stand for.
    budget: usize,
}

#[derive(Debug)]
struct Slot<'a> {
    token: Token<'a>,
    /// The tree's value for the token, once it was asked for.
    value: Option<Value>,
}

impl<'a> ReadCache<'a> {
    /// A cache whose codes may stand for so many bytes.
    pub(crate) fn new(budget: usize) -> Self {
        Self { slots: Vec::new(), next: 0, budget }
    }

    /// Remembers a token and tells it its slot.
    pub(crate) fn insert(&mut self, token: &mut Token<'a>) {
        if self.next == CACHE_SLOTS {
            self.next = 0;
        }
        if let Some(cached) = token.cached_mut() {
            cached.slot = u16::try_from(self.next).ok();
        }
        let slot = Slot { token: token.clone(), value: None };
        if let Some(old) = self.slots.get_mut(self.next) {
            *old = slot;
        } else {
            if self.slots.is_empty() {
                self.slots.reserve(USUAL);
            }
            self.slots.push(slot);
        }
        self.next += 1;
    }

    /// The token that a code at `offset` repeats. Writers repeat keywords, symbols and tags anywhere, and other texts as keys
    /// only: in place of a value, each of those would be written in full.
    pub(crate) fn repeat(&mut self, code: &[u8], key: bool, offset: usize) -> Result<Option<Token<'a>>, ReadError> {
        let Some(slot) = slot_of(code).and_then(|slot| self.slots.get(slot)) else {
            return Err(ErrorKind::UnknownCacheCode.at(offset));
        };
        if !key && !matches!(slot.token, Token::Keyword(_) | Token::Symbol(_) | Token::TagStart(_)) {
            return Err(ErrorKind::MisplacedCacheCode.at(offset));
        }
        let bytes = slot.token.cached().map_or(0, |cached| cached.text.len());
        match self.budget.checked_sub(bytes) {
            Some(budget) => self.budget = budget,
            None => return Err(ErrorKind::TooLarge.at(offset)),
        }
        let mut token = slot.token.clone();
        if let Some(cached) = token.cached_mut() {
            cached.fresh = false;
        }
        Ok(Some(token))
    }

    /// Whether a code repeats a tag.
    pub(crate) fn is_tag(&self, code: &[u8]) -> bool {
        let slot = slot_of(code).and_then(|slot| self.slots.get(slot));
        slot.is_some_and(|slot| matches!(slot.token, Token::TagStart(_)))
    }

    /// The place to remember the value of a token that stands in a slot, unless the slot has since been given to another.
    pub(crate) fn value_mut(&mut self, token: &Token<'a>) -> Option<&mut Option<Value>> {
        let cached = token.cached()?;
        let slot = self.slots.get_mut(usize::from(cached.slot?))?;
        let kept = slot.token.cached()?;
        std::ptr::eq(kept.as_str(), cached.as_str()).then_some(&mut slot.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_go_both_ways() {
        for slot in 0..CACHE_SLOTS {
            let mut code = String::new();
            write_code(&mut code, slot);
            assert!(is_code(code.as_bytes()));
            assert_eq!(slot_of(code.as_bytes()), Some(slot), "{code}");
        }
        for code in ["^", "^/", "^\\", "^0000", "^é", "^0\\"] {
            assert_eq!(slot_of(code.as_bytes()), None, "{code}");
        }
    }

    #[test]
    fn length_counts_utf16_units() {
        for (prefix, text, expected) in [
            (2, "a", false),
            (2, "ab", true),
            (2, "😀", true),
            (0, "中文字", false),
            (0, "中文字体", true),
            (0, "😀😀", true),
        ] {
            assert_eq!(long_enough(prefix, text), expected, "{text}");
        }
    }
}
