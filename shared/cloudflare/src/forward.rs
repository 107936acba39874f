//! Requests to other objects and services.

use http::{Response, StatusCode, Uri};
use js_sys::Uint8Array;
use wasm_bindgen::JsCast as _;
use web::{Call, Failure, Forward, Objects, Payload, Peers, Upstream};
use worker::{Env, Fetcher, web_sys};

use crate::failure::{failure, worker_failure};
use crate::request::JsRequest;
use crate::response::{self, JsResponse};

/// Objects of one class, by name.
pub struct ObjectNamespace(worker::Result<worker::ObjectNamespace>);

impl ObjectNamespace {
    /// The objects behind a binding. Where there is none, whoever calls one of them is told.
    pub fn new(env: &Env, binding: &str) -> Self {
        Self(env.durable_object(binding))
    }

    /// The same; none where the binding is missing.
    pub fn bound(env: &Env, binding: &str) -> Option<Self> {
        env.durable_object(binding).ok().map(|objects| Self(Ok(objects)))
    }

    async fn call(&self, name: &str, request: web_sys::Request) -> Result<worker::Response, Failure> {
        // A fresh stub for every call: one that has failed stays broken.
        let objects = self.0.as_ref().map_err(|error| Failure(error.to_string()))?;
        let object = objects.get_by_name(name).map_err(worker_failure)?;
        object.fetch_with_request(request.into()).await.map_err(worker_failure)
    }
}

impl Objects<JsRequest, JsResponse> for ObjectNamespace {
    async fn send(&self, name: &str, request: Forward<JsRequest>) -> Result<Response<JsResponse>, Failure> {
        response::passed(self.call(name, outgoing(&request)?).await?.into())
    }
}

impl Peers for ObjectNamespace {
    async fn ask(&self, name: &str, call: Call, limit: usize) -> Result<(StatusCode, Vec<u8>), Failure> {
        let uri: Uri = call.url.parse().map_err(|error: http::uri::InvalidUri| Failure(error.to_string()))?;
        let mut forward = Forward::<JsRequest>::new(call.method, uri);
        if !call.body.is_empty() {
            // A GET may not even have an empty one.
            forward = forward.with_body(call.body);
        }
        for (name, value) in &call.headers {
            forward.set_header(name.clone(), value.clone());
        }
        let mut response = self.call(name, outgoing(&forward)?).await?;
        let status = StatusCode::from_u16(response.status_code()).map_err(|error| Failure(error.to_string()))?;
        let bytes = response.bytes().await.map_err(worker_failure)?;
        if bytes.len() > limit { Err(Failure("the answer is too large".into())) } else { Ok((status, bytes)) }
    }
}

/// Another worker.
pub struct Service(Fetcher);

impl Service {
    /// The worker behind a service binding.
    pub fn new(binding: Fetcher) -> Self {
        Self(binding)
    }
}

impl Upstream<JsRequest, JsResponse> for Service {
    async fn send(&self, request: Forward<JsRequest>) -> Result<Response<JsResponse>, Failure> {
        let request = worker::Request::from(without_local_headers(outgoing(&request)?)?);
        let response = self.0.fetch_request(request).await.map_err(worker_failure)?;
        response::passed(response.into())
    }
}

/// The runtime's request for one that is sent on. One that came in goes on as it is, whatever the runtime keeps with it, but for
/// its address and the headers that change.
fn outgoing(forward: &Forward<JsRequest>) -> Result<web_sys::Request, Failure> {
    let uri = forward.uri().to_string();
    let bytes = match forward.payload() {
        Payload::Unread(body) if let Some(request) = body.unread() => return changed(request, &uri, forward),
        Payload::Bytes(bytes) => Some(bytes),
        Payload::None | Payload::Unread(_) => None,
    };
    let init = web_sys::RequestInit::new();
    init.set_method(forward.method().as_str());
    // As the requests that come in: whoever asked follows redirects, or does not.
    init.set_redirect(web_sys::RequestRedirect::Manual);
    let headers = web_sys::Headers::new().map_err(failure)?;
    for (name, value) in forward.headers() {
        headers.append(name.as_str(), value.to_str().unwrap_or_default()).map_err(failure)?;
    }
    init.set_headers(&headers);
    if let Some(bytes) = bytes {
        init.set_body(&Uint8Array::from(bytes.as_slice()));
    }
    web_sys::Request::new_with_str_and_init(&uri, &init).map_err(failure)
}

/// A request that came in, with what changes.
fn changed(request: &web_sys::Request, uri: &str, forward: &Forward<JsRequest>) -> Result<web_sys::Request, Failure> {
    let request = if request.url() == uri {
        // Another handle to it: its own method of that name would copy the body.
        Clone::clone(request)
    } else {
        // A request is a valid initialiser: method, headers and body are taken from it.
        web_sys::Request::new_with_str_and_init(uri, request.unchecked_ref()).map_err(failure)?
    };
    let mut changes = forward.changes().peekable();
    if changes.peek().is_none() {
        return Ok(request);
    }
    // A copy: the headers of a request that came in cannot be changed.
    let request = web_sys::Request::new_with_request(&request).map_err(failure)?;
    let headers = request.headers();
    for (name, value) in changes {
        match value {
            Some(value) => {
                let text = value.to_str().map_err(|error| Failure(error.to_string()))?;
                headers.set(name.as_str(), text).map_err(failure)?;
            }
            None => headers.delete(name.as_str()).map_err(failure)?,
        }
    }
    Ok(request)
}

/// What Miniflare's own workers tell its port by headers begins with this.
const MINIFLARE: &str = "mf-";

/// The request without headers that mean something to Miniflare: a local service may be served by it, and would take
/// them for its own.
fn without_local_headers(request: web_sys::Request) -> Result<web_sys::Request, Failure> {
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
