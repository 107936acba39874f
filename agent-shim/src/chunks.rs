//! From what an agent says to outputs of bearable number and size (docs/spec/session-mailbox.md 4.8): neighbouring chunks of a
//! text become one output, and what is too long is cut. Pure.

use mailbox::message::MAX_OUTPUT_BYTES;
use serde_json::{Value, json};

use crate::outputs::{self, MAX_DEPTH};

/// A text that waits is given out at this length, in bytes.
const JOINED: usize = 4 << 10;
/// So much of a long text of a tool is kept, in bytes.
const KEPT: usize = 64 << 10;
/// A piece of a text is no longer than this as JSON, in bytes.
const PIECE: usize = 128 << 10;
/// Room for what stands around a text.
const AROUND: usize = 16 << 10;

/// Chunks of a text, of one kind, that wait for the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chunks {
    waiting: Option<Value>,
    text: String,
}

impl Chunks {
    /// Takes in a message of the agent's. What is to be told now, in this order.
    pub(crate) fn push(&mut self, envelope: Value) -> Vec<Value> {
        let Some(text) = text_of(&envelope) else {
            let mut told = self.flush();
            told.push(envelope);
            return told;
        };
        let mut told = Vec::new();
        if self.waiting.as_ref().is_some_and(|waiting| without_text(waiting) != without_text(&envelope)) {
            told = self.flush();
        }
        self.text.push_str(text);
        self.waiting.get_or_insert_with(|| without_text(&envelope));
        if self.text.len() >= JOINED {
            told.extend(self.flush());
        }
        told
    }

    /// What waits, in pieces that fit.
    pub(crate) fn flush(&mut self) -> Vec<Value> {
        let Some(envelope) = self.waiting.take() else { return Vec::new() };
        let text = std::mem::take(&mut self.text);
        let mut rest = text.as_str();
        let mut told = Vec::new();
        // Bounded by the text, of which each turn takes a piece.
        while !rest.is_empty() {
            let (piece, more) = rest.split_at(piece(rest));
            let mut one = envelope.clone();
            if let Some(slot) = one.pointer_mut(TEXT) {
                *slot = piece.into();
            }
            told.push(one);
            rest = more;
        }
        told
    }

    /// Whether something waits.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }
}

/// How long the next piece of a text is, in bytes: at most [`KEPT`], and less where JSON writes its letters longer.
fn piece(text: &str) -> usize {
    let mut written = 0;
    // Bounded by KEPT.
    for (at, letter) in text.char_indices() {
        written += match letter {
            '\0'..='\x1f' => 6,
            '"' | '\\' => 2,
            other => other.len_utf8(),
        };
        let end = at + letter.len_utf8();
        if end > KEPT || written > PIECE {
            return at;
        }
    }
    text.len()
}

const TEXT: &str = "/params/update/content/text";

fn text_of(envelope: &Value) -> Option<&str> {
    let kind = envelope.pointer("/params/update/sessionUpdate")?.as_str()?;
    let text = envelope.pointer(TEXT)?.as_str()?;
    matches!(kind, "agent_message_chunk" | "agent_thought_chunk").then_some(text)
}

fn without_text(envelope: &Value) -> Value {
    let mut envelope = envelope.clone();
    if let Some(slot) = envelope.pointer_mut(TEXT) {
        *slot = Value::Null;
    }
    envelope
}

/// A message that fits into an output, in length and depth, and what was cut off of it, whole.
pub(crate) fn fit(mut envelope: Value) -> (Value, Vec<String>) {
    let mut cut = Vec::new();
    let is_too_long = |envelope: &Value| envelope.to_string().len() + AROUND > MAX_OUTPUT_BYTES;
    let is_shallow = outputs::is_shallow(&envelope, MAX_DEPTH);
    if is_shallow {
        if !is_too_long(&envelope) {
            return (envelope, cut);
        }
        cut_texts(&mut envelope, &mut cut);
    }
    if !is_shallow || is_too_long(&envelope) {
        let update = envelope.pointer("/params/update");
        let keep = |key: &str| {
            update
                .and_then(|update| update.get(key))
                .filter(|value| value.is_string() && value.to_string().len() < 1_000)
        };
        let mut short = json!({"truncated": true});
        for key in ["sessionUpdate", "toolCallId", "title", "kind", "status"] {
            if let (Some(value), Some(short)) = (keep(key), short.as_object_mut()) {
                short.insert(key.to_owned(), value.clone());
            }
        }
        let session = envelope.pointer("/params/sessionId").filter(|id| id.is_string() && id.to_string().len() < 1_000);
        let shown =
            json!({"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": session, "update": short}});
        cut.push(envelope.to_string());
        envelope = shown;
    }
    (envelope, cut)
}

/// Cuts long texts, and says so beside each. Depth is bounded by the parser.
fn cut_texts(value: &mut Value, cut: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| cut_texts(item, cut)),
        Value::Object(members) => {
            let mut truncated = false;
            for member in members.values_mut() {
                if let Value::String(text) = member
                    && text.len() > KEPT
                {
                    let short = text.get(..text.floor_char_boundary(KEPT)).unwrap_or_default().to_owned();
                    cut.push(std::mem::replace(text, short));
                    truncated = true;
                } else {
                    cut_texts(member, cut);
                }
            }
            if truncated {
                members.insert("truncated".into(), true.into());
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(kind: &str, text: &str) -> Value {
        json!({"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": "s",
            "update": {"sessionUpdate": kind, "content": {"type": "text", "text": text}}}})
    }

    fn texts(told: &[Value]) -> Vec<&str> {
        told.iter().map(|one| one.pointer(TEXT).and_then(Value::as_str).unwrap_or("-")).collect()
    }

    #[test]
    fn neighbouring_chunks_of_a_kind_are_one() {
        let mut chunks = Chunks::default();
        assert!(chunks.push(chunk("agent_message_chunk", "a")).is_empty());
        assert!(chunks.push(chunk("agent_message_chunk", "b")).is_empty());
        assert_eq!(texts(&chunks.push(chunk("agent_thought_chunk", "c"))), ["ab"]);
        let plan = json!({"method": "session/update", "params": {"update": {"sessionUpdate": "plan"}}});
        assert_eq!(texts(&chunks.push(plan)), ["c", "-"]);
        assert!(!chunks.is_waiting() && chunks.flush().is_empty());
        assert_eq!(texts(&chunks.push(chunk("agent_message_chunk", &"x".repeat(5_000)))).len(), 1);
    }

    #[test]
    fn a_long_text_is_split_and_loses_nothing() {
        let mut chunks = Chunks::default();
        let text = "é".repeat(300_000);
        let told = chunks.push(chunk("agent_message_chunk", &text));
        assert!(told.iter().all(|one| one.to_string().len() < MAX_OUTPUT_BYTES));
        assert_eq!(texts(&told).concat(), text);
        // Letters that JSON writes in six bytes.
        let text = "\u{1}\u{1}a".repeat(100_000);
        let told = chunks.push(chunk("agent_message_chunk", &text));
        assert!(told.iter().all(|one| fit(one.clone()).1.is_empty()));
        assert_eq!(texts(&told).concat(), text);
    }

    #[test]
    fn what_a_tool_printed_is_cut_and_kept_whole_beside() {
        let long = "y".repeat(400_000);
        let call = json!({"method": "session/update", "params": {"sessionId": "s", "update": {"sessionUpdate": "tool_call_update",
            "toolCallId": "1", "content": [{"type": "content", "content": {"type": "text", "text": long}}]}}});
        let (short, cut) = fit(call.clone());
        assert_eq!(cut, [long]);
        assert!(short.to_string().len() < MAX_OUTPUT_BYTES && short.to_string().contains("\"truncated\":true"));
        assert_eq!(fit(json!({"small": 1})), (json!({"small": 1}), vec![]));
        // Many texts that are each short enough.
        let many: Vec<String> = vec!["z".repeat(60_000); 20];
        let call = json!({"params": {"update": {"sessionUpdate": "plan", "entries": many}}});
        let (short, cut) = fit(call);
        assert_eq!((short.pointer("/params/update/sessionUpdate"), cut.len()), (Some(&"plan".into()), 1));
    }
}
