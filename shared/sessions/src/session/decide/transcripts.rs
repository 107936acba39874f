//! A turn is over, and its conversation is kept before the next one begins (transcripts.md 4.7).

use serde_json::json;

use super::{Decide, pump};
use crate::event::{Draft, Kind};
use crate::session::transcript::{Keeping, Kept, ResetBy, attempt, run_name};
use crate::session::{Effect, Job, State, Turn};

/// What came of keeping a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// It is kept; another sandbox goes on from it.
    Kept(Kept),
    /// It was stored, but nobody can go on from it; why.
    Incomplete(String),
    /// Nothing was stored; why.
    Failed(String),
    /// There is nothing to be kept.
    Nothing,
}

/// A turn is over. `stop_reason` is the agent's; none when nobody knows what becomes of the turn.
pub(super) fn on_turn_over(state: &mut State, decide: &mut Decide<'_>, turn: &Turn, stop_reason: Option<&str>) {
    if !turn.is_with_agent() {
        return;
    }
    let lease = state.desk.as_ref().filter(|_| state.is_at_desk()).map(|desk| desk.lease);
    state.transcript.note_end(turn.number, lease, decide.now);
    let can_load = state.runtime.as_ref().is_some_and(|runtime| runtime.can_load);
    if !can_load || stop_reason.is_none_or(|reason| reason == "cancelled") || state.status.is_terminal() {
        return;
    }
    let lease = state.lease(decide.now, decide.times.keeping());
    state.transcript.keeping = Some(Keeping { lease, run: turn.number, attempt: attempt(turn) });
    decide.push(Effect::Start(Job::Keep { generation: lease.generation }));
}

/// A run was kept, or could not be. The next one may begin.
pub fn on_kept(state: &mut State, decide: &mut Decide<'_>, generation: u64, outcome: Keep) {
    let Some(keeping) = state.transcript.keeping.take_if(|keeping| keeping.lease.generation == generation) else {
        return;
    };
    let run = run_name(keeping.run);
    match outcome {
        Keep::Kept(kept) => note(state, kept),
        Keep::Incomplete(why) => on_stored_incomplete(state, decide, keeping.run, &why),
        Keep::Failed(why) => {
            let draft = Draft::new(Kind::stored("transcript.failed"), json!({"run": run, "error": why}));
            decide.append(state, draft);
        }
        Keep::Nothing => {}
    }
    super::runtime::end_after_keeping(state, decide);
    pump(state, decide);
}

/// A run was kept by whoever ran the agent.
pub fn on_stored(state: &mut State, kept: Kept) {
    note(state, kept);
}

/// A run was kept that nobody can go on from: it is there for people.
pub fn on_stored_incomplete(state: &mut State, decide: &mut Decide<'_>, run: u64, why: &str) {
    let told = json!({"run": run_name(run), "error": why});
    decide.append(state, Draft::new(Kind::stored("transcript.incomplete"), told));
}

/// The last run counts, whatever the order in which they are kept.
fn note(state: &mut State, kept: Kept) {
    let is_newer = state.transcript.kept.as_ref().is_none_or(|known| known.run <= kept.run);
    if is_newer {
        state.transcript.kept = Some(kept);
    }
}

/// The conversation is begun anew under a higher epoch: by a person, or by the run that goes on. Between turns the agent forgets
/// it too; one whose runner calls us is told when it gets its next prompt, or the one that it does not have yet.
pub fn on_reset(state: &mut State, decide: &mut Decide<'_>, epoch: u64, by: Option<&str>, run: Option<u64>) {
    let before = state.transcript.epoch.replace(epoch).unwrap_or_default();
    state.transcript.kept = None;
    state.transcript.is_lost = false;
    state.transcript.forget_leases();
    let earlier = state.transcript.reset_by.filter(|reset| Some(reset.run) == run);
    state.transcript.reset_by = earlier.or(run.map(|run| ResetBy { run, from: before }));
    let is_at_it = state.turn.is_some() && (!state.is_at_desk() || super::mailbox::is_given(state));
    if !is_at_it {
        state.transcript.number = state.transcript.number.saturating_add(1);
        if let Some(runtime) = state.runtime.as_mut().filter(|runtime| !runtime.is_mailbox()) {
            runtime.server_ended = true;
        }
    }
    let draft = Draft::new(Kind::stored("transcript.reset"), json!({"by": by.unwrap_or("agent"), "epoch": epoch}));
    decide.append(state, draft);
}

/// Keeping a run took too long.
pub(super) fn on_alarm(state: &mut State, decide: &mut Decide<'_>) {
    let keeping = state.transcript.keeping.filter(|keeping| keeping.lease.until <= decide.now);
    if let Some(keeping) = keeping {
        on_kept(state, decide, keeping.lease.generation, Keep::Failed("it took too long".to_owned()));
    }
}
