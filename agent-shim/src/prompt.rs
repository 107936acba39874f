//! From messages to what the agent is asked (docs/spec/session-mailbox.md 7.4, 8.6). Pure.

use mailbox::message::Message;
use serde_json::{Value, json};

/// What the agent is told before a prompt that an earlier attempt may have begun.
const AGAIN: &str = "An earlier attempt at the following message was interrupted. It may have run tools and changed files. \
                     Look at the state of things before you do anything again.";
/// The command that ends a conversation.
const CLEAR: &str = "/clear";

/// A prompt, as the worker sent it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Prompt {
    /// The run that it belongs to.
    pub(crate) run: Value,
    /// The number of the attempt, as the worker counts it.
    pub(crate) attempt: i64,
    /// What is said.
    pub(crate) blocks: Vec<Value>,
    /// The end of the conversation, for an agent that does not know it.
    pub(crate) recovery: Option<String>,
}

/// Reads the body of a message. Nothing when it is none.
pub(crate) fn read(message: &Message) -> Option<Prompt> {
    let body: Value = serde_json::from_str(message.content.as_deref()?).ok()?;
    let blocks = body.get("content")?.as_array()?.clone();
    let first = body.get("attempt").and_then(Value::as_i64).unwrap_or(1);
    // Attempts that were made here count on from there.
    let attempt = first.saturating_add(message.attempt() - 1);
    let recovery = body.get("recovery").and_then(Value::as_str).map(str::to_owned);
    Some(Prompt { run: body.get("run").cloned().unwrap_or_default(), attempt, blocks, recovery })
}

/// How often the conversation of a message, or of an agent that is to be opened, was begun anew, as the worker counts it.
pub(crate) fn conversation(message: &Message) -> u64 {
    let body: Option<Value> = message.content.as_deref().and_then(|text| serde_json::from_str(text).ok());
    body.and_then(|body| body.get("conversation")?.as_u64()).unwrap_or_default()
}

/// The blocks of one turn: what rides along as texts, then what was said; before that, where an agent had it already, what happened, and
/// where it is `told` of a conversation that it does not know, the end of that.
pub(crate) fn blocks(messages: &[Message], told: bool) -> Vec<Value> {
    let mut blocks = Vec::new();
    let recovery = messages.iter().filter(|_| told).find_map(|message| read(message)?.recovery);
    blocks.extend(recovery.map(|text| json!({"type": "text", "text": text})));
    if messages.iter().any(|message| message.sent_tries > 0) {
        blocks.push(json!({"type": "text", "text": AGAIN}));
    }
    for message in messages {
        match read(message) {
            Some(prompt) => blocks.extend(prompt.blocks),
            None => blocks.extend(message.content.as_ref().map(|text| json!({"type": "text", "text": text}))),
        }
    }
    blocks
}

/// Whether a prompt is the command that ends the conversation.
pub(crate) fn clears(prompt: &Prompt) -> bool {
    let [block] = prompt.blocks.as_slice() else { return false };
    block.get("text").and_then(Value::as_str).is_some_and(|text| text.trim().eq_ignore_ascii_case(CLEAR))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn message(content: &str) -> Message {
        Message { work_seq: Some(1), content: Some(content.into()), ..Message::pending("m", 2, 0) }
    }

    const SAY: &str = r#"{"run":"r","attempt":3,"content":[{"type":"text","text":"say hi"}]}"#;

    #[test]
    fn attempts_made_here_count_on_from_the_workers() {
        let again = Message { tries: 1, sent_tries: 1, ..message(SAY) };
        assert_eq!(read(&again).unwrap().attempt, 5);
        assert_eq!(read(&message("{}")), None);
        assert_eq!(read(&message("no json")), None);
    }

    #[test]
    fn what_an_agent_had_already_is_wrapped() {
        assert_eq!(blocks(&[message(SAY)], true).len(), 1);
        let again = blocks(&[Message { sent_tries: 1, ..message(SAY) }], false);
        assert!(again.len() == 2 && again[0]["text"].as_str().unwrap().contains("interrupted"));
        // A try that no agent saw is none.
        assert_eq!(blocks(&[Message { tries: 1, ..message(SAY) }], false).len(), 1);
    }

    #[test]
    fn what_rides_along_stands_before_what_is_said() {
        let context = Message { trigger: false, kind: "system".into(), ..message(r#"{"event":"delivery_failed"}"#) };
        let blocks = blocks(&[context, message(SAY)], false);
        assert_eq!(blocks[0]["text"], r#"{"event":"delivery_failed"}"#);
        assert_eq!(blocks[1]["text"], "say hi");
    }

    #[test]
    fn the_end_of_a_conversation_is_told_to_whoever_does_not_know_it() {
        let brings = message(r#"{"recovery":"before","conversation":2,"content":[{"type":"text","text":"hi"}]}"#);
        assert_eq!(blocks(&[message(SAY), brings.clone()], true)[0]["text"], "before");
        assert_eq!(blocks(&[brings.clone()], false).len(), 1);
        assert_eq!((conversation(&brings), conversation(&message(SAY)), conversation(&message("no json"))), (2, 0, 0));
    }

    #[test]
    fn clear_is_a_command_when_it_stands_alone() {
        let said =
            |text: &str| read(&message(&json!({"content": [{"type": "text", "text": text}]}).to_string())).unwrap();
        assert!(clears(&said(" /Clear ")) && !clears(&said("/clear everything")) && !clears(&said("clear")));
    }
}
