//! Everything that waits for a runner ends (session-mailbox.md 7.1, 7.4, 7.5, 7.8).

use super::holder::{drop_items, failed, finish_prompt, need_open, released};
use super::{Closing, Decide, Desk, Effect, ItemKind, Open, Prompt, Released, Told, take, work};
use crate::mailbox::limits;

/// Settles what has waited too long.
pub fn on_alarm(desk: &mut Desk, decide: &mut Decide<'_>) {
    closing(desk, decide);
    opening(desk, decide);
    prompt(desk, decide);
    ring(desk, decide);
}

fn closing(desk: &mut Desk, decide: &mut Decide<'_>) {
    let Some(closing) = desk.closing.filter(|closing| closing.until <= decide.now) else { return };
    match closing {
        Closing { is_cancel: true, .. } => released(desk, decide, Released::Canceled),
        Closing { force: true, .. } => released(desk, decide, Released::Moved),
        _ => {
            desk.closing = None;
            drop_items(desk, decide, |item| item.kind == ItemKind::Close);
            decide.tell(Told::NotMoved);
            if desk.prompt.is_some() {
                need_open(desk, decide);
                work::reissue_prompt(desk, decide);
            }
        }
    }
}

fn opening(desk: &mut Desk, decide: &mut Decide<'_>) {
    match opens_until(desk) {
        Some(at) if at <= decide.now => {}
        _ => return,
    }
    match desk.holder.as_ref().map(|holder| &holder.open) {
        Some(Open::Needed { .. }) => need_open(desk, decide),
        Some(Open::Asked { .. }) => {
            take::open_failed(desk, decide, "open-timeout", "the runner did not open the session in time");
            // What it opens later does not count.
            super::holder::begin_anew(desk, decide);
        }
        _ => {}
    }
}

/// When the session is asked again, or the runner has had enough time.
fn opens_until(desk: &Desk) -> Option<i64> {
    let holder = desk.holder.as_ref()?;
    match holder.open {
        Open::Needed { ask_at } => Some(ask_at),
        Open::Asked { acked_at: Some(at) } if holder.outage.is_none() => Some(at.saturating_add(limits::OPEN_MS)),
        Open::Asked { .. } | Open::Closed | Open::Ready { .. } => None,
    }
}

fn prompt(desk: &mut Desk, decide: &mut Decide<'_>) {
    let Some((at, reason)) = prompt_until(desk, decide) else { return };
    let Some(prompt) = desk.prompt.as_ref().filter(|_| at <= decide.now) else { return };
    let (id, was_given) = (prompt.id.clone(), prompt.was_given || prompt.is_stored);
    finish_prompt(desk, decide, &id);
    decide.tell(failed(id.clone(), reason));
    if was_given && desk.closing.is_none() {
        // If nothing more can be put there, the mailbox runs what nobody waits for, once.
        let _ = work::withdraw(desk, decide, &id);
    }
}

/// Until when the prompt may wait, and what it is called if it waits longer.
fn prompt_until(desk: &Desk, decide: &Decide<'_>) -> Option<(i64, &'static str)> {
    let (prompt, holder): (&Prompt, _) = (desk.prompt.as_ref()?, desk.holder.as_ref()?);
    if prompt.is_stored {
        let outage = holder.outage?;
        return Some((outage.since.saturating_add(decide.times.offline_turn_ms), "runner-offline"));
    }
    Some((prompt.created_at.saturating_add(decide.times.order_ttl_ms), "order-expired"))
}

fn ring(desk: &mut Desk, decide: &mut Decide<'_>) {
    let Some(ring) = desk.ring.as_mut().filter(|ring| ring.at <= decide.now) else { return };
    let (_, longest) = limits::RING_MS;
    ring.pause = ring.pause.saturating_mul(2).min(longest);
    ring.at = decide.now.saturating_add(ring.pause);
    decide.push(Effect::Ring);
}

/// When the desk is to be looked at again. A prompt that a runner has which is there is watched by the session itself, as every turn is
/// ([`abandon`](super::abandon)).
pub fn next_alarm(desk: &Desk, decide: &Decide<'_>) -> Option<i64> {
    [
        desk.closing.map(|closing| closing.until),
        opens_until(desk),
        prompt_until(desk, decide).map(|(at, _)| at),
        desk.ring.map(|ring| ring.at),
    ]
    .into_iter()
    .flatten()
    .min()
}
