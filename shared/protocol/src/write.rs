//! Appending JSON to a text.

use serde::Serialize;
use transit::json;
use uuid::Uuid;

/// The JSON of a value of this crate.
pub(crate) fn to_json<T: Serialize>(value: &T) -> String {
    // Serialising fails only for maps with keys that are no strings and for failing `Serialize` implementations: the
    // crate has neither.
    serde_json::to_string(value).unwrap_or_default()
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
        Some(text) => json::write_str(out, text),
        None => out.push_str("null"),
    }
}

/// Appends `,"key":` and the string, or nothing at all.
pub(crate) fn optional(out: &mut String, key: &str, text: Option<&str>) {
    if let Some(text) = text {
        out.push_str(",\"");
        out.push_str(key);
        out.push_str("\":");
        json::write_str(out, text);
    }
}
