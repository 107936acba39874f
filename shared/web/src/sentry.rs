//! Events for Sentry (sync.md 17): envelopes that the platform sends.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{Event, Level, Trace};

/// Where events go and what they say about their origin.
#[derive(Clone, Debug, PartialEq)]
pub struct Sentry {
    /// The service that reports.
    service: &'static str,
    url: String,
    key: String,
    release: Option<String>,
    environment: Option<String>,
    /// The share of requests that are reported as transactions.
    sample_rate: f64,
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
    /// The settings of a service under their names in the environment; none without a well-formed `SENTRY_DSN`.
    pub fn from_lookup(service: &'static str, lookup: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let lookup = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
        let dsn = lookup("SENTRY_DSN")?;
        let (url, key) = endpoint(&dsn)?;
        let sample_rate = lookup("SENTRY_TRACES_SAMPLE_RATE").and_then(|rate| rate.trim().parse().ok());
        Some(Self {
            service,
            url,
            key,
            release: lookup("SENTRY_RELEASE"),
            environment: lookup("SENTRY_ENVIRONMENT"),
            sample_rate: sample_rate.filter(|rate| (0.0..=1.0).contains(rate)).unwrap_or(0.0),
        })
    }

    /// The request that delivers an event; none for events that are not worth one.
    pub fn envelope(&self, event: &Event<'_>, id: Uuid, now_ms: i64) -> Option<Envelope> {
        if event.level != Level::Error {
            return None;
        }
        let tags: serde_json::Map<String, Value> =
            event.tags().map(|(name, value)| (name.to_owned(), value.into())).collect();
        let item = json!({
            "timestamp": seconds(now_ms),
            "level": "error",
            "logger": self.service,
            "tags": tags,
            "exception": { "values": [{ "type": event.event, "value": event.error.unwrap_or_default() }] },
        });
        Some(self.envelope_of("event", item, id))
    }

    /// The request that reports an answered request as a transaction, if it is one of the sample.
    pub fn transaction(&self, trace: &Trace<'_>, id: Uuid) -> Option<Envelope> {
        // The first four bytes of a random UUID are random.
        let (draw, ..) = id.as_fields();
        if f64::from(draw) / 4_294_967_296.0 >= self.sample_rate {
            return None;
        }
        let trace_id = id.simple().to_string();
        let span_id = trace_id.get(16..).unwrap_or_default();
        let item = json!({
            "type": "transaction",
            "transaction": format!("{} {}", trace.method, trace.route),
            "start_timestamp": seconds(trace.started_ms),
            "timestamp": seconds(trace.ended_ms),
            "contexts": { "trace": {
                "trace_id": trace_id, "span_id": span_id, "op": "http.server",
                "status": if trace.status < 500 { "ok" } else { "internal_error" },
                "data": { "http.response.status_code": trace.status },
            } },
        });
        Some(self.envelope_of("transaction", item, id))
    }

    fn envelope_of(&self, kind: &str, mut item: Value, id: Uuid) -> Envelope {
        let id = id.simple().to_string();
        let header = json!({ "event_id": id });
        if let Some(fields) = item.as_object_mut() {
            fields.insert("event_id".into(), id.into());
            fields.insert("platform".into(), "native".into());
            for (name, value) in [("release", &self.release), ("environment", &self.environment)] {
                if let Some(value) = value {
                    fields.insert(name.into(), value.as_str().into());
                }
            }
        }
        Envelope {
            url: self.url.clone(),
            auth: format!("Sentry sentry_version=7, sentry_client=logseq-workers/1, sentry_key={}", self.key),
            body: format!("{header}\n{{\"type\":\"{kind}\"}}\n{item}\n"),
        }
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
        with_rate(dsn, "")
    }

    fn with_rate(dsn: &str, rate: &str) -> Option<Sentry> {
        Sentry::from_lookup("logseq-sync", |name| match name {
            "SENTRY_DSN" => Some(dsn.to_owned()),
            "SENTRY_TRACES_SAMPLE_RATE" => Some(rate.to_owned()),
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
    fn requests_are_sampled() {
        let trace = Trace { method: "GET", route: "/pull", status: 200, started_ms: 1_000, ended_ms: 1_250 };
        let low = Uuid::from_u128(0x1999_0000_0000_4000_8000_0000_0000_0001);
        let high = Uuid::from_u128(0x199b_0000_0000_4000_8000_0000_0000_0001);
        let sampled = |rate: &str, id| with_rate("https://abc@host/1", rate).unwrap().transaction(&trace, id);
        assert!(sampled("0.1", low).is_some() && sampled("0.1", high).is_none());
        for rate in ["", "0", "1.5", "-1", "often", "NaN"] {
            assert_eq!(sampled(rate, low), None, "{rate}");
        }
        let body = sampled("1", high).unwrap().body;
        let lines: Vec<Value> = body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&lines[1]["type"], &lines[2]["transaction"]), (&json!("transaction"), &json!("GET /pull")));
        assert_eq!(lines[2]["contexts"]["trace"]["span_id"].as_str().unwrap().len(), 16);
    }

    #[test]
    fn errors_are_delivered_with_their_ids() {
        let sentry = settings("https://abc@host/1").unwrap();
        let event = Event::new(Level::Error, "db-sync/http-error")
            .about(crate::Subject { kind: "graph-id", id: "g" })
            .with_error("broken");
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
