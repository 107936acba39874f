//! Requests that come in. Bodies that nobody reads stay JavaScript streams.

use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use js_sys::{Array, JsString, Reflect};
use wasm_bindgen::{JsCast as _, JsValue};
use web::{Failure, RequestBody};
use worker::web_sys::{self, ReadableStream};

use crate::bindings::streams::Reader;
use crate::failure::failure;

/// The body of a request that came in.
pub enum JsRequest {
    /// Gone: given up, or taken.
    Gone,
    /// Nothing of it was read; the runtime's own request holds it.
    Unread(web_sys::Request),
    /// Being read.
    Read(Reader),
}

impl RequestBody for JsRequest {
    fn is_empty(&self) -> bool {
        match self {
            Self::Gone => true,
            // The runtime gives no body to a request that announces none.
            Self::Unread(request) => request.body().is_none(),
            Self::Read(_) => false,
        }
    }

    fn take(&mut self) -> Option<Self> {
        matches!(self, Self::Unread(_)).then(|| std::mem::replace(self, Self::Gone))
    }

    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        if let Self::Unread(request) = self {
            let Some(stream) = request.body() else { return Ok(None) };
            *self = Self::Read(Reader::new(&stream).map_err(failure)?);
        }
        match self {
            Self::Read(reader) => reader.next().await.map_err(failure),
            Self::Gone | Self::Unread(_) => Ok(None),
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
}

impl JsRequest {
    /// The runtime's request, while nothing of its body was read.
    pub(crate) fn unread(&self) -> Option<&web_sys::Request> {
        match self {
            Self::Unread(request) => Some(request),
            Self::Gone | Self::Read(_) => None,
        }
    }

    /// The stream of a body of which nothing was read; none when there is no body.
    pub(crate) fn stream(&self) -> Option<ReadableStream> {
        self.unread()?.body()
    }

    /// The reader of a body that nobody is to read from any more.
    fn take_reader(&mut self) -> Option<Reader> {
        match std::mem::replace(self, Self::Gone) {
            Self::Gone => None,
            Self::Unread(request) => Reader::new(&request.body()?).ok(),
            Self::Read(reader) => Some(reader),
        }
    }
}

/// A request as the surface sees it; none when its URL is none that HTTP knows.
pub fn incoming(request: web_sys::Request) -> Option<Request<JsRequest>> {
    let method = Method::from_bytes(request.method().as_bytes()).ok()?;
    let mut incoming = Request::new(JsRequest::Gone);
    *incoming.method_mut() = method;
    *incoming.uri_mut() = request.url().parse().ok()?;
    *incoming.headers_mut() = headers(&request.headers());
    if let Some(accepted) = client_accepts(&request) {
        incoming.headers_mut().insert(ACCEPT_ENCODING, accepted);
    }
    *incoming.body_mut() = JsRequest::Unread(request);
    Some(incoming)
}

/// The codings that the client takes: Cloudflare writes its own into the header, and keeps the client's beside it.
fn client_accepts(request: &web_sys::Request) -> Option<HeaderValue> {
    let get = |of: &JsValue, name: &str| Reflect::get(of, &JsValue::from_str(name)).ok();
    let cf = get(request, "cf").filter(JsValue::is_object)?;
    let accepted = get(&cf, "clientAcceptEncoding")?.as_string()?;
    HeaderValue::from_str(&accepted).ok()
}

/// The headers, without those that HTTP does not allow: no route could read them.
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
