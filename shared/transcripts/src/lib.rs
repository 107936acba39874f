//! Transcripts of agents' conversations (transcripts.md): what is kept of a conversation after a turn, and how another
//! sandbox goes on with it.
//!
//! A *bundle* is what an agent program has written, byte for byte, with a manifest. A *snapshot* is the bundle of one run, stored
//! under an *epoch*: whoever resets a conversation raises it, and what comes late from before is refused. What follows from
//! an upload ([`rules`]), what a lease allows ([`lease`]) and what a token says ([`run_token`], [`tool_token`]) are pure functions; the store, the
//! files of a sandbox and HTTP are ports.

pub mod alias;
pub mod archive;
pub mod bundle;
pub mod capture;
pub mod client;
pub mod codec;
pub mod hydrate;
pub mod integrity;
pub mod lease;
pub mod limits;
pub mod places;
mod refused;
pub mod rules;
pub mod run_token;
pub mod store;
pub mod target;
pub mod tool_token;

pub use bundle::{Bundle, BundleError, Described, File, Manifest};
pub use refused::Refused;
pub use rules::Status;
pub use store::{Store, StoreError};

use sha2::{Digest, Sha256};

/// SHA-256 in hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(&Sha256::digest(bytes))
}
