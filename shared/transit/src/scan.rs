//! The lexical layer: JSON bytes, one pass, no state but the position.

use crate::error::{ErrorKind, ReadError};

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The first `"`, `\` or control character in `bytes`, or their length.
///
/// Eight bytes at a time: each term sets the high bit of a byte that matches, and possibly of bytes after it, so that the
/// lowest bit set is exact.
pub(crate) fn find_special(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some((chunk, tail)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let quote = word ^ (ONES * u64::from(b'"'));
        let backslash = word ^ (ONES * u64::from(b'\\'));
        let found = (word.wrapping_sub(ONES * 0x20) & !word)
            | (quote.wrapping_sub(ONES) & !quote)
            | (backslash.wrapping_sub(ONES) & !backslash);
        let found = found & HIGH;
        if found != 0 {
            return bytes.len() - rest.len() + found.trailing_zeros() as usize / 8;
        }
        rest = tail;
    }
    let tail = rest.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\');
    bytes.len() - rest.len() + tail.unwrap_or(rest.len())
}

/// A position in a JSON text.
#[derive(Clone, Debug)]
pub(crate) struct Scanner<'a> {
    text: &'a str,
    pos: usize,
}

/// A JSON string as it was found.
pub(crate) enum Raw<'a> {
    /// Without escapes: a part of the text.
    Plain(&'a str),
    /// With escapes: decoded into the buffer given.
    Decoded,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, pos: 0 }
    }

    pub(crate) fn offset(&self) -> usize {
        self.pos
    }

    pub(crate) fn rewind(&mut self, offset: usize) {
        self.pos = offset;
    }

    /// The bytes from here on.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.pos..).unwrap_or_default()
    }

    /// The text between two offsets; all that are asked for lie on either side of an ASCII character.
    fn slice(&self, start: usize, end: usize) -> &'a str {
        self.text.get(start..end).unwrap_or_default()
    }

    pub(crate) fn error(&self, kind: ErrorKind) -> ReadError {
        kind.at(self.pos)
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.pos).copied()
    }

    /// Skips white space; whether the text ends here.
    pub(crate) fn at_end(&mut self) -> bool {
        while matches!(self.byte(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.pos += 1;
        }
        self.pos >= self.text.len()
    }

    /// Skips white space; the byte after it.
    pub(crate) fn peek(&mut self) -> Result<u8, ReadError> {
        match self.byte() {
            Some(byte) if byte > b' ' => Ok(byte),
            _ if self.at_end() => Err(self.error(ErrorKind::UnexpectedEnd)),
            _ => self.byte().ok_or_else(|| self.error(ErrorKind::UnexpectedEnd)),
        }
    }

    /// Goes past the byte that was peeked.
    pub(crate) fn advance(&mut self) {
        self.pos += 1;
    }

    /// Skips white space and one punctuation character.
    pub(crate) fn expect(&mut self, punctuation: u8) -> Result<(), ReadError> {
        if self.peek()? != punctuation {
            return Err(self.error(ErrorKind::UnexpectedCharacter));
        }
        self.pos += 1;
        Ok(())
    }

    /// One of `null`, `true`, `false`.
    pub(crate) fn word(&mut self, word: &str) -> Result<(), ReadError> {
        if !self.rest().starts_with(word.as_bytes()) {
            let kind = if word.as_bytes().starts_with(self.rest()) {
                ErrorKind::UnexpectedEnd
            } else {
                ErrorKind::UnexpectedCharacter
            };
            return Err(self.error(kind));
        }
        self.pos += word.len();
        Ok(())
    }

    /// A JSON number.
    pub(crate) fn number(&mut self) -> Result<Number<'a>, ReadError> {
        let start = self.pos;
        let bytes = self.rest();
        let negative = bytes.first() == Some(&b'-');
        let unsigned = bytes.get(usize::from(negative)..).unwrap_or_default();
        let mut integer = 0_i64;
        let mut digits = 0;
        let mut after = None;
        for &byte in unsigned {
            if !byte.is_ascii_digit() {
                after = Some(byte);
                break;
            }
            integer = integer.wrapping_mul(10).wrapping_add(i64::from(byte - b'0'));
            digits += 1;
        }
        self.pos += usize::from(negative) + digits;
        let leading_zero = digits > 1 && unsigned.first() == Some(&b'0');
        if leading_zero {
            return Err(self.error(ErrorKind::InvalidNumber));
        }
        if digits == 0 {
            return Err(self.number_error());
        }
        if digits <= 15 && !matches!(after, Some(b'.' | b'e' | b'E')) {
            return Ok(Number::Integer(if negative { -integer } else { integer }));
        }
        if self.byte() == Some(b'.') {
            self.pos += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.pos += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.pos += 1;
            }
            self.digits()?;
        }
        Ok(Number::Text(self.slice(start, self.pos)))
    }

    fn digits(&mut self) -> Result<(), ReadError> {
        let start = self.pos;
        while matches!(self.byte(), Some(b'0'..=b'9')) {
            self.pos += 1;
        }
        if self.pos == start { Err(self.number_error()) } else { Ok(()) }
    }

    fn number_error(&self) -> ReadError {
        let end = self.pos >= self.text.len();
        self.error(if end { ErrorKind::UnexpectedEnd } else { ErrorKind::InvalidNumber })
    }

    /// A string, from its opening quote on. Escapes are decoded into `buffer`.
    pub(crate) fn string(&mut self, buffer: &mut String) -> Result<Raw<'a>, ReadError> {
        self.pos += 1;
        let start = self.pos;
        self.pos += find_special(self.rest());
        if self.byte() == Some(b'"') {
            self.pos += 1;
            return Ok(Raw::Plain(self.slice(start, self.pos - 1)));
        }
        buffer.clear();
        let mut run = start;
        loop {
            buffer.push_str(self.slice(run, self.pos));
            match self.byte() {
                Some(b'"') => {
                    self.pos += 1;
                    return Ok(Raw::Decoded);
                }
                Some(b'\\') => buffer.push(self.escape()?),
                Some(_) => return Err(self.error(ErrorKind::ControlCharacter)),
                None => return Err(self.error(ErrorKind::UnexpectedEnd)),
            }
            run = self.pos;
            self.pos += find_special(self.rest());
        }
    }

    /// The character of an escape sequence; a surrogate without its partner becomes U+FFFD.
    fn escape(&mut self) -> Result<char, ReadError> {
        let start = self.pos;
        self.pos += 2;
        Ok(match self.text.as_bytes().get(start + 1) {
            Some(&character @ (b'"' | b'\\' | b'/')) => char::from(character),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let unit = self.hex(start)?;
                self.surrogate(unit).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            Some(_) => return Err(ErrorKind::InvalidEscape.at(start)),
            None => return Err(ErrorKind::UnexpectedEnd.at(self.text.len())),
        })
    }

    /// The four hexadecimal digits here, those of the escape sequence that began at `start`.
    fn hex(&mut self, start: usize) -> Result<u32, ReadError> {
        let mut unit = 0;
        for _ in 0..4 {
            let Some(byte) = self.byte() else { return Err(self.error(ErrorKind::UnexpectedEnd)) };
            let digit = char::from(byte).to_digit(16).ok_or(ErrorKind::InvalidEscape.at(start))?;
            unit = unit * 16 + digit;
            self.pos += 1;
        }
        Ok(unit)
    }

    /// The character of a UTF-16 unit that was read, together with the low surrogate after a high one.
    fn surrogate(&mut self, unit: u32) -> Option<char> {
        if !(0xd800..0xdc00).contains(&unit) {
            return char::from_u32(unit);
        }
        let start = self.pos;
        if self.rest().starts_with(b"\\u") {
            self.pos += 2;
            if let Ok(low @ 0xdc00..=0xdfff) = self.hex(start) {
                return char::from_u32(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00));
            }
            // Not a partner: it is read again as a character, or an error, of its own.
            self.pos = start;
        }
        None
    }
}

/// A JSON number.
pub(crate) enum Number<'a> {
    /// An integer of at most 15 digits.
    Integer(i64),
    /// The text of any other.
    Text(&'a str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_special_character_is_found_at_any_place() {
        for special in [b'"', b'\\', 0, 0x1f, b'\n'] {
            for length in 0..40 {
                for filler in [b' ', b'a', 0x7f, 0x80, 0xff, b'!', b'#', b'['] {
                    let mut bytes = vec![filler; length];
                    assert_eq!(find_special(&bytes), length);
                    bytes.push(special);
                    bytes.extend([filler, b'"', 0]);
                    assert_eq!(find_special(&bytes), length, "{special} after {length} times {filler}");
                }
            }
        }
    }

    fn decode(text: &str) -> Result<String, ErrorKind> {
        let mut buffer = String::new();
        match Scanner::new(text).string(&mut buffer) {
            Ok(Raw::Plain(plain)) => Ok(plain.to_owned()),
            Ok(Raw::Decoded) => Ok(buffer),
            Err(error) => Err(error.kind),
        }
    }

    #[test]
    fn escapes() {
        assert_eq!(decode(r#""a\"\\\/\b\f\n\r\tz""#).unwrap(), "a\"\\/\u{8}\u{c}\n\r\tz");
        assert_eq!(decode(r#""\u00e9\uD83D\uDE00!""#).unwrap(), "é😀!");
        assert_eq!(decode(r#""\ud800x""#).unwrap(), "\u{fffd}x");
        assert_eq!(decode(r#""\ud800\ud83d\ude00""#).unwrap(), "\u{fffd}😀");
        assert_eq!(decode(r#""\ud800A\udc00""#).unwrap(), "\u{fffd}A\u{fffd}");
        assert_eq!(decode(r#""\x""#), Err(ErrorKind::InvalidEscape));
        assert_eq!(decode(r#""\u12g4""#), Err(ErrorKind::InvalidEscape));
        assert_eq!(decode(r#""\ud800\u12g4""#), Err(ErrorKind::InvalidEscape));
        assert_eq!(decode("\"a\nb\""), Err(ErrorKind::ControlCharacter));
        for cut in ["\"", "\"a", "\"\\", "\"\\u", "\"\\u12", "\"\\ud800\\", "\"\\ud800\\u1"] {
            assert_eq!(decode(cut), Err(ErrorKind::UnexpectedEnd), "{cut}");
        }
    }
}
