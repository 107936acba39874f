//! Tokens for one repository, made by the App (agents.md 9.5).

use std::cell::RefCell;
use std::fmt;

use http::Method;
use serde_json::{Value, json};
use web::{Fetch, Host};

use super::{GitHub, GitHubError, Installation, Sign};
use crate::repository::Repository;
use crate::timestamp::milliseconds;

/// A token is used as long as it lives for another minute.
const LEFT_MS: i64 = 60_000;
/// Tokens that are remembered.
const MAX_TOKENS: usize = 500;

/// Tokens by installation and repository, in memory.
#[derive(Default)]
pub struct TokenCache(RefCell<keyed::Map<String, Token>>);

/// A token that GitHub has made. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The token.
    pub text: String,
    /// Until when it counts, in milliseconds since 1970.
    pub expires_at: i64,
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Token").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TokenCache({} tokens)", self.0.borrow().len())
    }
}

impl TokenCache {
    fn get(&self, key: &str, now: i64) -> Option<Token> {
        let tokens = self.0.borrow();
        tokens.get(key).filter(|token| token.expires_at.saturating_sub(LEFT_MS) > now).cloned()
    }

    fn put(&self, key: String, token: &Token, now: i64) {
        let mut tokens = self.0.borrow_mut();
        if tokens.len() >= MAX_TOKENS {
            tokens.retain(|_, token| token.expires_at > now);
        }
        if tokens.len() >= MAX_TOKENS {
            tokens.clear();
        }
        tokens.insert(key, token.clone());
    }
}

/// What is asked for, in errors.
const WHAT: &str = "the wish for a token";

impl<F: Fetch, S: Sign, H: Host> GitHub<'_, F, S, H> {
    /// A token that may write this one repository's contents and pull requests.
    pub async fn token(&self, repository: &Repository) -> Result<String, GitHubError> {
        let installation = match self.settings.installation_id {
            Some(id) => id,
            None => self.installation_of(repository).await?,
        };
        let key = format!("{}|{installation}|{}", self.settings.api_base, repository.api_path().to_lowercase());
        if let Some(token) = self.tokens.get(&key, self.host.now_ms()) {
            return Ok(token.text);
        }
        let permissions = json!({"contents": "write", "pull_requests": "write", "metadata": "read"});
        Ok(self.mint(installation, repository, permissions, key).await?.text)
    }

    /// A token that may read this one repository's contents, or write them, and nothing else (agents.md 20.6). It is made by the
    /// installation that has the repository, whatever is configured: names of repositories are those of an owner.
    pub async fn git_token(&self, repository: &Repository, writes: bool) -> Result<Token, GitHubError> {
        let level = if writes { "write" } else { "read" };
        let key = format!("{}|git {level}|{}", self.settings.api_base, repository.api_path().to_lowercase());
        if let Some(token) = self.tokens.get(&key, self.host.now_ms()) {
            return Ok(token);
        }
        let installation = self.installation_of(repository).await?;
        self.mint(installation, repository, json!({"contents": level}), key).await
    }

    /// A token to push with. Where git asks for its tokens, whoever reads along in the sandbox learns none that allows more than those.
    pub async fn push_token(&self, repository: &Repository) -> Result<String, GitHubError> {
        if self.settings.is_brokered {
            return Ok(self.git_token(repository, true).await?.text);
        }
        self.token(repository).await
    }

    async fn installation_of(&self, repository: &Repository) -> Result<i64, GitHubError> {
        match self.installation(repository).await? {
            Installation::Installed(id) => Ok(id),
            Installation::Missing { .. } => Err(GitHubError::NotInstalled),
        }
    }

    async fn mint(
        &self,
        installation: i64,
        repository: &Repository,
        permissions: Value,
        key: String,
    ) -> Result<Token, GitHubError> {
        let app = self.app_token().await?;
        let body = json!({"repositories": [repository.name()], "permissions": permissions});
        let path = format!("/app/installations/{installation}/access_tokens");
        let answer = self.send(Method::POST, &path, Some(&app), Some(&body)).await?;
        if !answer.is_success() {
            return Err(answer.refused(WHAT));
        }
        let made = answer.json().unwrap_or_default();
        let text = made.get("token").and_then(|token| token.as_str()).filter(|token| !token.is_empty());
        let text = text.ok_or(GitHubError::Unreadable(WHAT))?.to_owned();
        let expires_at = made.get("expires_at").and_then(|at| at.as_str()).and_then(milliseconds);
        let now = self.host.now_ms();
        let token = Token { text, expires_at: expires_at.unwrap_or(now) };
        self.tokens.put(key, &token, now);
        Ok(token)
    }
}
