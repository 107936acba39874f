//! What goes over the line, as far as the runner reads it (docs/spec/session-mailbox.md 7.3, 7.4). Members that are not known pass.

use mailbox::delivery::Event;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Something to be done.
#[expect(clippy::struct_field_names, reason = "the members are named as on the wire")]
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Item {
    /// Its id.
    pub(crate) item_id: String,
    /// Whose it is.
    pub(crate) session_id: String,
    /// Its number within the session.
    pub(crate) work_seq: i64,
    /// Under which lease.
    pub(crate) lease: i64,
    /// What is to be done.
    pub(crate) kind: String,
    /// After so many milliseconds nobody wants it any more.
    pub(crate) expires_in_ms: Option<i64>,
    /// The rest.
    #[serde(default)]
    pub(crate) body: Value,
}

impl Item {
    /// A text of the body.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.body.get(name)?.as_str()
    }

    /// A number of the body.
    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.body.get(name)?.as_i64()
    }
}

/// What became of an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Ack {
    session_id: String,
    item_id: String,
    work_seq: i64,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Ack {
    /// It is in the mailbox, or will never be.
    pub(crate) fn of(item: &Item, result: Result<(), String>) -> Self {
        Self {
            session_id: item.session_id.clone(),
            item_id: item.item_id.clone(),
            work_seq: item.work_seq,
            result: if result.is_ok() { "stored" } else { "refused" },
            error: result.err(),
        }
    }
}

/// What a process has of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Claim {
    /// The session.
    pub(crate) session_id: String,
    /// Its mailbox.
    pub(crate) mailbox_id: String,
    /// Under which lease.
    pub(crate) lease: i64,
    /// The highest number of an item that was stored.
    pub(crate) work_seq: i64,
    /// The highest number of an output.
    pub(crate) out_seq: i64,
    /// The number of the last process.
    pub(crate) generation: i64,
    /// What may be running.
    pub(crate) turn: Option<Turn>,
}

/// A turn that may be running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Turn {
    /// The message.
    pub(crate) message_id: String,
    /// Which try.
    pub(crate) attempt: u64,
}

/// Whether it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// It does.
    Keep,
    /// It is an old copy.
    Stale,
    /// The session is not this runner's.
    Gone,
}

/// The answer about a session.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Verdicted {
    /// The session.
    pub(crate) session_id: String,
    /// Whether the claim counts.
    pub(crate) verdict: Verdict,
    /// The last event that was taken in.
    #[serde(default)]
    pub(crate) accepted_seq: i64,
    /// The greatest generation that is known.
    #[serde(default)]
    pub(crate) generation: i64,
}

/// The answer to an attach.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Attached {
    /// Shown from now on.
    pub(crate) attach_id: String,
    /// The sessions.
    #[serde(default)]
    pub(crate) sessions: Vec<Verdicted>,
}

/// An answer to a request for work.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Work {
    /// What is to be done. What cannot be read is left out: it is not acknowledged, and comes again.
    #[serde(default, deserialize_with = "readable")]
    pub(crate) items: Vec<Item>,
    /// A pause that the worker asks for.
    #[serde(default)]
    pub(crate) poll_after_ms: u64,
}

fn readable<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Item>, D::Error> {
    let items = Vec::<Value>::deserialize(deserializer)?;
    Ok(items.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect())
}

/// Bytes of a word, and of a text for people, that the worker takes.
const MAX_WORD: usize = 256;
const MAX_TEXT: usize = 4_096;

/// An event as it is sent: in the form that the worker reads, whatever the agent wrote, so that one odd row does not hold up the others. What is
/// no JSON is nothing, which the worker refuses.
pub(crate) fn event(event: &Event) -> Value {
    let mut data = serde_json::from_str::<Value>(&event.data).unwrap_or_default();
    if let Some(Value::String(error)) = data.get_mut("error") {
        clip(error, MAX_TEXT);
    }
    let kind = if event.kind.is_empty() || event.kind.len() > MAX_WORD { "unknown" } else { &event.kind };
    let mut shown = json!({
        "seq": event.seq,
        "prev": event.prev,
        "id": event_id(event),
        "ts": event.at,
        "generation": event.generation.max(0),
        "attempt": event.attempt.max(0),
        "kind": kind,
        "data": data,
    });
    let about = event.in_reply_to.as_ref().filter(|about| about.len() <= MAX_WORD);
    if let (Some(about), Some(members)) = (about, shown.as_object_mut()) {
        members.insert("in-reply-to".to_owned(), json!(about));
    }
    shown
}

/// Whether the agent's side says by it that it reads its agent no more until something was sent.
pub(crate) fn says_backlog(event: &Event) -> bool {
    // Most events are none of these, and are not read for it.
    event.kind == "state"
        && serde_json::from_str::<Value>(&event.data)
            .is_ok_and(|data| data.get("notice").and_then(Value::as_str) == Some("output_backlog"))
}

/// The event's own id where it is a UUID, else one that follows from it: the same each time.
fn event_id(event: &Event) -> String {
    let own = uuid::Uuid::try_parse(&event.id).ok().filter(|_| event.id.len() == 36);
    let made = || {
        // FNV-1a; nobody gains anything by two ids that are alike.
        let hash = event
            .id
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        let bytes = (u128::from(event.seq.unsigned_abs()) << 64 | u128::from(hash)).to_be_bytes();
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    };
    own.unwrap_or_else(made).to_string()
}

/// The data of a report that stands for an event, in the form that the worker reads.
pub(crate) fn report_data(mut data: Value) -> Value {
    for (name, most) in [("reason", MAX_WORD), ("message", MAX_TEXT)] {
        if let Some(Value::String(text)) = data.get_mut(name) {
            clip(text, most);
        }
    }
    data
}

/// Cuts a text to so many bytes, between two characters.
fn clip(text: &mut String, most: usize) {
    text.truncate(text.floor_char_boundary(most));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_agent_wrote_the_worker_can_read_the_event() {
        let odd = Event {
            seq: 3,
            prev: 1,
            id: "../x".into(),
            at: 1,
            generation: -1,
            attempt: -1,
            in_reply_to: Some("x".repeat(500)),
            kind: String::new(),
            data: json!({"error": "ü".repeat(4_000)}).to_string(),
        };
        let shown = event(&odd);
        assert!(uuid::Uuid::try_parse(shown["id"].as_str().unwrap()).is_ok());
        assert_eq!(shown, event(&odd), "the same each time");
        assert_ne!(shown["id"], event(&Event { seq: 5, ..odd.clone() })["id"]);
        assert_eq!(
            (&shown["generation"], &shown["attempt"], &shown["kind"]),
            (&0.into(), &0.into(), &"unknown".into())
        );
        assert!(shown.get("in-reply-to").is_none());
        assert_eq!(shown["data"]["error"].as_str().unwrap().len(), 4_096);
        let plain = Event { id: "b3d2cde5-bcd7-4806-91bc-f2f869c2729b".into(), data: "no json".into(), ..odd };
        let shown = event(&plain);
        assert_eq!((&shown["id"], &shown["data"]), (&plain.id.into(), &Value::Null));
    }

    #[test]
    fn reasons_are_short() {
        let data = report_data(json!({"reason": "x".repeat(300), "message": "ok", "message-id": "m"}));
        assert_eq!((data["reason"].as_str().unwrap().len(), &data["message"]), (256, &"ok".into()));
    }

    #[test]
    fn an_item_that_cannot_be_read_does_not_hold_up_others() {
        let good = json!({"item-id": "i", "session-id": "s", "work-seq": 1, "lease": 1, "kind": "prompt", "body": {}});
        let work: Work = serde_json::from_value(json!({"items": [{"kind": 1}, good]})).unwrap();
        assert_eq!(work.items.len(), 1);
    }
}
