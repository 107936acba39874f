//! Observation of databases by sessions (pg-sync.md 4): what is asked, what is refused, where shape services are, and what an agent
//! is told. The bridges are in [`crate::bridge`]; what a session remembers is in [`crate::session::watch`].

mod connections;
mod error;
mod prompt;
mod request;

pub(crate) use connections::allowed;
pub use connections::{Resolved, resolve, shown_address};
pub use error::PgSyncError;
pub use prompt::Waiting;
pub use request::{MAX_PG_SYNC_BODY_BYTES, NewConnection, NewSecret, Observe, Origin, Probe};

/// The kind of orders that come of a wake.
pub const ORDER_KIND: &str = "pg-sync";
/// Who is behind them.
pub const ORDER_BY: &str = "system";
