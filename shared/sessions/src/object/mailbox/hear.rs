//! What the desk tells, as something that happens to the session.

use serde_json::{Value, json};

use super::{at_desk, bodies};
use crate::acp::PermissionRequest;
use crate::event::{Draft, Kind};
use crate::legacy::Dialect;
use crate::mailbox::desk::{self, NewItem, Told};
use crate::object::core::Core;
use crate::object::reader::take_envelope;
use crate::object::transcripts::note_opened_as;
use crate::session::Effect;
use crate::session::decide::{self, Decide, Policy, TurnOver};

/// Reasons for which a question may be void, as clients are told; any other is told as the first.
const VOID: [&str; 4] = ["withdrawn", "agent-gone", "turn-ended", "cancelled"];

pub(super) fn hear(core: &mut Core, decide: &mut Decide<'_>, told: Told, new_id: &dyn Fn() -> String) {
    if core.state.removal.is_some() && !matches!(told, Told::PushDone { .. }) {
        // Nobody reads what is stored of it any more.
        return;
    }
    match told {
        Told::OpenNeeded => {
            let item = NewItem::new(&new_id(), bodies::open(core));
            // A desk that is full or being left asks again.
            let _ = at_desk(core, decide, new_id, |desk, at| desk::open(desk, at, item));
        }
        Told::Opened { runtime_session_id, is_new, loaded, cwd, tools } => {
            core.state.tools.opened_there(tools);
            if is_new {
                let resumed = bodies::resumed_session(core).is_some();
                note_opened_as(core, decide, loaded && resumed, &runtime_session_id);
            }
            decide::on_opened(&mut core.state, decide, &runtime_session_id, &cwd, is_new);
        }
        Told::OpenFailed { reason, message } => error(core, decide, &message, &reason),
        Told::TurnStarted { message_id } => decide::on_started(&mut core.state, decide, &message_id),
        // An answer to the prompt ends nothing by itself: what was said before it may come after it.
        Told::Update(envelope) if envelope.get("method").is_none() => {
            if let Some(usage) = envelope.get("result").and_then(|result| result.get("usage")) {
                used(core, decide, usage);
            }
        }
        Told::Update(envelope) => take_envelope(core, decide, envelope, Dialect::Acp, new_id),
        Told::Permission { request_id, params } => {
            let request = PermissionRequest::read(&params);
            let policy = request.as_ref().map_or(Policy::Deny, |request| Policy::of(&core.task, request));
            let reply_to = Value::from(request_id);
            decide::on_permission(&mut core.state, decide, &new_id(), reply_to, request, policy);
        }
        Told::PermissionVoid { request_ids, reason } => {
            let reason = VOID.into_iter().find(|known| *known == reason).unwrap_or("withdrawn");
            // As many as one event may name.
            for id in request_ids {
                decide::on_voided(&mut core.state, decide, &Value::from(id), reason);
            }
        }
        Told::TurnEnded { message_id, stop_reason, stopped, error } => {
            turn_ended(core, decide, &message_id, &stop_reason, stopped.as_deref(), error.as_deref());
        }
        Told::MessageFailed { message_id, reason } => {
            decide::on_message_failed(&mut core.state, decide, &message_id, &reason);
        }
        Told::MessageReturned { message_id } => {
            decide::on_message_returned(&mut core.state, decide, &message_id);
        }
        Told::Usage(usage) => used(core, decide, &usage),
        Told::PushDone { push_id, ok, reason, output } => super::pushing::on_done(core, &push_id, ok, reason, output),
        Told::Closed { .. } => {}
        Told::NotMoved => {
            decide::on_not_moved(&mut core.state);
            // Whoever asked for the move may not wait for its answer any more.
            let message = "the runner did not answer; the session stays where it is";
            decide.append(
                &mut core.state,
                Draft::new(Kind::RunnerNotice, json!({"code": "not-moved", "message": message})),
            );
        }
        Told::File { name, sha256, size } => {
            let data = json!({"name": name, "sha256": sha256, "size": size});
            decide.append(&mut core.state, Draft::new(Kind::AgentFile, data));
        }
        Told::OutputRefused { reason } => {
            let text = format!("something that the agent said was left out: {reason}");
            error(core, decide, &text, "output-refused");
        }
        Told::HolderChanged => holder_changed(core, decide),
        Told::Released(why) => decide::on_released(&mut core.state, decide, why),
        Told::Offline { runner_id, reason, last_seen_at } => {
            decide::on_runner_away(&mut core.state, decide, &runner_id, reason, last_seen_at);
        }
        Told::Online { runner_id, offline_ms } => {
            decide::on_runner_back(&mut core.state, decide, &runner_id, offline_ms);
        }
        Told::Notice { code, message } => {
            let data = json!({"code": code, "message": message});
            decide.append(&mut core.state, Draft::new(Kind::RunnerNotice, data));
        }
    }
}

fn error(core: &mut Core, decide: &mut Decide<'_>, text: &str, reason: &str) {
    let id = core.state.id.clone();
    decide.append(&mut core.state, Draft::runtime_error(&id, text, Some(reason)));
}

/// What the agent has said in the turn becomes one message; then the turn is over.
fn turn_ended(
    core: &mut Core,
    decide: &mut Decide<'_>,
    message_id: &str,
    stop_reason: &str,
    stopped: Option<&str>,
    error: Option<&str>,
) {
    let is_current = |turn: &&crate::session::Turn| turn.message_id.as_deref() == Some(message_id);
    let Some(turn) = core.state.turn.as_ref().filter(is_current) else { return };
    let session = turn.runtime_session_id.clone();
    let message = session.as_deref().and_then(|session| core.turns.finish(session)).map(|(number, message)| {
        decide.append(&mut core.state, message);
        number
    });
    core.pieces.clear();
    core.dirty.texts = true;
    let ended = TurnOver { stop_reason, stopped, error, message };
    decide::on_turn_over(&mut core.state, decide, message_id, ended);
}

/// The agent's use, where its runner knows more of it than the agent's own updates say.
fn used(core: &mut Core, decide: &mut Decide<'_>, usage: &Value) {
    // It has the form of the end of a prompt (agents.md 20.1).
    if let Some(report) = crate::acp::usage(&json!({"result": {"usage": usage}})) {
        let session = core.state.runtime.as_ref().map(|runtime| runtime.session_id.clone());
        decide::on_usage(&mut core.state, decide, session.as_deref(), &report);
    }
}

/// The agent that was there is gone, with whatever it had asked and not finished.
fn holder_changed(core: &mut Core, decide: &mut Decide<'_>) {
    super::pushing::on_holder_changed(core);
    let open: Vec<Value> = core.state.approvals.iter().map(|approval| approval.reply_to.clone()).collect();
    for reply_to in open {
        decide::on_voided(&mut core.state, decide, &reply_to, "agent-gone");
    }
    core.pieces.clear();
    decide.effects.push(Effect::ClearTexts);
    if let Some(runtime) = core.state.runtime.as_mut().filter(|runtime| runtime.is_mailbox()) {
        runtime.session_id.clear();
    }
}
