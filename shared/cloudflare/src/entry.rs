//! Where a request enters a front worker, and the answers to those that its service never sees.

use std::fmt::Display;

use http::Request;
use worker::web_sys;

use crate::{JsRequest, incoming};

/// Where the state of a server is asked.
const HEALTH: &str = "/health";

/// A request beside what its isolate keeps (sync.md 2.1, agents.md 2.1).
///
/// # Errors
///
/// The answer that it gets instead: 400 for a URL that HTTP does not know. When the settings cannot be served with, `/health`
/// tells with 503 which one it is, for whoever looks after the server, and everyone else gets 500.
pub fn enter<I, E: Display>(
    request: web_sys::Request,
    isolate: Result<I, E>,
) -> Result<(Request<JsRequest>, I), worker::Result<web_sys::Response>> {
    let Some(request) = incoming(request) else {
        return Err(refuse(400, "invalid url"));
    };
    match isolate {
        Ok(isolate) => Ok((request, isolate)),
        Err(wrong) if request.uri().path() == HEALTH => Err(refuse(503, &wrong.to_string())),
        Err(_) => Err(refuse(500, "server error")),
    }
}

fn refuse(status: u16, error: &str) -> worker::Result<web_sys::Response> {
    let response = worker::Response::from_json(&serde_json::json!({ "error": error }))?;
    Ok(response.with_status(status).into())
}
