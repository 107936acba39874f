//! Opening a session of the agent, in the dialect that the server speaks (agents.md 4.3, 4.6).

use serde_json::Value;
use web::{Event, Fetch, Host, Level};

use super::resume::{Resume, can_load};
use super::{AgentServer, CALL_MS, ServerError, reply};
use crate::acp::{self, AcpError, Launch};
use crate::legacy::{self, ApiSetting, Dialect, Probe};
use crate::runtime::tools::{ToolServer, takes_http};
use crate::runtime::{Runtime, Wish};

/// How long the first request to a server may take: it installs the agent (agents.md 4.3). In milliseconds.
pub const FIRST_USE_MS: u32 = 300_000;

/// How long an agent may take to load a conversation, in milliseconds: it tells all of it again.
const LOAD_MS: u32 = 60_000;

/// An open session of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The agent's name of it.
    pub session_id: String,
    /// What the server speaks.
    pub dialect: Dialect,
    /// Whether the agent can go on with a conversation of another sandbox.
    pub can_load: bool,
    /// Whether it was offered the tools, and can use such.
    pub has_tools: bool,
}

/// How a session of an agent is opened.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// Which agent, and in which mode.
    pub launch: &'a Launch,
    /// The directory that it works in.
    pub directory: &'a str,
    /// This number and the three after it are used for requests.
    pub first_rpc_id: u64,
    /// How long the first request may take, in milliseconds.
    pub start_ms: u32,
    /// The conversation that it goes on with, if it can.
    pub resume: Option<&'a Resume>,
    /// What it is offered, if it can use it.
    pub tools: Option<&'a ToolServer>,
}

impl<'a> Opening<'a> {
    /// As a runtime is wanted.
    pub fn of(wish: &Wish<'a>, launch: &'a Launch, directory: &'a str, start_ms: u32) -> Self {
        Self { launch, directory, first_rpc_id: wish.first_rpc_id, start_ms, resume: wish.resume, tools: wish.tools }
    }
}

impl Opened {
    /// Notes it in its runtime, whose server and agent run.
    pub fn note(self, runtime: &mut Runtime) {
        runtime.session_id = self.session_id;
        runtime.dialect = self.dialect;
        runtime.can_load = self.can_load;
        runtime.has_tools = self.has_tools;
        runtime.server_ended = false;
        runtime.agent_exited = false;
    }
}

impl<F: Fetch, H: Host> AgentServer<'_, F, H> {
    /// Opens a session of the agent.
    pub async fn open(&self, api: ApiSetting, opening: Opening<'_>) -> Result<Opened, ServerError> {
        let Opening { launch, start_ms, .. } = opening;
        if api == ApiSetting::Always(Dialect::Legacy) {
            return self.open_legacy(launch, start_ms).await;
        }
        match self.open_acp(opening).await {
            Ok(opened) => Ok(opened),
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

    async fn open_acp(&self, opening: Opening<'_>) -> Result<Opened, Failed> {
        let Opening { launch, directory, first_rpc_id, start_ms, resume, tools } = opening;
        let first = |error| Failed { error, at_first: true };
        let later = |error| Failed { error, at_first: false };
        // Some agents find their files by the directory that they work in.
        let mut resume = resume.filter(|resume| resume.directory == directory);
        if let Some(kept) = resume
            && !self.hydrate(kept).await.map_err(later)?
        {
            resume = None;
        }
        let request = acp::request::initialize(first_rpc_id);
        let initialized = self.post(&request, launch.agent.as_deref(), start_ms).await.map_err(first)?;
        let initialized = reply(&initialized).envelope().unwrap_or_default();
        let can_load = can_load(&initialized);
        let servers: Vec<Value> =
            tools.filter(|_| takes_http(&initialized)).map(ToolServer::to_acp).into_iter().collect();
        let loaded = match resume.filter(|_| can_load) {
            Some(kept) => self.load(load_rpc_id(first_rpc_id), kept, &servers).await.map_err(later)?,
            None => None,
        };
        let session_id = if let Some(session_id) = loaded {
            session_id
        } else {
            // The number after the first, unless that was used for loading.
            let next = if resume.is_some() && can_load { 2 } else { 1 };
            let request = acp::request::new_session(first_rpc_id.saturating_add(next), directory, &servers);
            let answer = self.post(&request, None, CALL_MS).await.map_err(later)?;
            reply(&answer).session_id(self.server_id).map_err(|error| later(error.into()))?
        };
        if let Some(mode) = launch.mode_id() {
            let next = if resume.is_some() && can_load { 3 } else { 2 };
            let request = acp::request::set_mode(first_rpc_id.saturating_add(next), &session_id, mode);
            match self.post(&request, None, CALL_MS).await {
                Err(ServerError::Acp(error)) if error.is_unknown_mode() => {
                    // The agent works on in the mode that it has.
                    self.host.report(&Event::new(Level::Info, "agent-mode-unknown"));
                }
                set => drop(set.map_err(later)?),
            }
        }
        Ok(Opened { session_id, dialect: Dialect::Acp, can_load, has_tools: !servers.is_empty() })
    }

    /// Loads a conversation. None when the agent refuses it.
    async fn load(&self, rpc_id: u64, kept: &Resume, servers: &[Value]) -> Result<Option<String>, ServerError> {
        let request = acp::request::load_session(rpc_id, &kept.native_session_id, &kept.directory, servers);
        match self.post(&request, None, LOAD_MS).await {
            Ok(_) => Ok(Some(kept.native_session_id.clone())),
            Err(ServerError::Acp(AcpError::Rpc(_))) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A session of that name that is there already is the one.
    async fn open_legacy(&self, launch: &Launch, start_ms: u32) -> Result<Opened, ServerError> {
        let call = legacy::request::create(self.base_url, self.server_id, launch);
        match self.legacy(&call, start_ms).await {
            Ok(answer) if answer.get("healthy").and_then(Value::as_bool) == Some(false) => {
                let error = answer.get("error").and_then(Value::as_str).unwrap_or("the agent is not well");
                let detail: String = error.chars().take(1_000).collect();
                return Err(AcpError::Rpc(acp::RpcFailure { code: 0, message: detail }).into());
            }
            Ok(_) | Err(ServerError::Acp(AcpError::Status { status: 409, .. })) => {}
            Err(error) => return Err(error),
        }
        let session_id = self.server_id.to_owned();
        Ok(Opened { session_id, dialect: Dialect::Legacy, can_load: false, has_tools: false })
    }
}

/// The number under which a conversation is loaded, of the numbers of an opening. What comes on the stream before its answer is the
/// conversation, told again.
pub fn load_rpc_id(first_rpc_id: u64) -> u64 {
    first_rpc_id.saturating_add(1)
}

struct Failed {
    error: ServerError,
    /// The first request failed, so that the server may speak the older dialect.
    at_first: bool,
}
