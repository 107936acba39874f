//! What a token says about its bearer.

use protocol::{PresenceUser, limits};
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;

/// The claims of a token, or of the configured identity. Cloning is cheap.
#[derive(Clone, PartialEq)]
pub struct Claims(Arc<Map<String, Value>>);

impl Claims {
    pub(crate) fn new(claims: Map<String, Value>) -> Self {
        Self(Arc::new(claims))
    }

    /// A claim as it stands in the token.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A claim that is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// The user's id. Whoever has claims without it, or with one longer than any id that is stored, is nobody.
    pub fn sub(&self) -> Option<&str> {
        self.text("sub").filter(|sub| !sub.is_empty() && sub.chars().count() <= limits::USER_ID_CHARS)
    }

    /// E-mail address.
    pub fn email(&self) -> Option<&str> {
        self.text("email")
    }

    /// Whether the identity provider has verified the address; none when it does not say.
    pub fn email_verified(&self) -> Option<bool> {
        self.get("email_verified")?.as_bool()
    }

    /// The name that the index stores (sync.md 8.3).
    pub fn username(&self) -> Option<&str> {
        self.text("cognito:username")
    }

    /// The user as peers see them (sync.md 7.1), with names cut to what a socket keeps; none without a user id.
    pub fn presence_user(&self) -> Option<PresenceUser> {
        let mut user = PresenceUser::new(self.sub()?);
        let username = ["preferred_username", "cognito:username", "username"].into_iter().find_map(|it| self.text(it));
        user.email = self.email().map(str::to_owned);
        user.username = username.map(str::to_owned);
        user.name = self.text("name").map(str::to_owned);
        user.shorten();
        Some(user)
    }

    /// The end of validity in seconds since the epoch, if it is given as a number.
    pub(crate) fn exp(&self) -> Option<f64> {
        self.get("exp")?.as_f64()
    }
}

impl fmt::Debug for Claims {
    /// Shows whose claims they are and no more: the rest is personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims").field("sub", &self.sub()).finish_non_exhaustive()
    }
}
