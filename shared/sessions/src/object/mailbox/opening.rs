//! A runner that calls us is given the session (session-mailbox.md 7.7).

use super::{at_desk, bodies};
use crate::mailbox::Presence;
use crate::mailbox::desk::{self, Desk, NewItem, Open, Released};
use crate::object::core::Core;
use crate::object::{Platform, Session};
use crate::registry::{MailboxRunner, Runner};
use crate::runtime::{Made, Runtime};
use crate::session::decide::{self, Decide, Provisioned};

/// Between two looks whether the runner has opened the session, in milliseconds.
const LOOK_MS: u32 = 50;

/// The runner is bound, under the generation of the work that chose it, and asked to open the agent's session.
pub(in crate::object) fn begin(
    core: &mut Core,
    decide: &mut Decide<'_>,
    generation: u64,
    chosen: (&Runner, &MailboxRunner, Presence),
    new_id: &dyn Fn() -> String,
) -> Provisioned {
    let (runner, mailbox, presence) = chosen;
    if core.state.provisioning.is_none_or(|work| work.lease.generation != generation) {
        return Provisioned::Late;
    }
    core.state.desk.get_or_insert_with(Desk::default);
    let id = new_id();
    at_desk(core, decide, new_id, |desk, at| {
        // Whoever had it before has nothing of it any more.
        desk::release(desk, at, Released::Moved);
        desk::bind(desk, at, &mailbox.key, &runner.runner_id, presence)
    });
    let open = NewItem::new(&id, bodies::open(core));
    let _ = at_desk(core, decide, new_id, |desk, at| desk::open(desk, at, open));
    let runtime = Runtime::of_mailbox(&core.state.id, &runner.runner_id, bodies::directory(core));
    decide::on_provisioned(&mut core.state, decide, generation, Ok(Made::Ready(Box::new(runtime))))
}

/// How far the opening is.
pub(in crate::object) enum Opening {
    /// The agent's session is there, or there is no runner that it is waited for.
    Done,
    /// It is waited for; nobody is there who would open it.
    Away,
    /// It is waited for.
    Waiting,
    /// It failed.
    Failed,
}

fn opening(core: &Core) -> Opening {
    let Some(holder) = core.state.holder().filter(|_| core.state.is_at_desk()) else { return Opening::Done };
    match holder.open {
        Open::Ready { .. } => Opening::Done,
        Open::Closed => Opening::Failed,
        Open::Needed { .. } | Open::Asked { .. } if holder.outage.is_some() => Opening::Away,
        Open::Needed { .. } | Open::Asked { .. } => Opening::Waiting,
    }
}

impl<P: Platform> Session<P> {
    /// Waits a while for a runner to open the session. Whoever does not open it in time does so later.
    ///
    /// # Errors
    /// When the runner says that it cannot.
    pub(in crate::object) async fn wait_for_opening(&self) -> Result<(), crate::error::Error> {
        let until = self.platform.now_ms().saturating_add(self.times.open_wait);
        while self.platform.now_ms() < until {
            match self.look(opening)? {
                Opening::Done | Opening::Away => return Ok(()),
                Opening::Failed => {
                    return Err(crate::error::Error::Internal("the runner could not open the session".to_owned()));
                }
                Opening::Waiting => self.platform.sleep_ms(LOOK_MS).await,
            }
        }
        Ok(())
    }
}
