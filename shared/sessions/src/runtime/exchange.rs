//! Whole answers of others' servers, bounded in time and size (agents.md 2.8).

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use http::{HeaderMap, StatusCode};
use web::{Call, CallError, Fetch, Host, Incoming, Reply};

use crate::acp::MAX_REPLY_BYTES;

/// The most bytes that are read of an answer that refuses something.
pub(crate) const MAX_ERROR_BYTES: usize = 16 * 1024;

/// An answer with its whole body; of a refusal only the beginning of it.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: StatusCode,
    /// All headers.
    pub(crate) headers: HeaderMap,
    /// The body.
    pub(crate) body: Vec<u8>,
}

/// Why there is no whole answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ExchangeError {
    /// The call failed, or its answer broke off.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The answer is larger than [`MAX_REPLY_BYTES`].
    #[error("the answer is too large")]
    TooLarge,
}

/// Sends a request and reads its answer. The limit of the call holds for both together.
pub(crate) async fn exchange<F: Fetch>(fetch: &F, host: &impl Host, call: Call) -> Result<Answer, ExchangeError> {
    let limit = call.limit_ms;
    let answer = async { whole(fetch.fetch(call).await?).await };
    match limit {
        None => answer.await,
        Some(ms) => within(host, ms, answer).await.unwrap_or(Err(ExchangeError::Call(CallError::TimedOut))),
    }
}

/// The whole answer, bounded by size alone.
pub(crate) async fn whole<B: Incoming>(mut reply: Reply<B>) -> Result<Answer, ExchangeError> {
    let refused = !reply.status.is_success();
    let limit = if refused { MAX_ERROR_BYTES } else { MAX_REPLY_BYTES };
    let mut body = Vec::new();
    // Bounded by the limit, and in time by the caller.
    while let Some(chunk) = reply.body.chunk().await.map_err(|failure| CallError::Broken(failure.0))? {
        let room = limit.saturating_sub(body.len());
        if chunk.len() > room {
            if !refused {
                return Err(ExchangeError::TooLarge);
            }
            body.extend_from_slice(chunk.get(..room).unwrap_or_default());
            break;
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status: reply.status, headers: reply.headers, body })
}

/// What the future gives, unless the time is over before; then it is dropped.
pub(crate) async fn within<T>(host: &impl Host, ms: u32, future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut sleep) = (pin!(future), pin!(host.sleep_ms(ms)));
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => sleep.as_mut().poll(context).map(|()| None),
    })
    .await
}

impl Answer {
    /// The text of a header, if it is one.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
