//! The pull-request loop (agents.md 20.4): what reviewers and checks say of a pull request that a session opened comes back to the session
//! as an order. Pure: [`incoming`] reads what GitHub sends and decides who is listened to, [`mod@order`] makes text of it that is never
//! more than text, [`signature`] says whether GitHub sent it.

mod incoming;
mod order;
mod signature;

pub use incoming::{About, Heard, News};
pub use order::{MAX_ORDER_BYTES, Piece, order, quoted};
pub use signature::Signature;

/// The kind of an order that came from a pull request.
pub const ORDER_KIND: &str = "pull-request";

/// The name under which somebody at GitHub stands in events.
pub fn by_login(login: &str) -> String {
    format!("github:{login}")
}
