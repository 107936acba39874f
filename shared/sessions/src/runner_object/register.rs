//! Registering, new tokens, and being deleted (session-mailbox.md 7.2).

use serde::Deserialize;
use serde_json::json;

use super::answers::{Answered, Refused, ok};
use super::{Platform, RunnerObject};
use crate::error::Error;
use crate::mailbox::Token;
use crate::mailbox::runner::{AuthError, Detach, Registration, detach, register, revoke, rotate};

/// What the front worker says of a registration, which it has checked.
#[derive(Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Asked {
    /// The object's own name.
    pub(crate) key: String,
    /// Whose runner it is.
    pub(crate) user_id: String,
    /// Its name.
    pub(crate) runner_id: String,
    /// Its machine.
    pub(crate) instance_id: String,
    /// Takes the name from another machine that is there.
    pub(crate) replace: bool,
}

impl<P: Platform> RunnerObject<P> {
    fn new_token(key: &str) -> Result<Token, Error> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| Error::Internal(error.to_string()))?;
        Ok(Token::of(key, &secret))
    }

    /// The runner is registered. The answer is for the front worker: the token is told once.
    pub(super) fn register(&self, asked: Asked) -> Answered {
        let token = Self::new_token(&asked.key)?;
        let registration = Registration {
            user_id: asked.user_id,
            runner_id: asked.runner_id,
            instance_id: asked.instance_id,
            replace: asked.replace,
        };
        let hash = token.hash();
        let done = self.change(|runner, decide| register(runner, decide, &asked.key, &registration, hash))??;
        ok(json!({
            "runner-token": token.text(),
            "runner-token-expires-at": done.token_expires_at,
            "runner-epoch": done.epoch,
        }))
    }

    /// A new token beside the one that was shown.
    pub(super) fn rotate(&self) -> Answered {
        let key = self.look(|runner| runner.map(|runner| runner.key.clone()))?.ok_or(AuthError::Unknown)?;
        let token = Self::new_token(&key)?;
        let hash = token.hash();
        let expires_at = self.change(|runner, decide| runner.as_mut().map(|runner| rotate(runner, decide, hash)))?;
        let expires_at = expires_at.ok_or(AuthError::Unknown)?;
        ok(json!({"runner-token": token.text(), "runner-token-expires-at": expires_at}))
    }

    pub(super) fn detach(&self, how: Detach) -> Answered {
        self.change(|runner, decide| runner.as_mut().map(|runner| detach(runner, decide, how)))?;
        ok(json!({"ok": true}))
    }

    /// The runner is deleted. One that is not known is deleted already.
    pub(super) fn revoke(&self) -> Result<(), Refused> {
        self.change(|runner, decide| runner.as_mut().map(|runner| revoke(runner, decide)))?;
        Ok(())
    }
}
