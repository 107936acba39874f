//! Tools that run, and how long they say they may (docs/spec/session-mailbox.md 4.7). Pure.

use std::collections::BTreeMap;

use serde_json::Value;

/// How many tools are remembered that run at the same time; of further ones no limit counts.
const MAX_TOOLS: usize = 64;
/// The longest limit, in milliseconds.
const MAX_LIMIT_MS: i64 = 86_400_000;

/// Tools in flight, by the agent's id of the call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tools {
    running: BTreeMap<String, Tool>,
}

/// A tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tool {
    /// What it is called.
    pub(crate) name: String,
    /// How long it says it may run, in milliseconds.
    pub(crate) limit_ms: Option<i64>,
    /// When it began.
    pub(crate) since: i64,
}

impl Tools {
    /// Takes in an update. Whether the tools that run are others now.
    pub(crate) fn see(&mut self, update: &Value, declares: &BTreeMap<String, String>, now: i64) -> bool {
        let kind = update.get("sessionUpdate").and_then(Value::as_str);
        if !matches!(kind, Some("tool_call" | "tool_call_update")) {
            return false;
        }
        let Some(id) = update.get("toolCallId").and_then(Value::as_str) else { return false };
        let status = update.get("status").and_then(Value::as_str);
        if matches!(status, Some("completed" | "failed")) {
            return self.running.remove(id).is_some();
        }
        let known = self.running.get(id);
        if known.is_none() && (self.running.len() >= MAX_TOOLS || kind == Some("tool_call_update")) {
            return false;
        }
        let text = |key: &str| update.get(key).and_then(Value::as_str);
        let pointer = [text("title"), text("kind")].into_iter().flatten().find_map(|name| declares.get(name));
        let declared = pointer.and_then(|pointer| update.get("rawInput")?.pointer(pointer)?.as_i64());
        let tool = Tool {
            name: known.map_or_else(
                || text("title").or_else(|| text("kind")).unwrap_or("tool").chars().take(100).collect(),
                |known| known.name.clone(),
            ),
            limit_ms: declared.map(|limit| limit.clamp(0, MAX_LIMIT_MS)).or(known.and_then(|known| known.limit_ms)),
            since: known.map_or(now, |known| known.since),
        };
        if known == Some(&tool) {
            return false;
        }
        self.running.insert(id.to_owned(), tool);
        true
    }

    /// The one that may run longest.
    pub(crate) fn longest(&self) -> Option<&Tool> {
        self.running.values().max_by_key(|tool| tool.since.saturating_add(tool.limit_ms.unwrap_or_default()))
    }

    /// The turn is over.
    pub(crate) fn clear(&mut self) {
        self.running.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_tool_runs_from_its_call_to_its_end_with_the_limit_that_it_declares() {
        let declares = BTreeMap::from([("execute".to_owned(), "/timeout".to_owned())]);
        let mut tools = Tools::default();
        let call = json!({"sessionUpdate": "tool_call", "toolCallId": "1", "title": "run", "kind": "execute",
            "status": "in_progress", "rawInput": {"timeout": 120_000}});
        assert!(tools.see(&call, &declares, 5));
        assert!(!tools.see(&call, &declares, 6));
        let expected = Tool { name: "run".into(), limit_ms: Some(120_000), since: 5 };
        assert_eq!(tools.longest(), Some(&expected));
        let other = json!({"sessionUpdate": "tool_call", "toolCallId": "2", "kind": "read"});
        assert!(tools.see(&other, &declares, 6));
        assert_eq!(tools.longest(), Some(&expected));
        // What does not repeat the input changes nothing of the limit.
        let goes_on = json!({"sessionUpdate": "tool_call_update", "toolCallId": "1", "status": "in_progress"});
        assert!(!tools.see(&goes_on, &declares, 7));
        let done = json!({"sessionUpdate": "tool_call_update", "toolCallId": "1", "status": "completed"});
        assert!(tools.see(&done, &declares, 8) && !tools.see(&done, &declares, 8));
        assert_eq!(tools.longest().map(|tool| tool.limit_ms), Some(None));
    }

    #[test]
    fn nothing_odd_counts_and_nothing_grows_without_end() {
        let mut tools = Tools::default();
        for update in [
            json!({}),
            json!({"sessionUpdate": "tool_call"}),
            json!({"sessionUpdate": "plan", "toolCallId": "1"}),
            json!({"sessionUpdate": "tool_call_update", "toolCallId": "1"}),
        ] {
            assert!(!tools.see(&update, &BTreeMap::new(), 0));
        }
        for n in 0..1_000 {
            tools.see(&json!({"sessionUpdate": "tool_call", "toolCallId": n.to_string()}), &BTreeMap::new(), 0);
        }
        assert_eq!(tools.running.len(), MAX_TOOLS);
    }
}
