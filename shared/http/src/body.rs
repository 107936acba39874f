//! Reading request bodies into memory, within a bound.

use http::Request;
use http::header::CONTENT_LENGTH;

use crate::error::Error;
use crate::gate::Gate;
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

/// Bytes of a refused body that are taken in and thrown away at most: the longest asset that any graph takes, and some
/// more.
pub const HEARD_OUT_BYTES: u64 = 256 << 20;

/// Senders that are heard out at the same time, in one graph and at the front: it is a courtesy, and what it costs has
/// a bound.
pub const HEARD_OUT_REQUESTS: usize = 2;

/// Takes in what is left of the body of a known sender, who has done no worse than to send too much or at the wrong
/// time. A sender that is cut off while it writes may see a broken connection instead of the answer, and send it all
/// again. Where there is no place the body is given up, as strangers' bodies are.
pub(crate) async fn hear_out<B: Body>(body: &mut B, gate: &Gate) {
    match gate.enter() {
        Some(_place) => body.discard(HEARD_OUT_BYTES).await,
        None => body.cancel().await,
    }
}

/// The request, with its body; what is left behind has none.
pub(crate) fn take<B: Body>(request: &mut Request<B>) -> Request<B> {
    let mut taken = Request::new(std::mem::replace(request.body_mut(), B::empty()));
    taken.method_mut().clone_from(request.method());
    taken.uri_mut().clone_from(request.uri());
    taken.headers_mut().clone_from(request.headers());
    taken
}
