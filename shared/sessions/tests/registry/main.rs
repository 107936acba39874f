//! What the agents service keeps in its database, over SQLite.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod access;
mod checkpoints;
mod intents;
mod logins;
mod operator;
mod runners;
mod schema;
mod sessions;
mod support;
