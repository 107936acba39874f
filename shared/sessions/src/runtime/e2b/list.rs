//! All sandboxes of this service, for the search for those that nobody owns (agents.md 6.3, 6.7).

use std::rc::Rc;

use http::Method;
use serde_json::Value;
use web::{Fetch, Host};

use super::api::Api;
use crate::acp::component;
use crate::front::{Listed, SandboxPage, Sandboxes};
use crate::runtime::RuntimeError;
use crate::settings::RuntimeSettings;
use crate::timestamp::milliseconds;

/// Sandboxes on one page.
const PAGE: usize = 100;

/// The sandboxes of this service and environment at E2B.
pub struct E2bSandboxes<F, H> {
    settings: Rc<RuntimeSettings>,
    fetch: F,
    host: H,
}

impl<F: Fetch, H: Host> E2bSandboxes<F, H> {
    /// Those that these settings name.
    pub fn new(settings: Rc<RuntimeSettings>, fetch: F, host: H) -> Self {
        Self { settings, fetch, host }
    }

    fn api(&self) -> Api<'_, F, H> {
        Api { fetch: &self.fetch, host: &self.host, settings: &self.settings }
    }
}

fn listed(entry: &Value) -> Option<Listed> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let of_metadata = |key: &str| text(entry.get("metadata").and_then(|metadata| metadata.get(key)));
    Some(Listed {
        id: text(entry.get("sandboxID"))?,
        session_id: of_metadata("session-id"),
        intent_id: of_metadata("intent-id"),
        started_at: entry.get("startedAt").and_then(Value::as_str).and_then(milliseconds),
        is_paused: entry.get("state").and_then(Value::as_str) == Some("paused"),
    })
}

impl<F: Fetch, H: Host> Sandboxes for E2bSandboxes<F, H> {
    async fn page(&self, next: Option<&str>) -> Result<SandboxPage, String> {
        let environment = self.settings.environment.as_deref().unwrap_or_default();
        let metadata = format!("service=logseq-agents&environment={}", component(environment));
        let mut path = format!("/v2/sandboxes?state=running,paused&metadata={}&limit={PAGE}", component(&metadata));
        if let Some(next) = next {
            path.push_str("&nextToken=");
            path.push_str(&component(next));
        }
        let (body, next) =
            self.api().page(Method::GET, &path).await.map_err(|error| RuntimeError::from(error).to_string())?;
        let entries = body.as_array().ok_or("the list of sandboxes is none")?;
        Ok(SandboxPage { sandboxes: entries.iter().take(PAGE).filter_map(listed).collect(), next })
    }

    async fn kill(&self, id: &str) -> Result<(), String> {
        self.api().kill(id).await.map_err(|error| error.to_string())
    }
}
