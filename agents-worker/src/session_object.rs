//! The Durable Object that owns a session.

#![expect(missing_docs, reason = "the attribute of Durable Objects generates undocumented methods")]

use worker::{DurableObject, Env, Request, Response, Result, State};
use worker_macros::durable_object;

/// One session: its state, its events and who watches it.
#[durable_object(alarm)]
pub struct AgentSessionDO;

impl DurableObject for AgentSessionDO {
    fn new(_state: State, _env: Env) -> Self {
        Self
    }

    async fn fetch(&self, _request: Request) -> Result<Response> {
        super::json(404, r#"{"error":"not found"}"#)
    }

    async fn alarm(&self) -> Result<Response> {
        Response::empty()
    }
}
