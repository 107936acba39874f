//! Agent servers that are there already: on a user's own machine (agents.md 5.4), or the one that the operator has named
//! (agents.md 5.5). They differ in how their address is found.

#[cfg(test)]
mod tests;

use std::rc::Rc;

use serde_json::Value;
use transcripts::target::{Target as _, TargetError};
use web::{CallError, Fetch, Host};

use crate::acp::{self, AcpError};
use crate::command::{Command, Push};
use crate::legacy::{self, Dialect};
use crate::publish::{FailureClass, PushReport};
use crate::repository::sanitize_name;
use crate::runtime::agent_server::{
    AgentServer, AgentStream, CALL_MS, FIRST_USE_MS, Files, Opening, Posted, ServerError,
};
use crate::runtime::{
    BuildState, Building, E2bTerminal, Made, OpenedTerminal, Progress, Prompt, Provider, ProviderKind, PushError, Ran,
    Runtime, RuntimeError, RuntimeSecrets, Sent, Snapshot, Stopped, TerminalOrder, TerminalSize, Wish,
};
use crate::settings::RuntimeSettings;

/// Where sessions work on a machine that says nothing else.
const WORKSPACE: &str = "/home/user/workspace";
const NO_SNAPSHOT: &str = "local-runner runtime provider does not support snapshots";
const NO_PUSH: &str = "local-runner runtime provider does not support managed git push";
const NO_TERMINAL: &str = "local-runner runtime provider does not support browser terminal";
const NO_SANDBOX: &str = "local-runner runtime provider has no sandboxes";

/// The provider of one of the two kinds.
pub struct RunnerProvider<F, H> {
    kind: ProviderKind,
    fetch: F,
    host: H,
    settings: Rc<RuntimeSettings>,
}

/// What is known of a server before anything is opened.
struct Target {
    base_url: String,
    runner_id: Option<String>,
    /// Where it works, and whether the directory has to be made.
    workspace: Option<String>,
    secrets: RuntimeSecrets,
}

impl<F: Fetch, H: Host> RunnerProvider<F, H> {
    /// Machines of users.
    pub fn runners(settings: Rc<RuntimeSettings>, fetch: F, host: H) -> Self {
        Self { kind: ProviderKind::LocalRunner, fetch, host, settings }
    }

    /// The server that the operator has named.
    pub fn dev(settings: Rc<RuntimeSettings>, fetch: F, host: H) -> Self {
        Self { kind: ProviderKind::LocalDev, fetch, host, settings }
    }

    fn server<'a>(&'a self, runtime: &'a Runtime) -> AgentServer<'a, F, H> {
        AgentServer::of(runtime, &self.fetch, &self.host)
    }

    fn target(&self, wish: &Wish<'_>) -> Result<Target, RuntimeError> {
        let target = if self.kind == ProviderKind::LocalDev {
            Target {
                base_url: acp::base_url(&self.settings.agent_url),
                runner_id: None,
                workspace: Some(WORKSPACE.to_owned()),
                secrets: RuntimeSecrets { agent_token: self.settings.agent_token.clone(), ..RuntimeSecrets::default() },
            }
        } else {
            let runner = wish.runner.ok_or(RuntimeError::Setting("missing-local-runner-base-url"))?;
            Target {
                base_url: acp::base_url(&runner.base_url),
                runner_id: Some(runner.runner_id.clone()),
                workspace: runner.workspace_dir.clone(),
                secrets: RuntimeSecrets {
                    agent_token: runner.agent_token.clone(),
                    access_client_id: runner.access_client_id.clone(),
                    access_client_secret: runner.access_client_secret.clone(),
                    signing_key: runner.signing_key.clone(),
                    ..RuntimeSecrets::default()
                },
            }
        };
        if target.base_url.is_empty() {
            return Err(RuntimeError::Setting("missing-local-runner-base-url"));
        }
        Ok(target)
    }

    /// Makes the directory that the agent works in, where the machine has said under which one (B33).
    async fn make_directory(&self, runtime: &Runtime) -> Result<(), RuntimeError> {
        match self.server(runtime).make_directory(&runtime.directory).await {
            // A server of the older dialect cannot; nor may everybody write where nothing was said.
            Err(error) if matches!(error.status(), Some(404 | 405)) || self.kind == ProviderKind::LocalDev => Ok(()),
            made => made.map_err(failure),
        }
    }

    async fn open(&self, runtime: &mut Runtime, wish: &Wish<'_>, start_ms: u32) -> Result<(), RuntimeError> {
        let (api, launch) = (self.settings.agent_api, wish.task.launch());
        let opening = Opening::of(wish, &launch, &runtime.directory, start_ms);
        let opened = self.server(runtime).open(api, opening).await;
        opened.map_err(failure)?.note(runtime);
        Ok(())
    }
}

impl<F: Fetch, H: Host> Provider for RunnerProvider<F, H> {
    type Stream = AgentStream<F::Body>;
    /// There is none.
    type Terminal = E2bTerminal<F::Body>;

    async fn provision(&self, wish: &Wish<'_>, progress: &mut impl Progress) -> Result<Made, RuntimeError> {
        let target = self.target(wish)?;
        let has_workspace = target.workspace.is_some();
        let workspace = target.workspace.as_deref().unwrap_or(WORKSPACE).trim_end_matches('/');
        let mut runtime = Runtime {
            provider: self.kind,
            directory: format!("{workspace}/{}", sanitize_name(wish.session_id)),
            base_url: target.base_url,
            server_id: wish.session_id.to_owned(),
            session_id: String::new(),
            dialect: Dialect::default(),
            runner_id: target.runner_id,
            sandbox_id: None,
            transport: crate::runtime::Transport::default(),
            sandbox_domain: None,
            sandbox_port: None,
            template: None,
            snapshot_id: None,
            agent_sid: None,
            github_token_at: None,
            broker_at: None,
            egress: Vec::new(),
            server_ended: false,
            agent_exited: false,
            can_load: false,
            has_tools: false,
            secrets: target.secrets,
        };
        if has_workspace {
            progress.step("directory", CALL_MS.into()).await;
            self.make_directory(&runtime).await?;
        }
        progress.step("open", (FIRST_USE_MS + 2 * CALL_MS).into()).await;
        self.open(&mut runtime, wish, FIRST_USE_MS).await?;
        Ok(Made::Ready(Box::new(runtime)))
    }

    async fn build_state(&self, _: &Building) -> Result<BuildState, RuntimeError> {
        Err(RuntimeError::Unsupported(NO_SANDBOX))
    }

    async fn resume(&self, _: &mut Runtime) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn run(&self, runtime: &Runtime, command: &Command, output_bytes: usize) -> Result<Ran, RuntimeError> {
        self.server(runtime).run(command, output_bytes).await.map_err(failure)
    }

    async fn read_file(&self, runtime: &Runtime, path: &str, limit: usize) -> Result<Option<Vec<u8>>, RuntimeError> {
        Files(self.server(runtime)).read(path, limit).await.map_err(unread)
    }

    async fn write_file(&self, runtime: &Runtime, path: &str, bytes: &[u8]) -> Result<(), RuntimeError> {
        Files(self.server(runtime)).write(path, bytes).await.map_err(unread)
    }

    async fn wake(&self, _: &mut Runtime, _: &Wish<'_>) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn refresh(&self, runtime: &mut Runtime, wish: &Wish<'_>) -> Result<(), RuntimeError> {
        // The machine may have registered anew since, with another address or other tokens.
        if self.kind == ProviderKind::LocalDev || wish.runner.is_some() {
            let target = self.target(wish)?;
            runtime.base_url = target.base_url;
            runtime.runner_id = target.runner_id;
            runtime.secrets = target.secrets;
        }
        if runtime.agent_exited {
            // A server whose agent is dead answers nothing but that. One that does not say that it is gone is asked all the same.
            let _ = self.server(runtime).delete().await;
        }
        self.open(runtime, wish, FIRST_USE_MS).await
    }

    async fn open_stream(&self, runtime: &Runtime, last_event_id: Option<&str>) -> Result<Self::Stream, RuntimeError> {
        self.server(runtime).stream(runtime.dialect, last_event_id).await.map_err(failure)
    }

    async fn prompt(&self, runtime: &Runtime, prompt: &Prompt<'_>, post_limit_ms: u32) -> Sent<Self::Stream> {
        sent(self.server(runtime).prompt(runtime, prompt, post_limit_ms).await, failure)
    }

    async fn tell(&self, runtime: &Runtime, envelope: &Value) -> Result<(), RuntimeError> {
        self.server(runtime).tell(envelope).await.map_err(failure)
    }

    async fn tell_legacy(&self, runtime: &Runtime, call: &legacy::request::Call) -> Result<(), RuntimeError> {
        self.server(runtime).tell_legacy(call).await.map_err(failure)
    }

    /// The agent is gone when its server is no longer listed. A tool that it started may live on (agents.md 3.9).
    async fn kill_agent(&self, runtime: &mut Runtime) -> Stopped {
        let ended = self.end(runtime).await;
        runtime.server_ended = true;
        let is_gone = match runtime.dialect {
            Dialect::Acp => matches!(self.server(runtime).is_listed().await, Ok(false)),
            Dialect::Legacy => ended.is_ok(),
        };
        if is_gone { Stopped::AgentOnly } else { Stopped::Unproven }
    }

    async fn end(&self, runtime: &Runtime) -> Result<(), RuntimeError> {
        let server = self.server(runtime);
        let ended = match runtime.dialect {
            Dialect::Acp => server.delete().await,
            Dialect::Legacy => {
                server.tell_legacy(&legacy::request::terminate(&runtime.base_url, &runtime.server_id)).await
            }
        };
        match ended {
            // What is not there has ended.
            Err(error) if error.status() == Some(404) => Ok(()),
            ended => ended.map_err(failure),
        }
    }

    async fn destroy(&self, _: &str) -> Result<(), RuntimeError> {
        Err(RuntimeError::Unsupported(NO_SANDBOX))
    }

    async fn extend(&self, _: &Runtime) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn snapshot(&self, _: &mut Runtime, _: &Wish<'_>) -> Result<Snapshot, RuntimeError> {
        Err(RuntimeError::Unsupported(NO_SNAPSHOT))
    }

    async fn push(&self, _: &mut Runtime, _: &Wish<'_>, _: &Push<'_>) -> Result<Option<PushReport>, PushError> {
        Err(PushError { class: FailureClass::Unsupported, text: NO_PUSH.to_owned() })
    }

    async fn open_terminal(
        &self,
        _: &mut Runtime,
        _: TerminalSize,
    ) -> Result<OpenedTerminal<Self::Terminal>, RuntimeError> {
        Err(RuntimeError::Unsupported(NO_TERMINAL))
    }

    async fn steer_terminal(&self, _: &Runtime, _: u32, _: TerminalOrder<'_>) -> Result<(), RuntimeError> {
        Err(RuntimeError::Unsupported(NO_TERMINAL))
    }
}

/// What became of a prompt, in the words of a provider.
pub(in crate::runtime) fn sent<B>(
    posted: Posted<B>,
    failure: impl Fn(ServerError) -> RuntimeError,
) -> Sent<AgentStream<B>> {
    match posted {
        Posted::Running => Sent::Running,
        Posted::Streaming(stream) => Sent::Streaming(stream),
        Posted::Ended(reason) => Sent::Ended(reason),
        Posted::NotReached(error) => Sent::NotReached(failure(error)),
        Posted::Failed(error) => Sent::Failed(failure(error)),
    }
}

fn unread(error: TargetError) -> RuntimeError {
    match error {
        TargetError::Unreachable(text) => RuntimeError::Unavailable(text),
        TargetError::Refused(text) => RuntimeError::Failed(text),
    }
}

/// What a failure of a runner means (agents.md 5.4).
#[expect(clippy::needless_pass_by_value, reason = "used as a function for map_err")]
fn failure(error: ServerError) -> RuntimeError {
    match &error {
        ServerError::Call(CallError::TimedOut) | ServerError::Acp(AcpError::Status { status: 504, .. }) => {
            RuntimeError::TimedOut
        }
        ServerError::Call(CallError::NotReached(text) | CallError::Broken(text)) => {
            RuntimeError::RunnerOffline(text.clone())
        }
        ServerError::NotHydrated(text) => RuntimeError::NotHydrated(text.clone()),
        ServerError::Acp(AcpError::Status { status: 401 | 403, .. }) => RuntimeError::RunnerRefused,
        ServerError::Acp(refused) if refused.is_not_reached() => RuntimeError::NotReached(refused.to_string()),
        // The machine's tunnel (530), or the way to it. What the agent server itself fails at (500) moves no session elsewhere.
        ServerError::Acp(AcpError::Status { status: 501.., .. }) => RuntimeError::RunnerOffline(error.to_string()),
        ServerError::Acp(refused) => RuntimeError::Failed(refused.to_string()),
    }
}
