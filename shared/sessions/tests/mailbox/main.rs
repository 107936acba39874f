//! Sessions and runners that call us (session-mailbox.md 7): the decisions, over rows in SQLite.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that panics has failed")]

mod answers;
mod bodies;
mod crashes;
mod desk;
mod events;
mod histories;
mod leaving;
mod machine;
mod object;
mod rows;
mod tokens;
mod world;
