//! What the agents service keeps in its database (agents.md 13): runners, snapshots, logins, sessions, sandboxes.

mod runner;

pub use runner::Runner;
