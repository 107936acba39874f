//! The state of a graph over a real database, driven through its public face.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets something unexpected is to stop"
)]

mod batches;
mod checkpoints;
mod client;
mod crashes;
mod diagnostics;
mod edits;
mod entity_pulls;
mod exports;
mod frames;
mod gate;
mod limits;
mod names;
mod nesting;
mod repairs;
mod replacing;
mod sockets;
mod storage;
mod support;
mod upload_parts;
mod uploads;
mod work;
