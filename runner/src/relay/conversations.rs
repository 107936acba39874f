//! What is asked with the token of a run: conversations on their way between this machine and the worker (docs/spec/transcripts.md 4.4), and
//! git's credentials (docs/spec/agents.md 20.6).

use bytes::Bytes;
use http::{Method, StatusCode};
use transcripts::limits::ARCHIVE_BYTES;

use super::line::{GIT, Line, PATIENCE};
use crate::http::{ANSWER_BYTES, Answer, Ask};

/// The content type of a bundle.
const ARCHIVE: &str = "application/x-tar";

/// A conversation, as the worker gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fetched {
    /// The archive.
    pub(crate) archive: Bytes,
    /// The run that it is of.
    pub(crate) run: u64,
    /// The epoch of the conversation.
    pub(crate) epoch: u64,
}

/// Why the worker did not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// Not now: asking again may help.
    Later(String),
    /// The token does not count any more.
    Token(String),
    /// For good.
    Refused(String),
    /// It was broken off here, for something that does not wait.
    BrokenOff,
}

fn failed(answer: &Answer) -> Failed {
    let why = answer.refusal();
    match answer.status.as_u16() {
        408 | 425 | 429 | 500..=599 if answer.status != StatusCode::INSUFFICIENT_STORAGE => Failed::Later(why),
        401 => Failed::Token(why),
        _ => Failed::Refused(why),
    }
}

impl Line {
    fn session(&self, session: &str) -> String {
        format!("{}/sessions/{}", self.api, web::url::encode(session))
    }

    /// The conversation that a session goes on with, of at most so many bytes; none when there is none.
    pub(crate) async fn fetch_conversation(
        &self,
        session: &str,
        token: &str,
        most: usize,
    ) -> Result<Option<Fetched>, Failed> {
        let url = format!("{}/transcript", self.session(session));
        let ask = Ask {
            method: Method::GET,
            url: &url,
            token: Some(token),
            headers: vec![("accept", ARCHIVE)],
            body: None,
            patience: PATIENCE,
            most: most.saturating_add(ARCHIVE_BYTES),
        };
        let answer = self.client.send(ask).await.map_err(Failed::Later)?;
        if matches!(answer.status, StatusCode::NO_CONTENT | StatusCode::NOT_FOUND) {
            return Ok(None);
        }
        if !answer.status.is_success() {
            return Err(failed(&answer));
        }
        let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok());
        let run = header("x-snapshot-run-id").and_then(|run| run.strip_prefix("run-")?.parse().ok());
        let epoch = header("x-snapshot-epoch").and_then(|epoch| epoch.parse().ok());
        let (Some(run), Some(epoch)) = (run, epoch) else {
            return Err(Failed::Refused("a conversation without its run".to_owned()));
        };
        Ok(Some(Fetched { archive: answer.bytes, run, epoch }))
    }

    /// What git is told that asks this, in its own words.
    pub(crate) async fn ask_for_git(&self, session: &str, token: &str, question: &str) -> Result<Bytes, Failed> {
        let url = format!("{}/git-credentials", self.session(session));
        let ask = Ask {
            method: Method::POST,
            url: &url,
            token: Some(token),
            headers: Vec::new(),
            body: Some(("text/plain", question.to_owned().into())),
            patience: GIT,
            most: mailbox::credentials::MAX_BYTES,
        };
        let answer = self.client.send(ask).await.map_err(Failed::Later)?;
        if answer.status.is_success() { Ok(answer.bytes) } else { Err(failed(&answer)) }
    }

    /// Keeps the conversation of a run at the worker.
    pub(crate) async fn keep_conversation(
        &self,
        session: &str,
        run: u64,
        token: &str,
        status: &str,
        archive: Vec<u8>,
    ) -> Result<(), Failed> {
        let url = format!("{}/runs/run-{run}/transcript", self.session(session));
        let ask = Ask {
            method: Method::PUT,
            url: &url,
            token: Some(token),
            headers: vec![("x-terminal-status", status)],
            body: Some((ARCHIVE, archive.into())),
            patience: PATIENCE,
            most: ANSWER_BYTES,
        };
        let answer = self.client.send(ask).await.map_err(Failed::Later)?;
        if answer.status.is_success() { Ok(()) } else { Err(failed(&answer)) }
    }
}
