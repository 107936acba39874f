//! Why the program ends, and the code with which it does (docs/spec/session-mailbox.md 8.3).

use mailbox::Error;

/// A failure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line.
    #[error("{0}")]
    Usage(String),
    /// `config.json` or standard input.
    #[error("{0}")]
    Config(String),
    /// The agent does not start.
    #[error("the agent cannot be started: {0}")]
    Agent(String),
    /// The host's file was not readable for a minute.
    #[error("nothing could be read for a minute: {0}")]
    Unreadable(Error),
    /// Another process holds the lock.
    #[error("another process holds the mailbox")]
    Held,
    /// The mailbox.
    #[error(transparent)]
    Mailbox(#[from] Error),
    /// The system.
    #[error(transparent)]
    System(#[from] std::io::Error),
}

impl Failure {
    /// The name in the log.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Usage(_) => "usage",
            Self::Config(_) => "config",
            Self::Agent(_) => "agent-missing",
            Self::Unreadable(_) => "unreadable",
            Self::Held => "lock_held",
            Self::Mailbox(error) => error.code(),
            Self::System(_) => "io",
        }
    }

    /// The exit code.
    pub(crate) fn exit(&self) -> u8 {
        match self {
            Self::Usage(_) => 64,
            Self::Mailbox(Error::Newer(_) | Error::Mixed) => 65,
            Self::Agent(_) => 69,
            Self::Held => 75,
            Self::Mailbox(Error::Fenced(_)) => 76,
            Self::Config(_) | Self::Mailbox(Error::Config(_)) => 78,
            // A folder cannot be read or written, or the disk is full.
            Self::Unreadable(_) | Self::Mailbox(_) | Self::System(_) => 74,
        }
    }
}
