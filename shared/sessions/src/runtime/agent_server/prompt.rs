//! Sending a prompt: at most once (agents.md 3.8).

use http::{HeaderValue, Method, header::ACCEPT};
use web::{CallError, Fetch, Host};

use super::{AgentServer, AgentStream, ServerError, reply};
use crate::acp::{self, AcpError, PromptSent};
use crate::legacy::{self, Dialect};
use crate::runtime::exchange::{ExchangeError, whole, within};
use crate::runtime::{Prompt, Runtime};

/// What became of a prompt, before the provider's words for failures.
pub enum Posted<B> {
    /// The agent has it.
    Running,
    /// The agent has it, and says on this stream what comes of it.
    Streaming(AgentStream<B>),
    /// The turn is over; why it stopped.
    Ended(String),
    /// The agent never got it.
    NotReached(ServerError),
    /// It failed, and whether the agent got it is not known.
    Failed(ServerError),
}

impl<F: Fetch, H: Host> AgentServer<'_, F, H> {
    /// Sends a prompt. That nobody answers within `limit_ms` means that the agent has it (B59).
    pub async fn prompt(&self, runtime: &Runtime, prompt: &Prompt<'_>, limit_ms: u32) -> Posted<F::Body> {
        let sent = match runtime.dialect {
            Dialect::Acp => self.prompt_acp(&runtime.session_id, prompt, limit_ms).await,
            Dialect::Legacy => self.prompt_legacy(prompt, limit_ms).await,
        };
        sent.unwrap_or_else(|error| match error {
            ServerError::Call(CallError::TimedOut) => Posted::Running,
            error if error.is_not_reached() => Posted::NotReached(error),
            error => Posted::Failed(error),
        })
    }

    async fn prompt_acp(
        &self,
        session: &str,
        prompt: &Prompt<'_>,
        limit_ms: u32,
    ) -> Result<Posted<F::Body>, ServerError> {
        let envelope = acp::request::prompt(prompt.rpc_id, session, prompt.text, prompt.links);
        let url = acp::server_url(self.base_url, self.server_id, None);
        let call = self.call(Method::POST, url, Some(&envelope), limit_ms)?;
        let answered = within(self.host, limit_ms, async {
            let answer = self.fetch.fetch(call).await?;
            // Accepted: whatever follows says nothing more.
            if answer.status == http::StatusCode::ACCEPTED { Ok(None) } else { whole(answer).await.map(Some) }
        });
        let answer = match answered.await {
            None | Some(Ok(None)) => return Ok(Posted::Running),
            Some(Err(ExchangeError::TooLarge)) => return Ok(Posted::Failed(AcpError::TooLarge.into())),
            Some(Err(ExchangeError::Call(error))) => return Err(error.into()),
            Some(Ok(Some(answer))) => answer,
        };
        Ok(match reply(&answer).prompt_sent() {
            PromptSent::Running => Posted::Running,
            PromptSent::Ended(reason) => Posted::Ended(reason),
            PromptSent::NotReached(error) => Posted::NotReached(error.into()),
            PromptSent::Failed(error) => Posted::Failed(error.into()),
        })
    }

    /// The older dialect knows no links: their addresses follow the text.
    async fn prompt_legacy(&self, prompt: &Prompt<'_>, limit_ms: u32) -> Result<Posted<F::Body>, ServerError> {
        let mut text = prompt.text.to_owned();
        // At most 100 (agents.md 2.8).
        for link in prompt.links {
            text.push_str("\n\n");
            text.push_str(link.uri);
        }
        let request = legacy::request::message(self.base_url, self.server_id, &text);
        let mut call = self.call(Method::POST, request.url, request.body.as_ref(), limit_ms)?;
        call.headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        let answer = self.fetch.fetch(call).await?;
        if answer.status.is_success() {
            return Ok(Posted::Streaming(AgentStream::Open(answer.body)));
        }
        let Some(answer) = within(self.host, limit_ms, whole(answer)).await else {
            return Err(CallError::TimedOut.into());
        };
        match reply(&answer?).envelope() {
            // A refusal is never read as anything else.
            Ok(_) => Err(AcpError::Unreadable.into()),
            Err(error) => Err(error.into()),
        }
    }
}
