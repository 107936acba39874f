//! Messages and bodies on the wire, their validation, and error bodies.
//!
//! Reading: every request body and WebSocket message has a type with a `parse` function that applies the coercion
//! rules of sync.md 2.6 and borrows from the text where it can. Writing: every answer is a type whose JSON has exactly
//! the keys of the specification, in a fixed order; an invalid answer cannot be built.
//!
//! The crate knows neither HTTP nor sockets: which status an error gets is decided where answers are sent.

pub mod bodies;
pub mod changes;
pub mod client;
pub mod errors;
pub mod limits;
pub mod presence;
pub mod pull;
pub mod query;
pub mod server;
pub mod tx;

mod json;
mod write;

pub use client::ClientMessage;
pub use errors::{BodyError, ErrorBody, InvalidRequest, InvalidSince};
pub use json::body_text;
pub use presence::{Holder, PresenceUser};
pub use server::{Reject, RejectReason, ResetReason, ServerMessage};
pub use tx::{TxBatch, TxEntry};
