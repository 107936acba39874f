//! The server's side of the Model Context Protocol (docs/spec/pg-sync.md 4.12): streamable HTTP without sessions, answers in JSON.
//!
//! There is no input and output here. [`admit`] judges the head of a request, [`read`] its body: what comes of it is an answer, or a call of a
//! tool that somebody else makes; [`Call::answer`] then says what came of that. Who may ask is decided before: [`unauthorized`] is the answer to
//! those who may not.

mod head;
mod rpc;
mod tool;

pub use head::{MAX_BODY_BYTES, admit, unauthorized};
pub use rpc::{Call, Read, Server, read};
pub use tool::{Outcome, Tool};
