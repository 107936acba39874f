//! Appending JSON to a text.

use serde::Serialize;
use uuid::Uuid;

/// The JSON of a value of this crate.
pub(crate) fn to_json<T: Serialize>(value: &T) -> String {
    // Serialising fails only for maps with keys that are no strings and for failing `Serialize` implementations: the
    // crate has neither.
    serde_json::to_string(value).unwrap_or_default()
}

/// Appends `text` as a JSON string, with the escapes `JSON.stringify` uses.
pub(crate) fn string(out: &mut String, text: &str) {
    out.reserve(text.len() + 2);
    out.push('"');
    string_part(out, text);
    out.push('"');
}

/// Appends a part of a JSON string, without its quotes.
pub(crate) fn string_part(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        let (plain, tail) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = tail.chars();
        if let Some(special) = chars.next() {
            escape(out, special);
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
}

fn escape(out: &mut String, special: char) {
    match special {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        control => {
            let code = u32::from(control);
            out.push_str("\\u00");
            out.extend([code >> 4, code & 15].into_iter().filter_map(|digit| char::from_digit(digit, 16)));
        }
    }
}

/// Appends an integer.
pub(crate) fn int(out: &mut String, value: i64) {
    out.push_str(itoa::Buffer::new().format(value));
}

/// Appends a UUID as a lower-case JSON string.
pub(crate) fn uuid(out: &mut String, id: Uuid) {
    out.push('"');
    out.push_str(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
    out.push('"');
}

/// Appends `text` as a JSON string, or `null`.
pub(crate) fn nullable(out: &mut String, text: Option<&str>) {
    match text {
        Some(text) => string(out, text),
        None => out.push_str("null"),
    }
}

/// Appends `,"key":` and the string, or nothing at all.
pub(crate) fn optional(out: &mut String, key: &str, text: Option<&str>) {
    if let Some(text) = text {
        out.push_str(",\"");
        out.push_str(key);
        out.push_str("\":");
        string(out, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_json_stringify_does() {
        let text = "plain \"q\" \\ / \n\r\t\u{8}\u{c}\u{0}\u{1f}\u{7f}\u{2028} é 日本語😀";
        let mut out = String::new();
        string(&mut out, text);
        assert_eq!(out, "\"plain \\\"q\\\" \\\\ / \\n\\r\\t\\b\\f\\u0000\\u001f\u{7f}\u{2028} é 日本語😀\"");
        assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
    }
}
