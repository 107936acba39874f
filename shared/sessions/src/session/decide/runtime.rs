//! Runtimes come and go (agents.md 3.6.2, 3.13, 3.14).

use super::approvals::close_all;
use super::turns::{forget_runtime, take_order};
use super::{Decide, pump};
use crate::event::{Draft, Provisioned as ProvisionedData};
use crate::runtime::{BuildState, Building, Made, Runtime, RuntimeError};
use crate::session::{Build, Checkpointing, Effect, Ending, Job, Lease, Provisioning, State};

/// What came of making a runtime, for whoever waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provisioned {
    /// The runtime is there.
    Ready,
    /// Its template is being built.
    Building,
    /// Nothing: why.
    Failed(RuntimeError),
    /// Somebody else has taken over: what was made is dropped.
    Late,
}

/// Begins to make a runtime. Gives the generation of the work.
pub fn begin_provisioning(state: &mut State, decide: &mut Decide<'_>, for_orders: bool) -> u64 {
    let lease = state.lease(decide.now, decide.times.lease(60_000));
    let deadline = decide.after(decide.times.provisioning());
    state.tools.begin_anew();
    state.provisioning = Some(Provisioning { lease, deadline, for_orders });
    decide.push(Effect::Start(Job::Provision { generation: lease.generation }));
    lease.generation
}

/// A step of making a runtime begins that takes at most so many milliseconds: its lease is made longer. False when the work is not
/// wanted any more.
pub fn on_provision_step(state: &mut State, decide: &Decide<'_>, generation: u64, limit: i64) -> bool {
    let until = decide.after(decide.times.lease(limit));
    match &mut state.provisioning {
        Some(work) if work.lease.generation == generation => {
            work.lease.until = until.min(work.deadline);
            true
        }
        _ => false,
    }
}

/// A runtime was made, or could not be.
pub fn on_provisioned(
    state: &mut State,
    decide: &mut Decide<'_>,
    generation: u64,
    made: Result<Made, RuntimeError>,
) -> Provisioned {
    let Some(work) = state.provisioning.filter(|work| work.lease.generation == generation) else {
        if let Ok(Made::Ready(runtime)) = made
            && let Some(sandbox_id) = runtime.sandbox_id
        {
            decide.push(Effect::Start(Job::Destroy { sandbox_id }));
        }
        return Provisioned::Late;
    };
    state.provisioning = None;
    match made {
        Ok(Made::Ready(runtime)) => {
            bind(state, decide, *runtime);
            Provisioned::Ready
        }
        Ok(Made::Building(building)) => {
            decide.append(state, build_event("sandbox.template.building", &building, None));
            let (poll_at, deadline) = (decide.now, decide.after(decide.times.building()));
            state.template_rebuilt = building.again;
            state.build = Some(Build { building, poll_at, deadline });
            Provisioned::Building
        }
        Err(error) => {
            failed(state, decide, work.for_orders, &error);
            Provisioned::Failed(error)
        }
    }
}

fn bind(state: &mut State, decide: &mut Decide<'_>, runtime: Runtime) {
    if runtime.is_mailbox() {
        // Its runner tells when the agent is there.
        state.runtime = Some(runtime);
        state.runtime_active = true;
        if state.status.is_terminal() {
            end_bare(state, decide);
        }
        pump(state, decide);
        return;
    }
    decide.append(
        state,
        Draft::session_provisioned(&ProvisionedData {
            provider: Some(runtime.provider.as_str()),
            runtime_session_id: Some(&runtime.session_id),
            runner_id: runtime.runner_id.as_deref(),
            sandbox_id: runtime.sandbox_id.as_deref(),
            sandbox_name: runtime.sandbox_id.as_deref(),
            sprite_name: None,
        }),
    );
    state.runtime = Some(runtime);
    state.runtime_active = true;
    state.template_rebuilt = false;
    if state.status.is_terminal() {
        // Cancelled while it was being made.
        end_bare(state, decide);
    } else {
        decide.push(Effect::Start(Job::Attach));
    }
    pump(state, decide);
}

/// No runtime could be had. Orders wait for a person; whoever created the session is answered, others are told.
fn failed(state: &mut State, decide: &mut Decide<'_>, is_told: bool, error: &RuntimeError) {
    if !state.orders.is_empty() {
        state.stalled = true;
    }
    if is_told {
        super::turns::tell(state, decide, error);
    }
}

fn build_event(name: &str, building: &Building, reason: Option<&str>) -> Draft {
    let mut data = serde_json::json!({"template": building.name, "build-id": building.build_id});
    if let (Some(members), Some(reason)) = (data.as_object_mut(), reason) {
        members.insert("reason".to_owned(), reason.into());
    }
    Draft::new(crate::event::Kind::stored(name), data)
}

/// The build of a template was looked at.
pub fn on_build(state: &mut State, decide: &mut Decide<'_>, build_id: &str, seen: Result<BuildState, RuntimeError>) {
    let Some(mut build) = state.build.take_if(|build| build.building.build_id == build_id) else { return };
    match seen {
        Ok(BuildState::Ready) => {
            decide.append(state, build_event("sandbox.template.ready", &build.building, None));
            if state.status.is_terminal() {
                return;
            }
            begin_provisioning(state, decide, true);
        }
        Ok(BuildState::Failed(reason)) => build_failed(state, decide, &build.building, &reason),
        // Looked at again until its hard end.
        Ok(BuildState::Running) | Err(_) => {
            build.poll_at = decide.after(decide.times.build_poll());
            state.build = Some(build);
        }
    }
}

pub(super) fn build_failed(state: &mut State, decide: &mut Decide<'_>, building: &Building, reason: &str) {
    decide.append(state, build_event("sandbox.template.failed", building, Some(reason)));
    state.template_rebuilt = false;
    failed(state, decide, true, &RuntimeError::Failed("the project's template could not be built".to_owned()));
}

/// The sandbox that the session is bound to does not exist any more (agents.md 3.8, B14): the session is cancelled, and the next
/// message makes a new runtime.
pub fn on_runtime_lost(state: &mut State, decide: &mut Decide<'_>, error: &str) {
    close_all(state, decide, "agent-gone");
    if let Some(turn) = state.turn.take() {
        take_order(state, decide, turn.order);
        super::transcripts::on_turn_over(state, decide, &turn, None);
    }
    let runtime = state.runtime.as_ref();
    let draft = Draft::sandbox_missing(
        runtime.map(|runtime| runtime.session_id.as_str()),
        runtime.and_then(|runtime| runtime.sandbox_id.as_deref()),
        error,
    );
    decide.append(state, draft);
    decide.push(Effect::ClearTexts);
    state.ending = None;
    forget_runtime(state, decide);
}

/// The runtime says that the task is done: the snapshot is noted, the runtime is ended.
pub fn on_task_completed(state: &mut State, decide: &mut Decide<'_>) {
    drop_running_turn(state, decide);
    end(state, decide, Checkpointing { by: None, reason: "session-completed" });
}

/// The runtime says that the session is cancelled: the runtime is ended.
pub fn on_task_canceled(state: &mut State, decide: &mut Decide<'_>) {
    drop_running_turn(state, decide);
    end_bare(state, decide);
}

fn drop_running_turn(state: &mut State, decide: &mut Decide<'_>) {
    close_all(state, decide, "turn-ended");
    if let Some(turn) = state.turn.take() {
        take_order(state, decide, turn.order);
        super::transcripts::on_turn_over(state, decide, &turn, None);
    }
    decide.push(Effect::ClearTexts);
}

/// Notes the snapshot and ends the runtime. When a turn is being stopped, the runtime waits for it.
pub(super) fn end(state: &mut State, decide: &mut Decide<'_>, checkpoint: Checkpointing) {
    begin_end(state, decide, Some(checkpoint));
}

/// Ends the runtime.
pub(super) fn end_bare(state: &mut State, decide: &mut Decide<'_>) {
    begin_end(state, decide, None);
}

/// Ends the runtime of a session that has been quiet for long, or whose pull request is there; the status stays.
pub fn end_quietly(state: &mut State, decide: &mut Decide<'_>, checkpoint: Checkpointing) {
    if state.turn.is_none() && state.ending.is_none() {
        begin_end(state, decide, Some(checkpoint));
    }
}

/// Ends the runtime and forgets it: a sandbox is removed.
pub(super) fn end_for_good(state: &mut State, decide: &mut Decide<'_>) {
    begin_end(state, decide, None);
    if let Some(ending) = &mut state.ending {
        ending.for_good = true;
    }
}

fn begin_end(state: &mut State, decide: &mut Decide<'_>, checkpoint: Option<Checkpointing>) {
    if state.runtime.is_none() {
        return;
    }
    if state.turn.is_some() {
        // The turn is being stopped; when it is over the runtime is ended. What is known of snapshots is noted now.
        if let Some(checkpoint) = checkpoint {
            decide.push(Effect::Start(Job::Checkpoint(checkpoint)));
        }
        return;
    }
    if let Some(keeping) = state.transcript.keeping {
        // The conversation lies in the sandbox until it is kept.
        decide.effects.extend(checkpoint.map(|checkpoint| Effect::Start(Job::Checkpoint(checkpoint))));
        let lease = Lease { until: keeping.lease.until, ..state.lease(decide.now, 0) };
        state.ending = Some(Ending { lease, attempt: 0, waiting: true, for_good: false });
        return;
    }
    let lease = state.lease(decide.now, decide.times.ending());
    state.ending = Some(Ending { lease, attempt: 0, waiting: false, for_good: false });
    decide.push(Effect::Start(Job::End { generation: lease.generation, checkpoint }));
}

/// The conversation is kept, or will not be: a runtime whose end waited for that is ended.
pub(super) fn end_after_keeping(state: &mut State, decide: &mut Decide<'_>) {
    let until = decide.after(decide.times.ending());
    // One that waits for a further try has failed before.
    let Some(ending) = state.ending.as_mut().filter(|ending| ending.waiting && ending.attempt == 0) else { return };
    ending.waiting = false;
    ending.lease.until = until;
    let generation = ending.lease.generation;
    decide.push(Effect::Start(Job::End { generation, checkpoint: None }));
}

/// A try to end the runtime is over.
pub fn on_ended(state: &mut State, decide: &mut Decide<'_>, generation: u64, result: &Result<(), RuntimeError>) {
    let Some(ending) = state.ending.filter(|ending| ending.lease.generation == generation) else { return };
    let is_gone = matches!(result, Ok(()) | Err(RuntimeError::SandboxMissing(_)));
    if !is_gone && let Some(pause) = decide.times.next_end(ending.attempt) {
        let lease = state.lease(decide.now, pause);
        let attempt = ending.attempt.saturating_add(1);
        state.ending = Some(Ending { lease, attempt, waiting: true, ..ending });
        return;
    }
    // After the last try the search for orphaned sandboxes takes over.
    state.ending = None;
    state.runtime_active = false;
    if ending.for_good {
        forget_runtime(state, decide);
        super::arrive(state, decide);
    }
    if let Some(runtime) = &mut state.runtime
        && runtime.sandbox_id.is_none()
    {
        runtime.server_ended = true;
    }
    pump(state, decide);
}
