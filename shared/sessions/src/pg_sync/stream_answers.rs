//! Answers on the compatibility route, with the headers that each of them has (pg-sync.md 2.9, 4.14).

use durable_streams::{dress, missing};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use serde_json::Value;
use uuid::Uuid;
use web::{Event, ResponseBody};

use crate::error::{CORS, Error};

/// Rows are personal data.
const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-store");
/// When one who found no room asks again, in seconds.
const AGAIN_S: HeaderValue = HeaderValue::from_static("5");

/// An answer that is there as a whole. Statuses without a body have none, as platforms want it.
pub(crate) fn whole<B: ResponseBody>(response: Response<Vec<u8>>) -> Response<B> {
    response.map(|bytes| if bytes.is_empty() { B::empty() } else { B::full(bytes) })
}

/// An answer of ours.
pub(crate) fn told<B: ResponseBody>(status: StatusCode, body: &Value) -> Response<B> {
    let mut response = Response::new(B::full(body.to_string().into_bytes()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, PRIVATE);
    dressed(response)
}

/// The same answer with what each of them has.
pub(crate) fn dressed<B>(mut response: Response<B>) -> Response<B> {
    dress(response.headers_mut());
    response
}

/// A refusal. What the service does not let be followed is 400 here, where the reference has it (pg-sync.md 4.2).
pub(crate) fn refused<B: ResponseBody>(error: &Error, id: Uuid, report: impl FnOnce(&Event<'_>)) -> Response<B> {
    if matches!(error, Error::NotFound) {
        return whole(missing());
    }
    let mut response = web::refuse(error, &CORS, id, report);
    let status = match response.status() {
        StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
        status => status,
    };
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, PRIVATE);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, AGAIN_S);
    }
    dressed(response)
}
