//! Bodies of requests: bytes in, checked values or a refusal out (agents.md 2.2, 2.6, 2.8).
//!
//! Whoever reads a body takes at most [`MAX_BODY_BYTES`], whatever its content type; that bounds everything here.

mod budget;
mod create;
mod fields;
mod import;
mod limits;
pub mod mailbox;
mod runners;
mod session_id;
mod verbs;
mod webhooks;

#[cfg(test)]
mod tests;

pub use budget::budget;
pub use create::Create;
pub use import::Import;
pub use limits::*;
pub use runners::{Heartbeat, Register};
pub use session_id::check as check_session_id;
pub use verbs::{ApprovalDecision, Message, Move, Publish};
pub use webhooks::NewWebhook;
