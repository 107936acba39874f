//! The agent asks before it uses a tool, and waits as long as the person does (docs/spec/session-mailbox.md 4.7).

use std::collections::BTreeMap;

use mailbox::agent::{AgentMailbox as _, Asked, NewAck, Step};
use mailbox::message::{AckStatus, Message, Phase};
use serde_json::Value;

use super::Session;
use crate::failure::Failure;
use crate::{acp, outputs};

/// How many questions may be open. A further one is answered with a cancellation.
const MAX_OPEN: usize = 64;

/// Questions of the agent that runs.
#[derive(Debug, Default)]
pub(super) struct Questions {
    asked: u64,
    /// The agent's id of each, by ours.
    open: BTreeMap<String, Value>,
}

impl Session {
    /// What an earlier process has asked is answered by nobody any more.
    pub(super) fn void_of_others(&mut self) -> Result<(), Failure> {
        let others: Vec<String> = self.mailbox.open_requests()?.into_iter().map(|request| request.id).collect();
        self.void(&others, "agent-gone")
    }

    /// Passes a question on. One that is open already comes again when the stream of a server was opened anew.
    pub(super) fn ask(&mut self, rpc_id: Value, params: &Value) -> Result<(), Failure> {
        if self.questions.open.values().any(|open| *open == rpc_id) {
            return Ok(());
        }
        let stopping = self.turn.as_ref().is_none_or(|turn| turn.stopping.is_some());
        if stopping || self.questions.open.len() >= MAX_OPEN || !outputs::is_question(params) {
            self.send(acp::answer_cancelled(&rpc_id));
            return Ok(());
        }
        self.questions.asked += 1;
        let id = format!("{}.{}", self.config.generation, self.questions.asked);
        self.tell("permission", &outputs::permission(&id, params), None);
        self.state.phase = Phase::WaitingUser;
        self.commit(Step { asked: vec![(id.clone(), rpc_id.to_string())], ..Step::default() })?;
        self.questions.open.insert(id, rpc_id);
        Ok(())
    }

    /// The agent takes a question back.
    pub(super) fn withdraw(&mut self, rpc_id: &Value) -> Result<(), Failure> {
        let found = self.questions.open.iter().find(|(_, asked)| *asked == rpc_id).map(|(id, _)| id.clone());
        let Some(id) = found else { return Ok(()) };
        self.questions.open.remove(&id);
        self.send(acp::answer_cancelled(rpc_id));
        self.void(&[id], "withdrawn")?;
        self.go_on_if_answered()
    }

    /// Takes an answer of the host's: it counts only for an open question of this process, and once.
    pub(super) fn on_control(&mut self, message: &Message) -> Result<(), Failure> {
        if self.on_credentials(message)? {
            return Ok(());
        }
        let body: Value =
            message.content.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let id = body.get("request-id").and_then(Value::as_str).unwrap_or_default().to_owned();
        let outcome = body.get("outcome").filter(|outcome| outcome.is_object()).cloned();
        let known = message.kind == "permission.answer";
        let (Some(rpc_id), Some(outcome), true) = (self.questions.open.get(&id).cloned(), outcome, known) else {
            return self.acknowledge(message, AckStatus::Skipped, None);
        };
        // Stored before the agent gets it: it is never given twice.
        let acks = vec![NewAck::of(message, AckStatus::Completed)];
        self.questions.open.remove(&id);
        self.commit(Step { acks, closed: vec![(id, Asked::Answered)], ..Step::default() })?;
        self.send(acp::answer(&rpc_id, &outcome));
        self.go_on_if_answered()
    }

    /// Answers all open questions with a cancellation, and tells that nobody waits for them.
    pub(super) fn close_questions(&mut self, reason: &str) -> Result<(), Failure> {
        let open = std::mem::take(&mut self.questions.open);
        for rpc_id in open.values() {
            self.send(acp::answer_cancelled(rpc_id));
        }
        self.void(&open.into_keys().collect::<Vec<_>>(), reason)
    }

    fn void(&mut self, ids: &[String], reason: &str) -> Result<(), Failure> {
        if ids.is_empty() {
            return Ok(());
        }
        for told in outputs::permission_void(ids, reason) {
            self.tell("permission.void", &told, None);
        }
        let closed = ids.iter().map(|id| (id.clone(), Asked::Void)).collect();
        self.commit(Step { closed, ..Step::default() })
    }

    fn go_on_if_answered(&mut self) -> Result<(), Failure> {
        if self.questions.open.is_empty() && self.state.phase == Phase::WaitingUser {
            self.state.phase = Phase::Running;
            self.state.progress_at = Some(crate::log::now());
            self.tell_state()?;
        }
        Ok(())
    }
}
