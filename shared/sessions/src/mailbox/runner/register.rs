//! Registering, and being deleted (session-mailbox.md 7.2).

use std::collections::BTreeMap;

use super::{Decide, Effect, Runner, Tokens, Woken};
use crate::mailbox::{Offline, Presence, TokenHash, limits};

/// A runner that is registered by its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Whose it is.
    pub user_id: String,
    /// Its name.
    pub runner_id: String,
    /// Its machine.
    pub instance_id: String,
    /// Takes the name from another machine that is there.
    pub replace: bool,
}

/// What a registration gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// How often the runner was registered.
    pub epoch: u64,
    /// When its token expires, in milliseconds since 1970.
    pub token_expires_at: i64,
}

/// Why a runner is not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// Another machine has this name and was seen lately; when.
    #[error("runner id in use")]
    InUse(i64),
    /// This object is that of a runner that was deleted: whoever registers anew gets another key.
    #[error("runner revoked")]
    Revoked,
}

/// A runner is registered, for the first time or again. The token that is given out now is the only one that counts, and no process does
/// until it attaches.
///
/// # Errors
/// [`RegisterError`]; then nothing was changed.
pub fn register(
    known: &mut Option<Runner>,
    decide: &mut Decide<'_>,
    key: &str,
    registration: &Registration,
    token: TokenHash,
) -> Result<Registered, RegisterError> {
    let now = decide.now;
    let token_expires_at = now.saturating_add(limits::TOKEN_LIFE_MS);
    let Some(runner) = known else {
        *known = Some(Runner {
            key: key.to_owned(),
            user_id: registration.user_id.clone(),
            runner_id: registration.runner_id.clone(),
            instance_id: registration.instance_id.clone(),
            epoch: 1,
            tokens: Tokens::new(token, token_expires_at),
            attach: None,
            presence: Presence { number: 1, offline: None, last_seen_at: now },
            detached: None,
            seen_written_at: now,
            sessions: BTreeMap::new(),
            revoked_at: None,
        });
        return Ok(Registered { epoch: 1, token_expires_at });
    };
    if runner.revoked_at.is_some() {
        return Err(RegisterError::Revoked);
    }
    let is_other = runner.instance_id != registration.instance_id;
    let seen = runner.presence.last_seen_at;
    if is_other && !registration.replace && now.saturating_sub(seen) <= limits::IN_USE_MS {
        return Err(RegisterError::InUse(seen));
    }
    runner.instance_id.clone_from(&registration.instance_id);
    runner.epoch = runner.epoch.saturating_add(1);
    runner.tokens.replace(token, token_expires_at);
    if runner.attach.take().is_some() {
        decide.push(Effect::EndWaiting(Woken::Superseded));
    }
    match (is_other, runner.presence.offline) {
        // The machine that is registered counts as the one that is known.
        (false, _) => super::presence::seen(runner, decide),
        // Nobody is there until the other machine attaches.
        (true, None) => super::presence::change(runner, decide, Some(Offline::Superseded)),
        (true, Some(_)) => {}
    }
    Ok(Registered { epoch: runner.epoch, token_expires_at })
}

/// The runner is deleted. Its sessions are told, and go on with another one.
pub fn revoke(runner: &mut Runner, decide: &mut Decide<'_>) {
    if runner.revoked_at.is_some() {
        return;
    }
    runner.revoked_at = Some(decide.now);
    runner.attach = None;
    runner.detached = None;
    decide.push(Effect::EndWaiting(Woken::Revoked));
    super::presence::change(runner, decide, Some(Offline::Revoked));
}
