//! What JavaScript does with keys and texts, where an identity depends on it.

use std::cmp::Ordering;
use std::fmt::Write as _;

use serde_json::Value as Json;

/// The order of an object's keys after they were sorted and assigned one by one: integers below 2^32 - 1 first, by number,
/// then the others by UTF-16 code units (pg-sync.md 2.1).
pub(crate) fn compare_keys(a: &str, b: &str) -> Ordering {
    match (index(a), index(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.encode_utf16().cmp(b.encode_utf16()),
    }
}

/// A decimal number without leading zeros that is an index of an array.
fn index(key: &str) -> Option<u32> {
    let is_canonical = key == "0" || (!key.starts_with('0') && key.bytes().all(|byte| byte.is_ascii_digit()));
    key.parse().ok().filter(|index| is_canonical && *index < u32::MAX)
}

/// Appends a text in quotes. The escapes are those of `JSON.stringify`, which are those of this library.
pub(crate) fn write_text(text: &str, out: &mut String) {
    out.push_str(&Json::from(text).to_string());
}

/// Appends a text as a part of a path or query: what `encodeURIComponent` leaves is left.
pub(crate) fn write_component(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// Appends a value whose keys are in the order of [`compare_keys`], at every depth. Numbers are written as they are held.
///
/// The depth is that of what was parsed before, which the parser bounds.
pub(crate) fn write_sorted(value: &Json, out: &mut String) {
    match value {
        Json::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by(|(a, _), (b, _)| compare_keys(a, b));
            out.push('{');
            for (at, (key, value)) in members.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_text(key, out);
                out.push(':');
                write_sorted(value, out);
            }
            out.push('}');
        }
        Json::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_sorted(item, out);
            }
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_come_first_by_number() {
        let mut keys = vec!["b", "10", "A", "2", "01", "4294967295", "4294967294", " ", "0", "-1", "1e3"];
        keys.sort_by(|a, b| compare_keys(a, b));
        assert_eq!(keys, ["0", "2", "10", "4294967294", " ", "-1", "01", "1e3", "4294967295", "A", "b"]);
    }

    #[test]
    fn others_come_by_utf_16() {
        let mut keys = vec!["\u{fb01}", "\u{1f600}", "z"];
        keys.sort_by(|a, b| compare_keys(a, b));
        assert_eq!(keys, ["z", "\u{1f600}", "\u{fb01}"]);
    }
}
