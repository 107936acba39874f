//! Requests and responses between JavaScript and the surface. Bodies that nobody reads stay JavaScript streams.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use sync_http::graph_call::SEALED;
use sync_http::platform::{Body, Failure, Source};
use worker::js_sys::{Array, JsString, Reflect, Uint8Array};
use worker::wasm_bindgen::{JsCast as _, JsValue};
use worker::web_sys::{self, ReadableStream};
use worker::{EncodeBody, ResponseBuilder, WebSocket};

use crate::bindings::streams::Reader;
use crate::failure::failure;

/// A body of the runtime, or one that was made here.
pub enum JsBody {
    /// None.
    Empty,
    /// Bytes.
    Full(Vec<u8>),
    /// Made while it is sent.
    Streamed(Box<dyn Source>),
    /// A stream of the runtime.
    Stream(ReadableStream),
    /// The body of a request that came in, and the request itself.
    Incoming(Incoming),
    /// A response of another object or service, passed on as it is.
    Passed(web_sys::Response),
}

/// A request that came in, read when somebody asks.
pub struct Incoming {
    request: web_sys::Request,
    reader: Option<Reader>,
}

impl Body for JsBody {
    fn empty() -> Self {
        Self::Empty
    }

    fn full(bytes: Vec<u8>) -> Self {
        Self::Full(bytes)
    }

    fn streamed(source: Box<dyn Source>) -> Self {
        Self::Streamed(source)
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            // The runtime gives no body to a request that announces none.
            Self::Incoming(incoming) => incoming.request.body().is_none(),
            Self::Streamed(_) | Self::Stream(_) | Self::Passed(_) => false,
        }
    }

    /// The runtime's own server takes in another 64 KiB, or what comes within a second, and then closes the connection
    /// (`canceledUploadGraceBytes` and `canceledUploadGracePeriod` of its HTTP library).
    async fn cancel(&mut self) {
        if let Some(reader) = self.take_reader() {
            // Fails when the sender is gone already.
            let _ = reader.cancel().await;
        }
    }

    async fn discard(&mut self, limit: u64) {
        if let Some(reader) = self.take_reader() {
            let _ = reader.discard(limit).await;
        }
    }

    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let Self::Incoming(incoming) = self else { return Ok(None) };
        if incoming.reader.is_none() {
            let Some(stream) = incoming.request.body() else { return Ok(None) };
            incoming.reader = Some(Reader::new(&stream).map_err(failure)?);
        }
        match &incoming.reader {
            Some(reader) => reader.next().await.map_err(failure),
            None => Ok(None),
        }
    }
}

impl JsBody {
    /// The reader of a request's body that nobody is to read from any more.
    fn take_reader(&mut self) -> Option<Reader> {
        let Self::Incoming(Incoming { request, reader }) = std::mem::replace(self, Self::Empty) else { return None };
        reader.or_else(|| Reader::new(&request.body()?).ok())
    }
}

/// A request as the surface sees it; none when its URL is none that HTTP knows.
pub fn incoming(request: web_sys::Request) -> Option<Request<JsBody>> {
    let method = Method::from_bytes(request.method().as_bytes()).ok()?;
    let mut incoming = Request::new(JsBody::Empty);
    *incoming.method_mut() = method;
    *incoming.uri_mut() = request.url().parse().ok()?;
    *incoming.headers_mut() = headers(&request.headers());
    if let Some(accepted) = client_accepts(&request) {
        incoming.headers_mut().insert(ACCEPT_ENCODING, accepted);
    }
    *incoming.body_mut() = JsBody::Incoming(Incoming { request, reader: None });
    Some(incoming)
}

/// The codings that the client takes: Cloudflare writes its own into the header, and keeps the client's beside it.
fn client_accepts(request: &web_sys::Request) -> Option<HeaderValue> {
    let get = |of: &JsValue, name: &str| Reflect::get(of, &JsValue::from_str(name)).ok();
    let cf = get(request, "cf").filter(JsValue::is_object)?;
    let accepted = get(&cf, "clientAcceptEncoding")?.as_string()?;
    HeaderValue::from_str(&accepted).ok()
}

/// Headers that are valid; others say nothing to anybody.
fn headers(headers: &web_sys::Headers) -> HeaderMap {
    let mut map = HeaderMap::new();
    for entry in headers.entries().into_iter().flatten() {
        let entry: Array = entry.unchecked_into();
        let text = |index| entry.get(index).dyn_into::<JsString>().ok().map(String::from);
        let name = text(0).and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok());
        let value = text(1).and_then(|value| HeaderValue::from_str(&value).ok());
        if let (Some(name), Some(value)) = (name, value) {
            map.append(name, value);
        }
    }
    map
}

/// A request to send on: that which came in, at the address that the surface gave it.
pub fn outgoing(request: Request<JsBody>) -> Result<web_sys::Request, Failure> {
    let (parts, body) = request.into_parts();
    let uri = parts.uri.to_string();
    match body {
        JsBody::Incoming(Incoming { request, .. }) if request.url() == uri => Ok(request),
        // A request is a valid initialiser: method, headers and body are taken from it.
        JsBody::Incoming(Incoming { request, .. }) => {
            web_sys::Request::new_with_str_and_init(&uri, request.unchecked_ref()).map_err(failure)
        }
        body => {
            let init = web_sys::RequestInit::new();
            init.set_method(parts.method.as_str());
            // As the requests that come in: whoever asked follows redirects, or does not.
            init.set_redirect(web_sys::RequestRedirect::Manual);
            let headers = web_sys::Headers::new().map_err(failure)?;
            for (name, value) in &parts.headers {
                headers.append(name.as_str(), value.to_str().unwrap_or_default()).map_err(failure)?;
            }
            init.set_headers(&headers);
            if let JsBody::Full(bytes) = body {
                init.set_body(&Uint8Array::from(bytes.as_slice()));
            }
            web_sys::Request::new_with_str_and_init(&uri, &init).map_err(failure)
        }
    }
}

/// A request to a graph: that which came in, at the address and with the sealed headers that the surface gave it,
/// whatever the client's own request has under their names; and with the codings that the client takes.
pub fn to_graph(request: Request<JsBody>) -> Result<web_sys::Request, Failure> {
    let ours = SEALED.into_iter().chain([ACCEPT_ENCODING]);
    let ours: Vec<_> = ours.map(|name| (request.headers().get(&name).cloned(), name)).collect();
    let request = outgoing(request)?;
    // A copy: the headers of a request that came in cannot be changed.
    let request = web_sys::Request::new_with_request(&request).map_err(failure)?;
    let headers = request.headers();
    for (value, name) in ours {
        headers.delete(name.as_str()).map_err(failure)?;
        if let Some(value) = value {
            let text = value.to_str().map_err(|error| Failure(error.to_string()))?;
            headers.set(name.as_str(), text).map_err(failure)?;
        }
    }
    Ok(request)
}

/// What Miniflare's own workers tell its port by headers begins with this.
const MINIFLARE: &str = "mf-";

/// The request without headers that mean something to Miniflare: a local service may be served by it, and would take
/// them for its own.
pub fn without_local_headers(request: web_sys::Request) -> Result<web_sys::Request, Failure> {
    let keys = request.headers().keys().into_iter().flatten().filter_map(|key| key.as_string());
    let private: Vec<String> = keys.filter(|key| key.starts_with(MINIFLARE)).collect();
    if private.is_empty() {
        return Ok(request);
    }
    let copy = web_sys::Request::new_with_request(&request).map_err(failure)?;
    for name in private {
        copy.headers().delete(&name).map_err(failure)?;
    }
    Ok(copy)
}

/// The stream of a request's body that nobody has read from; none when it has no body.
pub fn stream_of(body: &JsBody) -> Option<ReadableStream> {
    match body {
        JsBody::Incoming(Incoming { request, reader: None }) => request.body(),
        _ => None,
    }
}

/// A response of another object or service, as the surface sees it: its status, and the rest untouched.
pub fn passed(response: web_sys::Response) -> Result<Response<JsBody>, Failure> {
    let status = StatusCode::from_u16(response.status()).map_err(|error| Failure(error.to_string()))?;
    let mut passed = Response::new(JsBody::Passed(response));
    *passed.status_mut() = status;
    Ok(passed)
}

/// The answer that switches protocols, with the client's end of a socket.
pub fn switching(client: WebSocket) -> Result<web_sys::Response, Failure> {
    let init: web_sys::ResponseInit = ResponseBuilder::new().with_status(101).with_websocket(client).into();
    web_sys::Response::new_with_opt_str_and_init(None, &init).map_err(failure)
}

/// The answer for the runtime.
pub fn respond(response: Response<JsBody>) -> worker::Result<web_sys::Response> {
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
        JsBody::Passed(response) => response,
        JsBody::Empty | JsBody::Incoming(_) => web_sys::Response::new_with_opt_str_and_init(None, &init)?,
        JsBody::Full(bytes) => {
            let bytes = Uint8Array::from(bytes.as_slice());
            web_sys::Response::new_with_opt_buffer_source_and_init(Some(&bytes), &init)?
        }
        JsBody::Stream(stream) => web_sys::Response::new_with_opt_readable_stream_and_init(Some(&stream), &init)?,
        JsBody::Streamed(source) => {
            let stream = wasm_streams::ReadableStream::from_stream(Chunks(Some(source))).into_raw();
            web_sys::Response::new_with_opt_readable_stream_and_init(Some(&stream), &init)?
        }
    })
}

/// The answer of an object. Its type forgets whether a body is encoded already, and the runtime would do it again.
pub fn respond_from_object(response: Response<JsBody>) -> worker::Result<worker::Response> {
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
        Poll::Ready(match next {
            Ok(chunk) => chunk.map(|bytes| Ok(Uint8Array::from(bytes.as_slice()).into())),
            Err(_) => Some(Err(JsValue::from_str("the stream broke off"))),
        })
    }
}
