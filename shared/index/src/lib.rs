//! The index of a sync server: which users, graphs, members and keys there are (sync.md 4 and 8).
//!
//! Everything here is SQL and rules over the [`Database`](database::Database) port, which Cloudflare's D1 and SQLite
//! implement. Each module owns one noun and the texts of its statements; nothing outside this crate writes SQL for the
//! index. Time comes in as an argument (milliseconds since the epoch).

pub mod access;
pub mod activity;
pub mod graphs;
pub mod keys;
pub mod members;
pub mod migrations;
pub mod operator;
pub mod users;

use database::DbError;

/// Why an operation on the index failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database refused a statement or could not be reached.
    #[error("index database: {0}")]
    Database(#[from] DbError),
    /// A graph that must have a row has none (sync.md 8.4, setting the ready flag).
    #[error("the graph has no row in the index")]
    GraphMissing,
}
