//! What the worker is told, in the form that it takes (docs/spec/session-mailbox.md 7.6). Whatever an agent says becomes an output within the worker's
//! bounds, or none: one that the worker refuses is lost to its readers, and the end of a turn with it. Pure.

use serde_json::{Value, json};

/// Bytes of an id or a short word.
pub(crate) const MAX_WORD: usize = 256;
/// Bytes of a text for people.
pub(crate) const MAX_TEXT: usize = 4_096;
/// Ids that one output names.
pub(crate) const MAX_IDS: usize = 100;
/// How deep an agent's message may be nested. What stands around it on its way, in requests, rows and events, stays below the 128 that readers of
/// JSON take.
pub(crate) const MAX_DEPTH: usize = 64;
/// The longest question that is passed on, in bytes.
const MAX_QUESTION: usize = 200 << 10;

/// The beginning of a text.
pub(crate) fn clip(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or_default()
}

/// A short word; another one where there is none.
fn word<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    clip(if text.is_empty() { otherwise } else { text }, MAX_WORD)
}

/// Whether a text can be the agent's name of its session.
pub(crate) fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= MAX_WORD
}

/// Whether a value is nested no deeper than this. Its own depth is bounded by the parser.
pub(crate) fn is_shallow(value: &Value, most: usize) -> bool {
    let Some(rest) = most.checked_sub(1) else { return false };
    match value {
        Value::Array(items) => items.iter().all(|item| is_shallow(item, rest)),
        Value::Object(members) => members.values().all(|member| is_shallow(member, rest)),
        _ => true,
    }
}

/// How a turn ended, in the agent's words: ACP's, or others.
pub(crate) fn stop_reason(result: &Value) -> String {
    let said = result.get("stopReason").and_then(Value::as_str).unwrap_or_default();
    word(said, "end_turn").to_owned()
}

/// `opened`.
pub(crate) fn opened(session: &str, loaded: bool, cwd: &str, tools: bool) -> Value {
    json!({"runtime-session-id": session, "loaded": loaded, "cwd": cwd, "tools": tools})
}

/// `turn.started`.
pub(crate) fn turn_started(message: &str, run: &Value, attempt: i64) -> Value {
    json!({"message-id": message, "run": run, "attempt": attempt})
}

/// `turn.ended`.
pub(crate) fn turn_ended(
    (message, run, attempt): (&str, &Value, i64),
    stop_reason: &str,
    stopped: Option<&str>,
    error: Option<&str>,
) -> Value {
    let reason = word(stop_reason, "end_turn");
    let mut ended = json!({"message-id": message, "run": run, "attempt": attempt, "stop-reason": reason});
    for (key, value) in [("stopped", stopped), ("error", error.map(|text| clip(text, MAX_TEXT)))] {
        if let (Some(value), Some(ended)) = (value, ended.as_object_mut()) {
            ended.insert(key.to_owned(), value.into());
        }
    }
    ended
}

/// Whether a question of the agent's can be passed on.
pub(crate) fn is_question(params: &Value) -> bool {
    params.is_object() && is_shallow(params, MAX_DEPTH) && params.to_string().len() <= MAX_QUESTION
}

/// `permission`.
pub(crate) fn permission(request: &str, params: &Value) -> Value {
    json!({"request-id": request, "params": params})
}

/// `permission.void`, as often as the ids need.
pub(crate) fn permission_void(requests: &[String], reason: &str) -> Vec<Value> {
    requests.chunks(MAX_IDS).map(|ids| json!({"request-ids": ids, "reason": reason})).collect()
}

#[cfg(test)]
mod tests;
