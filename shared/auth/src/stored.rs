//! Tokens of users whom the server itself knows.

use std::fmt::Debug;

use crate::Claims;

/// Whoever knows such tokens. Asked for each request, so it answers from memory.
pub trait StoredTokens: Debug + Send + Sync {
    /// Whose token this is; none when it is no token, was revoked or has expired.
    fn claims(&self, token: &str) -> Option<Claims>;

    /// Whether this has the form of such a token, whatever it counts for.
    fn is_one(&self, token: &str) -> bool {
        let _ = token;
        false
    }
}
