//! Building answers.

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::cors;
use crate::platform::Body;

/// A JSON answer.
pub(crate) fn json<B: Body>(status: StatusCode, body: impl Into<Vec<u8>>) -> Response<B> {
    let mut response = Response::new(B::full(body.into()));
    *response.status_mut() = status;
    say_json(response.headers_mut());
    response
}

/// What is answered is somebody's own, some of it key material: no cache on the way keeps it.
pub(crate) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

fn say_json(headers: &mut HeaderMap) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, NO_STORE);
    cors::allow(headers);
}

/// A JSON answer with status 200.
pub(crate) fn ok<B: Body>(body: impl Into<Vec<u8>>) -> Response<B> {
    json(StatusCode::OK, body)
}

/// The answer to a preflight.
pub(crate) fn no_content<B: Body>() -> Response<B> {
    let mut response = Response::new(B::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    cors::allow(response.headers_mut());
    response
}

/// A JSON answer that is made while it is sent.
pub(crate) fn json_stream<B: Body>(source: Box<dyn crate::platform::Source>) -> Response<B> {
    let mut response = Response::new(B::streamed(source));
    say_json(response.headers_mut());
    response
}
