//! The facts of transcripts.md 3 and the tests of transcripts.md 6 that need no worker: stores, files and a client over real
//! SQLite, real files and real sockets.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

mod bundles;
mod client;
mod hydrating;
mod storing;
mod support;
mod tokens;
mod tool_tokens;
