//! Opening a session of the agent, in the dialect that the server speaks (agents.md 4.3, 4.6).

use web::{Event, Fetch, Host, Level};

use super::{AgentServer, CALL_MS, ServerError, reply};
use crate::acp::{self, AcpError, Launch};
use crate::legacy::{self, ApiSetting, Dialect, Probe};

/// How long the first request to a server may take: it installs the agent (agents.md 4.3). In milliseconds.
pub const FIRST_USE_MS: u32 = 300_000;

/// An open session of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The agent's name of it.
    pub session_id: String,
    /// What the server speaks.
    pub dialect: Dialect,
}

impl<F: Fetch, H: Host> AgentServer<'_, F, H> {
    /// Opens a session of the agent that works in `directory`. `first_rpc_id` and the two numbers after it are used;
    /// `start_ms` is how long the first request may take.
    pub async fn open(
        &self,
        api: ApiSetting,
        launch: &Launch,
        directory: &str,
        first_rpc_id: u64,
        start_ms: u32,
    ) -> Result<Opened, ServerError> {
        if api == ApiSetting::Always(Dialect::Legacy) {
            return self.open_legacy(launch, start_ms).await;
        }
        match self.open_acp(launch, directory, first_rpc_id, start_ms).await {
            Ok(session_id) => Ok(Opened { session_id, dialect: Dialect::Acp }),
            Err(Failed { error: ServerError::Acp(error), at_first: true })
                if api == ApiSetting::Auto && Probe::after(&error) == Probe::AskHealth =>
            {
                // Nothing else than a healthy server without these routes is taken for the older one.
                self.health().await.map_err(|_| error)?;
                self.open_legacy(launch, start_ms).await
            }
            Err(failed) => Err(failed.error),
        }
    }

    async fn open_acp(
        &self,
        launch: &Launch,
        directory: &str,
        first_rpc_id: u64,
        start_ms: u32,
    ) -> Result<String, Failed> {
        let request = acp::request::initialize(first_rpc_id);
        let first = |error| Failed { error, at_first: true };
        self.post(&request, launch.agent.as_deref(), start_ms).await.map_err(first)?;
        let later = |error| Failed { error, at_first: false };
        let request = acp::request::new_session(first_rpc_id.saturating_add(1), directory);
        let answer = self.post(&request, None, CALL_MS).await.map_err(later)?;
        let session_id = reply(&answer).session_id(self.server_id).map_err(|error| later(error.into()))?;
        if let Some(mode) = launch.mode_id() {
            let request = acp::request::set_mode(first_rpc_id.saturating_add(2), &session_id, mode);
            match self.post(&request, None, CALL_MS).await {
                Err(ServerError::Acp(error)) if error.is_unknown_mode() => {
                    // The agent works on in the mode that it has.
                    self.host.report(&Event::new(Level::Info, "agent-mode-unknown"));
                }
                set => drop(set.map_err(later)?),
            }
        }
        Ok(session_id)
    }

    /// A session of that name that is there already is the one.
    async fn open_legacy(&self, launch: &Launch, start_ms: u32) -> Result<Opened, ServerError> {
        let call = legacy::request::create(self.base_url, self.server_id, launch);
        match self.legacy(&call, start_ms).await {
            Ok(answer) if answer.get("healthy").and_then(serde_json::Value::as_bool) == Some(false) => {
                let error = answer.get("error").and_then(serde_json::Value::as_str).unwrap_or("the agent is not well");
                let detail: String = error.chars().take(1_000).collect();
                return Err(AcpError::Rpc(acp::RpcFailure { code: 0, message: detail }).into());
            }
            Ok(_) | Err(ServerError::Acp(AcpError::Status { status: 409, .. })) => {}
            Err(error) => return Err(error),
        }
        Ok(Opened { session_id: self.server_id.to_owned(), dialect: Dialect::Legacy })
    }
}

struct Failed {
    error: ServerError,
    /// The first request failed, so that the server may speak the older dialect.
    at_first: bool,
}
