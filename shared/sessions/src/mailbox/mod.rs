//! Runners that call us: the control plane's side of the mailbox transport (session-mailbox.md 7), without input and output.
//!
//! Two objects share the work. The *runner's* object ([`runner`]) knows who a runner is: its tokens, which of its processes counts,
//! when it was last seen, and its request that waits for work. The *session's* object owns everything that must not be lost: its
//! [`desk`] holds what is to be handed to the runner, under which lease, and how far the runner's events were taken in.
//!
//! Each function `on_…` is one thing that happens. It changes the state and says what follows; whoever calls it stores both in one
//! transaction ([`store`]) before anything is sent or answered. Whoever dies before that has changed nothing.

pub mod answer;
pub mod desk;
pub mod limits;
mod minute;
pub mod runner;
pub mod store;
mod token;

pub use minute::Minute;
pub use token::{TOKEN_PREFIX, Token, TokenHash};

use serde::{Deserialize, Serialize};

/// Why a runner does not answer any more (session-mailbox.md 7.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Offline {
    /// It has not been heard of for too long.
    Timeout,
    /// It said that it stops.
    Stopped,
    /// Its registration was deleted.
    Revoked,
    /// Another process, or another machine, took its place.
    Superseded,
}

/// Whether a runner is there, as its object tells sessions. The number grows with each change, so that what is told late or twice
/// changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Presence {
    /// The number of the last change.
    pub number: u64,
    /// Why it is not there; none when it is.
    pub offline: Option<Offline>,
    /// When a request of it last began or was answered, in milliseconds since 1970.
    pub last_seen_at: i64,
}
