//! A bridge: one shape, followed for all who observe it (pg-sync.md 4.5–4.9).
//!
//! [`decide()`] is all there is: it takes what happened and the time, changes the bridge, and says what is to be stored ([`Commit`])
//! and what is to be done ([`Action`]). Whoever calls it stores the whole commit in one transaction, and only then does the
//! actions. When storing fails the bridge in memory is ahead of what is stored: it is dropped and opened again.
//!
//! At any moment the process may die. What is stored then is all that the next one knows: [`Bridge::open`] takes it, requests that
//! were under way are made again, and what was on its way to an observer is sent again as the same bytes.

mod alarm;
mod answered;
mod compare;
mod connection;
mod decide;
mod deliver;
mod observer;
mod poll;
mod state;
mod subscribe;
mod trouble;
mod view;

pub use alarm::next_alarm;
pub use decide::{Context, decide};
pub use observer::{Inflight, Observer};
pub use state::{OpenGap, Reader, ShownUntil, Source, State, Stored};
pub use subscribe::{NotJoined, READER_MS};

use std::collections::{BTreeMap, BTreeSet};

use crate::answer::Answer;
use crate::body::{BlockedReason, GapReason};
use crate::change::Change;
use crate::rows::Row;
use crate::shape::Ask;
use crate::wake::Wake;

/// Most observers of one bridge.
pub const MAX_OBSERVERS: usize = 1_000;

/// A bridge: what is stored of it, who observes it, and what is known for as long as the process lives.
#[derive(Clone, Debug)]
pub struct Bridge {
    stored: Stored,
    /// By the subscription's name, which is a hash of ours.
    observers: BTreeMap<String, Observer>,
    memory: Memory,
}

/// What is forgotten when the process dies.
#[derive(Clone, Debug, Default)]
struct Memory {
    /// Raised whenever what is under way does not count any more.
    epoch: u64,
    /// When the last turn began: the reading of the connection, if that came first, and the request.
    turn_at: i64,
    /// The request that is under way: until when it is waited for.
    asking: Option<i64>,
    /// The next request is not made before this.
    next_poll_at: i64,
    /// When the service last said that nothing more is there.
    last_ok_at: Option<i64>,
    /// What the next live request echoes.
    echo: String,
    /// The connection, and when it was read.
    connection: Option<(Connection, i64)>,
    /// The connection is being read: until when that is waited for.
    reading: Option<i64>,
    /// The connection was read again because the service refused, and the next refusal counts.
    has_read_again: bool,
    /// Observers to whom something is on its way, and until when it is waited for.
    sending: BTreeMap<String, i64>,
}

/// How a connection is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One request after the other, each of which waits for changes.
    Live,
    /// A request now and then, in milliseconds.
    Interval(i64),
}

/// What a bridge knows of its connection. Address and secret are added when a request is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Raised by each change after which an old cursor means nothing.
    pub revision: i64,
    /// How it is followed.
    pub mode: Mode,
}

/// Why a connection cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionFault {
    /// It is asked for again later.
    Unavailable,
    /// Somebody has to do something.
    Unusable(BlockedReason),
}

/// What happens to a bridge.
#[derive(Clone, Debug)]
pub enum Event {
    /// Time has passed; also the first event after opening.
    Due,
    /// Somebody wants it to go on at once.
    Retry,
    /// The connection was read ([`Action::ReadConnection`]).
    Connection {
        /// Of the action.
        epoch: u64,
        /// What came of it.
        seen: Result<Connection, ConnectionFault>,
    },
    /// The connection may have changed: it is read before the next request.
    ConnectionTouched,
    /// The service has answered, or has not ([`Action::Ask`]).
    Answered {
        /// Of the request.
        epoch: u64,
        /// What came of it.
        answer: Answer,
    },
    /// Somebody wants to be woken. The same again changes nothing; another wake takes the place of the one before.
    Subscribe {
        /// The name of the subscription.
        id: String,
        /// Whose it is.
        session: String,
        /// When to wake.
        wake: Wake,
    },
    /// Nobody waits for it any more.
    Unsubscribe {
        /// The name of the subscription.
        id: String,
    },
    /// Somebody reads the log as a stream, under this name: for [`READER_MS`] from now on it is observed, and nobody is woken by that.
    Read {
        /// The name.
        source_ref: String,
    },
    /// Something was sent to an observer ([`Action::Send`]).
    Sent {
        /// The name of the subscription.
        id: String,
        /// Of what was sent.
        key: String,
        /// What came of it.
        outcome: Outcome,
    },
}

/// What an observer says to what it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 2xx, a repetition too.
    Taken,
    /// 404 or 410: it does not want any more.
    Gone,
    /// 409: the last that it has is this number.
    Behind(u64),
    /// Anything else, or nothing.
    Failed,
}

/// What is to be done once the commit is stored.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Read the connection, and say so with [`Event::Connection`]. From storage, not from a memory of it.
    ReadConnection {
        /// Goes back with what was read.
        epoch: u64,
    },
    /// Ask the service, and say so with [`Event::Answered`]. One request at a time.
    Ask {
        /// Goes back with the answer.
        epoch: u64,
        /// What is asked.
        ask: Ask,
        /// How long it is waited for, in milliseconds.
        timeout_ms: i64,
    },
    /// The request that is under way does not count any more.
    Abort,
    /// Send this to an observer, and say so with [`Event::Sent`].
    Send {
        /// The name of the subscription.
        id: String,
        /// Whose it is.
        session: String,
        /// By which a repetition is known.
        key: String,
        /// JSON text.
        body: String,
    },
    /// From here on nothing is missed: the caller of a subscription may be told.
    Joined {
        /// The name of the subscription.
        id: String,
    },
    /// The subscription does not exist.
    NotJoined {
        /// The name of the subscription.
        id: String,
        /// Why.
        why: NotJoined,
    },
    /// Delete the bridge with everything that is stored of it.
    Remove,
}

/// A gap in a source's log, as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Its number, from 1.
    pub gap_seq: u64,
    /// The last number before it.
    pub seq: u64,
    /// Why.
    pub reason: GapReason,
    /// When it was noticed, in milliseconds since 1970.
    pub at: i64,
}

/// How many gaps are kept.
pub const MAX_GAPS: u64 = 100;

/// What is to be stored, in one transaction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Commit {
    /// Rows of the log that are new.
    pub changes: Vec<Change>,
    /// First and last number of rows to be deleted.
    pub delete: Option<(u64, u64)>,
    /// A gap that is new; gaps that are [`MAX_GAPS`] older are deleted.
    pub gap: Option<Gap>,
    /// Whether [`Bridge::stored`] is another one.
    pub bridge: bool,
    /// Observers who are new or others than they were, by name.
    pub observers: BTreeSet<String>,
    /// Observers who are gone, by name.
    pub gone: BTreeSet<String>,
    /// Whether nothing that was remembered of the source's rows counts any more; before those that follow.
    pub forgets_rows: bool,
    /// What is remembered of rows from now on, by their keys: nothing of those that are gone.
    pub rows: BTreeMap<String, Option<Row>>,
}

impl Commit {
    /// Whether nothing is to be stored.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What follows from an event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// What is to be stored first.
    pub commit: Commit,
    /// What is to be done then, in this order.
    pub actions: Vec<Action>,
}

impl Bridge {
    /// A bridge of what was stored.
    pub fn open(stored: Stored, observers: impl IntoIterator<Item = Observer>) -> Self {
        let observers = observers.into_iter().map(|observer| (observer.id.clone(), observer)).collect();
        Self { stored, observers, memory: Memory::default() }
    }

    /// What is to be stored of it.
    pub const fn stored(&self) -> &Stored {
        &self.stored
    }

    /// Who observes it.
    pub const fn observers(&self) -> &BTreeMap<String, Observer> {
        &self.observers
    }
}
