//! The working tree is looked at before a sandbox is left, and after it was come back to (agents.md 5.3.10).

use serde_json::json;

use super::Decide;
use crate::event::{Draft, Kind};
use crate::runtime::Runtime;
use crate::session::{Phase, State};
use crate::workspace::{Bundle, Look, Tree};

/// The tree is about to be kept before the runtime is ended: the end has as much longer. False when it is not wanted any more.
pub fn begin_saving(state: &mut State, decide: &Decide<'_>, generation: u64) -> bool {
    let until = decide.after(decide.times.saving().saturating_add(decide.times.ending()));
    match &mut state.ending {
        Some(ending) if ending.lease.generation == generation => {
            ending.lease.until = until;
            true
        }
        _ => false,
    }
}

/// The tree is about to be kept before the sandbox of an agent that does not stop is paused.
pub fn on_saving_before_kill(state: &mut State, decide: &Decide<'_>, number: u64, limit: i64) {
    let until = decide.after(limit.saturating_add(decide.times.killing()));
    if let Some(turn) = &mut state.turn
        && turn.number == number
        && matches!(turn.phase, Phase::Killing(_))
    {
        turn.until = until;
    }
}

/// The tree was looked at before the runtime is left; none when nobody could look, or there is none.
pub fn on_looked(state: &mut State, look: Option<Look>) {
    if look.as_ref().is_some_and(|look| !look.is_unpushed) {
        // What is brought back must not be older than what was pushed.
        state.workspace.bundle = None;
    }
    state.workspace.seen = look;
}

/// A bundle of the tree was stored.
pub fn on_bundled(state: &mut State, bundle: Bundle) {
    state.workspace.bundle = Some(bundle);
}

/// Something that was not pushed could not be kept: whoever looks on is told.
pub fn on_unsaved(state: &mut State, decide: &mut Decide<'_>, reason: &str, bytes: Option<u64>) {
    let mut data = json!({"reason": reason});
    if let (Some(members), Some(bytes)) = (data.as_object_mut(), bytes) {
        members.insert("bytes".to_owned(), bytes.into());
    }
    decide.append(state, Draft::new(Kind::stored("sandbox.workspace.unsaved"), data));
}

/// The sandbox was resumed for somebody who looks at its files. It is paused again when nothing happens.
pub fn on_resumed(state: &mut State, decide: &Decide<'_>, resumed: &Runtime) {
    if let Some(runtime) = &mut state.runtime
        && runtime.sandbox_id == resumed.sandbox_id
    {
        runtime.sandbox_domain.clone_from(&resumed.sandbox_domain);
        runtime.secrets.envd_token.clone_from(&resumed.secrets.envd_token);
        runtime.secrets.traffic_token.clone_from(&resumed.secrets.traffic_token);
        state.runtime_active = true;
        state.active_at = decide.now;
    }
}

/// Somebody is about to use the runtime: how its tree was left, once.
pub fn take_seen(state: &mut State) -> Option<Tree> {
    state.workspace.seen.take().map(|look| look.tree)
}

/// The runtime is awake, and its tree was looked at again. A difference is told.
pub fn on_compared(state: &mut State, decide: &mut Decide<'_>, before: &Tree, after: &Tree) {
    if before != after {
        let data = json!({"before": before.told(), "after": after.told()});
        decide.append(state, Draft::new(Kind::stored("sandbox.workspace.changed"), data));
    }
}

/// What was not pushed was brought back into a new sandbox, or could not be; why.
pub fn on_restored(state: &mut State, decide: &mut Decide<'_>, bundle: &Bundle, result: Result<(), &str>) {
    let (name, data) = match result {
        Ok(()) => ("sandbox.restore.succeeded", json!({"bundle": bundle.id})),
        Err(reason) => ("sandbox.restore.failed", json!({"bundle": bundle.id, "reason": reason})),
    };
    decide.append(state, Draft::new(Kind::stored(name), data));
    // Before the next prompt it is looked whether the tree is the one that was kept.
    state.workspace.seen = result.ok().map(|()| Look { tree: bundle.tree.clone(), is_unpushed: true });
}
