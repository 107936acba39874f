//! The reference's recorded results for this crate, as the environment variable `GOLDEN_DIR` or the repository has them.
#![expect(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod checksum;
mod initial_data;
mod pipeline;
mod sanitize;
mod september;
