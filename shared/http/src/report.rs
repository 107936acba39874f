//! What an operator hears of: events as lines of JSON (sync.md 17). They carry names, ids and the texts of failures,
//! never tokens, keys, bodies, claims or URLs (D-21).

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Worth knowing.
    Info,
    /// Something went wrong that nobody had to notice.
    Warning,
    /// A request failed.
    Error,
}

/// A request that was answered, for performance monitoring.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trace<'a> {
    /// The method.
    pub method: &'a str,
    /// The route, as its pattern.
    pub route: &'static str,
    /// The answer's status.
    pub status: u16,
    /// Milliseconds since the epoch.
    pub started_ms: i64,
    /// Milliseconds since the epoch.
    pub ended_ms: i64,
}

/// One event.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Event<'a> {
    /// How bad it is.
    pub level: Level,
    /// What happened, by its name in sync.md 17.
    pub event: &'static str,
    /// The text of a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
    /// The route, as its pattern, never as a path with values in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<&'a str>,
    /// The graph concerned.
    #[serde(rename = "graph-id", skip_serializing_if = "Option::is_none")]
    pub graph_id: Option<&'a str>,
    /// The id under which the client saw the failure.
    #[serde(rename = "correlation-id", skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<&'a str>,
}

impl<'a> Event<'a> {
    /// An event with nothing but a name.
    pub const fn new(level: Level, event: &'static str) -> Self {
        Self { level, event, error: None, route: None, graph_id: None, correlation_id: None }
    }

    /// The same event with the text of a failure.
    #[must_use]
    pub const fn with_error(self, error: &'a str) -> Self {
        Self { error: Some(error), ..self }
    }

    /// The same event about a graph.
    #[must_use]
    pub const fn about(self, graph_id: &'a str) -> Self {
        Self { graph_id: Some(graph_id), ..self }
    }

    /// One line of JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}
