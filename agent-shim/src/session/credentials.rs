//! Git asks for its credentials, and the runner answers (docs/spec/session-mailbox.md 4.10, 8.5).

use std::collections::BTreeMap;
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use mailbox::credentials::{ANSWER, Answer, PATIENCE, REQUEST, Request};
use mailbox::message::{AckStatus, Message, NewOutput};
use mailbox::seal::QuestionKey;

use super::Session;
use crate::failure::Failure;
use crate::log;

/// How many questions may be open. A further one is not answered.
const MAX_OPEN: usize = 8;

/// Questions of git that are open.
#[derive(Debug, Default)]
pub(super) struct Credentials {
    asked: u64,
    open: BTreeMap<String, Open>,
}

#[derive(Debug)]
struct Open {
    key: QuestionKey,
    tell: SyncSender<Vec<u8>>,
    since: Instant,
}

impl Session {
    /// Passes a question of git on. Whoever asks hears nothing when `tell` is dropped.
    pub(super) fn ask_credentials(&mut self, question: String, tell: SyncSender<Vec<u8>>) -> Result<(), Failure> {
        let now = self.awake.now();
        self.credentials.open.retain(|_, open| now.saturating_duration_since(open.since) < PATIENCE);
        if self.credentials.open.len() >= MAX_OPEN {
            return Ok(());
        }
        let key = match QuestionKey::new() {
            Ok(key) => key,
            Err(error) => {
                log::line("warn", "git-question", &error.to_string());
                return Ok(());
            }
        };
        self.credentials.asked += 1;
        let request_id = format!("{}.g{}", self.config.generation, self.credentials.asked);
        let request = Request { request_id: request_id.clone(), key: key.public(), question };
        let content = serde_json::to_string(&request).map_err(|error| Failure::System(error.into()))?;
        let output =
            NewOutput { kind: REQUEST.to_owned(), content, attempt: 1, for_runner: true, ..NewOutput::default() };
        self.pending.push(output);
        self.flush()?;
        self.credentials.open.insert(request_id, Open { key, tell, since: now });
        Ok(())
    }

    /// Whether a message of the control lane answers git. Acknowledged first: then the host forgets what it said.
    pub(super) fn on_credentials(&mut self, message: &Message) -> Result<bool, Failure> {
        if message.kind != ANSWER {
            return Ok(false);
        }
        let answer = message.content.as_deref().and_then(|text| serde_json::from_str::<Answer>(text).ok());
        let open = answer.and_then(|answer| Some((self.credentials.open.remove(&answer.request_id)?, answer)));
        let Some((open, answer)) = open else {
            self.acknowledge(message, AckStatus::Skipped, None)?;
            return Ok(true);
        };
        self.acknowledge(message, AckStatus::Completed, None)?;
        match answer.sealed.map(|sealed| open.key.open(&answer.request_id, &sealed)) {
            // Nobody hears it when git has gone.
            Some(Ok(secret)) => drop(open.tell.try_send(secret)),
            Some(Err(error)) => log::line("warn", "git-answer", &error.to_string()),
            None => {}
        }
        Ok(true)
    }
}
