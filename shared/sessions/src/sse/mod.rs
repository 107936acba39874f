//! Server-sent events: the streams of coding agents are read (agents.md 3.10, 4.2, 4.6), those of our clients are
//! written (agents.md 3.11).

mod parser;
mod writer;

pub use parser::{Error, Event, MAX_FRAME_BYTES, MAX_ID_BYTES, Parser};
pub use writer::{Frame, write_comment, write_heartbeat};
