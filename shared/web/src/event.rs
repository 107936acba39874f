//! What an operator hears of: events as lines of JSON (sync.md 17). They carry names, ids and the texts of failures,
//! never tokens, keys, bodies, claims or URLs (D-21).

use serde::ser::{Serialize, SerializeMap, Serializer};

/// How bad it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
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

/// What an event or a request is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Subject<'a> {
    /// What kind of thing, by the name of the field that its id stands in: `graph-id`.
    pub kind: &'static str,
    /// Its id.
    pub id: &'a str,
}

/// A further fact of an event.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub enum Fact<'a> {
    /// A name or an id.
    Text(&'a str),
    /// A count, or milliseconds.
    Number(i64),
}

/// One event.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// How bad it is.
    pub level: Level,
    /// What happened: a name that the specification of the service has for it.
    pub event: &'static str,
    /// The text of a failure.
    pub error: Option<&'a str>,
    /// What else there is to know of something that is no failure.
    pub detail: Option<&'a str>,
    /// The route, as its pattern, never as a path with values in it.
    pub route: Option<&'a str>,
    /// What it is about.
    pub subject: Option<Subject<'a>>,
    /// The id under which the client saw the failure.
    pub correlation_id: Option<&'a str>,
    /// What there is to know besides, by the names of its fields.
    pub facts: &'a [(&'static str, Fact<'a>)],
}

impl<'a> Event<'a> {
    /// An event with nothing but a name.
    pub const fn new(level: Level, event: &'static str) -> Self {
        Self { level, event, error: None, detail: None, route: None, subject: None, correlation_id: None, facts: &[] }
    }

    /// The same event with the text of a failure.
    #[must_use]
    pub const fn with_error(self, error: &'a str) -> Self {
        Self { error: Some(error), ..self }
    }

    /// The same event with what else there is to know.
    #[must_use]
    pub const fn with_detail(self, detail: &'a str) -> Self {
        Self { detail: Some(detail), ..self }
    }

    /// The same event about something.
    #[must_use]
    pub const fn about(self, subject: Subject<'a>) -> Self {
        Self { subject: Some(subject), ..self }
    }

    /// The same event with further facts.
    #[must_use]
    pub const fn with_facts(self, facts: &'a [(&'static str, Fact<'a>)]) -> Self {
        Self { facts, ..self }
    }

    /// Where it happened, to what, and under which id the client saw it: names and values of those that are known.
    pub(crate) fn tags(&self) -> impl Iterator<Item = (&'static str, &'a str)> {
        let route = self.route.map(|route| ("route", route));
        let subject = self.subject.map(|subject| (subject.kind, subject.id));
        route.into_iter().chain(subject).chain(self.correlation_id.map(|id| ("correlation-id", id)))
    }

    /// One line of JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Serialize for Event<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_map(None)?;
        fields.serialize_entry("level", &self.level)?;
        fields.serialize_entry("event", self.event)?;
        let texts = [("error", self.error), ("detail", self.detail)];
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name, text?)));
        for (name, value) in texts.chain(self.tags()) {
            fields.serialize_entry(name, value)?;
        }
        for (name, fact) in self.facts {
            fields.serialize_entry(name, fact)?;
        }
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line_of_what_is_known() {
        let event = Event::new(Level::Error, "db-sync/http-error");
        assert_eq!(event.to_json(), r#"{"level":"error","event":"db-sync/http-error"}"#);
        let subject = Subject { kind: "graph-id", id: "g" };
        let event =
            Event { route: Some("/pull"), correlation_id: Some("c"), ..event }.about(subject).with_error("broken");
        let rest = r#""error":"broken","route":"/pull","graph-id":"g","correlation-id":"c"}"#;
        assert_eq!(event.to_json(), format!(r#"{{"level":"error","event":"db-sync/http-error",{rest}"#));
        let facts = [("to", Fact::Text("paused")), ("duration-ms", Fact::Number(5))];
        let event = Event::new(Level::Info, "agents/transition").with_facts(&facts);
        let expected = r#"{"level":"info","event":"agents/transition","to":"paused","duration-ms":5}"#;
        assert_eq!(event.to_json(), expected);
    }
}
