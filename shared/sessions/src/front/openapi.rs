//! The description of the API (agents.md 20.8).

use http::header::CACHE_CONTROL;
use http::{HeaderValue, Response, StatusCode};
use web::ResponseBody;

use crate::error::CORS;

/// Made of the table of routes by `tests/openapi.rs`, which compares it.
const DESCRIPTION: &str = include_str!("../../../../docs/agents-openapi.json");

/// Answers with it. Nobody needs to be known for it.
pub(super) fn answer<R: ResponseBody>() -> Response<R> {
    let mut response = web::json(&CORS, StatusCode::OK, DESCRIPTION.to_owned());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}
