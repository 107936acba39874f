//! Refusals: what is wrong with an input, and the body that says so.

use std::borrow::Cow;

/// `missing body`.
pub const MISSING_BODY: &str = "missing body";
/// `invalid body`.
pub const INVALID_BODY: &str = "invalid body";
/// `invalid tx`: the schema failure of `tx/batch`.
pub const INVALID_TX: &str = "invalid tx";
/// `request too large`, with status 413.
pub const REQUEST_TOO_LARGE: &str = "request too large";
/// `too many graphs`, with status 429.
pub const TOO_MANY_GRAPHS: &str = "too many graphs";
/// `unauthorized`, with status 401.
pub const UNAUTHORIZED: &str = "unauthorized";
/// `forbidden`, with status 403.
pub const FORBIDDEN: &str = "forbidden";
/// `not found`, with status 404.
pub const NOT_FOUND: &str = "not found";
/// `graph not ready`, with status 409.
pub const GRAPH_NOT_READY: &str = "graph not ready";
/// `server error`, with status 500.
pub const SERVER_ERROR: &str = "server error";

/// Why a request body was refused. All are answered with 400; the display text is the client's `error` (sync.md 2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// No bytes at all, or JSON `null`.
    #[error("missing body")]
    Missing,
    /// Not JSON (D-20).
    #[error("invalid body")]
    Syntax,
    /// JSON of another shape than the route asks for, with the route's own message.
    #[error("{0}")]
    Schema(&'static str),
}

/// Why a WebSocket message was refused. The display text is the `message` of the error sent back (sync.md 7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRequest {
    /// Not JSON, not an object, an unknown type, or a field of the wrong type.
    #[error("invalid request")]
    Malformed,
    /// A pull from before the first transaction.
    #[error("invalid since")]
    Since,
}

/// The query parameter `since` is no number or negative (sync.md 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid since")]
pub struct InvalidSince;

/// `{"error": message}`, the body of every refusal.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ErrorBody<'a> {
    /// A short text for the client: never a stack, value, token or key.
    pub error: Cow<'a, str>,
    /// Names the log line of an internal failure (D-21), so that an operator finds what the client saw. Readers ignore
    /// keys that begin with `debug-`.
    #[serde(rename = "debug-id", skip_serializing_if = "Option::is_none")]
    pub debug_id: Option<Cow<'a, str>>,
}

impl<'a> ErrorBody<'a> {
    /// A body that holds the message alone.
    pub fn new(message: impl Into<Cow<'a, str>>) -> Self {
        Self { error: message.into(), debug_id: None }
    }

    /// The body as JSON.
    pub fn to_json(&self) -> String {
        crate::write::to_json(self)
    }
}
