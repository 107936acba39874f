//! The object that owns a bridge to a database and keeps it going (pg-sync.md 4.5–4.9, 4.15), over ports.
//!
//! What follows from what happens is decided by [`pg_sync::bridge::decide`]. Here a decision is stored in one transaction, then requests are
//! made, sessions are told, and the alarm is set to whatever is due next.

mod actions;
mod changes;
mod object;
mod platform;
mod routes;
mod streams;

pub(crate) use actions::exchange;
pub(crate) use changes::{DEFAULT_LIMIT, MAX_LIMIT};
pub use object::Bridge;
pub use platform::Platform;
pub use routes::handle;

use pg_sync::bridge::Source;
use pg_sync::wake::Wake;
use serde::{Deserialize, Serialize};

/// Where the objects of bridges are. They look at paths only.
pub(crate) const ORIGIN: &str = "https://bridge/__bridge__/";
/// Where the objects of sessions are, which look at paths only, too.
const SESSIONS: &str = "https://session/__session__/";
/// The largest answer of a session to a bridge, in bytes: a few fields.
const MAX_SESSION_ANSWER_BYTES: usize = 64 << 10;

/// The header with the name under which a log is read.
pub const REF_HEADER: &str = "x-source-ref";

/// The header with the name of the source: an object refuses another than its own.
pub const SOURCE_HEADER: &str = "x-source-id";

/// The object of a source.
pub fn object_name(source_id: &str) -> String {
    format!("pgsync:{source_id}")
}

/// What somebody asks for who wants to read a log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Register {
    /// What is observed.
    pub source: Source,
    /// The name under which it is read.
    pub source_ref: String,
}

/// What a session asks for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Subscribe {
    /// What is observed.
    pub source: Source,
    /// The name of the subscription.
    pub subscription_id: String,
    /// The session.
    pub session: String,
    /// What wakes it.
    pub wake: Wake,
}
