//! The last resort (transcripts.md 4.1, 4.6): an agent that cannot load the conversation is told the end of it, as text.

use database::local::{Sql, SqlError};
use serde_json::Value;
use transcripts::limits::{RECOVERY_CHARS, RECOVERY_EVENTS};

use crate::object::{Platform, Session};
use crate::session::store::recent_events;

/// What stands before the conversation, and after it.
const BEFORE: &str = "The conversation so far was held with another instance of you, which is gone. Its end, for your information only:\n\n";
const AFTER: &str = "\n\nEnd of the earlier conversation. The message to answer now:\n\n";

impl<P: Platform> Session<P> {
    /// The text of a prompt, behind the conversation that its agent does not know.
    pub(in crate::object) fn with_conversation(&self, text: String) -> Result<String, crate::error::Error> {
        if !self.look(|core| core.state.transcript.is_lost)? {
            return Ok(text);
        }
        let before = recovery(self.platform.sql(), &text)?.unwrap_or_default();
        Ok(before + &text)
    }
}

/// What stands before a message whose agent does not know the conversation: the end of it as the log has it. None where nothing was said.
pub(in crate::object) fn recovery(sql: &impl Sql, message: &str) -> Result<Option<String>, SqlError> {
    let events = recent_events(sql, &["audit.log", "item.completed"], RECOVERY_EVENTS)?;
    Ok(recovered(&events, message))
}

/// What was said before the message, which is the last of it: the newest that fits. Events come newest first.
fn recovered(events: &[Value], message: &str) -> Option<String> {
    let mut said = Vec::new();
    let mut room = RECOVERY_CHARS;
    let mut is_present = true;
    for (who, text) in events.iter().filter_map(line) {
        // The message that is being sent is in the log already.
        if std::mem::take(&mut is_present) && who == "User" && text == message {
            continue;
        }
        let length = text.chars().count() + who.len() + 4;
        if length > room {
            break;
        }
        room -= length;
        said.push(format!("{who}: {text}"));
    }
    said.reverse();
    (!said.is_empty()).then(|| format!("{BEFORE}{}{AFTER}", said.join("\n\n")))
}

fn line(event: &Value) -> Option<(&'static str, String)> {
    let data = event.get("data")?;
    match event.get("type")?.as_str()? {
        "audit.log" if data.get("event")?.as_str()? == "user-message" => {
            Some(("User", data.get("message")?.as_str()?.to_owned()))
        }
        "item.completed" => {
            let parts = data.get("item")?.get("content")?.as_array()?;
            let texts = parts.iter().filter(|part| part.get("type").and_then(Value::as_str) == Some("text"));
            let text: String = texts.filter_map(|part| part.get("text")?.as_str()).collect();
            Some(("You", text)).filter(|(_, text)| !text.trim().is_empty())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn user(text: &str) -> Value {
        json!({"type": "audit.log", "data": {"event": "user-message", "message": text}})
    }

    fn agent(text: &str) -> Value {
        json!({"type": "item.completed", "data": {"item": {"content": [{"type": "reasoning", "text": "hm"}, {"type": "text", "text": text}]}}})
    }

    #[test]
    fn the_end_of_the_conversation_is_told() {
        let other = json!({"type": "audit.log", "data": {"event": "pull-request", "message": "x"}});
        let events = [user("now"), agent("two"), other, json!({}), user("now"), agent("one"), user("first")];
        let text = recovered(&events, "now");
        assert_eq!(text, Some(format!("{BEFORE}User: first\n\nYou: one\n\nUser: now\n\nYou: two{AFTER}")));
        assert_eq!((recovered(&[], "now"), recovered(&[user("now")], "now")), (None, None));
    }

    #[test]
    fn it_is_bounded() {
        let long = "é".repeat(RECOVERY_CHARS / 2);
        let events = [user("now"), agent(&long), user(&long), agent("old")];
        let text = recovered(&events, "now").unwrap();
        assert!(text.chars().count() < RECOVERY_CHARS + 400 && text.contains("You: é") && !text.contains("old"));
    }
}
