//! Reading request bodies into memory, within a bound.

use http::Request;
use http::header::CONTENT_LENGTH;

use crate::error::Error;
use crate::platform::Body;

/// The length that a request declares.
pub(crate) fn declared_length<B>(request: &Request<B>) -> Option<u64> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// The whole body of a request, if it is no longer than `limit` bytes. What declares to be longer is refused unread.
pub(crate) async fn read<B: Body>(request: &mut Request<B>, limit: usize) -> Result<Vec<u8>, Error> {
    if declared_length(request).is_some_and(|length| length > limit as u64) {
        return Err(Error::RequestTooLarge);
    }
    let body = request.body_mut();
    let mut bytes = body.chunk().await.map_err(|_| Error::Interrupted)?.unwrap_or_default();
    while bytes.len() <= limit {
        match body.chunk().await.map_err(|_| Error::Interrupted)? {
            Some(chunk) => bytes.extend_from_slice(&chunk),
            None => return Ok(bytes),
        }
    }
    Err(Error::RequestTooLarge)
}

/// The request, with its body; what is left behind has none.
pub(crate) fn take<B: Body>(request: &mut Request<B>) -> Request<B> {
    let mut taken = Request::new(std::mem::replace(request.body_mut(), B::empty()));
    taken.method_mut().clone_from(request.method());
    taken.uri_mut().clone_from(request.uri());
    taken.headers_mut().clone_from(request.headers());
    taken
}
