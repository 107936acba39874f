//! Building answers.

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::{Cors, ResponseBody, Source};

/// What is answered is somebody's own, some of it key material: no cache on the way keeps it.
pub const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// A JSON answer.
pub fn json<B: ResponseBody>(cors: &Cors, status: StatusCode, body: impl Into<Vec<u8>>) -> Response<B> {
    let mut response = Response::new(B::full(body.into()));
    *response.status_mut() = status;
    describe_json(cors, response.headers_mut());
    response
}

/// A JSON answer that is made while it is sent.
pub fn json_stream<B: ResponseBody>(cors: &Cors, source: Box<dyn Source>) -> Response<B> {
    let mut response = Response::new(B::streamed(source));
    describe_json(cors, response.headers_mut());
    response
}

/// The answer to a preflight.
pub fn no_content<B: ResponseBody>(cors: &Cors) -> Response<B> {
    let mut response = Response::new(B::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    cors.allow(response.headers_mut());
    response
}

fn describe_json(cors: &Cors, headers: &mut HeaderMap) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, NO_STORE);
    cors.allow(headers);
}
