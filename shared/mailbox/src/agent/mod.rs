//! The half of the agent's side: it reads what is wanted, and writes what was done (docs/spec/session-mailbox.md 4).

mod files;
mod kept;
mod lock;

use std::time::Duration;

use crate::Error;
use crate::message::{AckStatus, Control, Message, Millis, NewOutput, RuntimeState};

pub use files::{FileAgent, recover};
pub use lock::Lock;

/// What one look at the host's file shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inbound {
    /// What the host tells the process.
    pub control: Control,
    /// Messages about whose attempt nothing was said yet, in their order, those of the control lane first.
    pub fresh: Vec<Message>,
}

/// What is said about a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAck {
    /// The message.
    pub message_id: String,
    /// About which attempt.
    pub attempt: i64,
    /// What.
    pub status: AckStatus,
    /// Why, of `failed`, `deferred` and `skipped`.
    pub error: Option<String>,
    /// Of `deferred`: not before this time.
    pub until: Option<Millis>,
    /// Whether the last output of the same step tells of the end.
    pub told: bool,
}

impl NewAck {
    /// About a message's attempt that runs now.
    pub fn of(message: &Message, status: AckStatus) -> Self {
        let (message_id, attempt) = (message.id.clone(), message.attempt());
        Self { message_id, attempt, status, error: None, until: None, told: false }
    }

    /// With a reason.
    #[must_use]
    pub fn because(mut self, reason: &str) -> Self {
        self.error = Some(reason.to_owned());
        self
    }
}

/// Where a question of the agent's stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It waits for a person.
    Open,
    /// It was answered.
    Answered,
    /// Nobody waits for the answer any more.
    Void,
}

/// A question of the agent's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `<generation>.<n>`.
    pub id: String,
    /// Which process asked.
    pub generation: i64,
    /// The id that the agent gave it, as JSON.
    pub rpc_id: String,
}

/// What is stored at once: all of it, or nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// What is said, in this order.
    pub outputs: Vec<NewOutput>,
    /// What is said about messages.
    pub acks: Vec<NewAck>,
    /// Questions that are new, with the agent's id.
    pub asked: Vec<(String, String)>,
    /// Questions that are no longer open.
    pub closed: Vec<(String, Asked)>,
    /// Values that later processes need; nothing removes one.
    pub values: Vec<(String, Option<String>)>,
    /// What the process is doing.
    pub state: Option<RuntimeState>,
}

/// How much waits for the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Outputs.
    pub rows: u64,
    /// Bytes of their contents.
    pub bytes: u64,
}

/// So long the host's file may be unreadable (docs/spec/session-mailbox.md 4.4): until then what is to be stored is stored.
pub const UNREADABLE: Duration = Duration::from_mins(1);

/// So much may wait before the agent is read no further (docs/spec/session-mailbox.md 4.8).
pub const MAX_BACKLOG: Backlog = Backlog { rows: 20_000, bytes: 64 << 20 };

impl Backlog {
    /// Whether the agent is to be read no further.
    pub fn is_full(self) -> bool {
        self.rows >= MAX_BACKLOG.rows || self.bytes >= MAX_BACKLOG.bytes
    }

    /// Whether one that was full leaves room again: a quarter of it was taken, so that the agent is not stopped at each output.
    pub fn has_room(self) -> bool {
        self.rows < MAX_BACKLOG.rows / 4 * 3 && self.bytes < MAX_BACKLOG.bytes / 4 * 3
    }

    /// With one output more, of so many bytes.
    fn with(self, bytes: usize) -> Self {
        Self { rows: self.rows.saturating_add(1), bytes: self.bytes.saturating_add(bytes as u64) }
    }

    /// With one output less.
    fn without(self, bytes: u64) -> Self {
        Self { rows: self.rows.saturating_sub(1), bytes: self.bytes.saturating_sub(bytes) }
    }
}

/// The key under which a provider's conversation is remembered.
pub fn continuation_key(provider: &str) -> String {
    format!("continuation:{}", provider.to_lowercase())
}

/// What a process beside an agent can do with a mailbox. Each call is one transaction, on the disk when it returns.
pub trait AgentMailbox {
    /// Reads what the host wants.
    ///
    /// # Errors
    ///
    /// [`Error::is_passing`]: at the next poll; [`Error::Fenced`] when another process has taken over.
    fn look(&mut self, now: Millis) -> Result<Inbound, Error>;

    /// Whether a message is still to be done: to be asked after it was taken, and before the agent gets it.
    ///
    /// # Errors
    ///
    /// As [`AgentMailbox::look`].
    fn is_wanted(&self, message: &str) -> Result<bool, Error>;

    /// Stores a step. The places of its outputs in the order.
    ///
    /// # Errors
    ///
    /// [`Error::Fenced`] when another process has taken over: nothing was stored. [`Error::Full`]. [`Error::Busy`] when somebody reads for long:
    /// nothing was stored, and another try may be. An error that passes of the host's file is none before [`UNREADABLE`].
    fn commit(&mut self, step: &Step, now: Millis) -> Result<Vec<i64>, Error>;

    /// A value that was stored.
    ///
    /// # Errors
    ///
    /// What the storage reports.
    fn value(&self, key: &str) -> Result<Option<String>, Error>;

    /// Questions that are open, of all generations.
    ///
    /// # Errors
    ///
    /// What the storage reports.
    fn open_requests(&self) -> Result<Vec<Request>, Error>;

    /// How much waits for the host: since the last [`AgentMailbox::prune`] also what it has taken.
    fn backlog(&self) -> Backlog;

    /// Removes outputs that the host has sent on with their files, and what was said about messages that are over.
    ///
    /// # Errors
    ///
    /// What the storage reports.
    fn prune(&mut self, now: Millis) -> Result<(), Error>;

    /// Gives a sign of life. One that fails is no error: the next one may not.
    fn beat(&self);
}
