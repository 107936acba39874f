//! What goes wrong, and how the program ends then (docs/spec/session-mailbox.md 8.3).

use std::fmt::Display;

/// Why the program ends before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No session of this id is here.
    #[error("no session {0}")]
    NoSession(String),
    /// The command line cannot be understood.
    #[error("{0}")]
    Usage(String),
    /// The configuration is wrong.
    #[error("{0}")]
    Configuration(String),
    /// The agents worker does not answer.
    #[error("the agents worker cannot be reached: {0}")]
    Unreachable(String),
    /// The agents worker does not know the token.
    #[error("the agents worker refuses the token: {0}")]
    Unauthorized(String),
    /// Another process of this runner took over.
    #[error("another process, or another machine, is this runner now")]
    Superseded,
    /// The runner was deleted.
    #[error("the runner was deleted at the agents worker")]
    Revoked,
    /// Somebody else has the state directory now.
    #[error("the lock of the state directory was lost")]
    LockLost,
    /// The state directory cannot be used, or another runner has it.
    #[error(transparent)]
    Daemon(#[from] daemon_lifecycle::Error),
    /// A mailbox cannot be used.
    #[error(transparent)]
    Mailbox(#[from] mailbox::Error),
    /// Something else.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// The exit code.
    pub fn exit(&self) -> u8 {
        match self {
            Self::Other(_) => 1,
            Self::NoSession(_) => 3,
            Self::Usage(_) => 64,
            Self::Unreachable(_) => 69,
            Self::Daemon(error) => error.exit(),
            Self::Mailbox(error) if error.code() == "disk_full" => 74,
            Self::Mailbox(_) => 73,
            Self::Superseded | Self::Revoked | Self::LockLost => 76,
            Self::Unauthorized(_) => 77,
            Self::Configuration(_) => 78,
        }
    }

    /// What can be done about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unauthorized(_) => Some("set TOKEN to a token that the agents worker accepts"),
            Self::Daemon(daemon_lifecycle::Error::RepoLocked { .. }) => {
                Some("stop the other runner, or name another directory with RUNNER_STATE_DIR")
            }
            Self::Unreachable(_) => Some("is BASE_URL the address of the agents worker?"),
            _ => None,
        }
    }

    /// Something about a place.
    pub(crate) fn other(what: impl Display, error: impl Display) -> Self {
        Self::Other(format!("{what}: {error}"))
    }
}
