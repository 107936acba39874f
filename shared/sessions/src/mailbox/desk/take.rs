//! What follows from what a runner says.

use super::holder::{failed, finish_prompt, released};
use super::said::Said;
use super::{Decide, Desk, Open, Released, Told};

/// The runner said something, under the lease and from the mailbox that count.
pub(super) fn take(desk: &mut Desk, decide: &mut Decide<'_>, said: Said) {
    match said {
        Said::Opened { runtime_session_id, loaded, cwd, tools } => {
            let Some(holder) = &mut desk.holder else { return };
            let is_new = holder.open != Open::Ready { runtime_session_id: runtime_session_id.clone() };
            holder.open = Open::Ready { runtime_session_id: runtime_session_id.clone() };
            acknowledged(desk, decide, super::ItemKind::Open);
            decide.tell(Told::Opened { runtime_session_id, is_new, loaded, cwd, tools });
        }
        Said::OpenFailed { reason, message } => open_failed(desk, decide, &reason, &message),
        Said::TurnStarted { message_id, .. } => {
            let Some(prompt) = desk.prompt.as_mut().filter(|prompt| prompt.id == message_id) else { return };
            let is_first = !prompt.is_started;
            prompt.is_started = true;
            prompt.is_stored = true;
            // Its acknowledgement was lost, or comes later.
            desk.items.retain(|item| item.id != message_id);
            super::work::quiet(desk);
            if is_first {
                decide.tell(Told::TurnStarted { message_id });
            }
        }
        Said::Update { envelope } => decide.tell(Told::Update(envelope)),
        Said::Permission { request_id, params } => decide.tell(Told::Permission { request_id, params }),
        Said::PermissionVoid { request_ids, reason } => decide.tell(Told::PermissionVoid { request_ids, reason }),
        Said::TurnEnded { message_id, stop_reason, stopped, error, .. } => {
            if finish_prompt(desk, decide, &message_id) {
                decide.tell(Told::TurnEnded { message_id, stop_reason, stopped, error });
            }
        }
        Said::MessageFailed { message_id, reason } => {
            if finish_prompt(desk, decide, &message_id) {
                decide.tell(failed(message_id, &reason));
            } else {
                // It may have been a push, for whoever waits for one.
                decide.tell(Told::push_failed(message_id, &reason));
            }
        }
        Said::Usage(usage) => decide.tell(Told::Usage(usage)),
        Said::State { phase, .. } => {
            if let Some(holder) = &mut desk.holder {
                holder.phase = Some(phase);
            }
        }
        Said::PushDone { push_id, ok, reason, output } => {
            acknowledged_id(desk, decide, &push_id);
            decide.tell(Told::PushDone { push_id, ok, reason, output });
        }
        Said::File { name, sha256, size } => decide.tell(Told::File { name, sha256, size }),
        Said::Tombstone { reason } => decide.tell(Told::OutputRefused { reason }),
        Said::Closed { transcript } => {
            closed(desk, decide, transcript.map(|transcript| (transcript.run, transcript.sha256)));
        }
    }
}

/// What answers an item acknowledges it.
fn acknowledged(desk: &mut Desk, decide: &mut Decide<'_>, kind: super::ItemKind) {
    let found = desk.items.iter().find(|item| item.kind == kind && item.given_at.is_some());
    if let Some(id) = found.map(|item| item.id.clone()) {
        acknowledged_id(desk, decide, &id);
    }
}

fn acknowledged_id(desk: &mut Desk, decide: &mut Decide<'_>, id: &str) {
    let Some(at) = desk.items.iter().position(|item| item.id == id) else { return };
    let item = desk.items.remove(at);
    if let Some(holder) = &mut desk.holder {
        holder.stored = holder.stored.max(item.work_seq);
    }
    decide.push(super::Effect::DropBody(item.id));
    super::work::quiet(desk);
}

/// The agent's session cannot be opened: a prompt that waits for it is over.
pub(super) fn open_failed(desk: &mut Desk, decide: &mut Decide<'_>, reason: &str, message: &str) {
    let Some(holder) = &mut desk.holder else { return };
    if matches!(holder.open, Open::Closed) {
        return;
    }
    holder.open = Open::Closed;
    super::holder::drop_items(desk, decide, |item| item.kind == super::ItemKind::Open);
    decide.tell(Told::OpenFailed { reason: reason.to_owned(), message: message.to_owned() });
    if let Some(id) = desk.prompt.as_ref().map(|prompt| prompt.id.clone()) {
        finish_prompt(desk, decide, &id);
        decide.tell(failed(id, reason));
    }
}

/// The agent's session is over at the runner, which keeps nothing running of it.
pub(super) fn closed(desk: &mut Desk, decide: &mut Decide<'_>, transcript: Option<(u64, String)>) {
    let Some(holder) = &mut desk.holder else { return };
    holder.open = Open::Closed;
    holder.phase = None;
    decide.tell(Told::Closed { transcript });
    if let Some(closing) = desk.closing {
        released(desk, decide, if closing.is_cancel { Released::Canceled } else { Released::Moved });
        return;
    }
    let Some(prompt) = &desk.prompt else { return };
    if prompt.is_stored || prompt.is_started {
        let id = prompt.id.clone();
        finish_prompt(desk, decide, &id);
        decide.tell(failed(id, "turn-interrupted"));
    } else {
        super::holder::need_open(desk, decide);
    }
}
