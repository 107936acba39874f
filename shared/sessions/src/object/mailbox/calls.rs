//! What the session tells the object of its runner (session-mailbox.md 7.1).

use http::Method;
use serde_json::{Value, json};
use web::{Call, Peers as _};

use super::at_desk;
use crate::error::Error;
use crate::mailbox::Presence;
use crate::mailbox::desk::on_presence;
use crate::object::jobs::JobError;
use crate::object::{Platform, Session};
use crate::runner_object::ORIGIN;

/// The largest answer of a runner's object.
const MAX_ANSWER_BYTES: usize = 64 << 10;

impl<P: Platform> Session<P> {
    /// Tells the object of a runner something; whether the runner is there. None when it knows of no such runner.
    async fn tell_runner(&self, key: &str, verb: &str) -> Result<Option<Presence>, Error> {
        let runners = self.platform.runners().ok_or(Error::MailboxOff)?;
        let session_id = self.look(|core| core.state.id.clone())?;
        let body = json!({"session-id": session_id}).to_string().into_bytes();
        let call = Call { body, ..Call::new(Method::POST, format!("{ORIGIN}{verb}")) };
        let answered = runners.ask(key, call, MAX_ANSWER_BYTES).await;
        let (status, bytes) = answered.map_err(|failure| Error::Internal(failure.0))?;
        if status == http::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let mut said: Value = serde_json::from_slice(&bytes).map_err(|error| Error::Internal(error.to_string()))?;
        let presence = said.get_mut("presence").map(Value::take).unwrap_or_default();
        serde_json::from_value(presence).map_err(|error| Error::Internal(error.to_string()))
    }

    /// The runner is to have the session; whether it is there.
    pub(in crate::object) async fn bind_runner(&self, key: &str) -> Result<Option<Presence>, Error> {
        self.tell_runner(key, "bind").await
    }

    /// There is work for the runner. The alarm says so again until the runner has it.
    pub(in crate::object) async fn ring_runner(&self, key: &str) -> Result<(), JobError> {
        let Some(presence) = self.tell_runner(key, "ring").await? else { return Ok(()) };
        let new_id = || self.platform.random_uuid().to_string();
        self.change(|core, decide| {
            at_desk(core, decide, &new_id, |desk, at| on_presence(desk, at, key, presence));
        })?;
        Ok(())
    }

    /// The runner does not have the session any more. If nobody can be told, the runner's object finds out when it asks.
    pub(in crate::object) async fn leave_runner(&self, key: &str, runner_id: &str) -> Result<(), JobError> {
        let user = self.look(|core| core.state.requested_by.clone())?;
        self.give_back(&user, runner_id).await;
        self.tell_runner(key, "unbind").await?;
        Ok(())
    }
}
