//! What the agents service keeps in its database (agents.md 13): runners, snapshots, sessions, sandboxes, webhooks. Logins have
//! a module of their own, [`logins`](crate::logins).
//!
//! It lies in the database of the sync server, whose graphs decide who may use a session. Each module owns one noun and the
//! texts of its statements. Time comes in as an argument, in milliseconds since 1970.

pub mod bundles;
pub mod checkpoints;
mod cursor;
pub mod intents;
pub mod mailbox_runners;
pub mod migrations;
pub mod operator;
pub mod pg_bridges;
pub mod pg_connections;
pub mod pulls;
mod runner;
pub mod runners;
pub mod sessions;
pub mod usage;
pub mod webhooks;

pub use cursor::Cursor;
pub use migrations::MIGRATIONS;
pub use runner::{MailboxRunner, Runner};
