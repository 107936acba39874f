//! The status of a session (agents.md 3.5). It changes through events only.

use serde::{Deserialize, Serialize};

use crate::event::Kind;

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nothing was asked of the agent yet.
    Created,
    /// The agent works, or waits for the next message.
    Running,
    /// Messages wait.
    Paused,
    /// The task is done.
    Completed,
    /// The task failed.
    Failed,
    /// A person cancelled it, or its sandbox is gone.
    Canceled,
}

impl Status {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    /// Whether the session has ended. A message revives it.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled)
    }

    /// The status that an event brings, if it brings one.
    pub fn after(kind: &Kind) -> Option<Self> {
        match kind {
            Kind::SessionRunning => Some(Self::Running),
            Kind::SessionPaused => Some(Self::Paused),
            Kind::SessionCompleted => Some(Self::Completed),
            Kind::SessionFailed => Some(Self::Failed),
            Kind::SessionCanceled => Some(Self::Canceled),
            _ => None,
        }
    }

    /// Why a message sets the session running again; none when it does not have to.
    pub fn revival(self) -> Option<&'static str> {
        match self {
            Self::Completed => Some("resume-after-completed"),
            Self::Failed => Some("resume-after-failed"),
            Self::Canceled => Some("resume-after-canceled"),
            Self::Created | Self::Running | Self::Paused => None,
        }
    }
}

/// A verb that does not go with the status: `cannot transition from <from> to <to>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot transition from {} to {}", .from.as_str(), .to.as_str())]
pub struct NoTransition {
    /// The status.
    pub from: Status,
    /// What was asked for.
    pub to: Status,
}
