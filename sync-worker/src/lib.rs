//! Cloudflare adapter of the sync server: the front worker and the Durable Object that owns a graph.

pub mod bindings;
pub mod sql;

use worker::{Context, DurableObject, Env, Request, Response, Result, State, durable_object, event};

/// Front worker: every request enters here (sync.md 2.1).
#[event(fetch)]
async fn fetch(_request: Request, _env: Env, _context: Context) -> Result<Response> {
    Response::from_json(&serde_json::json!({ "ok": true }))
}

/// One graph: its database, its log and its sockets.
#[durable_object]
pub struct SyncDO {
    _state: State,
}

impl DurableObject for SyncDO {
    fn new(state: State, _env: Env) -> Self {
        Self { _state: state }
    }

    async fn fetch(&self, _request: Request) -> Result<Response> {
        Response::error("not found", 404)
    }
}
