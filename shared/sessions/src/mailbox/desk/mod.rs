//! What a session hands to its runner, and takes in from it (session-mailbox.md 7.3–7.8).
//!
//! A desk is bound to one runner at a time, under a *lease*: a number that is raised whenever another holder, or another mailbox of the same
//! one, gets the session. Whatever was said under an earlier lease does not count. At most one prompt is unfinished; it ends exactly once, with
//! [`Told::TurnEnded`], [`Told::MessageFailed`] or [`Told::MessageReturned`], whatever dies.

mod alarm;
mod attach;
mod batch;
mod files;
mod holder;
mod lease;
mod notice;
mod presence;
mod said;
mod state;
mod take;
mod told;
mod work;

pub use alarm::{next_alarm, on_alarm};
pub use attach::{Claim, Verdict, Verdicted, on_attach};
pub use batch::{Batch, BatchAnswer, Fingerprint, Incoming, Refused, Stop, on_batch};
pub use files::{Files, FilesRefused};
pub use holder::{abandon, bind, cancel, close, open, release, take_push_back};
pub use lease::{Renewed, renew};
pub use notice::{Notice, on_notice};
pub use presence::on_presence;
pub use said::{Invalid, Said};
pub use state::{Closing, Desk, Holder, Item, ItemKind, Open, Outage, Prompt, Ring};
pub use told::{Released, Told};
pub use work::{Ack, AckResult, Given, NewItem, NotTaken, answer, fetch, interrupt, on_ack, prompt, push};

/// How long things wait, as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// `AGENT_ORDER_TTL_MS`: how long a prompt waits to be given out.
    pub order_ttl_ms: i64,
    /// `AGENT_RUNNER_OFFLINE_TURN_MS`: how long a turn outlives its runner's silence.
    pub offline_turn_ms: i64,
}

/// What is to be done once the change is stored.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Store the body of an item.
    PutBody {
        /// The item.
        item_id: String,
        /// JSON text.
        body: String,
    },
    /// Remove the body of an item.
    DropBody(String),
    /// Store what an event said, so that a repetition is known.
    PutFingerprint {
        /// Its number.
        seq: u64,
        /// What it said.
        fingerprint: Fingerprint,
    },
    /// All that is known of events goes: another mailbox begins.
    DropFingerprints,
    /// Tell the runner's object that there is work.
    Ring,
    /// The session hears of it, in the same transaction and in this order.
    Tell(Told),
}

/// A decision in the making.
#[derive(Debug)]
pub struct Decide<'a> {
    /// Milliseconds since 1970.
    pub now: i64,
    /// As configured.
    pub times: &'a Times,
    /// What is to be done, in this order.
    pub effects: Vec<Effect>,
}

impl<'a> Decide<'a> {
    /// A decision of now.
    pub const fn new(now: i64, times: &'a Times) -> Self {
        Self { now, times, effects: Vec::new() }
    }

    fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    fn tell(&mut self, told: Told) {
        self.effects.push(Effect::Tell(told));
    }

    fn after(&self, ms: i64) -> i64 {
        self.now.saturating_add(ms)
    }
}
