//! What is known about a runtime that was made (agents.md 5.3.3, 5.4).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::legacy::Dialect;

/// Who runs a session's agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProviderKind {
    /// A sandbox of E2B.
    E2b,
    /// A machine of the user's own.
    LocalRunner,
    /// The agent server that the operator has named in `SANDBOX_AGENT_URL` (agents.md 5.5).
    LocalDev,
}

impl ProviderKind {
    /// The provider of that name, blanks around it and upper case aside.
    pub fn parse(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "e2b" => Some(Self::E2b),
            "local-runner" => Some(Self::LocalRunner),
            "local-dev" => Some(Self::LocalDev),
            _ => None,
        }
    }

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::E2b => "e2b",
            Self::LocalRunner => "local-runner",
            Self::LocalDev => "local-dev",
        }
    }

    /// Whether a terminal can be opened in it.
    pub fn has_terminal(self) -> bool {
        self == Self::E2b
    }
}

/// Who calls whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// We call the agent server.
    #[default]
    Tunnel,
    /// The runner calls us, and is told what to do when it asks (session-mailbox.md 7).
    Mailbox,
}

impl Transport {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
    const fn is_tunnel(&self) -> bool {
        matches!(self, Self::Tunnel)
    }
}

/// A runtime that a session is bound to. Its secrets are stored apart from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Runtime {
    /// Who runs it.
    pub provider: ProviderKind,
    /// Address of the agent server, without a slash at its end.
    pub base_url: String,
    /// Name of this session's server on the agent server.
    pub server_id: String,
    /// The agent's own session.
    pub session_id: String,
    /// What the agent server speaks.
    pub dialect: Dialect,
    /// The directory that the agent works in.
    pub directory: String,
    /// The runner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner_id: Option<String>,
    /// Who calls whom.
    #[serde(default, skip_serializing_if = "Transport::is_tunnel")]
    pub transport: Transport,
    /// The sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox_id: Option<String>,
    /// The domain under which the sandbox is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox_domain: Option<String>,
    /// The port of the agent server in the sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox_port: Option<u16>,
    /// The template that the sandbox was made from; none for the provider's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The snapshot that the sandbox was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<String>,
    /// Number of the process session in which the agent server runs, by which it is killed (agents.md 3.9); none when it
    /// came with the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_sid: Option<u32>,
    /// When the repository token in the sandbox was made, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub github_token_at: Option<i64>,
    /// When git's way to ask for tokens was written into the sandbox, in milliseconds since 1970 (agents.md 20.6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker_at: Option<i64>,
    /// What the sandbox may talk to; empty where it may talk to anyone (agents.md 20.7).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<String>,
    /// Whether the control plane has ended the agent's server itself: the next prompt needs a new session of the agent (B56).
    #[serde(default)]
    pub server_ended: bool,
    /// Whether the agent's process has ended by itself: its server is deleted before a new session is opened.
    #[serde(default)]
    pub agent_exited: bool,
    /// Whether the agent can go on with a conversation of another sandbox (transcripts.md 4.1).
    #[serde(default)]
    pub can_load: bool,
    /// Whether the agent was offered the tools of the session (pg-sync.md 4.12).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_tools: bool,
    /// What nobody else may see.
    #[serde(skip)]
    pub secrets: RuntimeSecrets,
}

impl Runtime {
    /// The runtime of a session on a runner that calls us. Which agent works there is known when the runner has opened it.
    pub fn of_mailbox(session_id: &str, runner_id: &str, directory: String) -> Self {
        Self {
            provider: ProviderKind::LocalRunner,
            base_url: String::new(),
            server_id: session_id.to_owned(),
            session_id: String::new(),
            dialect: Dialect::default(),
            directory,
            runner_id: Some(runner_id.to_owned()),
            transport: Transport::Mailbox,
            sandbox_id: None,
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
            secrets: RuntimeSecrets::default(),
        }
    }

    /// Whether nobody can call it: what it is to do lies ready at the session's desk.
    pub fn is_mailbox(&self) -> bool {
        self.transport == Transport::Mailbox
    }
}

/// What opens a runtime. Stored encrypted, in a row of its own.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct RuntimeSecrets {
    /// Bearer token of the agent server.
    pub agent_token: Option<String>,
    /// Cloudflare Access service token: its id.
    pub access_client_id: Option<String>,
    /// Cloudflare Access service token: its secret.
    pub access_client_secret: Option<String>,
    /// Key of signed requests, base64 of 32 bytes (agents.md 7.5).
    pub signing_key: Option<String>,
    /// Token of the sandbox's own daemon.
    pub envd_token: Option<String>,
    /// Token of the sandbox's traffic.
    pub traffic_token: Option<String>,
}

impl RuntimeSecrets {
    /// All values, for the redactor.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        [
            &self.agent_token,
            &self.access_client_id,
            &self.access_client_secret,
            &self.signing_key,
            &self.envd_token,
            &self.traffic_token,
        ]
        .into_iter()
        .filter_map(|value| value.as_deref())
    }
}

impl fmt::Debug for RuntimeSecrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RuntimeSecrets(…)")
    }
}
