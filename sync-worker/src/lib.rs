//! Cloudflare adapter of the sync server: the front worker and the Durable Object that owns a graph.
//!
//! Nothing is decided here. Each module implements one port of `sync-http`, `index`, `auth` or `graph` with what the
//! runtime offers; bodies that nobody reads stay JavaScript streams.

pub mod background;
pub mod bindings;
pub mod body;
pub mod d1;
pub mod environment;
pub mod failure;
pub mod front;
pub mod keys;
pub mod object;
pub mod r2;
pub mod reporter;
pub mod sleep;
pub mod sql;

use worker::{Context, Env, Result, event, web_sys};

/// Front worker: every request enters here (sync.md 2.1).
#[event(fetch)]
async fn fetch(request: web_sys::Request, env: Env, context: Context) -> Result<web_sys::Response> {
    let Some(isolate) = environment::isolate(&env) else {
        return refuse(500, protocol::errors::SERVER_ERROR);
    };
    let Some(request) = body::incoming(request) else {
        return refuse(400, "invalid url");
    };
    let front = front::Front::new(env, context, std::rc::Rc::clone(&isolate));
    body::respond(sync_http::handle(&front, &isolate.service, request).await)
}

/// An answer for requests that the surface never sees.
fn refuse(status: u16, text: &str) -> Result<web_sys::Response> {
    let body = protocol::ErrorBody::new(text).to_json();
    let response = worker::Response::ok(body)?.with_status(status);
    response.headers().set("content-type", "application/json")?;
    Ok(response.into())
}
