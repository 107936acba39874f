//! Git in the agent's place asks for its credentials (docs/spec/session-mailbox.md 4.10, 8.5): the runner asks the worker with the token of the
//! run, which stays here, and seals what it hears to the key of the question. Which repository that may be for, the worker says.

use mailbox::credentials::{ANSWER, Answer, MAX_BYTES, PATIENCE, REQUEST, Request};
use mailbox::host::{HostMailbox as _, Outcome};
use mailbox::message::{NewMessage, Output};
use mailbox::{Error, seal};

use super::super::conversations::Failed;
use super::{Session, now};

/// Questions that one look answers: as many as the shim has open.
const AT_ONCE: usize = 8;

impl Session {
    /// Answers what git has asked. Each question is answered once, and only while somebody waits for it.
    pub(super) fn answer_git(&mut self, outputs: &[Output]) -> Result<(), Error> {
        let new = outputs.iter().filter(|one| one.kind == REQUEST && one.seq > self.answered);
        let new: Vec<Output> = new.cloned().collect();
        let Some(last) = new.iter().map(|one| one.seq).max() else { return Ok(()) };
        let generation = self.host.control()?.generation;
        let waits = |one: &&Output| {
            let age = now().saturating_sub(one.created_at);
            one.generation == generation && u128::try_from(age).unwrap_or_default() < PATIENCE.as_millis()
        };
        // The last ones: whoever asks more than the shim does asks in vain.
        let from = new.len().saturating_sub(AT_ONCE);
        for one in new.iter().skip(from).filter(waits) {
            self.answer_one(one)?;
        }
        let outcomes: Vec<_> = new.iter().map(|one| (one.id.clone(), Outcome::Delivered)).collect();
        self.host.record(&outcomes, now())?;
        self.answered = last;
        Ok(())
    }

    fn answer_one(&mut self, output: &Output) -> Result<(), Error> {
        let Ok(request) = serde_json::from_str::<Request>(&output.content) else { return Ok(()) };
        let sealed = match self.credentials(&request.question) {
            Ok(secret) => seal::seal(&request.key, &request.request_id, &secret).map_err(|error| error.to_string()),
            Err(why) => Err(why),
        };
        if let Err(why) = &sealed {
            self.station.log.warn(format_args!("session {}: git asks in vain: {why}", self.known.session_id));
        }
        let answer = Answer { request_id: request.request_id, sealed: sealed.ok() };
        let content = serde_json::to_string(&answer).map_err(|error| Error::Io(error.into()))?;
        let message = NewMessage {
            id: output.id.clone(),
            kind: ANSWER.to_owned(),
            content,
            control: true,
            ..NewMessage::default()
        };
        match self.host.insert(&message, now()) {
            // It was answered before this runner began.
            Err(Error::Conflict) => Ok(()),
            inserted => inserted.map(drop),
        }
    }

    /// What the worker tells git, with the token of the last run.
    fn credentials(&mut self, question: &str) -> Result<Vec<u8>, String> {
        if question.len() > MAX_BYTES {
            return Err("the question is too long".to_owned());
        }
        let run = self.known.prompt.as_ref().map(|prompt| prompt.run).ok_or("no run has begun")?;
        let told = |failed| match failed {
            Failed::BrokenOff => "something came that does not wait".to_owned(),
            Failed::Later(why) | Failed::Token(why) | Failed::Refused(why) => why,
        };
        let token = self.token_of(run).map_err(told)?;
        let asked = self.station.line.ask_for_git(&self.known.session_id, &token, question);
        // Not broken off, for git asks once; it waits no longer than git does.
        let answered = self.station.handle.block_on(asked);
        if matches!(answered, Err(Failed::Token(_))) {
            self.forget_token(run);
        }
        answered.map(Into::into).map_err(told)
    }
}
