//! The client of sandbox-agent (agents.md 4), in both of its dialects: one agent server, for one session.

mod files;
mod open;
mod prompt;
mod resume;
mod stream;

#[cfg(test)]
mod resume_tests;
#[cfg(test)]
mod tests;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method};
use serde_json::Value;
use web::{Call, CallError, Fetch, Host};

use super::exchange::{Answer, ExchangeError, exchange};
use super::signature::{SIGNATURE_HEADER, signature};
use super::{ProviderKind, Ran, Runtime, RuntimeSecrets};
use crate::acp::{AcpError, HttpReply, base_url, component, server_url};
use crate::command::Command;
use crate::legacy;

pub use files::Files;
pub use open::{FIRST_USE_MS, Opened, Opening, load_rpc_id};
pub use prompt::Posted;
pub use resume::Resume;
pub use stream::{AgentStream, MAX_KEPT_EVENTS};

/// How long an answer is waited for (agents.md 4.3), in milliseconds.
pub const CALL_MS: u32 = 30_000;
/// How long the end of a server is waited for (agents.md 4.2), in milliseconds.
pub const DELETE_MS: u32 = 10_000;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A call that failed. Texts are the runtime's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// There is no answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The answer says no, or cannot be read.
    #[error(transparent)]
    Acp(#[from] AcpError),
    /// The conversation could not be brought to the agent (transcripts.md 4.6): it is not started.
    #[error("hydrate_failed: {0}")]
    NotHydrated(String),
}

impl From<ExchangeError> for ServerError {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::Call(error) => Self::Call(error),
            ExchangeError::TooLarge => Self::Acp(AcpError::TooLarge),
        }
    }
}

impl ServerError {
    /// The status of the answer, if there is one and it refuses.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Acp(AcpError::Status { status, .. }) => Some(*status),
            _ => None,
        }
    }

    /// Whether the request demonstrably did not reach an agent (agents.md 3.8).
    pub fn is_not_reached(&self) -> bool {
        match self {
            Self::Call(error) => matches!(error, CallError::NotReached(_)),
            Self::Acp(error) => error.is_not_reached(),
            Self::NotHydrated(_) => false,
        }
    }
}

/// One agent server and what opens it.
pub struct AgentServer<'a, F, H> {
    fetch: &'a F,
    host: &'a H,
    base_url: &'a str,
    server_id: &'a str,
    secrets: &'a RuntimeSecrets,
    /// Requests to runners are signed (agents.md 7.5).
    signed: bool,
}

impl<'a, F: Fetch, H: Host> AgentServer<'a, F, H> {
    /// The server of a runtime.
    pub fn of(runtime: &'a Runtime, fetch: &'a F, host: &'a H) -> Self {
        Self {
            fetch,
            host,
            base_url: &runtime.base_url,
            server_id: &runtime.server_id,
            secrets: &runtime.secrets,
            signed: runtime.provider == ProviderKind::LocalRunner,
        }
    }

    /// The same server.
    fn again(&self) -> Self {
        Self { ..*self }
    }

    /// Whether the server answers well.
    pub async fn health(&self) -> Result<(), ServerError> {
        let answer =
            self.exchange(Method::GET, format!("{}/v1/health", base_url(self.base_url)), None, CALL_MS).await?;
        reply(&answer).envelope().map(drop).map_err(ServerError::Acp)
    }

    /// Sends a notification, or an answer to a request of the agent.
    pub async fn tell(&self, envelope: &Value) -> Result<(), ServerError> {
        self.post(envelope, None, CALL_MS).await.map(drop)
    }

    /// Makes a call of the older dialect whose answer does not matter.
    pub async fn tell_legacy(&self, call: &legacy::request::Call) -> Result<(), ServerError> {
        self.legacy(call, CALL_MS).await.map(drop)
    }

    /// Ends the agent's server. That it does not say so in time is no failure (agents.md 3.9).
    pub async fn delete(&self) -> Result<(), ServerError> {
        let url = server_url(self.base_url, self.server_id, None);
        match self.exchange(Method::DELETE, url, None, DELETE_MS).await {
            Ok(answer) => reply(&answer).envelope().map(drop).map_err(ServerError::Acp),
            Err(ExchangeError::Call(CallError::TimedOut)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether there is a server of this session.
    pub async fn is_listed(&self) -> Result<bool, ServerError> {
        let url = format!("{}/v1/acp", base_url(self.base_url));
        let answer = self.exchange(Method::GET, url, None, CALL_MS).await?;
        let list = reply(&answer).envelope()?;
        let servers = list.get("servers").and_then(Value::as_array).ok_or(AcpError::Unreadable)?;
        Ok(servers.iter().any(|server| server.get("serverId").and_then(Value::as_str) == Some(self.server_id)))
    }

    /// Runs a command of ours to its end (agents.md 4.8). Its variables are arguments of `env`, which starts it; no shell reads them.
    pub async fn run(&self, command: &Command, output_bytes: usize) -> Result<Ran, ServerError> {
        let url = format!("{}/v1/processes/run", base_url(self.base_url));
        let variables = command.environment().map(|(name, value)| format!("{name}={value}"));
        let words = std::iter::once(command.program()).chain(command.arguments()).map(str::to_owned);
        let arguments: Vec<String> = variables.chain(words).collect();
        let limit = u32::try_from(command.limit().as_millis()).unwrap_or(u32::MAX);
        let body = serde_json::json!({
            "command": "/usr/bin/env",
            "args": arguments,
            "timeoutMs": limit,
            "maxOutputBytes": output_bytes,
        });
        let answer = self.exchange(Method::POST, url, Some(&body), limit.saturating_add(CALL_MS)).await?;
        let ran = reply(&answer).envelope()?;
        let text = |name: &str| ran.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        // One that was ended for its time has no code.
        let exit_code = ran.get("exitCode").and_then(Value::as_i64).unwrap_or(-1);
        Ok(Ran { stdout: text("stdout"), stderr: text("stderr"), exit_code })
    }

    /// Makes a directory, with its parents.
    pub async fn make_directory(&self, path: &str) -> Result<(), ServerError> {
        let url = format!("{}/v1/fs/mkdir?path={}", base_url(self.base_url), component(path));
        let answer = self.exchange(Method::POST, url, None, CALL_MS).await?;
        reply(&answer).envelope().map(drop).map_err(ServerError::Acp)
    }

    /// Posts an envelope to the session's server and reads the answer's.
    async fn post(&self, envelope: &Value, agent: Option<&str>, limit_ms: u32) -> Result<Answer, ServerError> {
        let url = server_url(self.base_url, self.server_id, agent);
        let answer = self.exchange(Method::POST, url, Some(envelope), limit_ms).await?;
        reply(&answer).envelope()?;
        Ok(answer)
    }

    /// Makes a call of the older dialect and reads its answer.
    async fn legacy(&self, call: &legacy::request::Call, limit_ms: u32) -> Result<Value, ServerError> {
        let method = if call.post { Method::POST } else { Method::GET };
        let answer = self.exchange(method, call.url.clone(), call.body.as_ref(), limit_ms).await?;
        Ok(reply(&answer).envelope()?)
    }

    async fn exchange(
        &self,
        method: Method,
        url: String,
        body: Option<&Value>,
        limit_ms: u32,
    ) -> Result<Answer, ExchangeError> {
        exchange(self.fetch, self.host, self.call(method, url, body, limit_ms)?).await
    }

    /// A request with everything that opens the server.
    fn call(&self, method: Method, url: String, body: Option<&Value>, limit_ms: u32) -> Result<Call, CallError> {
        let mut call = Call::new(method, url);
        call.limit_ms = Some(limit_ms);
        call.headers.insert(ACCEPT, JSON);
        if let Some(body) = body {
            call.headers.insert(CONTENT_TYPE, JSON);
            call.body = body.to_string().into_bytes();
        }
        let secrets = self.secrets;
        let bearer = secrets.agent_token.as_ref().map(|token| format!("Bearer {token}"));
        let opening = [
            (AUTHORIZATION, bearer.as_deref()),
            (HeaderName::from_static("cf-access-client-id"), secrets.access_client_id.as_deref()),
            (HeaderName::from_static("cf-access-client-secret"), secrets.access_client_secret.as_deref()),
            (HeaderName::from_static("e2b-traffic-access-token"), secrets.traffic_token.as_deref()),
        ];
        for (name, value) in opening {
            if let Some(value) = value {
                secret_header(&mut call.headers, name, value)?;
            }
        }
        if self.signed {
            let (now, nonce) = (self.host.now_ms(), self.host.random_uuid());
            let value = signature(secrets, now, nonce, &call.method, &call.url, &call.body);
            if let Some(value) = value {
                secret_header(&mut call.headers, HeaderName::from_static(SIGNATURE_HEADER), &value)?;
            }
        }
        Ok(call)
    }
}

/// Sets a header that logs do not show. A token that no header can hold is one that cannot be sent.
pub(crate) fn secret_header(headers: &mut http::HeaderMap, name: HeaderName, value: &str) -> Result<(), CallError> {
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| CallError::NotReached("a credential cannot stand in a header".to_owned()))?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

fn reply(answer: &Answer) -> HttpReply<'_> {
    HttpReply { status: answer.status.as_u16(), content_type: answer.header("content-type"), body: &answer.body }
}
