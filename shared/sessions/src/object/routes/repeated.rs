//! Requests with an `idempotency-key` (agents.md 18.1): a repeat gets the answer of the first.

use http::{Request, Response, StatusCode};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Caller;
use crate::error::{CORS, Error};
use crate::object::{Platform, Session};
use crate::session::store::{Begun, Idempotency};

/// The longest key of a client, in bytes.
const MAX_KEY_BYTES: usize = 255;

/// A key that was taken for a request.
pub(super) struct Taken {
    key: String,
    hash: String,
}

/// What a key means for a request.
pub(super) enum Repeat<R> {
    /// There is no key.
    Unkeyed,
    /// It is the first with this key.
    First(Taken),
    /// It was answered before.
    Answered(Response<R>),
}

/// Looks up the key of a request; an existing session is needed.
pub(super) fn begin<P: Platform>(
    session: &Session<P>,
    caller: &Caller,
    request: &Request<P::Request>,
    body: &[u8],
) -> Result<Repeat<P::Response>, Error> {
    let Some(own) = request.headers().get("idempotency-key").and_then(|value| value.to_str().ok()) else {
        return Ok(Repeat::Unkeyed);
    };
    if own.is_empty() || own.len() > MAX_KEY_BYTES {
        return Err(Error::InvalidBody);
    }
    let user = caller.user_id.as_deref().unwrap_or_default();
    let digest = Sha256::digest(body);
    let taken = Taken {
        key: format!("{} {} {user}\n{own}", request.method(), request.uri().path()),
        hash: base16ct::lower::encode_string(&digest),
    };
    let begun = taken.as_row().begin(session.platform.sql(), session.platform.now_ms());
    match begun? {
        Begun::Fresh => Ok(Repeat::First(taken)),
        Begun::Mismatch => Err(Error::KeyReused),
        Begun::Running => Err(Error::RequestInProgress),
        Begun::Answered { status, body } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
            Ok(Repeat::Answered(web::json(&CORS, status, body)))
        }
    }
}

impl Taken {
    fn as_row(&self) -> Idempotency<'_> {
        Idempotency { key: &self.key, hash: &self.hash }
    }

    /// Notes what the request was answered with.
    pub(super) fn finish<P: Platform>(&self, session: &Session<P>, answer: &Result<Value, Error>) -> Result<(), Error> {
        let (status, text) = match answer {
            Ok(body) => (200, body.to_string()),
            Err(error) => {
                let (status, text) = web::Refusal::answer(error);
                (status.as_u16(), serde_json::json!({"error": text}).to_string())
            }
        };
        let noted = self.as_row().finish(session.platform.sql(), status, &text);
        Ok(noted?)
    }
}
