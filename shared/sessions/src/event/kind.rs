//! The names of events (agents.md 3.4).

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::Value;

/// The longest name that a runtime may give to an event, in bytes. A longer one is no name.
pub const MAX_NAME_BYTES: usize = 128;

/// Where an event comes from, which decides whether a runtime may use its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Author {
    /// The control plane alone: a runtime that used the name could make people believe what never happened.
    Service,
    /// A runtime too: it may say that the session is paused, completed and so on.
    Runtime,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal by $author:ident,)*) => {
        /// What an event is about: its `type` on the wire.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Kind {
            $($(#[$doc])* $variant,)*
            /// A name that a runtime gave, which means nothing to the service.
            Other(Box<str>),
        }

        impl Kind {
            /// The names of all kinds but those of runtimes, and whether a runtime may use them too.
            pub const NAMES: &[(&str, bool)] = &[$(($name, matches!(Author::$author, Author::Runtime)),)*];

            /// The name on the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Other(name) => name,
                }
            }

            fn known(name: &str) -> Option<(Self, Author)> {
                match name {
                    $($name => Some((Self::$variant, Author::$author)),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    /// The first event of a session.
    SessionCreated = "session.created" by Service,
    /// A runtime was made, or made again.
    SessionProvisioned = "session.provisioned" by Service,
    /// The session is running.
    SessionRunning = "session.running" by Runtime,
    /// The session is paused; messages wait.
    SessionPaused = "session.paused" by Runtime,
    /// The session was cancelled.
    SessionCanceled = "session.canceled" by Runtime,
    /// The task is done.
    SessionCompleted = "session.completed" by Runtime,
    /// The task failed.
    SessionFailed = "session.failed" by Runtime,
    /// Somebody sent a message.
    AuditLog = "audit.log" by Service,
    /// A limit of the session's budget is nearly used up.
    BudgetWarning = "session.budget_warning" by Service,
    /// A limit of the session's budget is used up; the session is paused.
    BudgetReached = "session.budget_reached" by Service,
    /// The session got new limits.
    BudgetRaised = "session.budget_raised" by Service,
    /// The session was put away.
    SessionArchived = "session.archived" by Service,
    /// The session was brought back.
    SessionUnarchived = "session.unarchived" by Service,
    /// What the runtime said.
    AgentRuntime = "agent.runtime" by Runtime,
    /// The runtime, or the way to it, failed.
    AgentRuntimeError = "agent.runtime.error" by Service,
    /// A tool of the agent waits for a decision.
    ApprovalRequested = "agent.approval_requested" by Service,
    /// A tool of the agent was allowed.
    ApprovalGranted = "agent.approval_granted" by Service,
    /// A tool of the agent was refused.
    ApprovalDenied = "agent.approval_denied" by Service,
    /// A whole message of the agent.
    ItemCompleted = "item.completed" by Runtime,
    /// A message of the agent begins.
    ItemStarted = "item.started" by Runtime,
    /// An answer of the agent begins.
    ResponseStarted = "response.started" by Runtime,
    /// A prompt has been answered.
    TurnCompleted = "turn.completed" by Service,
    /// A push begins.
    GitPushStarted = "git.push.started" by Service,
    /// A push ended well.
    GitPushSucceeded = "git.push.succeeded" by Service,
    /// A push failed.
    GitPushFailed = "git.push.failed" by Service,
    /// A pull request is about to be made.
    GitPrStarted = "git.pr.started" by Service,
    /// There is a pull request.
    GitPrSucceeded = "git.pr.succeeded" by Service,
    /// No pull request could be made.
    GitPrFailed = "git.pr.failed" by Service,
    /// A person must make the pull request.
    GitPrManual = "git.pr.manual" by Service,
    /// A pull request was closed.
    GitPrClosed = "git.pr.closed" by Service,
    /// Nothing more is taken from a pull request.
    GitPrFollowUpStopped = "git.pr.follow_up_stopped" by Service,
    /// A snapshot is being taken.
    SnapshotStarted = "sandbox.snapshot.started" by Service,
    /// A snapshot was taken.
    SnapshotSucceeded = "sandbox.snapshot.succeeded" by Service,
    /// No snapshot could be taken.
    SnapshotFailed = "sandbox.snapshot.failed" by Service,
    /// A known snapshot is being noted again.
    CheckpointStarted = "sandbox.checkpoint.started" by Service,
    /// A known snapshot was noted again.
    CheckpointSucceeded = "sandbox.checkpoint.succeeded" by Service,
    /// There is no snapshot to note.
    CheckpointFailed = "sandbox.checkpoint.failed" by Service,
    /// A sandbox was removed because nobody used it for long.
    SandboxExpired = "sandbox.expired" by Service,
    /// Rows of an observed table have changed.
    PgSyncChange = "pg_sync.change" by Service,
    /// Changes of an observed table are not known.
    PgSyncGap = "pg_sync.gap" by Service,
    /// An observed table cannot be followed until somebody does something.
    PgSyncBlocked = "pg_sync.blocked" by Service,
    /// It can be followed again.
    PgSyncRecovered = "pg_sync.recovered" by Service,
    /// There are too many wakes; they are merged.
    PgSyncThrottled = "pg_sync.throttled" by Service,
    /// A table is not observed any more.
    PgSyncEnded = "pg_sync.ended" by Service,
    /// The runner that has the session is not there (session-mailbox.md 7.8).
    RunnerOffline = "session.runner.offline" by Service,
    /// It is there again.
    RunnerOnline = "session.runner.online" by Service,
    /// The session went to another runtime.
    RunnerMoved = "session.runner.moved" by Service,
    /// It reports something of its own.
    RunnerNotice = "runner.notice" by Service,
    /// A file of the agent was stored.
    AgentFile = "agent.file" by Service,
    /// A terminal was opened.
    TerminalOpened = "session.terminal.opened" by Service,
    /// A terminal could not be opened.
    TerminalFailed = "session.terminal.failed" by Service,
    /// A terminal was closed.
    TerminalClosed = "session.terminal.closed" by Service,
}

/// Beginnings of further names that are the control plane's own.
const SERVICE_PREFIXES: [&str; 11] = [
    "audit.",
    "git.",
    "sandbox.",
    "transcript.",
    "agent.approval_",
    "agent.file",
    "session.terminal.",
    "session.budget_",
    "session.runner.",
    "runner.",
    "pg_sync.",
];

impl Kind {
    /// The kind that a stored name stands for.
    pub fn stored(name: &str) -> Self {
        Self::known(name).map_or_else(|| Self::Other(name.into()), |(kind, _)| kind)
    }

    /// The kind of a runtime's envelope by its `type` (agents.md 4.5). What is no name, and what is a name of the control
    /// plane, is [`Kind::AgentRuntime`]: nothing that an agent sends may look like an entry of the audit log, a push or an
    /// approval.
    pub fn of_runtime(name: Option<&Value>) -> Self {
        let Some(name) = name.and_then(Value::as_str) else { return Self::AgentRuntime };
        if name.trim().is_empty()
            || name.len() > MAX_NAME_BYTES
            || SERVICE_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        {
            return Self::AgentRuntime;
        }
        match Self::known(name) {
            Some((kind, Author::Runtime)) => kind,
            Some((_, Author::Service)) => Self::AgentRuntime,
            None => Self::Other(name.into()),
        }
    }

    /// Whether the event is shown to whoever looks on and never stored (agents.md 4.5).
    pub fn is_transient(&self) -> bool {
        match self {
            Self::ItemStarted | Self::ResponseStarted => true,
            other => other.as_str().strip_suffix(".delta").is_some(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
