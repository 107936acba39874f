//! What the session wants of an agent that nobody can call is laid on the desk, in the transaction that wants it.

use database::local::Sql;
use serde_json::Value;

use super::{at_desk, bodies};
use crate::acp::request::permission_answer;
use crate::mailbox::desk::{self, NewItem, NotTaken};
use crate::object::core::Core;
use crate::object::transcripts::recovery;
use crate::runtime::{RuntimeError, Stopped};
use crate::session::decide::{self, Decide};
use crate::session::store::Rows;
use crate::session::{Effect, Job, Status};

/// How long the runner is given to end an agent whose session is canceled, in milliseconds.
const CANCEL_GRACE_MS: i64 = 2_000;

/// What is needed beside the session itself.
pub(in crate::object) struct Around<'a> {
    /// The session's own database.
    pub(in crate::object) sql: &'a dyn Sql,
    /// New ids.
    pub(in crate::object) new_id: &'a dyn Fn() -> String,
}

/// Carries out what is to be done with an agent whose runner calls us. What is left begins outside.
pub(in crate::object) fn carry_out(core: &mut Core, decide: &mut Decide<'_>, around: &Around<'_>) {
    // Where the use of a day is limited it is asked before a prompt is laid there, which takes its time.
    let asks_first = decide.user_day.is_some();
    let is_carried = |job: &Job| is_for_agent(job) && !(asks_first && matches!(job, Job::Prompt { .. }));
    // Each round takes one out; what it brings is told to the desk once.
    while core.state.is_at_desk() {
        let is_ours = |effect: &Effect| matches!(effect, Effect::Start(job) if is_carried(job));
        let Some(at) = decide.effects.iter().position(is_ours) else { return };
        if let Effect::Start(job) = decide.effects.remove(at) {
            carry(core, decide, around, job);
        }
    }
}

/// Whether that is done with the agent.
fn is_for_agent(job: &Job) -> bool {
    matches!(
        job,
        Job::Prompt { .. }
            | Job::Tell(_)
            | Job::AskToStop
            | Job::Answer { .. }
            | Job::Kill { .. }
            | Job::End { .. }
            | Job::Attach
            | Job::Extend
            | Job::RenewBroker
            | Job::Keep { .. }
            | Job::KeepPartial
    )
}

fn carry(core: &mut Core, decide: &mut Decide<'_>, around: &Around<'_>, job: Job) {
    let new_id = around.new_id;
    match job {
        Job::Prompt { turn } => prompt(core, decide, around, turn),
        Job::AskToStop => {
            let id = new_id();
            // A desk that has no place for it has the watchdog of the turn.
            let _ = at_desk(core, decide, new_id, |desk, at| desk::interrupt(desk, at, &id));
        }
        Job::Tell(envelope) => {
            // Whatever else the service would answer to is answered by whoever drives the agent.
            let outcome = envelope.get("result").and_then(|result| result.get("outcome"));
            if let (Some(request_id), Some(outcome)) = (envelope.get("id").and_then(Value::as_str), outcome) {
                answer(core, decide, around, request_id, outcome);
            }
        }
        Job::Answer { request_id } => {
            let found = core.state.approvals.iter().find(|approval| approval.request_id == request_id).cloned();
            let Some(approval) = found else { return };
            let envelope = permission_answer(&approval.reply_to, approval.answer());
            let outcome = envelope.get("result").and_then(|result| result.get("outcome")).unwrap_or(&Value::Null);
            let is_taken =
                approval.reply_to.as_str().is_some_and(|reply_to| answer(core, decide, around, reply_to, outcome));
            decide::on_answered(&mut core.state, decide, &request_id, is_taken);
        }
        Job::Kill { turn } => {
            decide::on_killed(&mut core.state, decide, turn, Stopped::Unproven);
            // From now on nothing counts that is said under this lease: the runner ends what it has.
            at_desk(core, decide, new_id, |desk, at| desk::abandon(desk, at, "stop-unproven"));
            fresh(core);
        }
        Job::End { generation, checkpoint } => {
            decide.effects.extend(checkpoint.map(|checkpoint| Effect::Start(Job::Checkpoint(checkpoint))));
            end(core, decide, around, generation);
        }
        // The runner keeps, renews and tells by itself.
        _ => {}
    }
}

/// The agent's next session is the runner's business: nothing here has to be opened anew.
fn fresh(core: &mut Core) {
    if let Some(runtime) = &mut core.state.runtime {
        runtime.server_ended = false;
    }
}

/// Whether the desk takes the answer to the agent's question.
fn answer(core: &mut Core, decide: &mut Decide<'_>, around: &Around<'_>, request_id: &str, outcome: &Value) -> bool {
    let id = (around.new_id)();
    let taken = at_desk(core, decide, around.new_id, |desk, at| desk::answer(desk, at, &id, request_id, outcome));
    matches!(taken, Some(Ok(())))
}

/// Lays the prompt of a turn on the desk, if nothing keeps the turn from being begun by now.
pub(super) fn prompt(core: &mut Core, decide: &mut Decide<'_>, around: &Around<'_>, number: u64) {
    let order = core.state.turn.as_ref().filter(|turn| turn.number == number).map(|turn| turn.order);
    let Some(seq) = order else { return };
    if core.state.holder().is_none() {
        // Its runner was deleted, or the session is on its way elsewhere.
        decide::on_released(&mut core.state, decide, desk::Released::Moved);
        return;
    }
    if !decide::may_begin(&mut core.state, decide, number) {
        return;
    }
    let incoming = core.incoming.as_ref().filter(|(incoming, _)| *incoming == seq).map(|(_, order)| order.clone());
    let order = match incoming {
        Some(order) => Ok(Some(order)),
        None => Rows(around.sql).order(seq),
    };
    let is_kept = core.state.transcript.kept.is_some();
    let found = order.and_then(|order| {
        let Some(order) = order else { return Ok(None) };
        // Whether the agent knows the conversation is known where it is opened, which may be later.
        let before = if is_kept { recovery(&around.sql, &order.message)? } else { None };
        Ok(Some((order, before)))
    });
    let Ok(Some((order, before))) = found else {
        let error = RuntimeError::Failed("the message is gone".to_owned());
        decide::on_prompt_failed(&mut core.state, decide, number, &error);
        return;
    };
    let (id, body) = ((around.new_id)(), bodies::prompt(core, &order, before.as_deref()));
    let laid =
        at_desk(core, decide, around.new_id, |desk, at| desk::prompt(desk, at, NewItem::new(&id, body), number, 1));
    match laid {
        Some(Ok(())) => decide::on_laid(&mut core.state, decide, number, &id),
        Some(Err(error @ NotTaken::TooLarge)) => {
            let error = RuntimeError::Failed(error.to_string());
            decide::on_prompt_failed(&mut core.state, decide, number, &error);
        }
        // What keeps it from being taken has a deadline of its own.
        Some(Err(_)) | None => decide::on_postponed(&mut core.state, decide, number),
    }
}

/// The runtime is to be ended. A runner ends an idle agent by itself; only who will not come back tells it.
fn end(core: &mut Core, decide: &mut Decide<'_>, around: &Around<'_>, generation: u64) {
    let for_good = core.state.ending.is_some_and(|ending| ending.for_good);
    let id = (around.new_id)();
    match core.state.status {
        _ if for_good => {
            let _ = at_desk(core, decide, around.new_id, |desk, at| desk::close(desk, at, &id, "deleted", false, true));
        }
        Status::Canceled => {
            let _ = at_desk(core, decide, around.new_id, |desk, at| desk::cancel(desk, at, &id, CANCEL_GRACE_MS));
        }
        Status::Completed | Status::Failed => {
            let _ =
                at_desk(core, decide, around.new_id, |desk, at| desk::close(desk, at, &id, "completed", true, true));
        }
        Status::Created | Status::Running | Status::Paused => {}
    }
    if let Some(ending) = &mut core.state.ending {
        // The desk waits for the runner's word, not the session.
        ending.for_good = false;
    }
    decide::on_ended(&mut core.state, decide, generation, &Ok(()));
    fresh(core);
}
