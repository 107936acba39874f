//! The server state of one Logseq graph: transactions, log, checksum, snapshots, presence.
//!
//! Everything the server decides about a graph is decided here, over two ports: [`sql::Sql`] for storage and
//! [`Clock`] for the time. Adapters (the Durable Object, a native server) own sockets and streams and move bytes.

pub mod sql;
#[cfg(feature = "rusqlite")]
pub mod sql_rusqlite;

/// The time, in milliseconds since the epoch. Log rows carry it (sync.md 11.9).
pub trait Clock {
    /// Now.
    fn now_ms(&self) -> i64;
}
