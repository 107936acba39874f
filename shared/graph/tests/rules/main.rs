//! What the rules do with transaction data, over small graphs.
#![expect(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod checksum;
mod checksum_blocks;
mod checksum_random;
mod chunk;
mod deletion;
mod garbage;
mod normalise;
mod sanitise;
mod schema_guard;
mod validate;
mod world;
