//! The recorded vectors of the reference (formats: README.md of the folder) against this crate.
#![expect(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod compare;
mod storage;
mod transact;
