//! Single requests to GitHub (agents.md 9.6, 9.7).

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;
use web::{Call, Fetch, Host};

use super::error::{Answered, KEPT_BYTES};
use super::{GitHub, GitHubError, Installation, Sign};
use crate::github_app::{self, AppError, PrivateKey};
use crate::repository::{BranchName, Repository, branch_list, install_url};
use crate::runtime::exchange::exchange;

/// How long an answer is waited for, and the pause before the one further try, in milliseconds.
const LIMIT_MS: u32 = 20_000;
const PAUSE_MS: u32 = 500;
/// Pages of branches that are asked for, and names on one.
const PAGES: usize = 10;
const PAGE: usize = 100;

/// Headers of an error that are kept.
const TELLING: [&str; 9] = [
    "content-type",
    "www-authenticate",
    "x-github-sso",
    "x-oauth-scopes",
    "x-accepted-oauth-scopes",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "retry-after",
];

/// An answer of GitHub.
pub(super) struct Answer {
    pub(super) status: u16,
    headers: HeaderMap,
    bytes: Vec<u8>,
}

impl Answer {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(super) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.bytes).ok()
    }

    pub(super) fn refused(&self, what: &'static str) -> GitHubError {
        let raw = self.bytes.get(..KEPT_BYTES).unwrap_or(&self.bytes);
        let header = |name: &&'static str| Some((*name, self.headers.get(*name)?.to_str().ok()?.to_owned()));
        GitHubError::Refused {
            what,
            answer: Box::new(Answered {
                status: self.status,
                body: if self.bytes.len() <= KEPT_BYTES { self.json() } else { None },
                raw: String::from_utf8_lossy(raw).into_owned(),
                headers: TELLING.iter().filter_map(header).collect(),
            }),
        }
    }
}

impl<F: Fetch, S: Sign, H: Host> GitHub<'_, F, S, H> {
    /// Whether the App is installed for a repository (agents.md 9.4).
    pub async fn installation(&self, repository: &Repository) -> Result<Installation, GitHubError> {
        const WHAT: &str = "the question for the installation";
        let token = self.app_token().await?;
        let path = format!("{}/installation", repository.api_path());
        // Whoever creates a session is waiting, and asks again: a server that fails is not asked twice.
        let answer = self.once(self.call(Method::GET, &path, Some(&token), None)).await?;
        if answer.status == 404 {
            return Ok(Installation::Missing { install_url: install_url(self.settings.slug.as_deref()) });
        }
        if !answer.is_success() {
            return Err(answer.refused(WHAT));
        }
        let body = answer.json().unwrap_or_default();
        let id = body.get("id").and_then(|id| id.as_i64().or_else(|| id.as_str()?.parse().ok()));
        id.map(Installation::Installed).ok_or(GitHubError::Unreadable(WHAT))
    }

    /// The default branch of a repository, if it can be found out.
    pub async fn default_branch(&self, repository: &Repository, token: Option<&str>) -> Option<String> {
        let answer = self.send(Method::GET, &repository.api_path(), token, None).await.ok()?;
        let body = answer.is_success().then(|| answer.json())??;
        body.get("default_branch")?.as_str().map(str::to_owned)
    }

    /// The branches of a repository; what cannot be read is left out.
    pub async fn branches(&self, repository: &Repository, token: &str) -> Vec<BranchName> {
        let mut names: Vec<String> = Vec::new();
        for page in 1..=PAGES {
            // The first page is asked for without its number, as the reference does.
            let number = if page > 1 { format!("&page={page}") } else { String::new() };
            let path = format!("{}/branches?per_page={PAGE}{number}", repository.api_path());
            let Ok(answer) = self.send(Method::GET, &path, Some(token), None).await else { break };
            let list = if answer.is_success() { answer.json() } else { None };
            let Some(Value::Array(list)) = list else { break };
            let count = list.len();
            let name = |entry: &Value| entry.get("name")?.as_str().map(str::to_owned);
            names.extend(list.iter().take(PAGE).filter_map(name));
            if count < PAGE {
                break;
            }
        }
        branch_list(names.iter().map(String::as_str))
    }

    /// A token of the App itself.
    pub(super) async fn app_token(&self) -> Result<String, GitHubError> {
        let app_id = self.settings.app_id.as_deref().ok_or(AppError::Missing)?;
        let pem = self.settings.private_key.as_deref().ok_or(AppError::Missing)?;
        let key = PrivateKey::from_pem(pem)?;
        let input = github_app::signing_input(app_id, self.host.now_ms().div_euclid(1_000))?;
        let signature = self.sign.rs256(&super::pkcs8::wrapped(key), input.as_bytes()).await;
        let signature = signature.map_err(|failure| GitHubError::Sign(failure.0))?;
        Ok(github_app::token(&input, &signature))
    }

    /// Sends a request; a server that fails, or cannot be reached, is asked once more.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Answer, GitHubError> {
        let call = self.call(method, path, token, body);
        match self.once(call.clone()).await {
            Ok(answer) if answer.status < 500 => return Ok(answer),
            _ => self.host.sleep_ms(PAUSE_MS).await,
        }
        self.once(call).await
    }

    fn call(&self, method: Method, path: &str, token: Option<&str>, body: Option<&Value>) -> Call {
        Call {
            url: format!("{}{path}", self.settings.api_base),
            headers: self.headers(token, body.is_some()),
            body: body.map(|body| body.to_string().into_bytes()).unwrap_or_default(),
            limit_ms: Some(LIMIT_MS),
            ..Call::new(method, String::new())
        }
    }

    async fn once(&self, call: Call) -> Result<Answer, GitHubError> {
        let answer = exchange(&*self.fetch, self.host, call).await;
        let answer = answer.map_err(|error| GitHubError::Unreachable(error.to_string()))?;
        Ok(Answer { status: answer.status.as_u16(), headers: answer.headers, bytes: answer.body })
    }

    fn headers(&self, token: Option<&str>, has_body: bool) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/vnd.github+json"));
        headers.insert(HeaderName::from_static("x-github-api-version"), HeaderValue::from_static("2022-11-28"));
        if let Ok(agent) = HeaderValue::from_str(&self.settings.user_agent) {
            headers.insert(USER_AGENT, agent);
        }
        if let Some(Ok(mut value)) = token.map(|token| HeaderValue::from_str(&format!("Bearer {token}"))) {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        if has_body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        headers
    }
}
