//! The session's side of runners that call us (session-mailbox.md 7): whatever the session wants of its agent becomes an item of its desk,
//! and whatever the desk tells becomes something that happens to the session, in the same transaction.

mod bodies;
mod calls;
mod carry;
mod hear;
mod laying;
mod moving;
mod opening;
mod pushing;

pub(super) use carry::{Around, carry_out};
pub(super) use moving::take_leave;
pub(super) use opening::begin;
pub(super) use pushing::AwaitedPush;

use super::core::Core;
use crate::mailbox::desk::{self, Desk};
use crate::session::decide::Decide;
use crate::session::{Effect, Job};

/// Does something at the desk of the session. What the desk tells is heard at once. None when the session never had a desk.
pub(super) fn at_desk<R>(
    core: &mut Core,
    decide: &mut Decide<'_>,
    new_id: &dyn Fn() -> String,
    happens: impl FnOnce(&mut Desk, &mut desk::Decide<'_>) -> R,
) -> Option<R> {
    let mut desk = core.state.desk.take()?;
    let held_by =
        |desk: &Desk| desk.holder.as_ref().map(|holder| (holder.runner_key.clone(), holder.runner_id.clone()));
    let was_stored = desk.prompt.as_ref().is_some_and(|prompt| prompt.is_stored);
    let before = held_by(&desk);
    let mut at = desk::Decide::new(decide.now, &decide.times.desk);
    let result = happens(&mut desk, &mut at);
    let effects = at.effects;
    let after = held_by(&desk);
    let is_stored = desk.prompt.as_ref().is_some_and(|prompt| prompt.is_stored);
    core.state.desk = Some(desk);
    if is_stored && !was_stored {
        crate::session::decide::on_stored_there(&mut core.state, decide);
    }
    // So many as one thing that happens brings; what is heard may bring more, but never the same again.
    for effect in effects {
        match effect {
            desk::Effect::Tell(told) => hear::hear(core, decide, told, new_id),
            desk::Effect::Ring => {
                let key = after.as_ref().map(|(key, _)| key.clone());
                decide.effects.extend(key.map(|key| Effect::Start(Job::Ring(key))));
            }
            other => decide.effects.push(Effect::Desk(other)),
        }
    }
    if let Some((key, runner_id)) = before.filter(|before| Some(before) != after.as_ref()) {
        decide.effects.push(Effect::Start(Job::LeaveRunner { key, runner_id }));
    }
    Some(result)
}
