//! Bodies of requests, which are read, and of responses, which are made.

use http::Request;
use http::header::CONTENT_LENGTH;

use crate::{Failure, Gate};

/// The body of a request that came in.
#[expect(async_fn_in_trait, reason = "one of the two platforms has futures that cannot cross threads")]
pub trait RequestBody: Sized {
    /// Whether it is known that there are no bytes to come.
    fn is_empty(&self) -> bool;

    /// The body as it came, to be sent on or stored; what stays behind is empty. None once something of it was read: then it is
    /// a rest, and no body any more.
    fn take(&mut self) -> Option<Self>;

    /// The next bytes, or none at the end. A connection that breaks off is a failure, never an end.
    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Failure>;

    /// Gives up what is left of the body of a request that is refused: nobody reads it any more, and the answer does not
    /// wait for it. A sender that is cut off while it writes may see a broken connection instead of the answer, and try
    /// again; so the platform lets a short rest, tens of kilobytes, come in behind the answer before it closes the
    /// connection, at no cost to others.
    async fn cancel(&mut self);

    /// Takes in what is left and throws it away, without holding up anybody else for long; beyond `limit` bytes it is given
    /// up.
    async fn discard(&mut self, limit: u64);
}

/// The body of a response.
pub trait ResponseBody: Sized {
    /// No body at all.
    fn empty() -> Self;

    /// A body held in memory.
    fn full(bytes: Vec<u8>) -> Self;

    /// A body made while it is sent: the platform asks for a chunk whenever the receiver has room for one.
    fn streamed(source: Box<dyn Source>) -> Self;
}

/// Chunks of a streamed body. Dropping it ends the stream, whether or not it was read to its end.
///
/// A source stays on the thread that made it, is asked there and is dropped there, so it need not be `Send`. Where the
/// connection belongs to another thread, the chunks cross, through a bounded channel.
pub trait Source {
    /// The next chunk, never empty, or none at the end.
    fn next(&mut self) -> Result<Option<Vec<u8>>, Failure>;
}

/// Why a body was not read to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReadError {
    /// It has more bytes than its reader takes.
    #[error("request too large")]
    TooLarge,
    /// The connection broke off.
    #[error("request interrupted")]
    Interrupted,
}

/// The length that a request declares.
pub fn declared_length<B>(request: &Request<B>) -> Option<u64> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// The whole body of a request, if it is no longer than `limit` bytes. What declares to be longer is refused unread.
pub async fn read<B: RequestBody>(request: &mut Request<B>, limit: usize) -> Result<Vec<u8>, ReadError> {
    if declared_length(request).is_some_and(|length| length > limit as u64) {
        return Err(ReadError::TooLarge);
    }
    let body = request.body_mut();
    let mut bytes = body.chunk().await.map_err(|_| ReadError::Interrupted)?.unwrap_or_default();
    while bytes.len() <= limit {
        match body.chunk().await.map_err(|_| ReadError::Interrupted)? {
            Some(chunk) => bytes.extend_from_slice(&chunk),
            None => return Ok(bytes),
        }
    }
    Err(ReadError::TooLarge)
}

/// Bytes of a refused body that are taken in and thrown away at most: the longest body that any route takes, and some more.
pub const HEARD_OUT_BYTES: u64 = 256 << 20;

/// Senders that are heard out at the same time, in one object and at the front: it is a courtesy, and what it costs has
/// a bound.
pub const HEARD_OUT_REQUESTS: usize = 2;

/// Takes in what is left of the body of a known sender, who has done no worse than to send too much or at the wrong
/// time. A sender that is cut off while it writes may see a broken connection instead of the answer, and send it all
/// again. Where there is no place the body is given up, as strangers' bodies are.
pub async fn hear_out<B: RequestBody>(body: &mut B, gate: &Gate) {
    match gate.enter() {
        Some(_place) => body.discard(HEARD_OUT_BYTES).await,
        None => body.cancel().await,
    }
}
