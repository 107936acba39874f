//! The shim as a real process, with a real agent process: the stand-in of `tests/agents/agent.mjs`, which does what its prompt
//! says (docs/spec/session-mailbox.md 6, 8.5). The host is this process, over the crate `mailbox`; the worker is a list.
//!
//! Facts 25, 26 and 27 of docs/spec/session-mailbox.md 3 are shown here.

#![expect(clippy::unwrap_used, reason = "a test that meets something unexpected is to stop")]

mod credentials;
mod deaths;
mod ends;
mod floods;
mod hidden;
mod offers;
mod pushes;
mod questions;
mod runner;
mod server;
mod starts;
mod stops;
mod storm;
mod turns;
mod unreadable;
