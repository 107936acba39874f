//! The rules of the index over SQLite.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod graphs;
mod members;
mod operator;
mod storage;
mod support;
mod users;
