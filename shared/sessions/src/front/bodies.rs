//! Bodies of requests, bounded.

use http::Request;
use serde_json::Value;
use web::{ReadError, RequestBody};

use crate::error::Error;
use crate::request::MAX_BODY_BYTES;

/// The JSON object in a body of at most so many bytes.
pub(super) async fn json_within<B: RequestBody>(request: &mut Request<B>, limit: usize) -> Result<Value, Error> {
    let bytes = web::read(request, limit).await.map_err(|error| match error {
        ReadError::TooLarge => Error::RequestTooLarge,
        ReadError::Interrupted => Error::InvalidBody,
    })?;
    match serde_json::from_slice(&bytes) {
        _ if bytes.is_empty() => Err(Error::MissingBody),
        Ok(Value::Null) => Err(Error::MissingBody),
        Ok(body @ Value::Object(_)) => Ok(body),
        Ok(_) | Err(_) => Err(Error::InvalidBody),
    }
}

/// The whole body of a request, up to a mebibyte (agents.md 2.8).
pub(super) async fn read<B: RequestBody>(request: &mut Request<B>) -> Result<Vec<u8>, Error> {
    web::read(request, MAX_BODY_BYTES).await.map_err(|error| match error {
        ReadError::TooLarge => Error::RequestTooLarge,
        ReadError::Interrupted => Error::InvalidBody,
    })
}
