//! Whether another sandbox may go on from a transcript (transcripts.md 4.7): its last line is whole, and every tool that was
//! called has answered. A model refuses a conversation in which the answer of a tool is missing.

use std::collections::HashSet;

use serde_json::Value;

use crate::bundle::Bundle;

/// Why nobody may go on from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Incomplete {
    /// A line breaks off, or is no JSON.
    #[error("a line is not whole")]
    Line,
    /// A tool has not answered.
    #[error("a tool call without a result")]
    ToolCall,
}

/// Calls of tools in the files of agents: the `type` of the object, and the member that names the call.
const CALLS: [(&str, &str); 4] = [
    ("tool_use", "id"),
    ("function_call", "call_id"),
    ("custom_tool_call", "call_id"),
    ("local_shell_call", "call_id"),
];
/// Answers of tools, in the same way.
const RESULTS: [(&str, &str); 3] =
    [("tool_result", "tool_use_id"), ("function_call_output", "call_id"), ("custom_tool_call_output", "call_id")];

/// Looks at all files of JSON lines.
pub fn check(bundle: &Bundle) -> Result<(), Incomplete> {
    // At most 64 files, all of them bounded by the bundle.
    for (file, bytes) in bundle.members() {
        if file.path.rsplit('.').next() == Some("jsonl") {
            check_lines(bytes)?;
        }
    }
    Ok(())
}

/// Looks at one file.
pub fn check_lines(bytes: &[u8]) -> Result<(), Incomplete> {
    if bytes.last().is_some_and(|last| *last != b'\n') {
        return Err(Incomplete::Line);
    }
    let mut open = HashSet::new();
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
        // The parser bounds how deep a value is.
        let value: Value = serde_json::from_slice(line).map_err(|_| Incomplete::Line)?;
        follow(&value, &mut open);
    }
    if open.is_empty() { Ok(()) } else { Err(Incomplete::ToolCall) }
}

fn follow(value: &Value, open: &mut HashSet<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| follow(value, open)),
        Value::Object(members) => {
            let kind = members.get("type").and_then(Value::as_str).unwrap_or_default();
            let named = |kinds: &[(&str, &str)]| {
                let (_, member) = kinds.iter().find(|(name, _)| *name == kind)?;
                members.get(*member)?.as_str().map(str::to_owned)
            };
            if let Some(id) = named(&CALLS) {
                open.insert(id);
            } else if let Some(id) = named(&RESULTS) {
                open.remove(&id);
            }
            members.values().for_each(|value| follow(value, open));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_with_answered_tools_may_be_gone_on_from() {
        for (text, expected) in [
            ("", Ok(())),
            ("{}\n\n{\"a\":[1]}\n", Ok(())),
            ("{}", Err(Incomplete::Line)),
            ("{}\n{\"a\":", Err(Incomplete::Line)),
            ("{}\nnothing\n", Err(Incomplete::Line)),
            ("{\"message\":{\"content\":[{\"type\":\"tool_use\",\"id\":\"t\"}]}}\n", Err(Incomplete::ToolCall)),
            (
                "{\"message\":{\"content\":[{\"type\":\"tool_use\",\"id\":\"t\"}]}}\n\
                 {\"message\":{\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"t\"}]}}\n",
                Ok(()),
            ),
            ("{\"payload\":{\"type\":\"function_call\",\"call_id\":\"c\"}}\n", Err(Incomplete::ToolCall)),
            (
                "{\"payload\":{\"type\":\"function_call\",\"call_id\":\"c\"}}\n\
                 {\"payload\":{\"type\":\"function_call_output\",\"call_id\":\"c\"}}\n",
                Ok(()),
            ),
        ] {
            assert_eq!(check_lines(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(check_lines(b"\xff\xfe\n"), Err(Incomplete::Line));
        let deep = format!("{}{}\n", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(check_lines(deep.as_bytes()), Err(Incomplete::Line));
    }
}
