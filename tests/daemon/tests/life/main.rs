//! The facts of docs/spec/daemon.md 3, read as its 4.9 says, and the tests of docs/spec/daemon.md 6, with real processes. A test
//! names the facts that it shows. What is decided without any process is shown where it is decided:
//!
//! | Facts | Where |
//! |---|---|
//! | 1, 2 | `scope.rs`, `names.rs`; here `start.rs` |
//! | 3, 4, 5, 6 | `holder.rs`, `record.rs`; here `start.rs`, `owners.rs` |
//! | 7, 8, 12, 14, 16, 17, 18, 21, 24, 25, 30, 31, 36, 39, 44, 45 | here `start.rs`, `spawned.rs`, `stop.rs` |
//! | 9, 10, 11 | `holder.rs`; here `lost.rs` |
//! | 13 | `admin.rs`; here `routes.rs` |
//! | 15 | here `directory.rs` |
//! | 19, 20, 41, 43 | here `owners.rs` |
//! | 22, 23, 38 | `policy.rs`; here `revisions.rs` |
//! | 26, 40 | here `orphans.rs` |
//! | 27, 28, 29, 35 | `state.rs`, `admin.rs`; here `waiting.rs` |
//! | 32, 33, 34 | `registry.rs`; here `start.rs` |
//! | 37 | here `stop.rs` |
//! | 42 | here `races.rs` |
//! | 46 to 50 | `tests/manager` of the crate |
//!
//! `LIFE_LONG=1` runs the numbers of docs/spec/daemon.md 6.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets something unexpected is to stop"
)]

mod directory;
mod harness;
mod identity;
mod lost;
mod orphans;
mod owners;
mod races;
mod revisions;
mod routes;
mod spawned;
mod start;
mod stop;
mod waiting;
