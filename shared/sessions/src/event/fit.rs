//! Bringing the data of an event to a size (agents.md 2.8).

use std::io;

use serde::Serialize;
use serde_json::{Value, json};

/// How many bytes of JSON one event may have unless the operator says otherwise.
pub const DEFAULT_EVENT_BYTES: usize = 256 * 1024;
/// How much of the data's JSON is kept where shorter strings do not help.
pub const PREVIEW_BYTES: usize = 64 * 1024;
/// Strings of at most this many bytes stay whole: they are the names and kinds by which a client understands the rest.
const SHORT_STRING_BYTES: usize = 256;

/// Counts what is written and keeps its beginning.
struct Head {
    kept: Vec<u8>,
    keep: usize,
    bytes: usize,
}

impl io::Write for Head {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.keep.saturating_sub(self.kept.len());
        self.kept.extend(bytes.iter().take(room));
        self.bytes = self.bytes.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn head(value: &impl Serialize, keep: usize) -> Head {
    let mut head = Head { kept: Vec::new(), keep, bytes: 0 };
    // Neither the writer nor values whose keys are strings can fail. If one did, what was counted so far is the answer.
    let _ = serde_json::to_writer(&mut head, value);
    head
}

/// How many bytes a value has as JSON.
pub fn json_bytes(value: &impl Serialize) -> usize {
    head(value, 0).bytes
}

/// The data in at most `max` bytes of JSON. Strings are cut at their end, the longest first. Where that is not enough, only
/// the beginning of the JSON is kept, as `preview`.
pub(super) fn fit(mut data: Value, max: usize) -> Value {
    let bytes = json_bytes(&data);
    let Some(excess) = bytes.checked_sub(max).filter(|excess| *excess > 0) else { return data };
    let mut lengths = Vec::new();
    each_string(&mut data, &mut |text| lengths.push(json_bytes(text)));
    if let Some(level) = level(lengths, excess) {
        each_string(&mut data, &mut |text| cut(text, level));
        return data;
    }
    let kept = head(&data, PREVIEW_BYTES).kept;
    let mut preview = String::from_utf8_lossy(&kept).trim_end_matches(char::REPLACEMENT_CHARACTER).to_owned();
    let frame = json_bytes(&json!({"preview": ""}));
    // `cut` counts the quotation marks, and so does `frame`.
    cut(&mut preview, max.saturating_sub(frame).saturating_add(2));
    json!({"preview": preview})
}

/// The length to which strings must be cut so that `excess` bytes go, if that leaves short strings whole.
fn level(mut lengths: Vec<usize>, excess: usize) -> Option<usize> {
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    let mut sum = 0_usize;
    let mut count = 0_usize;
    for (at, length) in lengths.iter().enumerate() {
        sum = sum.saturating_add(*length);
        count = count.saturating_add(1);
        let next = lengths.get(at.saturating_add(1)).copied().unwrap_or(0).max(SHORT_STRING_BYTES);
        let level = sum.saturating_sub(excess).checked_div(count)?;
        if sum >= excess && level >= next {
            return Some(level);
        }
        if next == SHORT_STRING_BYTES {
            return None;
        }
    }
    None
}

/// Every string of a value, keys of objects excepted. Values are read by `serde_json`, which refuses more than 128 levels:
/// that bounds the recursion.
fn each_string(value: &mut Value, look: &mut impl FnMut(&mut String)) {
    match value {
        Value::String(text) => look(text),
        Value::Array(values) => values.iter_mut().for_each(|value| each_string(value, look)),
        Value::Object(members) => members.values_mut().for_each(|value| each_string(value, look)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Shortens a text until it has at most `max` bytes as a JSON string, quotation marks included.
fn cut(text: &mut String, max: usize) {
    let mut bytes = 2_usize;
    let mut end = text.len();
    for (at, character) in text.char_indices() {
        bytes = bytes.saturating_add(escaped(character));
        if bytes > max {
            end = at;
            break;
        }
    }
    text.truncate(end);
}

/// Bytes of one character within a JSON string, as `serde_json` writes it.
fn escaped(character: char) -> usize {
    match character {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        character if u32::from(character) < 0x20 => 6,
        character => character.len_utf8(),
    }
}
