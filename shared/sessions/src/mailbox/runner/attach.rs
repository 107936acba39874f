//! One process of a runner counts: the last one that attached (session-mailbox.md 7.3).

use super::{Attachment, Decide, Effect, Runner, Woken};

/// The version of the protocol that is spoken here.
pub const PROTOCOL: u64 = 1;

/// A process was attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// How often the runner was registered.
    pub epoch: u64,
    /// The sessions that the object knows as bound. What each of them says of the runner's copy is asked of the session itself.
    pub sessions: Vec<String>,
}

/// Why a process may not ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// The token is that of another machine: it was copied.
    #[error("instance mismatch")]
    InstanceMismatch,
    /// Another version of the protocol.
    #[error("protocol not supported")]
    Protocol,
    /// It did not say which process it is.
    #[error("missing attach id")]
    Missing,
    /// Another process attached since.
    #[error("runner superseded")]
    Superseded,
}

/// A process attaches. From now on no other one is answered.
///
/// # Errors
/// [`AttachError::InstanceMismatch`], [`AttachError::Protocol`]; then nothing was changed.
pub fn attach(
    runner: &mut Runner,
    decide: &mut Decide<'_>,
    instance_id: &str,
    protocol: u64,
    attachment: Attachment,
) -> Result<Attached, AttachError> {
    if protocol != PROTOCOL {
        return Err(AttachError::Protocol);
    }
    if runner.instance_id != instance_id {
        return Err(AttachError::InstanceMismatch);
    }
    if runner.attach.replace(attachment).is_some() {
        decide.push(Effect::EndWaiting(Woken::Superseded));
    }
    // What was given out to the process before may be lost: everything is fetched again.
    for bound in runner.sessions.values_mut() {
        bound.rings = bound.rings.saturating_add(1);
    }
    Ok(Attached { epoch: runner.epoch, sessions: runner.sessions.keys().cloned().collect() })
}

/// Whether a request is of the process that counts.
///
/// # Errors
/// [`AttachError::Missing`], [`AttachError::Superseded`].
pub fn check_attach(runner: &Runner, shown: Option<&str>) -> Result<(), AttachError> {
    let shown = shown.ok_or(AttachError::Missing)?;
    let counts = runner.attach.as_ref().is_some_and(|attach| attach.id == shown);
    if counts { Ok(()) } else { Err(AttachError::Superseded) }
}
