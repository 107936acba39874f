//! Who has the session (session-mailbox.md 7.3, 7.5): bound, opened, taken away.

use serde_json::json;

use super::state::{Closing, Holder, Open, Outage};
use super::work::{self, NewItem, NotTaken};
use super::{Decide, Desk, Effect, ItemKind, Released, Told};
use crate::mailbox::{Presence, limits};

/// Between two askings that the session be opened.
const ASK_AGAIN_MS: i64 = 30_000;

/// The session is given to a runner, which may be away. It was nobody's before.
///
/// # Errors
/// [`NotTaken::Held`]: somebody has it.
pub fn bind(
    desk: &mut Desk,
    decide: &mut Decide<'_>,
    runner_key: &str,
    runner_id: &str,
    presence: Presence,
) -> Result<(), NotTaken> {
    if desk.holder.is_some() {
        return Err(NotTaken::Held);
    }
    desk.lease = desk.lease.saturating_add(1);
    let outage = presence.offline.map(|reason| Outage { reason, since: presence.last_seen_at });
    desk.holder = Some(Holder {
        runner_key: runner_key.to_owned(),
        runner_id: runner_id.to_owned(),
        mailbox: None,
        accepted: 0,
        stored: 0,
        generation: 0,
        open: Open::Closed,
        phase: None,
        presence: presence.number,
        outage,
        last_seen_at: presence.last_seen_at,
        held_until: None,
    });
    if let Some(Outage { reason, since }) = outage {
        decide.tell(Told::Offline { runner_id: runner_id.to_owned(), reason, last_seen_at: since });
    }
    Ok(())
}

/// The agent's session is to be opened, with this body. A prompt that waits goes after it.
///
/// # Errors
/// [`NotTaken`].
pub fn open(desk: &mut Desk, decide: &mut Decide<'_>, item: NewItem) -> Result<(), NotTaken> {
    let holder = work::open_holder(desk)?;
    match holder.open {
        Open::Closed | Open::Needed { .. } => {}
        Open::Asked { .. } | Open::Ready { .. } => return Ok(()),
    }
    holder.open = Open::Asked { acked_at: None };
    work::put(desk, decide, ItemKind::Open, item, None)?;
    work::reissue_prompt(desk, decide);
    Ok(())
}

/// A prompt needs the agent's session.
pub(super) fn need_open(desk: &mut Desk, decide: &mut Decide<'_>) {
    let ask_at = decide.after(ASK_AGAIN_MS);
    let Some(holder) = &mut desk.holder else { return };
    if matches!(holder.open, Open::Closed | Open::Needed { .. }) {
        holder.open = Open::Needed { ask_at };
        decide.tell(Told::OpenNeeded);
    }
}

/// The session leaves the runner: what the agent knows is kept first, if `capture` says so. A turn that runs is broken off only with `force`.
///
/// # Errors
/// [`NotTaken::TurnRunning`], [`NotTaken::NotHeld`], [`NotTaken::Closing`].
pub fn close(
    desk: &mut Desk,
    decide: &mut Decide<'_>,
    id: &str,
    reason: &str,
    capture: bool,
    force: bool,
) -> Result<(), NotTaken> {
    work::open_holder(desk)?;
    if desk.prompt.as_ref().is_some_and(|prompt| prompt.is_stored || prompt.was_given) && !force {
        return Err(NotTaken::TurnRunning);
    }
    if desk.is_fresh() {
        released(desk, decide, Released::Moved);
        return Ok(());
    }
    drop_items(desk, decide, |item| item.given_at.is_none());
    let body = json!({"reason": reason, "capture": capture}).to_string();
    work::put(desk, decide, ItemKind::Close, NewItem::new(id, body), None)?;
    desk.closing = Some(Closing { until: decide.after(limits::CLOSE_MS), force, is_cancel: false });
    Ok(())
}

/// The session is canceled: the runner ends the agent, however far it is, within `grace_ms`.
///
/// # Errors
/// [`NotTaken::NotHeld`]. Canceling twice is canceling once.
pub fn cancel(desk: &mut Desk, decide: &mut Decide<'_>, id: &str, grace_ms: i64) -> Result<(), NotTaken> {
    if desk.closing.is_some_and(|closing| closing.is_cancel) {
        return Ok(());
    }
    if desk.holder.is_none() {
        return Err(NotTaken::NotHeld);
    }
    if desk.is_fresh() {
        released(desk, decide, Released::Canceled);
        return Ok(());
    }
    drop_items(desk, decide, |item| item.kind != ItemKind::Cancel);
    let until = decide.after(limits::CLOSE_MS.saturating_add(grace_ms.max(0)));
    desk.closing = Some(Closing { until, force: true, is_cancel: true });
    work::put(desk, decide, ItemKind::Cancel, NewItem::new(id, json!({"grace-ms": grace_ms}).to_string()), None)
}

/// Nobody waits for the runner any more: whatever it still says does not count.
pub fn release(desk: &mut Desk, decide: &mut Decide<'_>, why: Released) {
    if desk.holder.is_some() {
        released(desk, decide, why);
    }
}

/// Nobody waits any more for a push. One that the runner has already goes on.
pub fn take_push_back(desk: &mut Desk, decide: &mut Decide<'_>, push_id: &str) {
    drop_items(desk, decide, |item| item.kind == ItemKind::Push && item.id == push_id);
    work::quiet(desk);
}

/// Nobody waits any more for the end of the prompt: it did not come. What the runner still says of it does not count.
pub fn abandon(desk: &mut Desk, decide: &mut Decide<'_>, reason: &str) {
    let Some(id) = desk.prompt.as_ref().map(|prompt| prompt.id.clone()) else { return };
    finish_prompt(desk, decide, &id);
    decide.tell(failed(id, reason));
    if desk.holder.is_some() && !desk.is_fresh() {
        begin_anew(desk, decide);
    }
}

pub(super) fn released(desk: &mut Desk, decide: &mut Decide<'_>, why: Released) {
    lose(desk, decide);
    desk.holder = None;
    desk.closing = None;
    desk.ring = None;
    if let Some(prompt) = desk.prompt.take() {
        decide.push(Effect::DropBody(prompt.id.clone()));
        decide.tell(match why {
            Released::Canceled => failed(prompt.id, "canceled"),
            Released::Moved | Released::Revoked => Told::MessageReturned { message_id: prompt.id },
        });
    }
    decide.tell(Told::Released(why));
}

/// The runner's copy of the session is lost, or an old one: another one begins, with the same runner.
pub(super) fn begin_anew(desk: &mut Desk, decide: &mut Decide<'_>) {
    if let Some(closing) = desk.closing {
        let why = if closing.is_cancel { Released::Canceled } else { Released::Moved };
        decide.tell(Told::Closed { transcript: None });
        released(desk, decide, why);
        return;
    }
    lose(desk, decide);
    if desk.prompt.is_some() {
        need_open(desk, decide);
    }
}

/// The lease is raised: nothing counts that the runner has. A prompt that the agent had is interrupted, another one waits.
fn lose(desk: &mut Desk, decide: &mut Decide<'_>) {
    desk.lease = desk.lease.saturating_add(1);
    let keeps = desk.prompt.as_ref().filter(|prompt| !prompt.is_started).map(|prompt| prompt.id.clone());
    for item in std::mem::take(&mut desk.items) {
        if item.kind == ItemKind::Push {
            decide.tell(Told::push_failed(item.id.clone(), "runner-changed"));
        }
        if Some(&item.id) != keeps.as_ref() {
            decide.push(Effect::DropBody(item.id));
        }
    }
    desk.ring = None;
    if let Some(holder) = &mut desk.holder {
        holder.mailbox = None;
        (holder.accepted, holder.stored, holder.generation) = (0, 0, 0);
        holder.open = Open::Closed;
        holder.phase = None;
        holder.held_until = None;
        decide.push(Effect::DropFingerprints);
        decide.tell(Told::HolderChanged);
    }
    match &mut desk.prompt {
        Some(prompt) if prompt.is_started => {
            let id = prompt.id.clone();
            finish_prompt(desk, decide, &id);
            decide.tell(failed(id, "turn-interrupted"));
        }
        Some(prompt) => {
            prompt.attempt = prompt.attempt.saturating_add(u64::from(prompt.is_stored || prompt.was_given));
            prompt.is_stored = false;
            prompt.was_given = false;
        }
        None => {}
    }
}

/// The prompt is finished, if it is this one.
pub(super) fn finish_prompt(desk: &mut Desk, decide: &mut Decide<'_>, message_id: &str) -> bool {
    if desk.prompt.take_if(|prompt| prompt.id == message_id).is_none() {
        return false;
    }
    desk.items.retain(|item| item.id != message_id);
    decide.push(Effect::DropBody(message_id.to_owned()));
    work::quiet(desk);
    true
}

pub(super) fn drop_items(desk: &mut Desk, decide: &mut Decide<'_>, drops: impl Fn(&super::Item) -> bool) {
    let prompt = desk.prompt.as_ref().map(|prompt| prompt.id.clone());
    let (gone, kept) = std::mem::take(&mut desk.items).into_iter().partition(|item| drops(item));
    desk.items = kept;
    for item in gone {
        let item: super::Item = item;
        if item.kind == ItemKind::Push {
            decide.tell(Told::push_failed(item.id.clone(), "canceled"));
        }
        // The prompt's body stays for as long as the prompt is unfinished.
        if Some(&item.id) != prompt.as_ref() {
            decide.push(Effect::DropBody(item.id));
        }
    }
}

pub(super) fn failed(message_id: String, reason: &str) -> Told {
    Told::MessageFailed { message_id, reason: reason.to_owned() }
}
