//! Tool tokens (docs/spec/pg-sync.md 4.12): with one an agent calls the tools of its own session, and nothing else.
//!
//! They are signed with the keys of run tokens and say of themselves that they are another kind, so that neither is taken for the other. A
//! token is made of what it says and the key alone: whoever knows when one was made can say it again, and nothing that opens anything has to be
//! stored.

use serde::{Deserialize, Serialize};

use crate::limits::TOOL_TOKEN_S;
use crate::run_token::{RunTokens, TokenError, check_times, is_of_kind};

/// Calling tools.
pub const CALL: &str = "tools:call";

/// What the header of such a token calls itself.
const KIND: &str = "tool";

/// What a token says. One with other members is none of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// The user whose session it is.
    pub sub: String,
    /// The session.
    pub sid: String,
    /// What it allows.
    pub scope: Vec<String>,
    /// Of which runtime of the session its agent is.
    #[serde(rename = "gen")]
    pub generation: u64,
    /// When it was made, in seconds since 1970.
    pub iat: i64,
    /// The first second at which it is not valid any more.
    pub exp: i64,
}

impl Claims {
    /// What a token says that is made at that second, for a day.
    pub fn new(user: &str, session: &str, generation: u64, iat: i64) -> Self {
        let exp = iat.saturating_add(TOOL_TOKEN_S);
        Self { sub: user.to_owned(), sid: session.to_owned(), scope: vec![CALL.to_owned()], generation, iat, exp }
    }

    /// The token that says this.
    ///
    /// # Errors
    /// Without a key there is none.
    pub fn token(&self, keys: &RunTokens) -> Result<String, TokenError> {
        keys.signed(KIND, self).next().unwrap_or(Err(TokenError::Unknown))
    }

    /// Every token that says this, whichever of the keys it was made with.
    pub fn tokens(&self, keys: &RunTokens) -> impl Iterator<Item = String> {
        keys.signed(KIND, self).filter_map(Result::ok)
    }

    /// What a valid token says.
    ///
    /// # Errors
    /// Why it is none.
    pub fn verify(keys: &RunTokens, token: &str, now_ms: i64) -> Result<Self, TokenError> {
        let claims: Self = keys.opened(KIND, token)?;
        check_times(claims.iat, claims.exp, TOOL_TOKEN_S, now_ms)?;
        let may_call = claims.scope.iter().any(|allowed| allowed == CALL);
        if may_call { Ok(claims) } else { Err(TokenError::Unknown) }
    }
}

/// Whether a text claims to be one of these, whatever it is worth.
pub fn is_tool_token(text: &str) -> bool {
    is_of_kind(KIND, text)
}
