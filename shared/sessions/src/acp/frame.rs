//! The text of one frame of a runtime's event stream (agents.md 3.10).

use serde_json::{Value, json};
use thiserror::Error;

/// How long the text of one frame may be, in bytes (agents.md 2.8).
pub const MAX_FRAME_BYTES: usize = 8 * 1024 * 1024;
/// How many values one frame may hold. In memory a value takes up to a hundred times the room that it has as text, so that
/// a length alone bounds nothing. More than any event can show: as JSON it has 256 KiB.
pub const MAX_FRAME_VALUES: usize = 100_000;

/// A frame beyond [`MAX_FRAME_BYTES`]: it is dropped and told as `agent.runtime.error` with the reason `frame-too-large`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a frame of the runtime is too large")]
pub struct FrameTooLarge;

/// What a frame says. Nothing for `null`, and `{"raw": text}` for what is no JSON, too deep (128 levels) or too manifold.
pub fn read_frame(text: &str) -> Result<Option<Value>, FrameTooLarge> {
    if text.len() > MAX_FRAME_BYTES {
        return Err(FrameTooLarge);
    }
    match bounded_json(text) {
        Some(Value::Null) => Ok(None),
        Some(value) => Ok(Some(value)),
        None => Ok(Some(json!({"raw": text}))),
    }
}

/// Parses a text that somebody else wrote, unless it holds too many values. The depth is bounded by `serde_json`.
pub(crate) fn bounded_json(text: &str) -> Option<Value> {
    // Every value but the first stands behind one of these; those within texts are counted too, which does no harm as long
    // as texts are few. Where they are many, a second look leaves texts out.
    let marks = |byte: &u8| matches!(byte, b',' | b'[' | b'{' | b':');
    if text.bytes().filter(|byte| marks(byte)).count() >= MAX_FRAME_VALUES && values_at_most(text) >= MAX_FRAME_VALUES {
        return None;
    }
    serde_json::from_str(text).ok()
}

fn values_at_most(text: &str) -> usize {
    let mut within = false;
    let mut escaped = false;
    let mut count = 0_usize;
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if within => escaped = true,
            b'"' => within = !within,
            b',' | b'[' | b'{' | b':' if !within => count = count.saturating_add(1),
            _ => {}
        }
    }
    count
}
