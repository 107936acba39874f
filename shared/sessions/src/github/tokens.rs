//! Tokens for one repository, made by the App (agents.md 9.5).

use std::cell::RefCell;
use std::fmt;

use http::Method;
use serde_json::json;
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

struct Token {
    text: String,
    expires_at: i64,
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TokenCache({} tokens)", self.0.borrow().len())
    }
}

impl TokenCache {
    fn get(&self, key: &str, now: i64) -> Option<String> {
        let tokens = self.0.borrow();
        let token = tokens.get(key).filter(|token| token.expires_at.saturating_sub(LEFT_MS) > now)?;
        Some(token.text.clone())
    }

    fn put(&self, key: String, text: &str, expires_at: i64, now: i64) {
        let mut tokens = self.0.borrow_mut();
        if tokens.len() >= MAX_TOKENS {
            tokens.retain(|_, token| token.expires_at > now);
        }
        if tokens.len() >= MAX_TOKENS {
            tokens.clear();
        }
        tokens.insert(key, Token { text: text.to_owned(), expires_at });
    }
}

impl<F: Fetch, S: Sign, H: Host> GitHub<'_, F, S, H> {
    /// A token that may write this one repository's contents and pull requests.
    pub async fn token(&self, repository: &Repository) -> Result<String, GitHubError> {
        const WHAT: &str = "the wish for a token";
        let installation = match self.settings.installation_id {
            Some(id) => id,
            None => match self.installation(repository).await? {
                Installation::Installed(id) => id,
                Installation::Missing { .. } => return Err(GitHubError::NotInstalled),
            },
        };
        let key = format!("{}|{installation}|{}", self.settings.api_base, repository.api_path().to_lowercase());
        if let Some(token) = self.tokens.get(&key, self.host.now_ms()) {
            return Ok(token);
        }
        let app = self.app_token().await?;
        let body = json!({
            "repositories": [repository.name()],
            "permissions": {"contents": "write", "pull_requests": "write", "metadata": "read"},
        });
        let path = format!("/app/installations/{installation}/access_tokens");
        let answer = self.send(Method::POST, &path, Some(&app), Some(&body)).await?;
        if !answer.is_success() {
            return Err(answer.refused(WHAT));
        }
        let made = answer.json().unwrap_or_default();
        let token = made.get("token").and_then(|token| token.as_str()).filter(|token| !token.is_empty());
        let token = token.ok_or(GitHubError::Unreadable(WHAT))?;
        let expires_at = made.get("expires_at").and_then(|at| at.as_str()).and_then(milliseconds);
        let now = self.host.now_ms();
        self.tokens.put(key, token, expires_at.unwrap_or(now), now);
        Ok(token.to_owned())
    }
}
