//! A push between two turns (docs/spec/session-mailbox.md 7.4): nothing else is begun meanwhile, so that what is pushed is what stands there.

use mailbox::agent::{NewAck, Step};
use mailbox::message::{AckStatus, Message, Phase};
use serde_json::{Value, json};

use super::Session;
use crate::failure::Failure;
use crate::git;
use crate::log;
use crate::push::{self, Place, Push, Pushed};

/// A push that goes on.
#[derive(Debug)]
pub(super) struct Pushing {
    message: Message,
    id: String,
}

impl Session {
    /// Begins a push that was taken. One that died with its process is begun again: what is there already is not pushed twice.
    pub(super) fn begin_push(&mut self, message: Message) -> Result<(), Failure> {
        let body: Value =
            message.content.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let Some(push) = Push::read(&body) else {
            return self.acknowledge(&message, AckStatus::Failed, Some("invalid_push"));
        };
        let mark = format!("{}:{}", self.config.mailbox_id, self.config.generation);
        let helper = match std::env::current_exe() {
            Ok(shim) if self.config.git_helper => git::helper(&shim, &self.places.outside),
            _ => Vec::new(),
        };
        (self.state.phase, self.state.progress_at) = (Phase::Running, Some(log::now()));
        self.tell_state()?;
        self.pushing = Some(Pushing { message, id: push.id.clone() });
        let cwd = self.cwd();
        let place = Place { directory: &cwd, home: &self.places.home, mark: &mark, helper };
        match push::begin(&push, place, self.events.clone()) {
            Ok(()) => Ok(()),
            Err(error) => self.on_pushed(&Pushed { ok: false, reason: error.to_string(), output: String::new() }),
        }
    }

    /// A push has ended. What came of it and its completion are one commit.
    pub(super) fn on_pushed(&mut self, pushed: &Pushed) -> Result<(), Failure> {
        let Some(Pushing { message, id }) = self.pushing.take() else { return Ok(()) };
        let reason = (!pushed.ok).then_some(pushed.reason.as_str());
        let data = json!({"push-id": id, "ok": pushed.ok, "reason": reason, "output": pushed.output});
        self.tell("push.done", &data, Some(&message));
        (self.state.phase, self.idle_since) = (Phase::Idle, self.awake.now());
        let ack = NewAck { told: true, ..NewAck::of(&message, AckStatus::Completed) };
        self.commit(Step { acks: vec![ack], ..Step::default() })
    }
}
