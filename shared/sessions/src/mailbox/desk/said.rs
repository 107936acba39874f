//! What events of a runner say (session-mailbox.md 7.6). Nothing of it is believed but its form.

use serde::Deserialize;
use serde_json::Value;

/// Bytes of an id or a short word.
const MAX_WORD: usize = 256;
/// Bytes of a path or a text for people.
const MAX_TEXT: usize = 4_096;
/// Questions that one event may close.
const MAX_REQUESTS: usize = 100;

/// An event's kind or data that is not what session-mailbox.md 7.6 says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid event")]
pub struct Invalid;

/// One event, read.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", content = "data", rename_all_fields = "kebab-case")]
pub enum Said {
    /// The agent's session is open.
    #[serde(rename = "opened")]
    Opened {
        /// The agent's name of it.
        runtime_session_id: String,
        /// The conversation was loaded.
        #[serde(default)]
        loaded: bool,
        /// Where it works.
        cwd: String,
        /// Whether the agent has the tools that it was offered; none where the runner does not say.
        #[serde(default)]
        tools: Option<bool>,
    },
    /// It is not.
    #[serde(rename = "open.failed")]
    OpenFailed {
        /// A short word.
        reason: String,
        /// For people.
        #[serde(default)]
        message: String,
    },
    /// The agent has the prompt.
    #[serde(rename = "turn.started")]
    TurnStarted {
        /// The message.
        message_id: String,
        /// Its run.
        run: u64,
        /// Which try.
        attempt: u64,
    },
    /// A frame of the agent's stream.
    #[serde(rename = "update")]
    Update {
        /// As the agent sent it.
        envelope: Value,
    },
    /// The agent asks.
    #[serde(rename = "permission")]
    Permission {
        /// Its name of the question.
        request_id: String,
        /// As ACP has it.
        params: Value,
    },
    /// It does not wait for these answers any more.
    #[serde(rename = "permission.void")]
    PermissionVoid {
        /// Its names of the questions.
        request_ids: Vec<String>,
        /// Why.
        reason: String,
    },
    /// The prompt is finished.
    #[serde(rename = "turn.ended")]
    TurnEnded {
        /// The message.
        message_id: String,
        /// Its run.
        run: u64,
        /// Which try.
        attempt: u64,
        /// In ACP's words.
        stop_reason: String,
        /// What proves the stop.
        stopped: Option<String>,
        /// What went wrong.
        error: Option<String>,
    },
    /// The prompt is finished without having been carried out.
    #[serde(rename = "message.failed")]
    MessageFailed {
        /// The message.
        message_id: String,
        /// A short word.
        reason: String,
    },
    /// What the agent used.
    #[serde(rename = "usage")]
    Usage(Value),
    /// What the agent does.
    #[serde(rename = "state")]
    State {
        /// In the runner's words.
        phase: String,
        /// The tool that runs.
        tool: Option<Value>,
        /// Until when.
        until: Option<i64>,
    },
    /// A push was carried out, or not.
    #[serde(rename = "push.done")]
    PushDone {
        /// The item.
        push_id: String,
        /// Whether it worked.
        ok: bool,
        /// Why not: what git said of it, or a short word.
        reason: Option<String>,
        /// What git said else.
        output: Option<String>,
    },
    /// A file of the agent, which was stored before.
    #[serde(rename = "file")]
    File {
        /// Its name.
        name: String,
        /// Its digest, in hex.
        sha256: String,
        /// In bytes.
        size: u64,
    },
    /// Stands for an event that is refused for good.
    #[serde(rename = "tombstone")]
    Tombstone {
        /// Why.
        reason: String,
    },
    /// The agent's session is over.
    #[serde(rename = "closed")]
    Closed {
        /// What was kept of the conversation.
        transcript: Option<Transcript>,
    },
}

/// A transcript that was stored before.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Transcript {
    /// Its run.
    pub run: u64,
    /// Its digest, in hex.
    pub sha256: String,
}

impl Said {
    /// Reads an event.
    ///
    /// # Errors
    /// [`Invalid`].
    pub fn read(kind: &str, data: Value) -> Result<Self, Invalid> {
        let tagged = [("kind".to_owned(), Value::from(kind)), ("data".to_owned(), data)];
        let said = serde_json::from_value(Value::Object(tagged.into_iter().collect())).map_err(|_| Invalid)?;
        if fits(&said) { Ok(said) } else { Err(Invalid) }
    }

    /// Whether the runner itself may report it, as a notice.
    pub const fn is_runners(&self) -> bool {
        matches!(
            self,
            Self::OpenFailed { .. } | Self::PermissionVoid { .. } | Self::MessageFailed { .. } | Self::Closed { .. }
        )
    }
}

/// Bounds of what is kept, or shown, or compared. The whole was bounded when it was received.
fn fits(said: &Said) -> bool {
    let word = |text: &str| !text.is_empty() && text.len() <= MAX_WORD;
    let short = |text: &Option<String>| text.as_ref().is_none_or(|text| text.len() <= MAX_TEXT);
    let digest = |text: &str| text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match said {
        Said::Opened { runtime_session_id, cwd, .. } => {
            word(runtime_session_id) && cwd.starts_with('/') && cwd.len() <= MAX_TEXT
        }
        Said::OpenFailed { reason, message } => word(reason) && message.len() <= MAX_TEXT,
        Said::TurnStarted { message_id, .. } => word(message_id),
        Said::Update { envelope } => envelope.is_object(),
        Said::Permission { request_id, params } => word(request_id) && params.is_object(),
        Said::PermissionVoid { request_ids, reason } => {
            word(reason) && request_ids.len() <= MAX_REQUESTS && request_ids.iter().all(|id| word(id))
        }
        Said::TurnEnded { message_id, stop_reason, stopped, error, .. } => {
            word(message_id) && word(stop_reason) && short(stopped) && short(error)
        }
        Said::MessageFailed { message_id, reason } => word(message_id) && word(reason),
        Said::Usage(usage) => usage.is_object(),
        Said::State { phase, .. } => word(phase),
        Said::PushDone { push_id, reason, output, .. } => word(push_id) && short(reason) && short(output),
        Said::File { name, sha256, .. } => word(name) && digest(sha256),
        Said::Tombstone { reason } => word(reason),
        Said::Closed { transcript } => transcript.as_ref().is_none_or(|transcript| digest(&transcript.sha256)),
    }
}
