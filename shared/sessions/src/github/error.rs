//! What goes wrong between the service and GitHub. No text carries a token.

use serde_json::Value;

use crate::github_app::AppError;

/// Bytes that are kept of the body of an error (agents.md 2.8).
pub(super) const KEPT_BYTES: usize = 16 << 10;

/// A request to GitHub that failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GitHubError {
    /// The App is not configured, or its key is none.
    #[error(transparent)]
    App(#[from] AppError),
    /// The key could not be used.
    #[error("the app's key could not be used: {0}")]
    Sign(String),
    /// GitHub did not answer.
    #[error("github did not answer: {0}")]
    Unreachable(String),
    /// The App is not installed for the repository.
    #[error("the app is not installed for the repository")]
    NotInstalled,
    /// GitHub answered something that cannot be read.
    #[error("github's answer to {0} is unreadable")]
    Unreadable(&'static str),
    /// GitHub refused.
    #[error("github answered {} to {what}", .answer.status)]
    Refused {
        /// What was asked.
        what: &'static str,
        /// What it answered.
        answer: Box<Answered>,
    },
}

/// What GitHub answered (agents.md 9.6).
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// The body, if it is JSON.
    pub body: Option<Value>,
    /// The beginning of the body.
    pub raw: String,
    /// Headers that tell of the reason.
    pub headers: Vec<(&'static str, String)>,
}

impl GitHubError {
    /// The `reason` on the wire.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::App(AppError::Missing) => "missing-github-app-auth",
            Self::App(AppError::Key) | Self::Sign(_) => "invalid-github-app-key",
            Self::Unreachable(_) => "network",
            Self::NotInstalled => "installation-resolution-failed",
            Self::Unreadable(_) => "invalid-response",
            Self::Refused { .. } => "api-error",
        }
    }
}
