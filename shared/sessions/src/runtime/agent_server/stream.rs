//! The stream of what an agent says (agents.md 3.10, 4.2, 4.6).

use http::{HeaderName, HeaderValue, Method, header::ACCEPT};
use serde_json::Value;
use web::{CallError, Failure, Fetch, Host, Incoming};

use super::{AgentServer, CALL_MS, ServerError, reply};
use crate::acp::{AcpError, server_url};
use crate::legacy::{self, Dialect};
use crate::runtime::exchange::{whole, within};

/// How many kept events of the older dialect are asked for at once. What is left is had by opening the stream again.
pub const MAX_KEPT_EVENTS: u32 = 500;

/// Server-sent events as bytes.
pub enum AgentStream<B> {
    /// They come as they are said.
    Open(B),
    /// They were said before. Then the stream ends.
    Kept(Vec<u8>),
}

impl<B: Incoming> Incoming for AgentStream<B> {
    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        match self {
            Self::Open(body) => body.chunk().await,
            Self::Kept(bytes) => Ok(Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty())),
        }
    }
}

impl<F: Fetch, H: Host> AgentServer<'_, F, H> {
    /// Opens the stream after the frame of that id. In the older dialect, where a turn has a stream of its own, it is what
    /// was said after that number: a stream that ends.
    pub async fn stream(
        &self,
        dialect: Dialect,
        last_event_id: Option<&str>,
    ) -> Result<AgentStream<F::Body>, ServerError> {
        match dialect {
            Dialect::Acp => self.stream_acp(last_event_id).await,
            Dialect::Legacy => self.kept_events(last_event_id).await,
        }
    }

    async fn stream_acp(&self, last_event_id: Option<&str>) -> Result<AgentStream<F::Body>, ServerError> {
        let mut call = self.call(Method::GET, server_url(self.base_url, self.server_id, None), None, CALL_MS)?;
        call.headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        // The server refuses what is no number, and an id that no header can hold is none.
        let id = last_event_id.filter(|id| id.bytes().all(|byte| byte.is_ascii_digit()) && !id.is_empty());
        if let Some(id) = id.and_then(|id| HeaderValue::from_str(id).ok()) {
            call.headers.insert(HeaderName::from_static("last-event-id"), id);
        }
        let answer = self.fetch.fetch(call).await?;
        let kind = answer.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let is_stream = kind.to_ascii_lowercase().contains("text/event-stream");
        if answer.status.is_success() {
            return if is_stream { Ok(AgentStream::Open(answer.body)) } else { Err(AcpError::Unreadable.into()) };
        }
        let Some(answer) = within(self.host, CALL_MS, whole(answer)).await else {
            return Err(CallError::TimedOut.into());
        };
        Err(reply(&answer?).envelope().err().unwrap_or(AcpError::Unreadable).into())
    }

    async fn kept_events(&self, last_event_id: Option<&str>) -> Result<AgentStream<F::Body>, ServerError> {
        let offset = last_event_id.and_then(|id| id.parse().ok()).unwrap_or(0);
        let call = legacy::request::events(self.base_url, self.server_id, offset, MAX_KEPT_EVENTS);
        let answer = self.legacy(&call, CALL_MS).await?;
        let events = answer.get("events").and_then(Value::as_array).ok_or(AcpError::Unreadable)?;
        // Bounded by the size of the answer.
        let frames = events.iter().map(|event| match event.get("sequence").and_then(Value::as_u64) {
            Some(sequence) => format!("id: {sequence}\ndata: {event}\n\n"),
            None => format!("data: {event}\n\n"),
        });
        Ok(AgentStream::Kept(frames.collect::<String>().into_bytes()))
    }
}
