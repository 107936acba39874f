//! The mailbox between a runner and an agent's process (docs/spec/session-mailbox.md): two SQLite files in two directories,
//! each with one writer. What one side wants lies in `in/`, what the other side did lies in `out/`; either may die and start
//! again without losing a message.
//!
//! What follows from what is seen is decided by pure functions: [`sweep`] (states of messages), [`due`] (what is taken when),
//! [`liveness`] (whether a process is stuck), [`crashes`], [`delivery`], [`gate`]. [`host`] and [`agent`] hold all SQL; no
//! process is started or ended here. Nothing is asynchronous: a runner calls this on threads that may block.
//!
//! [`HostMailbox`] and [`AgentMailbox`] say what either side can do. The files ([`FileHost`], [`FileAgent`]) are one
//! implementation of them.

pub mod agent;
pub mod config;
pub mod crashes;
pub mod credentials;
pub mod delivery;
pub mod doorbell;
pub mod due;
mod error;
pub mod fsafe;
pub mod gate;
pub mod host;
pub mod liveness;
pub mod message;
pub mod places;
mod schema;
pub mod seal;
pub mod skills;
pub mod space;
mod sqlite;
pub mod sweep;
pub mod tools;

pub use agent::{AgentMailbox, FileAgent};
pub use error::Error;
pub use host::{FileHost, HostMailbox};
pub use places::Places;
