//! The body of `POST /agents/webhooks` (agents.md 20.3).

use serde_json::Value;

use super::fields::{Fields, required_object};
use super::limits::MAX_ID_BYTES;
use crate::error::Error;
use crate::webhook::Topic;

/// A webhook that is wanted. Whether its address may be called is decided elsewhere (agents.md 7.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewWebhook {
    /// Where notifications go.
    pub url: String,
    /// What it is told of, each once, in the order of [`Topic::ALL`].
    pub topics: Vec<Topic>,
    /// The graph whose sessions it is told of; none for all sessions of its user.
    pub graph_id: Option<String>,
}

impl NewWebhook {
    /// Reads a body. Without `events` everything is told.
    ///
    /// # Errors
    /// [`Error::MissingBody`], [`Error::InvalidBody`].
    pub fn read(body: &[u8]) -> Result<Self, Error> {
        let members = required_object(body)?;
        let fields = Fields(&members);
        let url = fields.required("url")?.trim().to_owned();
        let graph_id = fields.text_within("graph-id", MAX_ID_BYTES)?.filter(|id| !id.is_empty()).map(str::to_owned);
        Ok(Self { url, topics: topics(members.get("events"))?, graph_id })
    }
}

fn topics(events: Option<&Value>) -> Result<Vec<Topic>, Error> {
    let Some(events) = events else { return Ok(Topic::ALL.to_vec()) };
    let names = events.as_array().filter(|names| !names.is_empty()).ok_or(Error::InvalidBody)?;
    // Bounded by the body.
    let wanted: Option<Vec<Topic>> = names.iter().map(|name| Topic::parse(name.as_str()?)).collect();
    let wanted = wanted.ok_or(Error::InvalidBody)?;
    Ok(Topic::ALL.into_iter().filter(|topic| wanted.contains(topic)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_of_webhooks() {
        let read = |body: &str| NewWebhook::read(body.as_bytes());
        let all = read(r#"{"url":" https://a.example/x "}"#).unwrap();
        assert_eq!((all.url.as_str(), all.topics.len(), all.graph_id), ("https://a.example/x", Topic::ALL.len(), None));
        let some =
            read(r#"{"url":"https://a.example","events":["pr.opened","turn.finished","pr.opened"],"graph-id":"g"}"#);
        let some = some.unwrap();
        assert_eq!(some.topics, [Topic::TurnFinished, Topic::PrOpened]);
        assert_eq!(some.graph_id.as_deref(), Some("g"));
        for body in [
            "{}",
            r#"{"url":5}"#,
            r#"{"url":"https://a.example","events":[]}"#,
            r#"{"url":"https://a.example","events":["turn.completed"]}"#,
            r#"{"url":"https://a.example","events":"turn.finished"}"#,
            r#"{"url":"https://a.example","events":null}"#,
            r#"{"url":"https://a.example","graph-id":5}"#,
            &format!(r#"{{"url":"https://a.example","graph-id":"{}"}}"#, "g".repeat(513)),
        ] {
            assert_eq!(read(body), Err(Error::InvalidBody), "{body}");
        }
        assert_eq!(read(""), Err(Error::MissingBody));
    }
}
