//! Building answers.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};

use crate::cors;
use crate::platform::Body;

/// A JSON answer.
pub(crate) fn json<B: Body>(status: StatusCode, body: impl Into<Vec<u8>>) -> Response<B> {
    let mut response = Response::new(B::full(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    cors::allow(response.headers_mut());
    response
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
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    cors::allow(response.headers_mut());
    response
}
