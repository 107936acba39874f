//! What a POST to an agent server is answered with (agents.md 4.1 to 4.3, 3.8).

use serde_json::{Map, Value};
use thiserror::Error;

use super::request::METHOD_NOT_FOUND;
use super::{bounded_json, id_text};

/// How long an answer may be, in bytes (agents.md 2.8). A longer one is a failure.
pub const MAX_REPLY_BYTES: usize = 4 * 1024 * 1024;
/// How much of an error's text is kept, in bytes.
const MAX_ERROR_BYTES: usize = 16 * 1024;

/// An answer as it came.
#[derive(Clone, Copy, Debug)]
pub struct HttpReply<'a> {
    /// Status code.
    pub status: u16,
    /// The header `content-type`.
    pub content_type: Option<&'a str>,
    /// The body. Whoever reads it stops one byte beyond [`MAX_REPLY_BYTES`].
    pub body: &'a [u8],
}

/// A call that failed. Texts are the runtime's: they are redacted before they are shown.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AcpError {
    /// The server answered with another status than 2xx.
    #[error("the agent server answered {status}: {detail}")]
    Status {
        /// Status code.
        status: u16,
        /// The last part of the problem's type, such as `stream_error`; empty if there is none.
        problem: String,
        /// What the server says about it.
        detail: String,
    },
    /// The agent answered with an error.
    #[error("ACP request failed: {0}")]
    Rpc(RpcFailure),
    /// The answer is too long.
    #[error("the answer of the agent server is too large")]
    TooLarge,
    /// The answer claims to be JSON and is none, or holds too many values.
    #[error("the answer of the agent server is unreadable")]
    Unreadable,
}

/// The `error` member of a JSON-RPC answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message} ({code})")]
pub struct RpcFailure {
    /// JSON-RPC code; 0 when it is missing.
    pub code: i64,
    /// What the agent says.
    pub message: String,
}

impl RpcFailure {
    /// Reads the `error` member of an envelope, if there is one.
    pub fn of(envelope: &Value) -> Option<Self> {
        let error = envelope.get("error").filter(|error| !error.is_null())?;
        Some(Self {
            code: error.get("code").and_then(Value::as_i64).unwrap_or_default(),
            message: error.get("message").and_then(Value::as_str).map(beginning).unwrap_or_default(),
        })
    }
}

impl AcpError {
    /// Whether an agent refused a mode only because it does not know it: then it goes on without (agents.md 4.3).
    pub fn is_unknown_mode(&self) -> bool {
        match self {
            Self::Rpc(failure) => {
                let message = failure.message.to_lowercase();
                failure.code == METHOD_NOT_FOUND
                    || (message.contains("mode")
                        && ["unknown", "invalid", "not found", "not supported"]
                            .iter()
                            .any(|word| message.contains(word)))
            }
            Self::Status { problem, .. } => problem == "mode_not_supported",
            Self::TooLarge | Self::Unreadable => false,
        }
    }

    /// Whether the request demonstrably did not reach an agent, so that a prompt may be sent again (agents.md 3.8). Whoever
    /// sends knows one case more: a connection that was refused.
    pub fn is_not_reached(&self) -> bool {
        match self {
            Self::Status { status: 404, .. } => true,
            Self::Status { status: 400, detail, .. } => {
                let detail = detail.to_lowercase();
                detail.contains("missing") && detail.contains("agent")
            }
            // A gateway on the way may answer 502 too, after the prompt has passed it.
            Self::Status { status: 502, problem, .. } => problem == "stream_error",
            _ => false,
        }
    }
}

/// What became of a prompt, as far as its POST tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PromptSent {
    /// The agent has it. How the turn ends, the event stream says.
    Running,
    /// The turn is over, with this reason, unless the stream said so before.
    Ended(String),
    /// The agent never got it: it may be sent again.
    NotReached(AcpError),
    /// It failed, and whether the agent got it is not known: it is never sent again.
    Failed(AcpError),
}

impl HttpReply<'_> {
    /// The JSON-RPC answer. A body that is not declared as JSON is an empty object.
    pub fn envelope(&self) -> Result<Value, AcpError> {
        if self.body.len() > MAX_REPLY_BYTES {
            return Err(AcpError::TooLarge);
        }
        if !(200..300).contains(&self.status) {
            return Err(self.refused());
        }
        let declared = self.content_type.is_some_and(|kind| kind.to_ascii_lowercase().contains("application/json"));
        // A 202 has no body, whatever its headers say.
        if !declared || self.body.is_empty() {
            return Ok(Value::Object(Map::new()));
        }
        let envelope = std::str::from_utf8(self.body).ok().and_then(bounded_json).ok_or(AcpError::Unreadable)?;
        match RpcFailure::of(&envelope) {
            Some(failure) => Err(AcpError::Rpc(failure)),
            None => Ok(envelope),
        }
    }

    /// The agent's session that an answer to `session/new` names. A server that names none uses the session's own id.
    pub fn session_id(&self, own: &str) -> Result<String, AcpError> {
        let envelope = self.envelope()?;
        let named = |key| id_text(envelope.get("result").and_then(|result| result.get(key)));
        Ok(named("sessionId").or_else(|| named("session-id")).unwrap_or(own).to_owned())
    }

    /// What became of a prompt.
    pub fn prompt_sent(&self) -> PromptSent {
        match (self.status, self.envelope()) {
            // The server has waited as long as it does. The agent goes on.
            (504, _) => PromptSent::Running,
            (_, Ok(envelope)) => {
                stop_reason(&envelope).map_or(PromptSent::Running, |reason| PromptSent::Ended(reason.to_owned()))
            }
            (_, Err(error)) if error.is_not_reached() => PromptSent::NotReached(error),
            (_, Err(error)) => PromptSent::Failed(error),
        }
    }

    fn refused(&self) -> AcpError {
        let text = String::from_utf8_lossy(self.body.get(..MAX_ERROR_BYTES).unwrap_or(self.body));
        let problem = bounded_json(&text);
        let member = |key: &str| problem.as_ref().and_then(|problem| problem.get(key)).and_then(Value::as_str);
        let detail = member("detail").or_else(|| member("title")).map_or_else(|| text.to_string(), beginning);
        let kind = member("type").and_then(|kind| kind.strip_prefix("urn:sandbox-agent:error:")).map(beginning);
        AcpError::Status { status: self.status, problem: kind.unwrap_or_default(), detail }
    }
}

/// The reason with which an envelope ends a turn, if it does.
pub(super) fn stop_reason(envelope: &Value) -> Option<&str> {
    let reason = envelope.get("result")?.get("stopReason")?.as_str()?;
    (!reason.trim().is_empty()).then_some(reason)
}

fn beginning(text: &str) -> String {
    text.get(..text.floor_char_boundary(MAX_ERROR_BYTES)).unwrap_or_default().to_owned()
}
