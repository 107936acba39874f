//! What a runner tells the agents worker (docs/spec/agents.md 7, 8.1).

use http::Method;
use serde::Serialize;
use serde_json::json;

use crate::failure::Failure;
use crate::http::{Answer, Client};
use crate::settings::Settings;

/// What is registered: the members stand in the order of the reference's script.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Registration<'a> {
    runner_id: &'a str,
    base_url: &'a str,
    max_sessions: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_client_secret: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workspace_dir: Option<&'a str>,
}

impl<'a> Registration<'a> {
    fn new(settings: &'a Settings, public_url: &'a str) -> Self {
        Self {
            runner_id: &settings.runner_id,
            base_url: public_url.trim_end_matches('/'),
            max_sessions: settings.max_sessions,
            agent_token: settings.agent.token.as_deref(),
            access_client_id: settings.tunnel.access_client_id.as_deref(),
            access_client_secret: settings.tunnel.access_client_secret.as_deref(),
            workspace_dir: settings.workspace_dir.as_deref(),
        }
    }
}

/// The agents worker, as a runner sees it.
pub(crate) struct Api<'a> {
    pub(crate) client: &'a Client,
    pub(crate) settings: &'a Settings,
}

/// Why the worker does not have the runner.
pub(crate) enum Refused {
    /// It did not answer, or not now: asking again may help.
    Later(String),
    /// It will say the same again.
    ForGood(Failure),
}

impl Api<'_> {
    /// Registers the runner under a public address.
    pub(crate) async fn register(&self, public_url: &str) -> Result<(), Refused> {
        let body = serde_json::to_string(&Registration::new(self.settings, public_url));
        let body = body.map_err(|error| Refused::ForGood(Failure::other("the registration", error)))?;
        let answer = self.ask(Method::POST, "/runners", Some(body)).await.map_err(Refused::Later)?;
        match answer.status.as_u16() {
            200..=299 => Ok(()),
            401 | 403 => Err(Refused::ForGood(Failure::Unauthorized(answer.refusal()))),
            408 | 429 | 500..=599 => Err(Refused::Later(answer.refusal())),
            _ => Err(Refused::ForGood(Failure::Other(format!("the registration is refused: {}", answer.refusal())))),
        }
    }

    /// Says that the runner is there, and how many sessions it has. The error says why the worker does not know now.
    pub(crate) async fn heartbeat(&self, active: u64) -> Result<(), String> {
        let path = format!("/runners/{}/heartbeat", web::url::encode(&self.settings.runner_id));
        let answer = self.ask(Method::POST, &path, Some(json!({"active-sessions": active}).to_string())).await?;
        if answer.status.is_success() { Ok(()) } else { Err(answer.refusal()) }
    }

    /// Asks the worker something.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<String>) -> Result<Answer, String> {
        let url = format!("{}{path}", self.settings.api);
        self.client.ask(method, &url, Some(&self.settings.token), body).await
    }
}
