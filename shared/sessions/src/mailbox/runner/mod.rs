//! The object of one runner (session-mailbox.md 7.1–7.3): who it is, which of its processes counts, and whether it is there.

mod attach;
mod presence;
mod register;
mod sessions;
mod state;
mod tokens;
mod waiting;

pub use attach::{AttachError, Attached, PROTOCOL, attach, check_attach};
pub use presence::{Detach, detach, next_alarm, on_alarm, on_answered};
pub use register::{RegisterError, Registered, Registration, register, revoke};
pub use sessions::{bind, on_fetched, on_told, ring, unbind};
pub use state::{Attachment, Bound, Detached, Runner};
pub use tokens::{AuthError, StoredToken, Tokens, authenticate, rotate};
pub use waiting::{Poll, Waiting, Woken};

use super::limits;

/// How long a runner may be silent, as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// `LOCAL_RUNNER_HEARTBEAT_TTL_MS`.
    pub ttl_ms: i64,
}

impl Times {
    /// The longest that a request for work waits: shorter than the silence after which a runner is offline.
    pub fn wait(self, asked_ms: i64) -> i64 {
        asked_ms.clamp(0, limits::MAX_WAIT_MS).min(self.ttl_ms.saturating_mul(3) / 4)
    }

    const fn silence(self) -> i64 {
        self.ttl_ms.saturating_add(limits::OFFLINE_SLACK_MS)
    }
}

/// What is to be done once the change is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Requests that wait for work end like this.
    EndWaiting(Woken),
    /// Waiting requests may have something to give out.
    Wake,
    /// Write to the list of runners when it was seen.
    WriteSeen,
    /// Tell these sessions whether the runner is there ([`Runner::untold`]), and say so with [`on_told`].
    TellSessions,
    /// Everything of this runner goes: it is not even known any more that it was deleted.
    Forget,
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
        if !self.effects.contains(&effect) {
            self.effects.push(effect);
        }
    }
}
