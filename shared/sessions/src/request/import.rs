//! The body of `POST /auth/chatgpt/import` (agents.md 2.6.1, 12.2).

use super::fields::{Fields, required_object};
use super::limits::MAX_LOGIN_TOKEN_BYTES;
use crate::error::Error;

/// A login that was made with OAuth.
#[derive(Clone, PartialEq, Eq)]
pub struct Import {
    /// Its access token; never blank.
    pub access_token: String,
    /// Its refresh token.
    pub refresh_token: Option<String>,
    /// Its identity token.
    pub id_token: Option<String>,
    /// What the tokens are called, such as `Bearer`.
    pub token_type: Option<String>,
    /// What they are good for.
    pub scope: Option<String>,
    /// Seconds for which the access token is valid.
    pub expires_in: Option<i64>,
    /// Until when the access token is valid, in milliseconds since 1970.
    pub expires_at: Option<i64>,
}

impl std::fmt::Debug for Import {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Import(…)")
    }
}

impl Import {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Error::MissingBody`], [`Error::InvalidBody`], [`Error::ImportFailed`] for a blank access token (B54).
    pub fn read(body: &[u8]) -> Result<Self, Error> {
        let members = required_object(body)?;
        let fields = Fields(&members);
        let text = |name| fields.text_within(name, MAX_LOGIN_TOKEN_BYTES).map(|text| text.map(str::to_owned));
        let import = Self {
            access_token: text("access_token")?.ok_or(Error::InvalidBody)?,
            refresh_token: text("refresh_token")?,
            id_token: text("id_token")?,
            token_type: text("token_type")?,
            scope: text("scope")?,
            expires_in: fields.int("expires_in")?,
            expires_at: fields.int("expires_at")?,
        };
        if import.access_token.trim().is_empty() { Err(Error::ImportFailed) } else { Ok(import) }
    }

    /// Until when the access token is valid, in milliseconds since 1970; 0 when nobody says.
    pub fn ends_at(&self, now: i64) -> i64 {
        let positive = |number: Option<i64>| number.filter(|number| *number > 0);
        let lasts = positive(self.expires_in).map(|seconds| now.saturating_add(seconds.saturating_mul(1_000)));
        // What is stored is a double.
        positive(self.expires_at).or(lasts).unwrap_or(0).min((1 << 53) - 1)
    }
}
