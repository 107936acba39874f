//! Stored logins with `ChatGPT` (agents.md 12): kept, shown, renewed, and given to sessions.

mod auth_json;
mod inject;
mod refresh;
mod rows;

pub use auth_json::auth_json;
pub use inject::{Injection, inject};
pub use refresh::{Renewal, renewed};
pub use rows::{import, open, read, revoke};

use serde_json::{Value, json};

/// Whether a login can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginState {
    /// It can.
    Valid,
    /// Its access token has run out.
    Expired,
    /// Its user has taken it back.
    Revoked,
}

impl LoginState {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// A stored login. Its tokens are in clear where they were asked for, and absent otherwise.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// A random id; each import makes a new one.
    pub auth_id: String,
    /// Whose it is.
    pub user_id: String,
    /// When it was imported or renewed, in milliseconds since 1970.
    pub issued_at: i64,
    /// Until when the access token is valid, in milliseconds since 1970; 0 when nobody says.
    pub expires_at: i64,
    /// When it was taken back, in milliseconds since 1970; 0 when it was not.
    pub revoked_at: i64,
    /// The tokens.
    pub tokens: Tokens,
}

/// The tokens of a login.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Opens the service.
    pub access_token: Option<String>,
    /// Gets new tokens.
    pub refresh_token: Option<String>,
    /// Says who it is.
    pub id_token: Option<String>,
    /// What the tokens are called, such as `Bearer`.
    pub token_type: Option<String>,
    /// What they are good for.
    pub scope: Option<String>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Login")
            .field("auth_id", &self.auth_id)
            .field("user_id", &self.user_id)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Tokens(…)")
    }
}

impl Login {
    /// Whether it can be used now.
    pub fn state(&self, now: i64) -> LoginState {
        if self.revoked_at > 0 {
            LoginState::Revoked
        } else if self.expires_at > 0 && self.expires_at <= now {
            LoginState::Expired
        } else {
            LoginState::Valid
        }
    }

    /// As its user sees it (agents.md 2.6.2), without tokens.
    pub fn shown(&self, now: i64) -> Value {
        let mut shown = json!({
            "auth-id": self.auth_id,
            "auth-state": self.state(now).as_str(),
            "auth-method": "chatgpt",
            "provider": "openai",
            "user-id": self.user_id,
            "issued-at": self.issued_at,
        });
        for (name, time) in [("expires-at", self.expires_at), ("revoked-at", self.revoked_at)] {
            if let (true, Some(members)) = (time > 0, shown.as_object_mut()) {
                members.insert(name.to_owned(), time.into());
            }
        }
        shown
    }

    /// As the answer to an import shows it: always valid, and always with a time, 0 when nobody says.
    pub fn imported(&self) -> Value {
        let mut shown = self.shown(0);
        if let Some(members) = shown.as_object_mut() {
            members.insert("auth-state".to_owned(), LoginState::Valid.as_str().into());
            members.insert("expires-at".to_owned(), self.expires_at.into());
        }
        shown
    }
}
