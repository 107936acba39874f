//! The reader's side of durable streams (docs/spec/pg-sync.md 2.9, 4.14): a log of messages over HTTP, read by asking for what
//! there is, by a long poll, or by server-sent events.
//!
//! There is no input and output here. [`Asked`] is what a request says; [`read`] answers it over a log that somebody keeps
//! ([`Messages`]), or says that there is nothing yet: then the caller waits for the log to grow, with [`Waiting`] or
//! [`Following`], and for no longer than it wants to.

mod answer;
mod asked;
mod cursor;
mod messages;
mod offset;
mod wait;

pub use answer::{dress, missing, preflight};
pub use asked::{Asked, From, Malformed, Mode};
pub use cursor::{Clock, Cursor};
pub use messages::{Extent, MAX_BYTES, MAX_MESSAGES, Messages, Page};
pub use offset::Offset;
pub use wait::{Following, Step, Told, Waiting, head, read};
