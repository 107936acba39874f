//! Events for Sentry (sync.md 17): envelopes that the platform sends.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::report::{Event, Level};

/// Where events go and what they say about their origin.
#[derive(Clone, Debug, PartialEq)]
pub struct Sentry {
    url: String,
    key: String,
    release: Option<String>,
    environment: Option<String>,
}

/// One request that delivers an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// Where to POST it.
    pub url: String,
    /// The value of the header `x-sentry-auth`.
    pub auth: String,
    /// The body.
    pub body: String,
}

impl Sentry {
    /// The settings under their names in the environment; none without a well-formed `SENTRY_DSN`.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let lookup = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
        let dsn = lookup("SENTRY_DSN")?;
        let (url, key) = endpoint(&dsn)?;
        Some(Self { url, key, release: lookup("SENTRY_RELEASE"), environment: lookup("SENTRY_ENVIRONMENT") })
    }

    /// The request that delivers an event; none for events that are not worth one.
    pub fn envelope(&self, event: &Event<'_>, id: Uuid, now_ms: i64) -> Option<Envelope> {
        if event.level != Level::Error {
            return None;
        }
        let id = id.simple().to_string();
        let tags: serde_json::Map<String, Value> =
            [("route", event.route), ("graph-id", event.graph_id), ("correlation-id", event.correlation_id)]
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?.into())))
                .collect();
        let mut item = json!({
            "event_id": id,
            "timestamp": seconds(now_ms),
            "platform": "native",
            "level": "error",
            "logger": "logseq-sync",
            "tags": tags,
            "exception": { "values": [{ "type": event.event, "value": event.error.unwrap_or_default() }] },
        });
        for (name, value) in [("release", &self.release), ("environment", &self.environment)] {
            if let (Some(fields), Some(value)) = (item.as_object_mut(), value) {
                fields.insert(name.to_owned(), value.as_str().into());
            }
        }
        let header = json!({ "event_id": id });
        Some(Envelope {
            url: self.url.clone(),
            auth: format!("Sentry sentry_version=7, sentry_client=logseq-workers/1, sentry_key={}", self.key),
            body: format!("{header}\n{{\"type\":\"event\"}}\n{item}\n"),
        })
    }
}

/// `https://KEY@HOST/PREFIX/PROJECT` as the address of its envelopes, and the key.
fn endpoint(dsn: &str) -> Option<(String, String)> {
    let (scheme, rest) = dsn.trim().split_once("://")?;
    let (key, rest) = rest.split_once('@')?;
    let (place, project) = rest.trim_end_matches('/').rsplit_once('/')?;
    let key = key.split(':').next()?;
    let (host, prefix) =
        place.split_once('/').map_or((place, String::new()), |(host, path)| (host, format!("/{path}")));
    let whole = matches!(scheme, "http" | "https") && ![key, host, project].iter().any(|part| part.is_empty());
    whole.then(|| (format!("{scheme}://{host}{prefix}/api/{project}/envelope/"), key.to_owned()))
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds are exact as doubles")]
fn seconds(now_ms: i64) -> f64 {
    now_ms as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(dsn: &str) -> Option<Sentry> {
        Sentry::from_lookup(|name| match name {
            "SENTRY_DSN" => Some(dsn.to_owned()),
            "SENTRY_ENVIRONMENT" => Some("staging".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn addresses_come_from_the_dsn() {
        for (dsn, expected) in [
            ("https://abc@o1.ingest.example/42", Some("https://o1.ingest.example/api/42/envelope/")),
            ("http://abc:secret@127.0.0.1:9000/prefix/7/", Some("http://127.0.0.1:9000/prefix/api/7/envelope/")),
            ("", None),
            ("abc@host/1", None),
            ("https://host/1", None),
            ("https://@host/1", None),
            ("https://abc@host", None),
            ("ftp://abc@host/1", None),
        ] {
            assert_eq!(settings(dsn).map(|sentry| sentry.url).as_deref(), expected, "{dsn}");
        }
    }

    #[test]
    fn errors_are_delivered_with_their_ids() {
        let sentry = settings("https://abc@host/1").unwrap();
        let event = Event::new(Level::Error, "db-sync/http-error").about("g").with_error("broken");
        let envelope = sentry.envelope(&event, Uuid::nil(), 1_500).unwrap();
        assert!(envelope.auth.contains("sentry_key=abc"));
        let lines: Vec<Value> = envelope.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["event_id"], lines[2]["event_id"]);
        assert_eq!(lines[1]["type"], "event");
        assert_eq!(lines[2]["timestamp"], 1.5);
        assert_eq!(lines[2]["environment"], "staging");
        assert_eq!(lines[2]["tags"], json!({ "graph-id": "g" }));
        assert_eq!(lines[2]["exception"]["values"][0], json!({ "type": "db-sync/http-error", "value": "broken" }));
        let warning = Event::new(Level::Warning, "db-sync/activity-touch-failed");
        assert_eq!(sentry.envelope(&warning, Uuid::nil(), 0), None);
    }
}
