//! Tokens: made by a registration, replaced daily, never two for long (session-mailbox.md 7.2).

use serde::{Deserialize, Serialize};

use super::{Decide, Runner};
use crate::mailbox::{TokenHash, limits};

/// Tokens that were replaced and are still told from unknown ones. A runner has at most one at a time that it may show by mistake.
const REMEMBERED: usize = 4;

/// A token that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StoredToken {
    /// What is known of it.
    pub hash: TokenHash,
    /// In milliseconds since 1970.
    pub expires_at: i64,
}

/// The tokens of a runner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tokens {
    current: StoredToken,
    /// The one before, until the current one is first used.
    previous: Option<StoredToken>,
    superseded: Vec<TokenHash>,
}

/// Why a token does not count. All are 401; the texts are those of session-mailbox.md 7.2 and 8.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Unknown, or too old.
    #[error("unauthorized")]
    Unknown,
    /// A newer one took its place.
    #[error("runner token superseded")]
    Superseded,
    /// The runner was deleted.
    #[error("runner revoked")]
    Revoked,
}

impl Tokens {
    /// The first token of a runner.
    pub const fn new(hash: TokenHash, expires_at: i64) -> Self {
        Self { current: StoredToken { hash, expires_at }, previous: None, superseded: Vec::new() }
    }

    /// A registration: nothing that was given out before counts any more.
    pub(super) fn replace(&mut self, hash: TokenHash, expires_at: i64) {
        if let Some(previous) = self.previous.take() {
            self.supersede(previous.hash);
        }
        let before = std::mem::replace(&mut self.current, StoredToken { hash, expires_at });
        self.supersede(before.hash);
    }

    fn supersede(&mut self, hash: TokenHash) {
        self.superseded.push(hash);
        let excess = self.superseded.len().saturating_sub(REMEMBERED);
        self.superseded.drain(..excess);
    }

    fn check(&mut self, shown: &TokenHash, now: i64) -> Result<(), AuthError> {
        // All are compared, whichever of them it is.
        let is_current = self.current.hash.matches(shown);
        let is_previous = self.previous.as_ref().is_some_and(|token| token.hash.matches(shown));
        let is_old = self.superseded.iter().fold(false, |found, hash| found | hash.matches(shown));
        if is_current && now < self.current.expires_at {
            if let Some(previous) = self.previous.take() {
                self.supersede(previous.hash);
            }
            return Ok(());
        }
        if is_previous && self.previous.as_ref().is_some_and(|token| now < token.expires_at) {
            return Ok(());
        }
        Err(if is_old { AuthError::Superseded } else { AuthError::Unknown })
    }
}

/// Whether the token of a request counts. A first use of the newest one ends the one before; each request says that the runner is there.
///
/// # Errors
/// [`AuthError`]; then nothing was changed.
pub fn authenticate(runner: &mut Runner, decide: &mut Decide<'_>, shown: &TokenHash) -> Result<(), AuthError> {
    if runner.revoked_at.is_some() {
        return Err(AuthError::Revoked);
    }
    runner.tokens.check(shown, decide.now)?;
    super::presence::seen(runner, decide);
    Ok(())
}

/// A new token for a runner that showed `shown`, which was checked. It counts beside the one that was shown until its first use. A new one
/// that was never used is void. Gives the time at which it expires.
pub fn rotate(runner: &mut Runner, decide: &Decide<'_>, hash: TokenHash) -> i64 {
    let expires_at = decide.now.saturating_add(limits::TOKEN_LIFE_MS);
    let before = std::mem::replace(&mut runner.tokens.current, StoredToken { hash, expires_at });
    if runner.tokens.previous.is_some() {
        runner.tokens.supersede(before.hash);
    } else {
        runner.tokens.previous = Some(before);
    }
    expires_at
}
