//! Responses: made here, or passed on.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use http::{Response, StatusCode};
use js_sys::Uint8Array;
use wasm_bindgen::JsValue;
use web::{Failure, LiveBody, LiveSource, ResponseBody, Source};
use worker::web_sys::{self, ReadableStream};
use worker::{EncodeBody, ResponseBuilder, WebSocket};

use crate::failure::failure;

/// The body of a response.
pub enum JsResponse {
    /// None.
    Empty,
    /// Bytes.
    Full(Vec<u8>),
    /// Made while it is sent.
    Streamed(Box<dyn Source>),
    /// Sent while something goes on.
    Live(Box<dyn LiveSource>),
    /// A stream of the runtime.
    Stream(ReadableStream),
    /// A response of another object or service, passed on as it is.
    Passed(web_sys::Response),
}

impl ResponseBody for JsResponse {
    fn empty() -> Self {
        Self::Empty
    }

    fn full(bytes: Vec<u8>) -> Self {
        Self::Full(bytes)
    }

    fn streamed(source: Box<dyn Source>) -> Self {
        Self::Streamed(source)
    }
}

impl LiveBody for JsResponse {
    fn live(source: Box<dyn LiveSource>) -> Self {
        Self::Live(source)
    }
}

/// A response of another object or service, as the surface sees it: its status, and the rest untouched.
pub fn passed(response: web_sys::Response) -> Result<Response<JsResponse>, Failure> {
    let status = StatusCode::from_u16(response.status()).map_err(|error| Failure(error.to_string()))?;
    let mut passed = Response::new(JsResponse::Passed(response));
    *passed.status_mut() = status;
    Ok(passed)
}

/// The answer that switches protocols, with the client's end of a socket.
pub fn switching(client: WebSocket) -> Result<web_sys::Response, Failure> {
    let init: web_sys::ResponseInit = ResponseBuilder::new().with_status(101).with_websocket(client).into();
    web_sys::Response::new_with_opt_str_and_init(None, &init).map_err(failure)
}

/// The answer for the runtime.
pub fn respond(response: Response<JsResponse>) -> worker::Result<web_sys::Response> {
    let (parts, body) = response.into_parts();
    let headers = web_sys::Headers::new()?;
    for (name, value) in &parts.headers {
        headers.append(name.as_str(), value.to_str().unwrap_or_default())?;
    }
    let mut init = ResponseBuilder::new().with_status(parts.status.as_u16()).with_headers(worker::Headers(headers));
    if parts.headers.contains_key(http::header::CONTENT_ENCODING) {
        // What says to be encoded is so already.
        init = init.with_encode_body(EncodeBody::Manual);
    }
    let init: web_sys::ResponseInit = init.into();
    Ok(match body {
        JsResponse::Passed(response) => response,
        JsResponse::Empty => web_sys::Response::new_with_opt_str_and_init(None, &init)?,
        JsResponse::Full(bytes) => {
            let bytes = Uint8Array::from(bytes.as_slice());
            web_sys::Response::new_with_opt_buffer_source_and_init(Some(&bytes), &init)?
        }
        JsResponse::Stream(stream) => web_sys::Response::new_with_opt_readable_stream_and_init(Some(&stream), &init)?,
        JsResponse::Streamed(source) => streamed(Chunks(Some(source)), &init)?,
        JsResponse::Live(source) => streamed(LiveChunks(Some(source)), &init)?,
    })
}

/// A response whose body is asked for its next chunk when the receiver has room for it, and dropped when the receiver has gone.
/// That it has gone shows when the next chunk is sent.
fn streamed(
    chunks: impl Stream<Item = Result<JsValue, JsValue>> + 'static,
    init: &web_sys::ResponseInit,
) -> Result<web_sys::Response, JsValue> {
    let stream = wasm_streams::ReadableStream::from_stream(chunks).into_raw();
    web_sys::Response::new_with_opt_readable_stream_and_init(Some(&stream), init)
}

/// The answer of an object. Its type forgets whether a body is encoded already, and the runtime would do it again.
pub fn respond_from_object(response: Response<JsResponse>) -> worker::Result<worker::Response> {
    let is_encoded = response.headers().contains_key(http::header::CONTENT_ENCODING);
    let response = worker::Response::from(respond(response)?);
    Ok(if is_encoded { response.with_encode_body(EncodeBody::Manual) } else { response })
}

/// A source as a stream that is always ready. Dropped at its end, so that what it holds is free at once.
struct Chunks(Option<Box<dyn Source>>);

impl Stream for Chunks {
    type Item = Result<JsValue, JsValue>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.0.as_mut().map_or(Ok(None), |source| source.next());
        if !matches!(next, Ok(Some(_))) {
            self.0 = None;
        }
        Poll::Ready(next.map_or_else(|_| Some(Err(broken_off())), |chunk| chunk.map(|bytes| Ok(js_bytes(&bytes)))))
    }
}

/// A live source as a stream. Dropped at its end.
struct LiveChunks(Option<Box<dyn LiveSource>>);

impl Stream for LiveChunks {
    type Item = Result<JsValue, JsValue>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = match self.0.as_mut() {
            None => Ok(None),
            Some(source) => std::task::ready!(source.poll_next(context)),
        };
        if !matches!(next, Ok(Some(_))) {
            self.0 = None;
        }
        Poll::Ready(next.map_or_else(|_| Some(Err(broken_off())), |chunk| chunk.map(|bytes| Ok(js_bytes(&bytes)))))
    }
}

fn broken_off() -> JsValue {
    JsValue::from_str("the stream broke off")
}

fn js_bytes(bytes: &[u8]) -> JsValue {
    Uint8Array::from(bytes).into()
}
