//! Failed calls: what the other side says, in the envelope that ends a stream or in the answer to a single call.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The most bytes that are kept of the text of a failure (agents.md 2.8).
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024;

/// Codes of the protocol. Unknown ones are read as [`Code::Unknown`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are those of the protocol")]
pub enum Code {
    Canceled,
    InvalidArgument,
    /// The call took longer than its limit; the process was killed.
    DeadlineExceeded,
    /// No process has this id.
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    /// The sandbox is gone, or does not answer.
    Unavailable,
    DataLoss,
    Unauthenticated,
    #[default]
    #[serde(other)]
    Unknown,
}

impl Code {
    /// What the status of an HTTP answer other than 200 means when its body does not say more (agents.md 6.4).
    pub fn of_status(status: u16) -> Self {
        match status {
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 => Self::Unimplemented,
            429 | 502..=504 => Self::Unavailable,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

/// A failed call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("the call failed: {code}")]
pub struct Failure {
    /// What kind of failure.
    #[serde(default)]
    pub code: Code,
    /// The other side's words. They may contain anything, so they are no part of the error's text.
    #[serde(default)]
    pub message: String,
}

impl Failure {
    /// Reads the answer to a call whose HTTP status is not 200. `body` must be bounded by the caller.
    pub fn of_answer(status: u16, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Answer {
            code: Code,
            #[serde(default)]
            message: String,
        }
        match serde_json::from_slice(body) {
            Ok(Answer { code, message }) => Self { code, message }.bounded(),
            Err(_) => Self { code: Code::of_status(status), message: String::new() },
        }
    }

    pub(super) fn bounded(mut self) -> Self {
        self.message.truncate(self.message.floor_char_boundary(MAX_MESSAGE_BYTES));
        self.message.shrink_to_fit();
        self
    }
}
