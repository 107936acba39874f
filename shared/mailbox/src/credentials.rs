//! Questions of git for its credentials, and their answers (docs/spec/session-mailbox.md 4.10, 8.5): an output that the runner alone reads, and
//! a message of the control lane whose secret is sealed ([`crate::seal`]).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The kind of the output that asks.
pub const REQUEST: &str = "credential.request";
/// The kind of the message that answers.
pub const ANSWER: &str = "credential.answer";
/// Bytes of a question, and of an answer.
pub const MAX_BYTES: usize = 16 << 10;
/// How long git waits for its answer.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A question of git.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Request {
    /// Its name.
    pub request_id: String,
    /// The key that the answer is to be sealed to.
    pub key: String,
    /// What git said.
    pub question: String,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Answer {
    /// Which question it answers.
    pub request_id: String,
    /// What git is told, sealed; none when there is nothing for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<String>,
}
