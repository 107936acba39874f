//! The REST API of E2B (agents.md 6.1–6.3, 6.6).

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Method};
use serde_json::{Value, json};
use web::{Call, Fetch, Host};

use crate::acp::component;
use crate::runtime::RuntimeError;
use crate::runtime::agent_server::secret_header;
use crate::runtime::exchange::{Answer, exchange};
use crate::settings::{E2bApi, RuntimeSettings};

/// How long an answer is waited for, in milliseconds.
const LIMIT_MS: u32 = 60_000;
/// A call that comes too early is repeated so often, after a pause that the service names, of at most so many seconds.
const REPEATS: u32 = 3;
const MAX_PAUSE_S: u32 = 20;

/// The API of one deployment.
pub(super) struct Api<'a, F, H> {
    pub(super) fetch: &'a F,
    pub(super) host: &'a H,
    pub(super) settings: &'a RuntimeSettings,
}

/// What the service says of a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sandbox {
    pub(super) id: String,
    pub(super) domain: String,
    pub(super) envd_token: Option<String>,
    pub(super) traffic_token: Option<String>,
}

/// A call that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) message: String,
}

/// What came of a call.
pub(super) enum Failed {
    /// The service said no.
    Refused(Refused),
    /// It did not say anything.
    Other(RuntimeError),
}

impl From<Failed> for RuntimeError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Refused(Refused { status, message }) => Self::Failed(format!("e2b answered {status}: {message}")),
            Failed::Other(error) => error,
        }
    }
}

/// A failure of a call about a sandbox: one that is unknown does not exist any more.
fn about(sandbox_id: &str) -> impl Fn(Failed) -> RuntimeError {
    move |failed| match failed {
        Failed::Refused(Refused { status: 404, message }) => {
            RuntimeError::SandboxMissing(format!("sandbox {sandbox_id} not found: {message}"))
        }
        other => other.into(),
    }
}

impl<F: Fetch, H: Host> Api<'_, F, H> {
    /// Makes a sandbox.
    pub(super) async fn create(&self, body: &Value) -> Result<Sandbox, Failed> {
        if self.settings.e2b_api != E2bApi::V1 {
            let mut newer = body.clone();
            if let Some(members) = newer.as_object_mut() {
                members.remove("secure");
            }
            match self.call(Method::POST, "/v2/sandboxes", Some(&newer)).await {
                Err(Failed::Refused(refused)) if self.is_unknown_route(&refused) => {}
                made => return made.and_then(|made| self.sandbox(&made)),
            }
        }
        self.call(Method::POST, "/sandboxes", Some(body)).await.and_then(|made| self.sandbox(&made))
    }

    /// Resumes a sandbox, or finds it running; it lives on for its whole time.
    pub(super) async fn connect(&self, sandbox_id: &str) -> Result<Sandbox, RuntimeError> {
        let body = json!({"timeout": self.timeout_s()});
        let path = format!("/sandboxes/{}/connect", component(sandbox_id));
        if self.settings.e2b_api != E2bApi::V1 {
            match self.call(Method::POST, &format!("/v2{path}"), Some(&body)).await {
                Err(Failed::Refused(refused)) if self.is_unknown_route(&refused) => {}
                made => return made.and_then(|made| self.sandbox(&made)).map_err(about(sandbox_id)),
            }
        }
        let made = self.call(Method::POST, &path, Some(&body)).await;
        made.and_then(|made| self.sandbox(&made)).map_err(about(sandbox_id))
    }

    /// Whether an answer says that this deployment does not know the newer routes.
    fn is_unknown_route(&self, refused: &Refused) -> bool {
        let message = refused.message.to_lowercase();
        let is_auto = self.settings.e2b_api == E2bApi::Auto;
        is_auto && refused.status == 404 && !message.contains("sandbox") && !message.contains("template")
    }

    /// Makes a sandbox live on for its whole time from now.
    pub(super) async fn set_timeout(&self, sandbox_id: &str) -> Result<(), RuntimeError> {
        let (path, body) =
            (format!("/sandboxes/{}/timeout", component(sandbox_id)), json!({"timeout": self.timeout_s()}));
        self.call(Method::POST, &path, Some(&body)).await.map(drop).map_err(about(sandbox_id))
    }

    /// Replaces the rules of what a sandbox may talk to.
    pub(super) async fn set_network(&self, sandbox_id: &str, rules: &Value) -> Result<(), RuntimeError> {
        let path = format!("/sandboxes/{}/network", component(sandbox_id));
        self.call(Method::PUT, &path, Some(rules)).await.map(drop).map_err(about(sandbox_id))
    }

    /// Pauses a sandbox. One that is paused already is no failure.
    pub(super) async fn pause(&self, sandbox_id: &str) -> Result<(), RuntimeError> {
        let path = format!("/sandboxes/{}/pause", component(sandbox_id));
        match self.call(Method::POST, &path, None).await {
            Err(Failed::Refused(Refused { status: 409, .. })) => Ok(()),
            other => other.map(drop).map_err(about(sandbox_id)),
        }
    }

    /// Ends a sandbox for good. One that is gone is no failure.
    pub(super) async fn kill(&self, sandbox_id: &str) -> Result<(), RuntimeError> {
        let path = format!("/sandboxes/{}", component(sandbox_id));
        match self.call(Method::DELETE, &path, None).await {
            Err(Failed::Refused(Refused { status: 404, .. })) => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }

    /// Takes a snapshot; its id.
    pub(super) async fn snapshot(&self, sandbox_id: &str) -> Result<String, RuntimeError> {
        let path = format!("/sandboxes/{}/snapshots", component(sandbox_id));
        let made = self.call(Method::POST, &path, Some(&json!({}))).await.map_err(about(sandbox_id))?;
        let id = made.get("snapshotID").and_then(Value::as_str).filter(|id| !id.trim().is_empty());
        id.map(str::to_owned).ok_or_else(|| RuntimeError::Failed("the snapshot has no id".to_owned()))
    }

    /// Seconds that a sandbox lives.
    pub(super) fn timeout_s(&self) -> i64 {
        self.settings.e2b_timeout_ms.saturating_add(999).div_euclid(1_000)
    }

    fn sandbox(&self, made: &Value) -> Result<Sandbox, Failed> {
        let text = |key: &str| made.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
        // An id becomes part of a host's name.
        let id = text("sandboxID").filter(|id| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
        let id = id.ok_or_else(|| Failed::Other(RuntimeError::Failed("e2b named no sandbox".to_owned())))?;
        Ok(Sandbox {
            id,
            domain: text("domain").unwrap_or_else(|| self.settings.e2b_domain.clone()),
            envd_token: text("envdAccessToken"),
            traffic_token: text("trafficAccessToken"),
        })
    }

    /// A page of a list, and where the next one begins.
    pub(super) async fn page(&self, method: Method, path: &str) -> Result<(Value, Option<String>), Failed> {
        let answer = self.once(method, path, None).await?;
        let next = answer.header("x-next-token").filter(|next| !next.is_empty()).map(str::to_owned);
        judged(&answer).map(|body| (body, next))
    }

    /// A call; its JSON, or null where there is none.
    pub(super) async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failed> {
        for _ in 0..REPEATS {
            let answer = self.once(method.clone(), path, body).await?;
            let Some(pause) = pause_of(&answer) else { return judged(&answer) };
            self.host.sleep_ms(pause.saturating_mul(1_000)).await;
        }
        judged(&self.once(method, path, body).await?)
    }

    async fn once(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, Failed> {
        let failed = |text: String| Failed::Other(RuntimeError::Unavailable(text));
        let key = self.settings.e2b_api_key.as_deref();
        let key = key.ok_or(Failed::Other(RuntimeError::Setting("missing-e2b-api-key")))?;
        let mut call = Call::new(method, format!("https://api.{}{path}", self.settings.e2b_domain));
        call.limit_ms = Some(LIMIT_MS);
        secret_header(&mut call.headers, HeaderName::from_static("x-api-key"), key)
            .map_err(|error| failed(error.to_string()))?;
        if let Some(body) = body {
            call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            call.body = body.to_string().into_bytes();
        }
        exchange(self.fetch, self.host, call).await.map_err(|error| failed(error.to_string()))
    }
}

/// How long to wait before a call that came too early is repeated, in seconds; none when it is not.
fn pause_of(answer: &Answer) -> Option<u32> {
    let seconds = answer.header(RETRY_AFTER.as_str()).and_then(|text| text.trim().parse::<u32>().ok());
    seconds.filter(|seconds| answer.status.as_u16() == 429 && *seconds <= MAX_PAUSE_S)
}

fn judged(answer: &Answer) -> Result<Value, Failed> {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if answer.status.is_success() {
        return Ok(body);
    }
    let message = body.get("message").and_then(Value::as_str).unwrap_or_default().chars().take(1_000).collect();
    Err(Failed::Refused(Refused { status: answer.status.as_u16(), message }))
}
