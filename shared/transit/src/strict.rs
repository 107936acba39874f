//! What clients' readers do not read, or read as another value than we do.
//!
//! Clients read with transit-cljs and DataScript's handlers. A value that they refuse would keep all of them out of a graph,
//! and one that they cannot write again would break the storage of each. `tests/clients.rs` compares with their verdicts.

use crate::error::ErrorKind;
use crate::number::js_integer;
use crate::token::Token;
use crate::value::Value;

/// The farthest that a JavaScript date reaches from the epoch, in milliseconds.
const FARTHEST_INSTANT: u64 = 8_640_000_000_000_000;

/// Long tags that stand for something else in a client: its writer's own (`array`, `map`), a whole database with its
/// indexes, and the names that every JavaScript object has, which its reader takes for handlers.
const RESERVED: [&str; 15] = [
    "array",
    "map",
    "datascript/DB",
    "constructor",
    "toString",
    "toLocaleString",
    "valueOf",
    "hasOwnProperty",
    "isPrototypeOf",
    "propertyIsEnumerable",
    "__proto__",
    "__defineGetter__",
    "__defineSetter__",
    "__lookupGetter__",
    "__lookupSetter__",
];

/// Whether no value may stand under a long tag.
pub(crate) fn is_reserved(tag: &str) -> bool {
    RESERVED.contains(&tag)
}

/// What clients' handler of a long tag needs of the value under it, beyond what is always checked; `None` for a tag without
/// a handler, whose value is kept as it is.
pub(crate) fn shape_of(tag: &str) -> Option<fn(&Value) -> bool> {
    match tag {
        "datascript/Datom" => Some(is_datom),
        "datascript/Entity" => Some(|rep| rep.as_map().is_some()),
        "error" => Some(|rep| match rep.as_map() {
            Some([(message, _), (data, _)]) => message.is_keyword("message") && data.is_keyword("data"),
            _ => false,
        }),
        "js/Error" => Some(|rep| match rep.as_map() {
            Some([(message, Value::String(_))]) => message.is_keyword("message"),
            _ => false,
        }),
        "link" => Some(|_| true),
        _ => None,
    }
}

/// Whether a value is `[e a v tx]`, or `[e a v tx false]` for a retraction.
fn is_datom(rep: &Value) -> bool {
    let Some([e, a, _, tx, added @ ..]) = rep.as_vector() else { return false };
    let named = matches!(a, Value::Keyword(_) | Value::String(_));
    let added = matches!(added, [] | [Value::Bool(false)]);
    e.as_int().is_some() && named && tx.as_int().is_some_and(|tx| tx > 0) && added
}

/// Judges a text under a one-character tag by the token that was made of it.
pub(crate) fn check_scalar(tag: char, rep: &str, token: &Token<'_>) -> Result<(), ErrorKind> {
    let opaque = matches!(token, Token::Scalar { .. });
    match tag {
        'i' if !is_same_integer(rep, token) => Err(ErrorKind::InvalidNumber),
        'd' | 'z' if opaque => Err(ErrorKind::InvalidNumber),
        'm' | 't' if !is_date(token) => Err(ErrorKind::InvalidInstant),
        't' if !has_zone(rep) => Err(ErrorKind::InvalidInstant),
        'b' if !is_base64(rep) => Err(ErrorKind::InvalidBinary),
        // A client writes it as a string.
        's' => Err(ErrorKind::ReservedTag),
        _ => Ok(()),
    }
}

/// Whether a map with this key breaks the client that writes it: what the client remembers of the key goes to all objects.
pub(crate) fn is_harmful_key(key: &Value) -> bool {
    key.as_str() == Some("__proto__")
}

/// Whether clients' types allow metadata on the value.
pub(crate) fn carries_metadata(value: &Value) -> bool {
    matches!(value, Value::Nil | Value::Symbol(_) | Value::Vector(_) | Value::List(_) | Value::Set(_) | Value::Map(_))
}

/// Whether JavaScript reads the integer that we read. It does not beyond 64 bits, nor in some great ones with a fraction.
fn is_same_integer(rep: &str, token: &Token<'_>) -> bool {
    match (token, js_integer(rep)) {
        (Token::Int(ours), Some(theirs)) => *ours == theirs,
        (Token::Scalar { rep, .. }, Some(theirs)) => rep.parse() == Ok(theirs),
        _ => false,
    }
}

fn is_date(token: &Token<'_>) -> bool {
    matches!(token, Token::Instant(ms) if ms.unsigned_abs() <= FARTHEST_INSTANT)
}

/// Whether the zone of a date text is known: without one, a time is another instant in each client; a date alone is UTC.
fn has_zone(text: &str) -> bool {
    text.split_once(['T', 't', ' ']).is_none_or(|(_, time)| time.contains(['Z', 'z', '+', '-']))
}

/// Whether a text is base64 as writers give it: padded, without white space, the bits beyond the last byte zero.
fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let unused = match padding {
        0 => 0,
        1 => 0b11,
        2 => 0b1111,
        _ => return false,
    };
    text.len().is_multiple_of(4)
        && digits.bytes().all(|byte| value(byte).is_some())
        && digits.bytes().next_back().and_then(value).unwrap_or_default() & unused == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_it_is_written() {
        for text in ["", "AAE=", "AA==", "AQID", "+/+/", "/w=="] {
            assert!(is_base64(text), "{text}");
        }
        for text in ["!", "A", "AA", "AAA", "A===", "====", "AAE", "AAF=", "AB==", "AA E=", "AAE=\n", "A=A=", "é==="] {
            assert!(!is_base64(text), "{text}");
        }
    }
}
