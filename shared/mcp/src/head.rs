//! What a request says before its body.

use http::header::{ACCEPT, ALLOW, CONTENT_TYPE, ORIGIN, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use serde_json::{Value as Json, json};

use crate::rpc::VERSIONS;

/// The longest body, in bytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// Whether the body is to be read; else the answer. `own` is the origin under which we are reached: a page of another one asks
/// for nobody.
///
/// # Errors
/// The answer.
pub fn admit(method: &Method, headers: &HeaderMap, own: &str) -> Result<(), Box<Response<Vec<u8>>>> {
    let refuse = |status, why: &str| Err(Box::new(answer(status, &json!({"error": why}))));
    if method != Method::POST {
        let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, &json!({"error": "method not allowed"}));
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return Err(Box::new(response));
    }
    if headers.get_all(ORIGIN).iter().any(|origin| !origin.as_bytes().eq_ignore_ascii_case(own.as_bytes())) {
        return refuse(StatusCode::FORBIDDEN, "origin not allowed");
    }
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let kinds = accepted.flat_map(|text| text.split(',')).map(|kind| kind.split(';').next().unwrap_or_default().trim());
    let mut kinds = kinds.map(str::to_ascii_lowercase);
    if !kinds.any(|kind| ["application/json", "application/*", "*/*"].contains(&kind.as_str())) {
        return refuse(StatusCode::NOT_ACCEPTABLE, "application/json must be accepted");
    }
    let is_known = |version: &HeaderValue| VERSIONS.iter().any(|known| version.as_bytes() == known.as_bytes());
    if !headers.get_all(PROTOCOL_VERSION).iter().all(is_known) {
        return refuse(StatusCode::BAD_REQUEST, "unknown protocol version");
    }
    Ok(())
}

/// The answer to a request without a token that counts.
pub fn unauthorized() -> Response<Vec<u8>> {
    let mut response = answer(StatusCode::UNAUTHORIZED, &json!({"error": "unauthorized"}));
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

pub(crate) fn answer(status: StatusCode, body: &Json) -> Response<Vec<u8>> {
    let mut response = Response::new(body.to_string().into_bytes());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: &Method, headers: &[(&'static str, &'static str)]) -> u16 {
        let headers =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        match admit(method, &headers.collect(), "https://agents.example") {
            Ok(()) => 200,
            Err(response) => response.status().as_u16(),
        }
    }

    #[test]
    fn heads() {
        let json = ("accept", "application/json, text/event-stream");
        assert_eq!(status(&Method::POST, &[json]), 200);
        assert_eq!(status(&Method::POST, &[("accept", "text/html;q=1, */*;q=0.1")]), 200);
        assert_eq!(status(&Method::POST, &[json, ("origin", "https://agents.example")]), 200);
        assert_eq!(status(&Method::POST, &[json, ("mcp-protocol-version", "2025-06-18")]), 200);
        for method in [Method::GET, Method::DELETE, Method::PUT] {
            assert_eq!(status(&method, &[json]), 405);
        }
        assert_eq!(status(&Method::POST, &[json, ("origin", "https://other.example")]), 403);
        assert_eq!(status(&Method::POST, &[json, ("origin", "null")]), 403);
        assert_eq!(status(&Method::POST, &[("accept", "text/event-stream")]), 406);
        assert_eq!(status(&Method::POST, &[]), 406);
        assert_eq!(status(&Method::POST, &[json, ("mcp-protocol-version", "2024-01-01")]), 400);
    }
}
