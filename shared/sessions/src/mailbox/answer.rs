//! What runners are answered (session-mailbox.md 7.2–7.6): statuses and JSON of what was decided.

use http::StatusCode;
use serde_json::{Value, json};

use super::desk::{BatchAnswer, FilesRefused, Given, ItemKind, NotTaken, Refused, Renewed, Stop, Verdicted};
use super::limits;
use super::runner::{AttachError, AuthError, RegisterError, Woken};
use crate::runtime::ToolServer;

/// A refusal: its status, and its body with the text that the specification gives it.
pub type Answer = (StatusCode, Value);

fn refuse(status: StatusCode, text: impl std::fmt::Display) -> Answer {
    (status, json!({"error": text.to_string()}))
}

/// Adds a member to an object.
fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

impl AuthError {
    /// The answer to a token that does not count.
    pub fn answer(self) -> Answer {
        refuse(StatusCode::UNAUTHORIZED, self)
    }
}

impl AttachError {
    /// The answer to a process that does not count.
    pub fn answer(self) -> Answer {
        let status = if self == Self::Missing { StatusCode::BAD_REQUEST } else { StatusCode::CONFLICT };
        let (_, mut body) = refuse(status, self);
        if self == Self::Protocol {
            set(&mut body, "protocols", json!([super::runner::PROTOCOL]));
        }
        (status, body)
    }
}

impl RegisterError {
    /// The answer to a registration that is refused.
    pub fn answer(self) -> Answer {
        match self {
            Self::InUse(at) => (StatusCode::CONFLICT, json!({"error": self.to_string(), "last-seen-at": at})),
            Self::Revoked => refuse(StatusCode::UNAUTHORIZED, self),
        }
    }
}

impl Woken {
    /// The answer to a request that waited for work and got none.
    pub fn answer(self, now: i64) -> Answer {
        match self {
            Self::Ended => (StatusCode::OK, items(&[], now)),
            Self::Superseded => AttachError::Superseded.answer(),
            Self::Revoked => AuthError::Revoked.answer(),
        }
    }
}

impl Refused {
    /// The answer to events or reports of which none was looked at.
    pub fn answer(self) -> Answer {
        match self {
            Self::NotHeld => refuse(StatusCode::NOT_FOUND, self),
            Self::LeaseLost(lease) => (StatusCode::CONFLICT, json!({"error": self.to_string(), "lease": lease})),
            Self::MailboxUnknown => refuse(StatusCode::CONFLICT, self),
        }
    }
}

impl BatchAnswer {
    /// The answer to a batch of events.
    pub fn answer(self) -> Answer {
        let mut body = json!({"accepted-seq": self.accepted_seq, "stored": self.stored, "duplicates": self.duplicates});
        match self.stop {
            None => {}
            Some(Stop::Rejected(seq, why)) => set(&mut body, "rejected", json!({"seq": seq, "error": why})),
            Some(Stop::Conflict(seq)) => {
                return (StatusCode::CONFLICT, json!({"error": "event conflict", "seq": seq}));
            }
            Some(Stop::Gap) => {
                let body = json!({"error": "sequence gap", "accepted-seq": self.accepted_seq});
                return (StatusCode::CONFLICT, body);
            }
        }
        (StatusCode::OK, body)
    }
}

impl NotTaken {
    /// The answer to a person who wants a session to move.
    pub fn answer(self) -> Answer {
        refuse(StatusCode::CONFLICT, self)
    }
}

impl FilesRefused {
    /// The answer to a file that is not taken.
    pub fn answer(self) -> Answer {
        let status = match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Quota => StatusCode::INSUFFICIENT_STORAGE,
        };
        refuse(status, self)
    }
}

impl Verdicted {
    /// A session in the answer to an attach.
    pub fn shown(&self, session_id: &str) -> Value {
        json!({
            "session-id": session_id,
            "verdict": self.verdict.as_str(),
            "lease": self.lease,
            "accepted-seq": self.accepted_seq,
            "work-seq": self.work_seq,
            "generation": self.generation,
        })
    }
}

impl Renewed {
    /// A session in the answer to a renewal. `token` is that of the run that [`Renewed::Held`] names.
    pub fn shown(&self, session_id: &str, token: Option<&str>) -> Value {
        let mut shown = match self {
            Self::Held { expires_in_ms, .. } => {
                json!({"session-id": session_id, "state": "held", "expires-in-ms": expires_in_ms})
            }
            Self::Lost => json!({"session-id": session_id, "state": "lost"}),
        };
        if let (Self::Held { token_for: Some(_), .. }, Some(token)) = (self, token) {
            set(&mut shown, "run-token", json!(token));
        }
        shown
    }
}

impl Given {
    /// Whether it opens the agent's session to go on with a conversation.
    fn goes_on(&self, body: &Value) -> bool {
        self.item.kind == ItemKind::Open && body.get("resume").is_some_and(Value::is_object)
    }

    /// An item as the runner gets it. `body` is what is stored of it, `token` how long and with what the runner may do what the item needs: of a
    /// prompt that of its run, of an opening one that reads the conversation to go on with; valid for so many milliseconds. `conversation` is
    /// how often that was begun anew. None when the stored body cannot be read.
    pub fn shown(&self, session_id: &str, body: &str, token: Option<(&str, i64)>, conversation: u64) -> Option<Value> {
        let mut body: Value = serde_json::from_str(body).ok().filter(Value::is_object)?;
        if let Some((run, attempt)) = self.run {
            set(&mut body, "run", json!(run));
            set(&mut body, "attempt", json!(attempt));
        }
        if let Some((token, expires_in_ms)) = token.filter(|_| self.run.is_some() || self.goes_on(&body)) {
            set(&mut body, "run-token", json!(token));
            set(&mut body, "run-token-expires-in-ms", json!(expires_in_ms));
        }
        if conversation > 0 && matches!(self.item.kind, ItemKind::Open | ItemKind::Prompt) {
            set(&mut body, "conversation", json!(conversation));
        }
        let mut shown = json!({
            "item-id": self.item.id,
            "session-id": session_id,
            "work-seq": self.item.work_seq,
            "lease": self.lease,
            "kind": self.item.kind.as_str(),
            "created-at": self.item.created_at,
            "body": body,
        });
        if let Some(expires) = self.expires_in_ms {
            set(&mut shown, "expires-in-ms", json!(expires));
        }
        Some(shown)
    }
}

/// Adds to an item as the runner gets it where the tools are, and what opens them.
pub fn add_tools(item: &mut Value, tools: &ToolServer) {
    if let Some(body) = item.get_mut("body") {
        set(body, "tools", tools.to_item());
    }
}

/// The answer to a request for work.
pub fn items(items: &[Value], now: i64) -> Value {
    json!({"items": items, "server-time": now, "poll-after-ms": 0})
}

/// The limits that a runner is told when it attaches.
pub fn limits() -> Value {
    json!({
        "event-bytes": limits::MAX_EVENT_BYTES,
        "batch-events": limits::MAX_EVENTS,
        "batch-bytes": limits::MAX_BATCH_BYTES,
        "item-bytes": limits::MAX_ITEM_BYTES,
        "file-bytes": limits::MAX_FILE_BYTES,
        "files": limits::MAX_FILES,
        "files-bytes": limits::MAX_FILES_BYTES,
    })
}
