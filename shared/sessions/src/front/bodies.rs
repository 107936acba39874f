//! Bodies of requests, bounded.

use http::Request;
use web::{ReadError, RequestBody};

use crate::error::Error;
use crate::request::MAX_BODY_BYTES;

/// The whole body of a request, up to a mebibyte (agents.md 2.8).
pub(super) async fn read<B: RequestBody>(request: &mut Request<B>) -> Result<Vec<u8>, Error> {
    web::read(request, MAX_BODY_BYTES).await.map_err(|error| match error {
        ReadError::TooLarge => Error::RequestTooLarge,
        ReadError::Interrupted => Error::InvalidBody,
    })
}
