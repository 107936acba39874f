//! The line to the agents worker with the runner's own token (docs/spec/session-mailbox.md 7): what is asked, and what answers mean.

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;

use crate::http::{ANSWER_BYTES, Ask, Client};
use crate::settings::Settings;

/// How long an answer may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How long one to a request for work may take.
pub(crate) const POLL: Duration = Duration::from_mins(1);
/// How long one to a question of git may take: git waits a little longer.
pub(crate) const GIT: Duration = Duration::from_secs(15);
/// How long one about a file may take.
pub(crate) const FILES: Duration = Duration::from_mins(5);

/// Why the runner as a whole cannot go on as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Another process of this runner took over.
    Superseded,
    /// The runner was deleted.
    Revoked,
    /// The token does not count any more: the runner is registered again.
    Unknown(String),
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    /// Done.
    Done(Value),
    /// Refused for good: the status, the text, and the whole body.
    Refused(StatusCode, String, Value),
    /// Not now: asking again may help.
    Later(String),
}

/// What proves a request.
#[derive(Clone, Default)]
struct Proof {
    token: String,
    attach: Option<String>,
}

/// The line.
pub(crate) struct Line {
    pub(super) client: Client,
    /// The address of the worker.
    pub(super) api: String,
    base: String,
    proof: Mutex<Proof>,
    fates: UnboundedSender<Fate>,
}

impl Line {
    /// A line of a runner. What ends the runner is told to `fates`.
    pub(crate) fn new(settings: &Settings, fates: UnboundedSender<Fate>) -> Self {
        Self {
            client: Client::new(),
            api: settings.api.clone(),
            base: format!("{}/runners/{}", settings.api, web::url::encode(&settings.runner_id)),
            proof: Mutex::new(Proof::default()),
            fates,
        }
    }

    /// The token with which is asked from now on.
    pub(crate) fn set_token(&self, token: &str) {
        self.with(|proof| token.clone_into(&mut proof.token));
    }

    /// The process that asks from now on; none before it attached.
    pub(crate) fn set_attach(&self, attach: Option<String>) {
        self.with(|proof| proof.attach = attach);
    }

    fn with<T>(&self, work: impl FnOnce(&mut Proof) -> T) -> T {
        // Nothing is left half done under this lock.
        work(&mut self.proof.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Asks something, with a body of JSON.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<&Value>, patience: Duration) -> Reply {
        let body = body.map(|body| ("application/json", Bytes::from(body.to_string())));
        self.send(method, path, body, patience).await
    }

    /// Stores a file.
    pub(crate) async fn put(&self, path: &str, content: Vec<u8>) -> Reply {
        self.send(Method::PUT, path, Some(("application/octet-stream", content.into())), FILES).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<(&str, Bytes)>, patience: Duration) -> Reply {
        let Proof { token, attach } = self.with(|proof| proof.clone());
        let url = format!("{}{path}", self.base);
        let ask = Ask {
            method,
            url: &url,
            token: Some(&token),
            headers: attach.as_deref().map(|attach| ("x-runner-attach", attach)).into_iter().collect(),
            body,
            patience,
            most: ANSWER_BYTES,
        };
        let answer = match self.client.send(ask).await {
            Ok(answer) => answer,
            Err(why) => return Reply::Later(why),
        };
        if answer.status.is_success() {
            return Reply::Done(answer.body.unwrap_or_default());
        }
        let refusal = answer.refusal();
        let body = answer.body.unwrap_or_default();
        let text = body.get("error").and_then(Value::as_str).unwrap_or_default().to_owned();
        let is_ours = self.with(|proof| proof.token == token && proof.attach == attach);
        match fate(answer.status, &text) {
            Some(fate) if is_ours => {
                // Nobody hears it when the runner ends already.
                let _ = self.fates.send(fate);
                Reply::Later(refusal)
            }
            // It was asked with what does not count any more, by this very process.
            Some(_) => Reply::Later(refusal),
            None if is_later(answer.status, &text) => Reply::Later(refusal),
            None => Reply::Refused(answer.status, text, body),
        }
    }
}

/// Whether asking again may help. A request without an attach id was sent between two of them.
fn is_later(status: StatusCode, text: &str) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500..=599) || text == "missing attach id"
}

fn fate(status: StatusCode, text: &str) -> Option<Fate> {
    match (status.as_u16(), text) {
        (401, "runner revoked") => Some(Fate::Revoked),
        (401, other) => Some(Fate::Unknown(other.to_owned())),
        (409, "runner superseded") => Some(Fate::Superseded),
        (409, "instance mismatch") => Some(Fate::Unknown(text.to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_the_runner_is_told_from_what_concerns_one_request() {
        let of = |status: u16, text| fate(StatusCode::from_u16(status).unwrap(), text);
        assert_eq!(of(401, "runner revoked"), Some(Fate::Revoked));
        assert_eq!(of(409, "runner superseded"), Some(Fate::Superseded));
        assert_eq!(of(401, "runner token superseded"), Some(Fate::Unknown("runner token superseded".into())));
        assert_eq!(of(409, "instance mismatch"), Some(Fate::Unknown("instance mismatch".into())));
        for (status, text) in [(409, "lease lost"), (409, "sequence gap"), (404, "not found"), (500, "server error")] {
            assert_eq!(of(status, text), None, "{text}");
        }
    }

    #[test]
    fn what_was_asked_between_two_attaches_is_asked_again() {
        let of = |status: u16, text| is_later(StatusCode::from_u16(status).unwrap(), text);
        assert!(of(400, "missing attach id") && of(503, "") && of(429, "rate limited"));
        assert!(!of(400, "invalid body") && !of(413, "too large"));
    }
}
