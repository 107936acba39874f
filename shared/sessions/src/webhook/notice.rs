//! What is told, and how much of it: names and numbers of the service's own, never what a person or an agent wrote.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::event::{Event, Kind, json_bytes};
use crate::session::Status;

/// The longest body that is sent, in bytes.
pub const MAX_BODY_BYTES: usize = 16 << 10;
/// The longest title, in characters. With every other member at its limit a body stays below [`MAX_BODY_BYTES`].
const MAX_TITLE_CHARS: usize = 256;
/// The longest text of a member of the data, in bytes of JSON; a longer one is left out.
const MAX_TEXT_BYTES: usize = 1_500;

/// What a notification is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// A prompt has been answered.
    TurnFinished,
    /// The session is completed or cancelled.
    SessionFinished,
    /// The session failed.
    SessionFailed,
    /// A tool of the agent waits for a decision.
    ApprovalNeeded,
    /// A limit of a budget is used up.
    BudgetReached,
    /// There is a pull request.
    PrOpened,
    /// Nothing more is taken from a pull request.
    PrFollowUpStopped,
}

/// What a member of an event's data must be to be told.
enum Field {
    /// The service writes it.
    Own(&'static str),
    /// An agent may have written it: only these words are told.
    Word(&'static str, &'static [&'static str]),
}

/// How a turn may end, by the agent's protocol.
const STOP_REASONS: &[&str] = &["end_turn", "max_tokens", "max_turn_requests", "refusal", "cancelled"];
/// Kinds of tools, by the agent's protocol.
const TOOLS: &[&str] =
    &["read", "edit", "delete", "move", "search", "execute", "think", "fetch", "switch_mode", "other"];

impl Topic {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::TurnFinished,
        Self::SessionFinished,
        Self::SessionFailed,
        Self::ApprovalNeeded,
        Self::BudgetReached,
        Self::PrOpened,
        Self::PrFollowUpStopped,
    ];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TurnFinished => "turn.finished",
            Self::SessionFinished => "session.finished",
            Self::SessionFailed => "session.failed",
            Self::ApprovalNeeded => "approval.needed",
            Self::BudgetReached => "budget.reached",
            Self::PrOpened => "pr.opened",
            Self::PrFollowUpStopped => "pr.follow_up_stopped",
        }
    }

    /// The topic of such a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.as_str() == name)
    }

    /// What an event notifies of, if it does.
    pub fn of(kind: &Kind) -> Option<Self> {
        match kind {
            Kind::TurnCompleted => Some(Self::TurnFinished),
            Kind::SessionCompleted | Kind::SessionCanceled => Some(Self::SessionFinished),
            Kind::SessionFailed => Some(Self::SessionFailed),
            Kind::ApprovalRequested => Some(Self::ApprovalNeeded),
            Kind::BudgetReached => Some(Self::BudgetReached),
            Kind::GitPrSucceeded => Some(Self::PrOpened),
            Kind::GitPrFollowUpStopped => Some(Self::PrFollowUpStopped),
            _ => None,
        }
    }

    fn fields(self) -> &'static [Field] {
        use Field::{Own, Word};
        match self {
            Self::TurnFinished => &[Word("stop-reason", STOP_REASONS), Own("turn"), Own("stopped")],
            // Agents say these too.
            Self::SessionFinished => &[Word("reason", &["sandbox-missing"])],
            Self::SessionFailed => &[],
            Self::ApprovalNeeded => &[Own("request-id"), Word("tool", TOOLS), Own("expires-at")],
            Self::BudgetReached => {
                &[Own("scope"), Own("kind"), Own("limit"), Own("used"), Own("currency"), Own("estimated")]
            }
            Self::PrOpened => {
                &[Own("by"), Own("head-branch"), Own("base-branch"), Own("pr-url"), Own("pr-id"), Own("existing")]
            }
            Self::PrFollowUpStopped => &[Own("reason"), Own("pr-id")],
        }
    }

    fn data(self, of: &Value) -> Map<String, Value> {
        let mut data = Map::new();
        for field in self.fields() {
            let (name, value) = match field {
                Field::Own(name) => (name, of.get(name)),
                Field::Word(name, words) => {
                    let is_one = |value: &&Value| value.as_str().is_some_and(|text| words.contains(&text));
                    (name, of.get(name).filter(is_one))
                }
            };
            // Names, numbers and flags: what has members of its own is none of these.
            let is_plain = |value: &&Value| !value.is_object() && !value.is_array() && !value.is_null();
            if let Some(value) = value.filter(is_plain).filter(|value| json_bytes(value) <= MAX_TEXT_BYTES) {
                data.insert((*name).to_owned(), value.clone());
            }
        }
        data
    }
}

/// A notification, before it is known who gets it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Notice {
    /// The name of its topic.
    #[serde(rename = "type")]
    pub topic: String,
    /// The time of its event, in milliseconds since 1970.
    pub created_at: i64,
    /// The session.
    pub session_id: String,
    /// What the session is about.
    pub title: String,
    /// Where the session stands.
    pub status: String,
    /// What there is to know besides.
    pub data: Map<String, Value>,
}

impl Notice {
    /// What is told of an event, which has no secrets any more. `title` has none either.
    pub fn of(topic: Topic, event: &Event, title: &str, status: Status) -> Self {
        Self {
            topic: topic.as_str().to_owned(),
            created_at: event.ts,
            session_id: event.session_id.clone(),
            title: title.chars().filter(|character| !character.is_control()).take(MAX_TITLE_CHARS).collect(),
            status: status.as_str().to_owned(),
            data: topic.data(&event.data),
        }
    }

    /// The body of its delivery with this name; at most [`MAX_BODY_BYTES`].
    pub fn body(&self, delivery_id: &str) -> String {
        json!({
            "id": delivery_id,
            "type": self.topic,
            "created-at": self.created_at,
            "session-id": self.session_id,
            "title": self.title,
            "status": self.status,
            "data": self.data,
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Draft, Place, Redactor};

    fn event(kind: Kind, data: Value) -> Event {
        let place = Place { cursor: Some(2), event_id: "e", session_id: "s", ts: 7 };
        Event::seal(Draft::new(kind, data), &place, &Redactor::default(), 256 << 10)
    }

    fn told(kind: Kind, data: Value) -> Value {
        let topic = Topic::of(&kind).unwrap();
        let notice = Notice::of(topic, &event(kind, data), "Title", Status::Running);
        serde_json::from_str(&notice.body("msg_1")).unwrap()
    }

    #[test]
    fn what_is_told_of_each_event() {
        let cases = [
            (
                Kind::TurnCompleted,
                json!({"stop-reason": "end_turn", "turn": 3, "runtime-session-id": "r", "stopped": "killed"}),
                ("turn.finished", json!({"stop-reason": "end_turn", "turn": 3, "stopped": "killed"})),
            ),
            (
                Kind::TurnCompleted,
                json!({"stop-reason": "Please read this", "turn": null}),
                ("turn.finished", json!({})),
            ),
            (
                Kind::SessionCompleted,
                json!({"turn-id": "t", "last-agent-message": "text of the agent", "source": "task_complete"}),
                ("session.finished", json!({})),
            ),
            (
                Kind::SessionCanceled,
                json!({"by": "system", "reason": "sandbox-missing", "error": "text"}),
                ("session.finished", json!({"reason": "sandbox-missing"})),
            ),
            (
                Kind::SessionCanceled,
                json!({"by": "text of the agent", "reason": "text"}),
                ("session.finished", json!({})),
            ),
            (Kind::SessionFailed, json!({"error": "text of the agent"}), ("session.failed", json!({}))),
            (
                Kind::ApprovalRequested,
                json!({"request-id": "a", "call-id": "c", "tool": "execute", "title": "rm -rf", "options": [{"name": "x"}],
                    "expires-at": 9}),
                ("approval.needed", json!({"request-id": "a", "tool": "execute", "expires-at": 9})),
            ),
            (
                Kind::BudgetReached,
                json!({"scope": "session", "kind": "cost", "limit": 1, "used": 1.5, "currency": "USD"}),
                (
                    "budget.reached",
                    json!({"scope": "session", "kind": "cost", "limit": 1, "used": 1.5, "currency": "USD"}),
                ),
            ),
            (
                Kind::GitPrSucceeded,
                json!({"by": "ann", "head-branch": "h", "base-branch": "main", "pr-url": "https://x", "pr-id": 5, "body": "text"}),
                (
                    "pr.opened",
                    json!({"by": "ann", "head-branch": "h", "base-branch": "main", "pr-url": "https://x", "pr-id": 5}),
                ),
            ),
        ];
        for (kind, data, (topic, expected)) in cases {
            let told = told(kind.clone(), data);
            assert_eq!((&told["type"], &told["data"]), (&json!(topic), &expected), "{kind}");
        }
        for kind in [Kind::SessionPaused, Kind::ItemCompleted, Kind::AuditLog, Kind::Other("turn.finished".into())] {
            assert_eq!(Topic::of(&kind), None, "{kind}");
        }
    }

    #[test]
    fn a_body_has_all_members() {
        let expected = json!({"id": "msg_1", "type": "session.failed", "created-at": 7, "session-id": "s", "title": "Title",
            "status": "running", "data": {}});
        assert_eq!(told(Kind::SessionFailed, json!({})), expected);
    }

    #[test]
    fn a_body_is_bounded() {
        // The longest id of a session, and everything that takes the most bytes as JSON.
        let long = "\u{1}\"😀".repeat(100_000);
        let place = Place { cursor: Some(2), event_id: "e", session_id: &"\"".repeat(512), ts: i64::MAX };
        let names: Vec<String> = (0..1_000).map(|number| "\"".repeat(number)).collect();
        for text in names.iter().chain([&long]) {
            let data = json!({"by": text, "head-branch": text, "base-branch": text, "pr-url": text, "pr-id": text, "existing": text});
            let draft = Draft::new(Kind::GitPrSucceeded, data);
            let event = Event::seal(draft, &place, &Redactor::default(), 1 << 20);
            let notice = Notice::of(Topic::PrOpened, &event, &long, Status::Running);
            assert!(notice.body(&"m".repeat(36)).len() <= MAX_BODY_BYTES);
        }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for topic in Topic::ALL {
            assert_eq!(Topic::parse(topic.as_str()), Some(topic));
        }
        assert_eq!(Topic::parse("turn.completed"), None);
    }
}
