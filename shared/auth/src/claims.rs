//! What a token says about its bearer.

use protocol::PresenceUser;
use protocol::limits::{EMAIL_CHARS, ID_CHARS, USERNAME_CHARS};
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;

/// The claims of a token, or of the configured identity. Cloning is cheap.
#[derive(Clone, PartialEq)]
pub struct Claims {
    claims: Arc<Map<String, Value>>,
    /// No issuer vouches for them: they are of this server's own making.
    is_own: bool,
}

impl Claims {
    pub(crate) fn new(claims: Map<String, Value>) -> Self {
        Self { claims: Arc::new(claims), is_own: false }
    }

    /// Claims of this server's own making.
    pub(crate) fn own(claims: Map<String, Value>) -> Self {
        Self { claims: Arc::new(claims), is_own: true }
    }

    /// The claims of a user whom the server itself knows; the address counts as verified.
    pub fn of_stored_user(user_id: &str, email: Option<&str>, username: &str) -> Self {
        let mut claims = Map::new();
        claims.insert("sub".to_owned(), Value::from(user_id));
        claims.insert("username".to_owned(), Value::from(username));
        // The claim that the index stores.
        claims.insert("cognito:username".to_owned(), Value::from(username));
        if let Some(email) = email {
            claims.insert("email".to_owned(), Value::from(email));
            claims.insert("email_verified".to_owned(), Value::from(true));
        }
        Self::own(claims)
    }

    /// Whether they are of this server's own making: no issuer vouches for them.
    pub(crate) fn is_own(&self) -> bool {
        self.is_own
    }

    /// The same with other values of some claims; none: without them.
    pub(crate) fn with<'a>(&self, set: impl Iterator<Item = (&'a str, Option<Value>)>) -> Self {
        let mut claims = Map::clone(&self.claims);
        for (name, value) in set {
            match value {
                Some(value) => claims.insert(name.to_owned(), value),
                None => claims.remove(name),
            };
        }
        Self { claims: Arc::new(claims), is_own: self.is_own }
    }

    /// A claim as it stands in the token.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.claims.get(name)
    }

    /// A claim that is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// The user's id. None when the claim is missing or longer than an id may be; then the caller counts as
    /// unauthenticated.
    pub fn sub(&self) -> Option<&str> {
        self.text("sub").filter(|sub| !sub.is_empty() && sub.chars().count() <= ID_CHARS)
    }

    /// E-mail address; none when it is longer than an address can be.
    pub fn email(&self) -> Option<&str> {
        self.text("email").filter(|email| email.chars().count() <= EMAIL_CHARS)
    }

    /// Whether the identity provider has verified the address; none when it does not say, or names no address.
    pub fn email_verified(&self) -> Option<bool> {
        self.email()?;
        self.get("email_verified")?.as_bool()
    }

    /// The name that the index stores (sync.md 8.3), cut to what a list of members shows.
    pub fn username(&self) -> Option<&str> {
        let name = self.text("cognito:username")?;
        let end = name.char_indices().nth(USERNAME_CHARS).map_or(name.len(), |(end, _)| end);
        name.get(..end)
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

    /// When the token was issued, in whole seconds since the epoch, if it says so as a number.
    #[expect(clippy::cast_possible_truncation, reason = "the cast saturates, and fractions of seconds do not count")]
    pub(crate) fn iat(&self) -> Option<i64> {
        self.get("iat")?.as_f64().map(|seconds| seconds.floor() as i64)
    }
}

impl fmt::Debug for Claims {
    /// Shows the user's id only: the other claims are personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims").field("sub", &self.sub()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(name: &str, value: impl Into<Value>) -> Claims {
        Claims::new(Map::from_iter([(name.to_owned(), value.into())]))
    }

    #[test]
    fn what_is_too_long_is_not_said_or_cut() {
        // Two bytes a character: characters count.
        let text = |length| "é".repeat(length);
        assert_eq!(claims("sub", text(512)).sub(), Some(&*text(512)));
        assert_eq!(claims("sub", text(513)).sub(), None);
        assert!(claims("sub", text(513)).presence_user().is_none());
        assert_eq!(claims("email", text(320)).email(), Some(&*text(320)));
        assert_eq!(claims("email", text(321)).email(), None);
        assert_eq!(claims("cognito:username", text(512)).username(), Some(&*text(512)));
        assert_eq!(claims("cognito:username", text(9_000)).username(), Some(&*text(512)));
    }

    #[test]
    fn only_a_named_address_is_verified() {
        let verified = |email: Option<String>| {
            let mut claims = Map::from_iter([("email_verified".to_owned(), Value::from(true))]);
            claims.extend(email.map(|email| ("email".to_owned(), Value::from(email))));
            Claims::new(claims).email_verified()
        };
        assert_eq!(verified(Some("a@example.test".to_owned())), Some(true));
        assert_eq!(verified(Some("a".repeat(321))), None);
        assert_eq!(verified(None), None);
    }
}
