//! Requests to servers of others, over `fetch`.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use js_sys::Uint8Array;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web::{Call, CallError, Failure, Fetch, Incoming, Reply};
use worker::web_sys::{self, AbortController, RequestInit, RequestRedirect, Response, WorkerGlobalScope};

use crate::bindings::streams::Reader;
use crate::failure::{failure, thrown_text};
use crate::sleep::Sleep;

/// The outside world. The runtime says the same of a refused connection and of one that broke off later, so that only a
/// request that could not even be made counts as not reached.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outside;

impl Fetch for Outside {
    type Body = FetchedBody;

    async fn fetch(&self, call: Call) -> Result<Reply<FetchedBody>, CallError> {
        let connection = Connection(AbortController::new().map_err(not_made)?);
        let init = RequestInit::new();
        init.set_method(call.method.as_str());
        init.set_redirect(RequestRedirect::Manual);
        init.set_signal(Some(&connection.0.signal()));
        let headers = sent_headers(&call.headers).map_err(not_made)?;
        init.set_headers(&headers);
        if !call.body.is_empty() {
            init.set_body(&Uint8Array::from(call.body.as_slice()));
        }
        // What cannot be asked for, such as an address that is none, is found here and not while it is sent.
        let request = web_sys::Request::new_with_str_and_init(&call.url, &init).map_err(not_made)?;
        let scope: WorkerGlobalScope = js_sys::global().unchecked_into();
        let answer = JsFuture::from(scope.fetch_with_request(&request));
        let answer = match call.limit_ms {
            None => answer.await,
            Some(ms) => within(answer, Duration::from_millis(ms.into())).await.ok_or(CallError::TimedOut)?,
        };
        let response: Response = answer.map_err(|thrown| CallError::Broken(thrown_text(thrown)))?.unchecked_into();
        let lost = |error: String| CallError::Broken(error);
        let status = StatusCode::from_u16(response.status()).map_err(|error| lost(error.to_string()))?;
        let headers = received_headers(&response);
        let reader =
            response.body().map(|body| Reader::new(&body)).transpose().map_err(|error| lost(thrown_text(error)))?;
        let open = reader.map(|reader| Open { reader, _connection: connection });
        Ok(Reply { status, headers, body: FetchedBody(open) })
    }
}

/// The body of an answer; none once it has ended. Dropped before that, its connection is closed.
pub struct FetchedBody(Option<Open>);

struct Open {
    reader: Reader,
    _connection: Connection,
}

impl std::fmt::Debug for FetchedBody {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("FetchedBody(…)")
    }
}

impl Incoming for FetchedBody {
    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let Some(open) = &self.0 else { return Ok(None) };
        // The runtime gives no endless row of empty chunks: each stands for something that was received.
        loop {
            match open.reader.next().await {
                Ok(Some(chunk)) if chunk.is_empty() => {}
                Ok(Some(chunk)) => return Ok(Some(chunk)),
                ended => {
                    self.0 = None;
                    return ended.map_err(failure);
                }
            }
        }
    }
}

/// A request under way, or its answer. Dropped, it ends: the runtime closes the connection. One that has ended does not mind.
struct Connection(AbortController);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the future gives, unless the time is over before.
async fn within<T>(future: impl Future<Output = T>, time: Duration) -> Option<T> {
    let (mut future, mut sleep) = (pin!(future), pin!(Sleep::new(time)));
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => sleep.as_mut().poll(context).map(|()| None),
    })
    .await
}

fn not_made(thrown: JsValue) -> CallError {
    CallError::NotReached(thrown_text(thrown))
}

fn sent_headers(headers: &HeaderMap) -> Result<web_sys::Headers, JsValue> {
    let sent = web_sys::Headers::new()?;
    for (name, value) in headers {
        let value = value.to_str().map_err(|error| JsValue::from_str(&error.to_string()))?;
        sent.append(name.as_str(), value)?;
    }
    Ok(sent)
}

/// The headers as far as they are any: the runtime has bounded them.
fn received_headers(response: &Response) -> HeaderMap {
    let entries = worker::Headers(response.headers());
    let entries = entries.entries().filter_map(|(name, value)| {
        Some((HeaderName::try_from(name).ok()?, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    });
    entries.collect()
}
