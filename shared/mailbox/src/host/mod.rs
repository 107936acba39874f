//! The host's half: it writes what is wanted, and reads what was done (docs/spec/session-mailbox.md 4).

mod files;
mod read;
pub(crate) mod rows;
mod take_back;

use std::collections::BTreeMap;

use crate::Error;
use crate::message::{Ack, Control, Message, Millis, NewMessage, Output, RuntimeState};
use crate::sweep::{self, Change, Process, Rules};

pub use files::{FileHost, Settings};
pub(crate) use rows::read_control;

/// What became of a message that was to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It is stored, with this place in the order.
    New(i64),
    /// It is stored as taken back: an interrupt or a cancellation with a higher number came before it.
    Cancelled(i64),
    /// It was there already.
    Known,
}

/// A process that is about to be started.
#[derive(Clone, Debug, Default)]
pub struct Spawn {
    /// The number that fences runners.
    pub lease: i64,
    /// The generation that the worker knows of; the new one is above it.
    pub above: i64,
    /// A hash of the configuration that it gets.
    pub config_hash: Option<String>,
}

/// What is taken back.
#[derive(Clone, Copy, Debug)]
pub enum TakeBack<'a> {
    /// One message, unless the agent's side has it.
    One(&'a str),
    /// Every message with a lower number of the worker's; with the process proven gone, also those that it had.
    Below {
        /// The number.
        work_seq: i64,
        /// Whether the process is gone.
        process: Process,
    },
}

/// What the agent's side says of itself, and of some messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// What it is doing.
    pub state: Option<RuntimeState>,
    /// What it said last about the messages that were asked for.
    pub acks: BTreeMap<String, Ack>,
    /// The greatest number of an output.
    pub last_seq: i64,
    /// The greatest generation of an output.
    pub last_generation: i64,
}

/// A row of an output, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// An output.
    Good(Box<Output>),
    /// Something that is none; with its place, where that much can be read.
    Bad {
        /// Its place in the order.
        seq: Option<i64>,
        /// Its id, if it can be read.
        id: Option<String>,
    },
}

impl Reading {
    /// Its place in the order.
    pub fn seq(&self) -> Option<i64> {
        match self {
            Self::Good(output) => Some(output.seq),
            Self::Bad { seq, .. } => *seq,
        }
    }
}

/// What became of an output that was sent on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The worker has it.
    Delivered,
    /// The worker refuses it for good. The agent is told.
    Refused(String),
    /// It is to be sent again.
    Later(String),
}

/// A report of the host's own (docs/spec/session-mailbox.md 7.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its id, by which repeats are known.
    pub id: String,
    /// What it is.
    pub code: String,
    /// Its data, as JSON.
    pub data: String,
}

/// What a host can do with a mailbox. Each call is one transaction, on the disk when it returns.
pub trait HostMailbox {
    /// Stores a message, once for each id.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] when the id stands for another content.
    fn insert(&mut self, message: &NewMessage, now: Millis) -> Result<Inserted, Error>;

    /// Messages that are not final, in their order, without their contents.
    ///
    /// # Errors
    ///
    /// What the storage reports.
    fn unfinished(&self) -> Result<Vec<Message>, Error>;

    /// What the agent's side is told.
    ///
    /// # Errors
    ///
    /// What the storage reports.
    fn control(&self) -> Result<Control, Error>;

    /// What the agent's side says. Nothing when it never did.
    ///
    /// # Errors
    ///
    /// [`Error::is_passing`], or [`Error::Hostile`].
    fn seen(&self, messages: &[&str]) -> Result<Option<Seen>, Error>;

    /// When the agent's side gave its last sign of life; a number that changes with each.
    fn heartbeat(&self) -> Option<i128>;

    /// Stores what was decided. `settled` says that the process is gone, and nothing of it is left to be decided.
    ///
    /// # Errors
    ///
    /// What the storage reports.
    fn apply(&mut self, changes: &[(String, Change)], settled: bool, now: Millis) -> Result<(), Error>;

    /// Makes a generation, to be called before its process is started. Its number.
    ///
    /// # Errors
    ///
    /// [`Error::Unsettled`] while the last one is not settled.
    fn begin(&mut self, spawn: &Spawn, now: Millis) -> Result<i64, Error>;

    /// Tells the process to end.
    ///
    /// # Errors
    ///
    /// What the storage reports.
    fn ask_to_stop(&mut self, now: Millis) -> Result<(), Error>;

    /// Interrupts prompts up to this number of the worker's. A lower one than before changes nothing.
    ///
    /// # Errors
    ///
    /// What the storage reports.
    fn interrupt(&mut self, through: i64) -> Result<(), Error>;

    /// Takes messages back. The ids of those that were.
    ///
    /// # Errors
    ///
    /// What the storage reports.
    fn take_back(&mut self, what: TakeBack<'_>, now: Millis) -> Result<Vec<String>, Error>;

    /// Outputs beyond a place in the order: at most so many, and at most so many bytes of them but the first.
    ///
    /// # Errors
    ///
    /// [`Error::is_passing`], or [`Error::Hostile`].
    fn outputs(&self, after: i64, rows: usize, bytes: usize) -> Result<Vec<Reading>, Error>;

    /// Stores what became of outputs, by id.
    ///
    /// # Errors
    ///
    /// What the storage reports.
    fn record(&mut self, outcomes: &[(String, Outcome)], now: Millis) -> Result<(), Error>;

    /// How often sending an output has failed, and when that was last.
    ///
    /// # Errors
    ///
    /// What the storage reports.
    fn attempts(&self, output: &str) -> Result<(u32, Millis), Error>;

    /// Stores a report, once for each id.
    ///
    /// # Errors
    ///
    /// What the storage reports.
    fn note(&mut self, notice: &Notice, now: Millis) -> Result<(), Error>;

    /// Reports that are not sent yet, in their order.
    ///
    /// # Errors
    ///
    /// What the storage reports.
    fn notes(&self) -> Result<Vec<Notice>, Error>;

    /// A report was sent.
    ///
    /// # Errors
    ///
    /// What the storage reports.
    fn noted(&mut self, notice: &str, now: Millis) -> Result<(), Error>;

    /// Names where the agent may send to besides its session, in place of those named before.
    ///
    /// # Errors
    ///
    /// What the storage reports.
    fn set_destinations(&mut self, targets: &[(String, String)]) -> Result<(), Error>;

    /// Targets that are named, as JSON.
    ///
    /// # Errors
    ///
    /// What the storage reports.
    fn destinations(&self) -> Result<Vec<String>, Error>;

    /// Forgets what is old: final messages, reports, and notes about outputs that the agent's side has removed.
    ///
    /// # Errors
    ///
    /// What the storage reports.
    fn prune(&mut self, now: Millis) -> Result<(), Error>;
}

/// Looks at everything that is not final, and stores what follows. `random` gives numbers up to 1000 for the pauses.
///
/// # Errors
///
/// What the mailbox reports; nothing is changed then.
pub fn sweep(
    mailbox: &mut dyn HostMailbox,
    process: Process,
    rules: Rules,
    now: Millis,
    random: &mut dyn FnMut() -> u16,
) -> Result<Vec<(Message, Change)>, Error> {
    let control = mailbox.control()?;
    let messages = mailbox.unfinished()?;
    let ids: Vec<&str> = messages.iter().map(|message| message.id.as_str()).collect();
    let seen = mailbox.seen(&ids)?.unwrap_or_default();
    let decided: Vec<(Message, Change)> = messages
        .into_iter()
        .filter_map(|message| {
            let ack = seen.acks.get(&message.id);
            let change = sweep::decide(&message, ack, control.generation, process, rules, now, random())?;
            Some((message, change))
        })
        .collect();
    let settled = process == Process::Gone && control.spawned_at.is_some();
    if settled || !decided.is_empty() {
        let changes: Vec<_> = decided.iter().map(|(message, change)| (message.id.clone(), change.clone())).collect();
        mailbox.apply(&changes, settled, now)?;
    }
    Ok(decided)
}
