//! Furnishing a sandbox: credentials, the agent server, the repository (agents.md 5.3.3, 5.3.5, 5.3.6).

use serde_json::json;
use web::{Event, Fetch, Host, Level};

use super::api::Sandbox;
use super::{E2bProvider, Progress, Runtime, RuntimeError, Wish};
use crate::command::{self, AgentServer, Command, CommandError};
use crate::event::{Draft, Kind};
use crate::repository::BranchName;

/// The home of whoever works in a sandbox.
pub(super) const HOME: &str = "/home/user";

fn built(command: Result<Command, CommandError>) -> Result<Command, RuntimeError> {
    command.map_err(|error| RuntimeError::Failed(error.to_string()))
}

impl<F: Fetch, H: Host> E2bProvider<F, H> {
    async fn is_healthy(&self, runtime: &Runtime, sandbox: &Sandbox) -> Result<bool, RuntimeError> {
        let token = runtime.secrets.agent_token.as_deref();
        let health = built(command::health(token, self.port(runtime)))?;
        // Whatever goes wrong, the server is not known to be well.
        let ran = self.envd(sandbox).run(&health).await;
        Ok(ran.is_ok_and(|ran| command::is_healthy(&ran.stdout)))
    }

    fn port(&self, runtime: &Runtime) -> u16 {
        runtime.sandbox_port.unwrap_or(self.settings.e2b_agent_port)
    }

    /// Makes sure that the agent server answers. A sandbox that was just made may need the program too.
    pub(super) async fn ensure_server(
        &self,
        runtime: &mut Runtime,
        sandbox: &Sandbox,
        wish: &Wish<'_>,
        is_new: bool,
    ) -> Result<(), RuntimeError> {
        let is_well = self.is_healthy(runtime, sandbox).await?;
        if is_new || wish.github_token.is_some() || wish.broker.is_some() {
            // Whatever the image brought, the credentials are this session's (B29).
            self.write_credentials(sandbox, wish).await?;
            runtime.github_token_at = wish.github_token.map(|_| wish.now).or(runtime.github_token_at);
            runtime.broker_at = wish.broker.map(|_| wish.now);
        }
        if is_well {
            return Ok(());
        }
        if is_new {
            let install = built(command::install(&self.settings.agent_version))?;
            let ran = self.envd(sandbox).run(&install).await?;
            if ran.exit_code != 0 {
                let text = format!("the agent server could not be installed: {}", ran.exit_code);
                return Err(RuntimeError::Unavailable(text));
            }
        }
        self.start(runtime, sandbox, wish).await?;
        for attempt in 1..=self.settings.e2b_health_retries {
            if self.is_healthy(runtime, sandbox).await? {
                return Ok(());
            }
            if attempt < self.settings.e2b_health_retries {
                self.host.sleep_ms(self.settings.e2b_health_interval_ms).await;
            }
        }
        Err(RuntimeError::Unavailable("sandbox-agent health check timed out in e2b sandbox".to_owned()))
    }

    /// Ends the agent server that came with a snapshot. When it cannot be ended, the new one finds its port taken and is not well.
    pub(super) async fn end_restored(&self, sandbox: &Sandbox) {
        let ran = match built(command::end_restored()) {
            Ok(end) => self.envd(sandbox).run(&end).await,
            Err(error) => Err(error),
        };
        match ran {
            Ok(ran) if ran.exit_code == 0 => {}
            Ok(_) => {
                let text = "the agent server of the snapshot goes on".to_owned();
                self.tell("agents/restored-agent-not-ended", &RuntimeError::Failed(text));
            }
            Err(error) => self.tell("agents/restored-agent-not-ended", &error),
        }
    }

    async fn start(&self, runtime: &mut Runtime, sandbox: &Sandbox, wish: &Wish<'_>) -> Result<(), RuntimeError> {
        let server = AgentServer {
            token: runtime.secrets.agent_token.as_deref(),
            port: self.port(runtime),
            directory: &runtime.directory,
        };
        let mut variables = self.variables(wish);
        if runtime.snapshot_id.is_some() {
            // The sandbox remembers those of the session that its snapshot was taken of, which may be another user's.
            for name in command::CREDENTIALS {
                variables.entry(name).or_insert_with(|| "".into());
            }
        }
        let variables = variables.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
        let command = built(command::agent_server(&server))?.with_environment(variables);
        let ran = self.envd(sandbox).run(&command).await?;
        let said = ran.stdout.lines().find_map(|line| line.strip_prefix("agent-sid "));
        runtime.agent_sid = said.and_then(|number| number.trim().parse().ok());
        Ok(())
    }

    /// Writes the credential files by upload, so that no secret stands in a command.
    pub(super) async fn write_credentials(&self, sandbox: &Sandbox, wish: &Wish<'_>) -> Result<(), RuntimeError> {
        let envd = self.envd(sandbox);
        let login = wish.secrets.auth_json();
        if let Some(token) = wish.github_token {
            let line = format!("https://x-access-token:{token}@github.com\n");
            envd.write(&format!("{HOME}/.git-credentials"), line.as_bytes()).await?;
        }
        if let Some(login) = login {
            envd.write(&format!("{HOME}/.codex/auth.json"), login.as_bytes()).await?;
        }
        if let Some(broker) = wish.broker {
            let file = broker.file(&sandbox.id, self.host.now_ms(), self.host.random_uuid().to_string());
            let file = file.map_err(|error| RuntimeError::Failed(error.to_string()))?;
            envd.write(&format!("{HOME}/{}", command::BROKER_FILE), file.as_bytes()).await?;
        } else if wish.github_token.is_none() && login.is_none() {
            return Ok(());
        }
        let close = if wish.broker.is_some() { command::use_broker() } else { command::secure_credentials() };
        let ran = envd.run(&built(close)?).await?;
        if ran.exit_code == 0 {
            Ok(())
        } else {
            Err(RuntimeError::Failed("the credentials could not be closed".to_owned()))
        }
    }

    /// Clones the repository. A session whose clone failed goes on: its agent can clone by itself.
    pub(super) async fn clone_repository(&self, runtime: &Runtime, sandbox: &Sandbox, wish: &Wish<'_>) {
        let Some(url) = wish.task.repo_url() else { return };
        let asked = BranchName::wish(wish.branch);
        let clone = command::Clone { repo_url: url, directory: &runtime.directory, branch: asked.as_ref() };
        let clone = match &self.settings.e2b_clone_command {
            Some(template) => command::configured_clone(template, &clone, wish.session_id),
            None => command::clone(&clone),
        };
        self.run_git(sandbox, clone, "agents/clone-failed").await;
    }

    /// Brings the repository of a template to its base branch (B30). What fails is told to the operator; the session goes on with
    /// what the template holds.
    pub(super) async fn update_repository(&self, runtime: &Runtime, sandbox: &Sandbox, wish: &Wish<'_>) {
        let base = wish.task.repo_url().and_then(|_| BranchName::wish(wish.task.base_branch()));
        if let Some(base) = base {
            self.run_git(sandbox, command::update(&runtime.directory, &base), "agents/update-failed").await;
        }
    }

    async fn run_git(&self, sandbox: &Sandbox, command: Result<Command, CommandError>, event: &'static str) {
        let ran = match built(command) {
            Ok(command) => self.envd(sandbox).run(&command).await,
            Err(error) => Err(error),
        };
        match ran {
            Ok(ran) if ran.exit_code == 0 => {}
            Ok(ran) => {
                let text = format!("git ended with {}", ran.exit_code);
                self.tell(event, &RuntimeError::Failed(text));
            }
            Err(error) => self.tell(event, &error),
        }
    }

    /// Runs the project's own script. What fails is told; the session goes on.
    pub(super) async fn run_init(
        &self,
        runtime: &Runtime,
        sandbox: &Sandbox,
        wish: &Wish<'_>,
        progress: &mut impl Progress,
    ) {
        let Some(script) = wish.task.init_setup() else { return };
        let ran = match built(command::run_init(&runtime.directory, script)) {
            Ok(init) => self.envd(sandbox).run(&init).await,
            Err(error) => Err(error),
        };
        let told = match ran {
            Ok(ran) if ran.exit_code == 0 => return,
            Ok(ran) => format!("the init script ended with {}", ran.exit_code),
            Err(error) => error.to_string(),
        };
        progress.event(Draft::new(Kind::stored("sandbox.init.failed"), json!({"error": told}))).await;
    }

    /// Tells the operator of something that keeps no session from going on.
    pub(super) fn tell(&self, name: &'static str, error: &RuntimeError) {
        let text = error.to_string();
        self.host.report(&Event::new(Level::Warning, name).with_error(&text));
    }
}
