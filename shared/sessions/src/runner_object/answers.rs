//! What callers are answered.

use http::{Response, StatusCode};
use serde_json::Value;

use super::{Platform, RunnerObject};
use crate::error::{CORS, Error};
use crate::mailbox::answer::Answer;
use crate::mailbox::runner::{AttachError, AuthError, RegisterError};

/// Why something is refused.
#[derive(Debug)]
pub(super) enum Refused {
    /// With a text and members of the mailbox's own.
    Answer(Answer),
    /// As anything else of the service.
    Error(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<AuthError> for Refused {
    fn from(error: AuthError) -> Self {
        Self::Answer(error.answer())
    }
}

impl From<AttachError> for Refused {
    fn from(error: AttachError) -> Self {
        Self::Answer(error.answer())
    }
}

impl From<RegisterError> for Refused {
    fn from(error: RegisterError) -> Self {
        Self::Answer(error.answer())
    }
}

/// What is answered.
pub(super) type Answered = Result<Answer, Refused>;

/// A good answer.
#[expect(clippy::unnecessary_wraps, reason = "the shape of every answer")]
pub(super) fn ok(body: Value) -> Answered {
    Ok((StatusCode::OK, body))
}

impl<P: Platform> RunnerObject<P> {
    pub(super) fn respond(&self, answered: Answered) -> Response<P::Response> {
        match answered {
            Ok((status, body)) | Err(Refused::Answer((status, body))) => web::json(&CORS, status, body.to_string()),
            Err(Refused::Error(error)) => {
                web::refuse(&error, &CORS, self.platform.random_uuid(), |event| self.platform.report(event))
            }
        }
    }
}
