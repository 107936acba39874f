//! Which tokens of runs count for git (agents.md 20.6).

use transcripts::run_token::{Claims, GIT};

use super::State;
use crate::runtime::BOUND_TO;

/// Whether whoever holds a token may ask for git's credentials: it is of this user's session, of the last run that began, and of the
/// sandbox in which the session works, or of the one that is being made for it. So a token of an earlier run or of another sandbox is
/// worth nothing, and none counts while the runtime is paused.
pub fn may_use_git(state: &State, claims: &Claims, is_being_made: impl Fn(&str) -> bool) -> bool {
    let Some(sandbox) = claims.rest.get(BOUND_TO).and_then(serde_json::Value::as_str) else { return false };
    let runs = claims.run.as_ref().map_or(0, |run| run.seq);
    let is_ours = claims.sid == state.id && claims.sub == state.requested_by && claims.allows(GIT);
    let works = match &state.runtime {
        Some(runtime) => state.runtime_active && runtime.sandbox_id.as_deref() == Some(sandbox),
        None => state.provisioning.is_some() && is_being_made(sandbox),
    };
    let is_open = !state.archived && state.removal.is_none() && !state.status.is_terminal();
    is_ours && is_open && works && runs == state.turns
}
