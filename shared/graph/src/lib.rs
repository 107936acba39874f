//! The server state of one Logseq graph: transactions, log, checksum, snapshots, presence.
//!
//! Everything the server decides about a graph is decided here, over two ports: [`database::local::Sql`] for storage and
//! [`Clock`] for the time. Adapters (the Durable Object, a native server) own sockets and streams and move bytes.
//!
//! [`Graph`] is one graph; [`sockets`] is what is said to it over sockets; [`rules`] are the pure functions over database
//! values that decide about transactions; [`snapshot`] is its rows on the wire.

pub mod drift;
pub mod faults;
pub mod rules;
pub mod snapshot;
pub mod sockets;

mod care;
mod changes;
mod checkpoint;
mod diagnostics;
mod error;
mod gate;
mod graph;
mod pipeline;
mod repair;
mod store;

pub use care::{Epoch, FREED_ROWS, Finding, Inspection, Survey, stored_position};
pub use changes::{EntityAnswer, EntityPull, GraphName};
pub use checkpoint::WritePolicy;
pub use diagnostics::Diagnostics;
pub use error::{Error, Result};
pub use gate::{REVOCATION_MS, REVOCATIONS, Revocation};
pub use graph::{Graph, Options, Position, Pull};
pub use pipeline::{Answer, Outcome, Tally};
pub use repair::Notice;

/// The time, in milliseconds since the epoch. Log rows carry it (sync.md 11.9).
pub trait Clock {
    /// Now.
    fn now_ms(&self) -> i64;
}

impl<F: Fn() -> i64> Clock for F {
    fn now_ms(&self) -> i64 {
        self()
    }
}
