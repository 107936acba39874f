//! Sandboxes of E2B (agents.md 5.3).

mod api;
#[cfg(test)]
mod asserted;
mod envd;
mod list;
mod sandbox;
mod template;
mod terminal;
#[cfg(test)]
mod tests;

pub use list::E2bSandboxes;
pub use terminal::E2bTerminal;

use std::rc::Rc;

use serde_json::{Map, Value, json};
use web::{CallError, Fetch, Host};

use self::api::{Api, Failed, Refused, Sandbox};
use self::envd::Envd;
use super::agent_server::{AgentServer, AgentStream, FIRST_USE_MS, Opening, ServerError};
use super::runner::sent;
use super::{
    BuildState, Building, Made, OpenedTerminal, Progress, Prompt, Provider, ProviderKind, PushError, Ran, Runtime,
    RuntimeError, RuntimeSecrets, Sent, Snapshot, Stopped, TerminalOrder, TerminalSize, Wish,
};
use crate::acp::AcpError;
use crate::command::{self, Command, Push};
use crate::egress::{self, Needs};
use crate::event::{Draft, Kind};
use crate::legacy::{self, Dialect};
use crate::publish::{PushReport, classify};
use crate::repository::sandbox_directory;
use crate::settings::RuntimeSettings;

/// What E2B takes when nobody names a template.
const BASE: &str = "base";

/// The provider of sandboxes.
pub struct E2bProvider<F, H> {
    fetch: F,
    host: H,
    settings: Rc<RuntimeSettings>,
}

impl<F: Fetch, H: Host> E2bProvider<F, H> {
    /// Sandboxes under these settings.
    pub fn new(settings: Rc<RuntimeSettings>, fetch: F, host: H) -> Self {
        Self { fetch, host, settings }
    }

    fn api(&self) -> Api<'_, F, H> {
        Api { fetch: &self.fetch, host: &self.host, settings: &self.settings }
    }

    fn envd<'a>(&'a self, sandbox: &'a Sandbox) -> Envd<'a, F, H> {
        Envd { fetch: &self.fetch, host: &self.host, sandbox }
    }

    fn server<'a>(&'a self, runtime: &'a Runtime) -> AgentServer<'a, F, H> {
        AgentServer::of(runtime, &self.fetch, &self.host)
    }

    /// The sandbox that a runtime is bound to, as far as it is known without asking.
    fn bound(runtime: &Runtime) -> Result<Sandbox, RuntimeError> {
        let id = runtime.sandbox_id.clone();
        Ok(Sandbox {
            id: id.ok_or_else(|| RuntimeError::SandboxMissing("missing-sandbox-id".to_owned()))?,
            domain: runtime.sandbox_domain.clone().unwrap_or_default(),
            envd_token: runtime.secrets.envd_token.clone(),
            traffic_token: runtime.secrets.traffic_token.clone(),
        })
    }

    /// Resumes the sandbox of a runtime; its tokens may be new.
    async fn connect(&self, runtime: &mut Runtime) -> Result<Sandbox, RuntimeError> {
        let sandbox = self.api().connect(&Self::bound(runtime)?.id).await?;
        runtime.sandbox_domain = Some(sandbox.domain.clone());
        if sandbox.envd_token.is_some() {
            runtime.secrets.envd_token.clone_from(&sandbox.envd_token);
        }
        if sandbox.traffic_token.is_some() {
            runtime.secrets.traffic_token.clone_from(&sandbox.traffic_token);
        }
        Self::bound(runtime)
    }

    /// Makes the sandbox: from the snapshot that was asked for, else from a template, else from E2B's own (agents.md 5.3.3). None when the
    /// project's own template is gone, `is_own`: it has to be built again.
    async fn create(
        &self,
        wish: &Wish<'_>,
        template: Option<&str>,
        is_own: bool,
        intent_id: &str,
        progress: &mut impl Progress,
    ) -> Result<Option<(Sandbox, Option<String>, bool)>, RuntimeError> {
        if let Some(snapshot) = wish.snapshot_id {
            match self.api().create(&self.creation(wish, snapshot, intent_id)).await {
                Ok(sandbox) => {
                    progress.event(restored("sandbox.restore.succeeded", snapshot)).await;
                    return Ok(Some((sandbox, None, true)));
                }
                Err(Failed::Refused(Refused { status: 400 | 404, .. })) => {
                    progress.event(restored("sandbox.restore.failed", snapshot)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        let wanted = template.unwrap_or(BASE);
        match self.api().create(&self.creation(wish, wanted, intent_id)).await {
            Ok(sandbox) => Ok(Some((sandbox, template.map(str::to_owned), false))),
            Err(Failed::Refused(refused)) if template.is_some() && names_missing_template(&refused) => {
                if is_own {
                    return Ok(None);
                }
                let sandbox = self.api().create(&self.creation(wish, BASE, intent_id)).await?;
                Ok(Some((sandbox, None, false)))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The body of a creation (agents.md 6.1).
    fn creation(&self, wish: &Wish<'_>, template: &str, intent_id: &str) -> Value {
        let mut metadata = json!({
            "session-id": wish.session_id,
            "runtime-session-id": wish.session_id,
            "runtime-provider": ProviderKind::E2b.as_str(),
        });
        if let (Some(environment), Some(members)) = (&self.settings.environment, metadata.as_object_mut()) {
            members.insert("service".to_owned(), "logseq-agents".into());
            members.insert("environment".to_owned(), environment.as_str().into());
            members.insert("user-id".to_owned(), wish.user_id.into());
            members.insert("intent-id".to_owned(), intent_id.into());
        }
        let mut body = json!({
            "templateID": template,
            "timeout": self.api().timeout_s(),
            "autoPause": true,
            "autoResume": {"enabled": true},
            "secure": true,
            "allow_internet_access": true,
            "metadata": metadata,
        });
        let allowed = self.egress(wish);
        if let (false, Some(members)) = (allowed.is_empty(), body.as_object_mut()) {
            members.insert("network".to_owned(), json!({"allowOut": allowed, "denyOut": egress::DENIED}));
        }
        let variables = self.variables(wish);
        if let (false, Some(members)) = (variables.is_empty(), body.as_object_mut()) {
            members.insert("envVars".to_owned(), Value::Object(variables));
        }
        body
    }

    /// What the sandbox may talk to; empty where it may talk to anyone (agents.md 20.7).
    fn egress(&self, wish: &Wish<'_>) -> Vec<String> {
        let Some(operator) = &self.settings.egress else { return Vec::new() };
        // Only the operator's own addresses: a project that names one does not widen the list.
        let urls = self.settings.model_variables.iter().filter(|(name, _)| name.ends_with("_BASE_URL"));
        let model_urls: Vec<&str> = urls.map(|(_, url)| url.trim()).collect();
        let launch = wish.task.launch();
        let needs = Needs { service_url: wish.service_url, agent: launch.agent.as_deref(), model_urls: &model_urls };
        egress::allowed(operator, wish.task.egress().as_deref(), &needs)
    }

    /// Brings a list that was changed to a sandbox that was made under another one.
    async fn renew_egress(
        &self,
        runtime: &mut Runtime,
        sandbox: &Sandbox,
        wish: &Wish<'_>,
    ) -> Result<(), RuntimeError> {
        let allowed = self.egress(wish);
        if allowed == runtime.egress {
            return Ok(());
        }
        let rules = if allowed.is_empty() {
            json!({"allow_internet_access": true})
        } else {
            json!({"allowOut": allowed, "denyOut": egress::DENIED})
        };
        self.api().set_network(&sandbox.id, &rules).await?;
        runtime.egress = allowed;
        Ok(())
    }

    /// Variables of the sandbox; later ones win (agents.md 5.3.2).
    fn variables(&self, wish: &Wish<'_>) -> Map<String, Value> {
        let mut variables = Map::new();
        let mut set = |name: &str, value: &str| drop(variables.insert(name.to_owned(), value.into()));
        for (name, value) in &self.settings.model_variables {
            set(name, value);
        }
        // At most 100 (agents.md 2.8).
        let secret = wish.secrets.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in wish.task.environment().chain(secret) {
            set(name, value);
        }
        let key = match wish.task.launch().agent.as_deref() {
            Some("codex") => Some("OPENAI_API_KEY"),
            Some("claude") => Some("ANTHROPIC_API_KEY"),
            _ => None,
        };
        if let (Some(name), Some(token)) =
            (key, wish.secrets.api_token.as_deref().map(str::trim).filter(|token| !token.is_empty()))
        {
            set(name, token);
        }
        if let Some(token) = wish.github_token {
            for name in ["GITHUB_TOKEN", "GH_TOKEN", "GITHUB_APP_INSTALLATION_TOKEN"] {
                set(name, token);
            }
        }
        variables
    }

    async fn open(&self, runtime: &mut Runtime, wish: &Wish<'_>, start_ms: u32) -> Result<(), RuntimeError> {
        let (api, launch) = (self.settings.agent_api, wish.task.launch());
        let opening = Opening::of(wish, &launch, &runtime.directory, start_ms);
        let opened = self.server(runtime).open(api, opening).await;
        opened.map_err(|error| failure(runtime, &error))?.note(runtime);
        Ok(())
    }

    /// Everything between the sandbox and a session of the agent.
    async fn furnish(
        &self,
        runtime: &mut Runtime,
        sandbox: &Sandbox,
        wish: &Wish<'_>,
        is_empty: bool,
        progress: &mut impl Progress,
    ) -> Result<(), RuntimeError> {
        progress.step("bootstrap", 240_000).await;
        if runtime.snapshot_id.is_some() {
            self.end_restored(sandbox).await;
        }
        self.ensure_server(runtime, sandbox, wish, true).await?;
        if is_empty {
            progress.step("clone", 620_000).await;
            self.clone_repository(runtime, sandbox, wish).await;
        } else if runtime.snapshot_id.is_none() {
            // What a snapshot holds may be somebody's unfinished work; a template's repository is only old.
            progress.step("update", 620_000).await;
            self.update_repository(runtime, sandbox, wish).await;
        }
        progress.has_tree(runtime).await;
        progress.step("init", 620_000).await;
        self.run_init(runtime, sandbox, wish, progress).await;
        progress.step("open", (FIRST_USE_MS + 60_000).into()).await;
        self.open(runtime, wish, FIRST_USE_MS).await
    }
}

fn restored(name: &str, snapshot: &str) -> Draft {
    Draft::new(Kind::stored(name), json!({"snapshot-id": snapshot}))
}

fn names_missing_template(refused: &Refused) -> bool {
    let message = refused.message.to_lowercase();
    message.contains("template") && message.contains("not found")
}

/// What a failure of an agent's server in a sandbox means. One whose text says that the sandbox is not there means just that
/// (agents.md 3.8).
fn failure(runtime: &Runtime, error: &ServerError) -> RuntimeError {
    let text = error.to_string().to_lowercase();
    let names_it = text.contains("sandbox")
        || runtime.sandbox_id.as_ref().is_some_and(|id| !id.is_empty() && text.contains(&id.to_lowercase()));
    if names_it && ["not found", "notfound", "no such"].iter().any(|words| text.contains(words)) {
        return RuntimeError::SandboxMissing(error.to_string());
    }
    match error {
        ServerError::Call(CallError::TimedOut) | ServerError::Acp(AcpError::Status { status: 504, .. }) => {
            RuntimeError::TimedOut
        }
        ServerError::NotHydrated(text) => RuntimeError::NotHydrated(text.clone()),
        error if error.is_not_reached() => RuntimeError::NotReached(error.to_string()),
        error => RuntimeError::Failed(error.to_string()),
    }
}

impl<F: Fetch, H: Host> Provider for E2bProvider<F, H> {
    type Stream = AgentStream<F::Body>;
    type Terminal = E2bTerminal<F::Body>;

    async fn provision(&self, wish: &Wish<'_>, progress: &mut impl Progress) -> Result<Made, RuntimeError> {
        if self.settings.e2b_api_key.is_none() {
            return Err(RuntimeError::Setting("missing-e2b-api-key"));
        }
        progress.step("template", 120_000).await;
        let (template, is_own) = match self.template(wish).await? {
            template::Choice::Use(template) => (template, false),
            template::Choice::Own(template) => (Some(template), true),
            template::Choice::Building(building) => return Ok(Made::Building(building)),
        };
        let intent_id = progress.creating().await?;
        progress.step("create", 130_000).await;
        let created = self.create(wish, template.as_deref(), is_own, &intent_id, progress).await;
        let (sandbox, template, is_restored) = match created {
            Ok(Some(created)) => created,
            Ok(None) => {
                progress.undone(&intent_id).await;
                return Ok(Made::Building(self.rebuild(wish, template.as_deref().unwrap_or(BASE)).await?));
            }
            Err(error) => {
                progress.undone(&intent_id).await;
                return Err(error);
            }
        };
        let mut runtime = self.fresh(&sandbox, wish, template, is_restored);
        let is_empty = runtime.template.is_none() && !is_restored;
        let furnished = match progress.created(&intent_id, &sandbox.id).await {
            Ok(()) => self.furnish(&mut runtime, &sandbox, wish, is_empty, progress).await,
            Err(error) => Err(error),
        };
        if let Err(error) = furnished {
            // Nobody would know of it (B26).
            if self.api().kill(&sandbox.id).await.is_ok() {
                progress.undone(&intent_id).await;
            }
            return Err(match error {
                // That this sandbox is gone says nothing about the session's own.
                RuntimeError::SandboxMissing(text) => RuntimeError::Failed(text),
                error => error,
            });
        }
        Ok(Made::Ready(Box::new(runtime)))
    }

    async fn build_state(&self, building: &Building) -> Result<BuildState, RuntimeError> {
        template::state(&self.api(), building).await
    }

    async fn resume(&self, runtime: &mut Runtime) -> Result<(), RuntimeError> {
        self.connect(runtime).await.map(drop)
    }

    async fn run(&self, runtime: &Runtime, command: &Command, output_bytes: usize) -> Result<Ran, RuntimeError> {
        self.envd(&Self::bound(runtime)?).run_keeping(command, output_bytes).await
    }

    async fn read_file(&self, runtime: &Runtime, path: &str, limit: usize) -> Result<Option<Vec<u8>>, RuntimeError> {
        self.envd(&Self::bound(runtime)?).read(path, limit).await
    }

    async fn write_file(&self, runtime: &Runtime, path: &str, bytes: &[u8]) -> Result<(), RuntimeError> {
        self.envd(&Self::bound(runtime)?).write(path, bytes).await
    }

    async fn wake(&self, runtime: &mut Runtime, wish: &Wish<'_>) -> Result<(), RuntimeError> {
        let sandbox = self.connect(runtime).await?;
        self.renew_egress(runtime, &sandbox, wish).await?;
        self.ensure_server(runtime, &sandbox, wish, false).await
    }

    async fn refresh(&self, runtime: &mut Runtime, wish: &Wish<'_>) -> Result<(), RuntimeError> {
        if runtime.agent_exited {
            // A server whose agent is dead answers nothing but that.
            let _ = self.server(runtime).delete().await;
        }
        self.open(runtime, wish, FIRST_USE_MS).await
    }

    async fn open_stream(&self, runtime: &Runtime, last_event_id: Option<&str>) -> Result<Self::Stream, RuntimeError> {
        let opened = self.server(runtime).stream(runtime.dialect, last_event_id).await;
        opened.map_err(|error| failure(runtime, &error))
    }

    async fn prompt(&self, runtime: &Runtime, prompt: &Prompt<'_>, post_limit_ms: u32) -> Sent<Self::Stream> {
        let posted = self.server(runtime).prompt(runtime, prompt, post_limit_ms).await;
        sent(posted, |error| failure(runtime, &error))
    }

    async fn tell(&self, runtime: &Runtime, envelope: &Value) -> Result<(), RuntimeError> {
        self.server(runtime).tell(envelope).await.map_err(|error| failure(runtime, &error))
    }

    async fn tell_legacy(&self, runtime: &Runtime, call: &legacy::request::Call) -> Result<(), RuntimeError> {
        self.server(runtime).tell_legacy(call).await.map_err(|error| failure(runtime, &error))
    }

    /// Kills every process of the agent server's session; that only zombies of it are left is the proof (agents.md 3.9).
    async fn kill_agent(&self, runtime: &mut Runtime) -> Stopped {
        let known = runtime.agent_sid.and_then(std::num::NonZeroU32::new);
        let (Some(session), Ok(sandbox)) = (known, Self::bound(runtime)) else {
            // The server came with the image: it is asked to end the agent, as a runner is.
            let ended = self.server(runtime).delete().await;
            runtime.server_ended = true;
            return if ended.is_ok() { Stopped::AgentOnly } else { Stopped::Unproven };
        };
        let ran = match command::stop_agent(session) {
            Ok(stop) => self.envd(&sandbox).run(&stop).await,
            Err(error) => Err(RuntimeError::Failed(error.to_string())),
        };
        runtime.server_ended = true;
        if ran.is_ok_and(|ran| ran.exit_code == 0) { Stopped::Killed } else { Stopped::Unproven }
    }

    async fn end(&self, runtime: &Runtime) -> Result<(), RuntimeError> {
        self.api().pause(&Self::bound(runtime)?.id).await
    }

    async fn destroy(&self, sandbox_id: &str) -> Result<(), RuntimeError> {
        self.api().kill(sandbox_id).await
    }

    async fn extend(&self, runtime: &Runtime) -> Result<(), RuntimeError> {
        self.api().set_timeout(&Self::bound(runtime)?.id).await
    }

    async fn renew_broker(&self, runtime: &Runtime, wish: &Wish<'_>) -> Result<(), RuntimeError> {
        self.write_credentials(&Self::bound(runtime)?, wish).await
    }

    /// The credential files are not part of the snapshot; the sandbox has them again afterwards (B28).
    async fn snapshot(&self, runtime: &mut Runtime, wish: &Wish<'_>) -> Result<Snapshot, RuntimeError> {
        let sandbox = self.connect(runtime).await?;
        let envd = self.envd(&sandbox);
        let clear = command::clear_credentials().map_err(|error| RuntimeError::Failed(error.to_string()))?;
        envd.run(&clear).await?;
        let taken = self.api().snapshot(&sandbox.id).await;
        // The snapshot stands; the next wake with a token writes the files again.
        if let Err(error) = self.write_credentials(&sandbox, wish).await {
            self.tell("agents/credentials-not-rewritten", &error);
        }
        Ok(Snapshot { snapshot_id: taken? })
    }

    async fn push(
        &self,
        runtime: &mut Runtime,
        _: &Wish<'_>,
        push: &Push<'_>,
    ) -> Result<Option<PushReport>, PushError> {
        let force = push.force.is_some();
        let failed = |text: String| PushError { class: classify(&text, "", "", force), text };
        let sandbox = self.connect(runtime).await.map_err(|error| failed(error.to_string()))?;
        let command = push.command().map_err(|error| failed(error.to_string()))?;
        let ran = self.envd(&sandbox).run(&command).await.map_err(|error| failed(error.to_string()))?;
        if ran.exit_code == 0 {
            return Ok(PushReport::parse(&ran.stdout, push.head));
        }
        let class = classify("", &ran.stderr, &ran.stdout, force);
        let text = format!("git ended with {}: {}", ran.exit_code, ran.stderr.replace(push.token, "[redacted]"));
        Err(PushError { class, text })
    }

    async fn open_terminal(
        &self,
        runtime: &mut Runtime,
        size: TerminalSize,
    ) -> Result<OpenedTerminal<Self::Terminal>, RuntimeError> {
        let sandbox = self.connect(runtime).await?;
        self.envd(&sandbox).open_terminal(&runtime.directory, size).await
    }

    async fn steer_terminal(&self, runtime: &Runtime, pid: u32, order: TerminalOrder<'_>) -> Result<(), RuntimeError> {
        self.envd(&Self::bound(runtime)?).steer_terminal(pid, order).await
    }
}

impl<F: Fetch, H: Host> E2bProvider<F, H> {
    /// What is known of a runtime right after its sandbox was made.
    fn fresh(&self, sandbox: &Sandbox, wish: &Wish<'_>, template: Option<String>, is_restored: bool) -> Runtime {
        let port = self.settings.e2b_agent_port;
        // On a public host nobody else may talk to the agent (B25).
        let token = self.settings.agent_token.clone();
        let token = token.unwrap_or_else(|| self.host.random_uuid().simple().to_string());
        Runtime {
            provider: ProviderKind::E2b,
            base_url: format!("https://{port}-{}.{}", sandbox.id, sandbox.domain),
            server_id: wish.session_id.to_owned(),
            session_id: String::new(),
            dialect: Dialect::default(),
            directory: sandbox_directory(wish.task.repo_url()),
            runner_id: None,
            sandbox_id: Some(sandbox.id.clone()),
            transport: crate::runtime::Transport::default(),
            sandbox_domain: Some(sandbox.domain.clone()),
            sandbox_port: Some(port),
            template,
            snapshot_id: wish.snapshot_id.filter(|_| is_restored).map(str::to_owned),
            agent_sid: None,
            github_token_at: wish.github_token.map(|_| wish.now),
            broker_at: wish.broker.map(|_| wish.now),
            egress: self.egress(wish),
            server_ended: false,
            agent_exited: false,
            can_load: false,
            has_tools: false,
            secrets: RuntimeSecrets {
                agent_token: Some(token),
                envd_token: sandbox.envd_token.clone(),
                traffic_token: sandbox.traffic_token.clone(),
                ..RuntimeSecrets::default()
            },
        }
    }
}
