//! The agents worker on Cloudflare: the front worker here, the Durable Object of a session in [`session_object`].
//!
//! Nothing is decided here: both give the ports of `sessions` what `cloudflare` has for them.

pub mod session_object;

use worker::{Context, Env, Response, Result, ScheduleContext, ScheduledEvent};
use worker_macros::event;

/// Where the state of the server is asked.
const HEALTH: &str = "/health";

/// Front worker: every request enters here (agents.md 2.1).
#[event(fetch)]
async fn fetch(request: worker::Request, _env: Env, _context: Context) -> Result<Response> {
    if request.path() == HEALTH {
        return json(200, r#"{"ok":true}"#);
    }
    json(404, r#"{"error":"not found"}"#)
}

/// Clean-up by the clock (agents.md 16).
#[event(scheduled)]
async fn scheduled(_event: ScheduledEvent, _env: Env, _context: ScheduleContext) {}

/// An answer of JSON.
fn json(status: u16, body: &str) -> Result<Response> {
    let response = Response::ok(body)?.with_status(status);
    response.headers().set("content-type", "application/json")?;
    Ok(response)
}
