//! Which tokens of runs count for git (agents.md 20.6).

use transcripts::run_token::{Claims, GIT};

use super::State;
use crate::runtime::BOUND_TO;

/// The claim that names the lease under which a runner has a token (session-mailbox.md 7.5).
pub const HELD_UNDER: &str = "lease";

/// Whether whoever holds a token may ask for git's credentials: it is of this user's session, of the last run that began, and of the
/// sandbox in which the session works, or of the one that is being made for it, or of the runner that has the session now. So a token of an
/// earlier run, of another sandbox or of a runner that lost the session is worth nothing, and none counts while the runtime is paused.
pub fn may_use_git(state: &State, claims: &Claims, is_being_made: impl Fn(&str) -> bool) -> bool {
    let runs = claims.run.as_ref().map_or(0, |run| run.seq);
    let is_ours = claims.sid == state.id && claims.sub == state.requested_by && claims.allows(GIT);
    let sandbox = claims.rest.get(BOUND_TO).and_then(serde_json::Value::as_str);
    let lease = claims.rest.get(HELD_UNDER).and_then(serde_json::Value::as_u64);
    let works = match (&state.runtime, sandbox, lease) {
        (Some(runtime), Some(sandbox), None) => state.runtime_active && runtime.sandbox_id.as_deref() == Some(sandbox),
        (None, Some(sandbox), None) => state.provisioning.is_some() && is_being_made(sandbox),
        (Some(runtime), None, Some(lease)) => {
            let desk = state.desk.as_ref().filter(|desk| desk.holder.is_some() && runtime.is_mailbox());
            desk.is_some_and(|desk| desk.lease == lease)
        }
        _ => false,
    };
    let is_open = !state.archived && state.removal.is_none() && !state.status.is_terminal();
    is_ours && is_open && works && runs == state.turns
}
