//! What is said over a socket, and to whom (sync.md 7).
//!
//! The adapter owns the sockets: it hands each frame to [`Message::parse`], asks the access check again where
//! [`Message::needs_membership`] (D-18), and does what [`Graph::react`] answers.

mod message;
mod react;

pub use message::{Close, Frame, Message, OwnedFrame};
pub use react::{Effect, Reaction};

use protocol::{PresenceUser, ServerMessage, presence};

#[cfg(doc)]
use crate::Graph;

/// The `online-users` message for the users of all open sockets. Sent to all of them when a socket opens or goes
/// (sync.md 7.4).
pub fn online_users<'a>(sockets: impl IntoIterator<Item = &'a PresenceUser>) -> String {
    ServerMessage::OnlineUsers(&presence::online_users(sockets)).to_json()
}

/// The code to close a socket with in answer to the peer's close: its own, or 1000 where it gave none or one that may
/// not be sent (sync.md 7.5).
pub const fn close_code(received: u16) -> u16 {
    match received {
        1000..=1003 | 1007..=1014 | 3000..=4999 => received,
        _ => 1000,
    }
}
