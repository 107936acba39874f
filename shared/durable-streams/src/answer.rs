//! Answers, and the headers that every one of them has.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, CONTENT_TYPE, ETAG, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use crate::messages::Misplaced;
use crate::{Cursor, Extent, Malformed, Messages, Offset};

pub(crate) const NEXT_OFFSET: HeaderName = HeaderName::from_static("stream-next-offset");
const UP_TO_DATE: HeaderName = HeaderName::from_static("stream-up-to-date");
const CURSOR: HeaderName = HeaderName::from_static("stream-cursor");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// What scripts of other origins may read.
const EXPOSED: &str = "Stream-Next-Offset, Stream-Cursor, Stream-Up-To-Date, Stream-Closed, ETag";
/// Rows are personal data (pg-sync.md 4.14).
const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-store");
/// The same; proxies are told not to gather events either.
pub(crate) const PRIVATE_EVENTS: HeaderValue = HeaderValue::from_static("private, no-cache, no-store");

/// Adds what every answer has, also one to an error.
pub fn dress(headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
}

pub(crate) fn answer(status: StatusCode, body: Vec<u8>) -> Response<Vec<u8>> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    dress(response.headers_mut());
    if status != StatusCode::NOT_FOUND && status != StatusCode::NOT_MODIFIED {
        response.headers_mut().insert(CACHE_CONTROL, PRIVATE);
    }
    response
}

fn refusal(status: StatusCode, why: &str) -> Response<Vec<u8>> {
    // The texts are ours, and hold nothing that JSON escapes.
    let mut response = answer(status, format!("{{\"error\":\"{why}\"}}").into_bytes());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// There is no such stream, no such route, or nothing that this caller may know of.
pub fn missing() -> Response<Vec<u8>> {
    refusal(StatusCode::NOT_FOUND, "not found")
}

/// The answer to what a browser asks before it asks.
pub fn preflight(methods: &'static str) -> Response<Vec<u8>> {
    let mut response = answer(StatusCode::NO_CONTENT, Vec::new());
    let allowed = HeaderValue::from_static("authorization, content-type, if-none-match");
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    response
}

impl Malformed {
    /// The answer to such a request.
    pub fn answer(self) -> Response<Vec<u8>> {
        refusal(StatusCode::BAD_REQUEST, &self.to_string())
    }
}

impl Misplaced {
    pub(crate) fn answer(self, extent: Extent) -> Response<Vec<u8>> {
        match self {
            Self::Beyond => refusal(StatusCode::BAD_REQUEST, "offset is beyond the end"),
            Self::Gone => {
                let body = format!("{{\"error\":\"gone\",\"first_seq\":{}}}", extent.first_seq);
                let mut response = answer(StatusCode::GONE, body.into_bytes());
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                response
            }
        }
    }
}

/// What an answer with a place in the log says of it.
pub(crate) struct Placed {
    pub(crate) next: Offset,
    pub(crate) is_up_to_date: bool,
    pub(crate) cursor: Option<Cursor>,
}

impl Placed {
    pub(crate) fn answer(&self, status: StatusCode, messages: &impl Messages, body: Vec<u8>) -> Response<Vec<u8>> {
        let mut response = answer(status, body);
        let headers = response.headers_mut();
        if status != StatusCode::NO_CONTENT
            && let Ok(kind) = HeaderValue::from_str(messages.content_type())
        {
            headers.insert(CONTENT_TYPE, kind);
        }
        self.write(headers);
        response
    }

    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        insert(headers, NEXT_OFFSET, &self.next.to_string());
        if self.is_up_to_date {
            headers.insert(UP_TO_DATE, HeaderValue::from_static("true"));
        }
        if let Some(cursor) = self.cursor {
            insert(headers, CURSOR, &cursor.to_string());
        }
    }
}

/// The name of what lies between two places. An answer that ends with the log is another one than the same that was cut there.
pub(crate) fn etag(start: Offset, placed: &Placed) -> String {
    let end = if placed.is_up_to_date { ":end" } else { "" };
    format!("\"{start}:{}{end}\"", placed.next)
}

pub(crate) fn tagged(mut response: Response<Vec<u8>>, etag: &str) -> Response<Vec<u8>> {
    insert(response.headers_mut(), ETAG, etag);
    response
}

fn insert(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    // Digits and our own marks.
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}
