//! Observation of databases by sessions (pg-sync.md 4): what is asked, what is refused, where shape services are, and what an agent
//! is told. The bridges are in [`crate::bridge`]; what a session remembers is in [`crate::session::watch`].

mod connections;
mod error;
mod prompt;
mod request;
mod stream_answers;

pub use connections::{Resolved, resolve, shown_address};
pub(crate) use connections::{allowed, leading_to};
pub use error::PgSyncError;
pub use prompt::Waiting;
pub use request::{MAX_PG_SYNC_BODY_BYTES, NewConnection, NewSecret, Observe, Origin, Probe};
pub(crate) use stream_answers::{dressed, refused, told, whole};

/// The kind of orders that come of a wake.
pub const ORDER_KIND: &str = "pg-sync";
/// Who is behind them.
pub const ORDER_BY: &str = "system";
