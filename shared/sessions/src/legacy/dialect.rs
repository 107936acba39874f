//! Which of the two dialects a runtime speaks (agents.md 4.6).

use serde::{Deserialize, Serialize};

use crate::acp::AcpError;

/// A dialect, as the runtime record remembers it under `api`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// JSON-RPC, [`crate::acp`].
    #[default]
    Acp,
    /// The REST interface.
    Legacy,
}

/// The setting `SANDBOX_AGENT_API`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApiSetting {
    /// Ask the server.
    #[default]
    Auto,
    /// Always the same.
    Always(Dialect),
}

impl ApiSetting {
    /// Reads the setting. What is neither `acp` nor `legacy` asks the server.
    pub fn read(text: Option<&str>) -> Self {
        match text.map(|text| text.trim().to_ascii_lowercase()).as_deref() {
            Some("acp") => Self::Always(Dialect::Acp),
            Some("legacy") => Self::Always(Dialect::Legacy),
            _ => Self::Auto,
        }
    }
}

/// What is to be done after `initialize` failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Ask `GET /v1/health`: if it answers well, the server speaks the older dialect.
    AskHealth,
    /// The server speaks ACP, or is none: the failure stands.
    Stands,
}

impl Probe {
    /// Judges a failed `initialize`. A server that speaks ACP may answer 404 too, about the agent or the session.
    pub fn after(failure: &AcpError) -> Self {
        match failure {
            AcpError::Status { status: 404 | 405 | 410, problem, .. }
                if !matches!(problem.as_str(), "agent_not_installed" | "session_not_found") =>
            {
                Self::AskHealth
            }
            _ => Self::Stands,
        }
    }
}
