//! The dialect of coding agents that sandbox-agent speaks today: the Agent Client Protocol, JSON-RPC over HTTP with an event
//! stream (agents.md 4.2 to 4.5).
//!
//! `request` makes what the control plane sends, `reply` reads what a POST is answered with, `frame` and [`translate()`] read
//! the event stream. Nothing here sends anything. Whatever a runtime says is hostile until it is bounded: texts in bytes
//! before they are parsed, values in number and depth while they are, and what is kept of them in [`Turns`].

mod address;
mod frame;
mod launch;
mod permission;
mod reply;
pub mod request;
mod translate;
mod turns;
mod usage;

use serde_json::Value;

pub(crate) use address::component;
pub use address::{base_url, server_url};
pub use frame::{FrameTooLarge, MAX_FRAME_BYTES, MAX_FRAME_VALUES, read_frame};
pub use launch::{Launch, agent_alias};
pub use permission::{Answer, MAX_OPTIONS, OptionKind, PermissionOption, PermissionRequest, Unreadable};
pub use reply::{AcpError, HttpReply, MAX_REPLY_BYTES, PromptSent, RpcFailure};
pub use translate::{Step, translate};
pub use turns::{LiveMessage, MAX_SPEAKERS, MAX_TURN_BYTES, Turns};
pub use usage::usage;

pub(crate) use frame::bounded_json;
pub(crate) use translate::keep;

/// The longest identifier that is taken from a runtime, in bytes. A longer one counts as absent.
pub const MAX_ID_BYTES: usize = 512;

/// An identifier that a runtime gave, if it is a text of bearable length.
pub(crate) fn id_text(value: Option<&Value>) -> Option<&str> {
    value?.as_str().filter(|id| !id.is_empty() && id.len() <= MAX_ID_BYTES)
}
