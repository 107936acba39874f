//! A push parser for the payload of one frame: `[[addr, content, addresses], …]` (sync.md 10.1).
//!
//! Frames may be 64 MiB long and arrive in pieces of any size, so nothing but the current row is held. The payload is
//! Transit-JSON of a fixed shape: arrays, plain strings (escaped with `~` where they start with `~`, `^` or a
//! backtick), integers and null; everything else is an error.

use datascript::Row;

/// Longest number or literal that can mean anything here.
const MAX_LITERAL: usize = 32;

/// Why bytes are not a framed snapshot.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not frames of rows, or cut short.
    #[error("invalid snapshot")]
    Invalid,
    /// A row's content passes the limit of sync.md 7.5.
    #[error("snapshot row too large")]
    RowTooLarge,
}

/// What the grammar allows next.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Place {
    Start,
    FirstRowOrEnd,
    NextRow,
    Addr,
    AfterAddr,
    Content,
    AfterContent,
    Addresses,
    AfterAddresses,
    AfterRow,
    End,
}

/// The token under way.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Lex {
    Between,
    Text,
    Escape,
    /// Hex digits of `\uXXXX` seen, and their value.
    Hex(u8, u16),
    Literal,
}

#[derive(Debug)]
pub(super) struct RowParser {
    place: Place,
    lex: Lex,
    /// The token so far, unescaped.
    token: Vec<u8>,
    /// First half of a surrogate pair.
    high: Option<u16>,
    addr: u32,
    content: String,
    max_text: usize,
}

impl RowParser {
    /// `max_text` bounds the bytes of one string.
    pub(super) const fn new(max_text: usize) -> Self {
        Self {
            place: Place::Start,
            lex: Lex::Between,
            token: Vec::new(),
            high: None,
            addr: 0,
            content: String::new(),
            max_text,
        }
    }

    /// Makes the parser ready for the next frame.
    pub(super) fn restart(&mut self) {
        self.place = Place::Start;
    }

    /// Whether a whole payload was seen.
    pub(super) fn is_complete(&self) -> bool {
        self.place == Place::End && self.lex == Lex::Between
    }

    /// Takes of the next piece of the payload what it needs to complete a row. `None`: it took everything.
    pub(super) fn next_row(&mut self, piece: &mut &[u8]) -> Result<Option<Row>, FrameError> {
        let mut bytes = *piece;
        while let Some((&byte, rest)) = bytes.split_first() {
            match self.lex {
                Lex::Text => {
                    let plain = bytes.iter().position(|&b| b < 0x20 || b == b'"' || b == b'\\').unwrap_or(bytes.len());
                    if plain == 0 {
                        bytes = rest;
                        self.special(byte)?;
                    } else {
                        let (run, rest) = bytes.split_at(plain);
                        bytes = rest;
                        self.append(run)?;
                    }
                }
                Lex::Escape => {
                    bytes = rest;
                    self.escape(byte)?;
                }
                Lex::Hex(digits, value) => {
                    bytes = rest;
                    self.hex(byte, digits, value)?;
                }
                Lex::Literal if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.') => {
                    bytes = rest;
                    if self.token.len() >= MAX_LITERAL {
                        return Err(FrameError::Invalid);
                    }
                    self.token.push(byte);
                }
                // Ends before this byte, which is looked at again.
                Lex::Literal => self.end_literal()?,
                Lex::Between => {
                    bytes = rest;
                    if self.between(byte)? {
                        let addresses = self.take_addresses()?;
                        *piece = bytes;
                        return Ok(Some(Row {
                            addr: self.addr,
                            content: std::mem::take(&mut self.content),
                            addresses,
                        }));
                    }
                }
            }
        }
        *piece = bytes;
        Ok(None)
    }

    /// A byte between tokens. True: a row has ended.
    fn between(&mut self, byte: u8) -> Result<bool, FrameError> {
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            return Ok(false);
        }
        self.place = match (self.place, byte) {
            (Place::Start, b'[') => Place::FirstRowOrEnd,
            (Place::FirstRowOrEnd | Place::NextRow, b'[') => Place::Addr,
            (Place::FirstRowOrEnd | Place::AfterRow, b']') => Place::End,
            (Place::AfterRow, b',') => Place::NextRow,
            (Place::AfterAddr, b',') => Place::Content,
            (Place::AfterContent, b',') => Place::Addresses,
            (Place::AfterAddresses, b']') => {
                self.place = Place::AfterRow;
                return Ok(true);
            }
            (Place::Addr | Place::Content | Place::Addresses, b'"') => {
                self.lex = Lex::Text;
                self.token.clear();
                self.place
            }
            (Place::Addr, b'0'..=b'9') | (Place::Addresses, b'n') => {
                self.lex = Lex::Literal;
                self.token.clear();
                self.token.push(byte);
                self.place
            }
            _ => return Err(FrameError::Invalid),
        };
        Ok(false)
    }

    /// A byte inside a string that does not stand for itself.
    fn special(&mut self, byte: u8) -> Result<(), FrameError> {
        match byte {
            b'"' if self.high.is_none() => self.end_text(),
            b'\\' => {
                self.lex = Lex::Escape;
                Ok(())
            }
            _ => Err(FrameError::Invalid),
        }
    }

    fn escape(&mut self, byte: u8) -> Result<(), FrameError> {
        let plain = match byte {
            b'u' => {
                self.lex = Lex::Hex(0, 0);
                return Ok(());
            }
            b'"' | b'\\' | b'/' => byte,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            _ => return Err(FrameError::Invalid),
        };
        self.lex = Lex::Text;
        self.append(&[plain])
    }

    fn hex(&mut self, byte: u8, digits: u8, value: u16) -> Result<(), FrameError> {
        let digit = char::from(byte).to_digit(16).and_then(|digit| u16::try_from(digit).ok());
        let value = (value << 4) | digit.ok_or(FrameError::Invalid)?;
        if digits < 3 {
            self.lex = Lex::Hex(digits + 1, value);
            return Ok(());
        }
        self.lex = Lex::Text;
        let units = match (self.high.take(), value) {
            (None, 0xD800..=0xDBFF) => {
                self.high = Some(value);
                return Ok(());
            }
            (None, _) => [value, 0],
            (Some(high), _) => [high, value],
        };
        let units = if (0xD800..=0xDBFF).contains(&units[0]) { &units[..] } else { &units[..1] };
        let decoded = char::decode_utf16(units.iter().copied()).next().and_then(Result::ok);
        let mut buffer = [0; 4];
        let text = decoded.ok_or(FrameError::Invalid)?.encode_utf8(&mut buffer).len();
        self.append(buffer.get(..text).unwrap_or_default())
    }

    fn append(&mut self, run: &[u8]) -> Result<(), FrameError> {
        if self.high.is_some() {
            return Err(FrameError::Invalid);
        }
        if self.token.len().saturating_add(run.len()) > self.max_text {
            return Err(FrameError::RowTooLarge);
        }
        self.token.extend_from_slice(run);
        Ok(())
    }

    fn end_text(&mut self) -> Result<(), FrameError> {
        self.lex = Lex::Between;
        match self.place {
            Place::Addr => {
                let digits = self.token.strip_prefix(b"~i").ok_or(FrameError::Invalid)?;
                self.addr = integer(digits)?;
                self.place = Place::AfterAddr;
            }
            Place::Content => {
                self.content = self.plain_text()?;
                self.place = Place::AfterContent;
            }
            _ => self.place = Place::AfterAddresses,
        }
        Ok(())
    }

    fn end_literal(&mut self) -> Result<(), FrameError> {
        self.lex = Lex::Between;
        if self.place == Place::Addr {
            // JSON knows no number that begins with a zero and goes on.
            if self.token.len() > 1 && self.token.starts_with(b"0") {
                return Err(FrameError::Invalid);
            }
            self.addr = integer(&self.token)?;
            self.place = Place::AfterAddr;
        } else if self.token == b"null" {
            self.token.clear();
            self.place = Place::AfterAddresses;
        } else {
            return Err(FrameError::Invalid);
        }
        Ok(())
    }

    /// The last token as addresses: nothing for null.
    fn take_addresses(&mut self) -> Result<Option<String>, FrameError> {
        if self.token.is_empty() || self.token == b"~_" {
            return Ok(None);
        }
        let text = self.plain_text()?;
        if text.starts_with('[') { Ok(Some(text)) } else { Err(FrameError::Invalid) }
    }

    /// The last token as a string: Transit's escape removed, what stands for something else refused.
    fn plain_text(&mut self) -> Result<String, FrameError> {
        let bytes = std::mem::take(&mut self.token);
        let mut text = String::from_utf8(bytes).map_err(|_| FrameError::Invalid)?;
        let mut start = text.bytes();
        match (start.next(), start.next()) {
            (Some(b'~'), Some(b'~' | b'^' | b'`')) => {
                text.remove(0);
                Ok(text)
            }
            (Some(b'~' | b'^'), _) => Err(FrameError::Invalid),
            _ => Ok(text),
        }
    }
}

/// A number that is an address: JSON number syntax is wider than what any writer uses for one.
fn integer(digits: &[u8]) -> Result<u32, FrameError> {
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).ok_or(FrameError::Invalid)
}
