//! A session leaves its runtime: for another one (session-mailbox.md 7.5), or because it is removed.

use super::at_desk;
use crate::error::Error;
use crate::mailbox::desk::{self, NotTaken};
use crate::object::core::Core;
use crate::object::{Platform, Session};
use crate::session::MovedTo;
use crate::session::decide::{self, Decide};

/// Between two looks whether a runner has let a session go, in milliseconds.
const LOOK_MS: u32 = 250;

/// A session that is removed is taken from its runner, which ends the agent and removes its files in time. A runner that is away learns of it when
/// it attaches.
pub(in crate::object) fn take_leave(core: &mut Core, decide: &mut Decide<'_>, new_id: &dyn Fn() -> String) {
    if core.state.holder().is_none_or(|holder| holder.outage.is_some()) {
        return;
    }
    let id = new_id();
    // One that it leaves already leaves it once.
    let _ = at_desk(core, decide, new_id, |desk, at| desk::close(desk, at, &id, "deleted", false, true));
}

impl<P: Platform> Session<P> {
    /// Waits until the runner has let the session go, for as long as it is given.
    pub(in crate::object) async fn wait_for_leave(&self) -> Result<(), Error> {
        // Bounded by the time that the closing has.
        while self
            .look(|core| core.state.desk.as_ref().and_then(|desk| desk.closing))?
            .is_some_and(|closing| closing.until > self.platform.now_ms())
        {
            self.platform.sleep_ms(LOOK_MS).await;
        }
        Ok(())
    }

    /// Begins to leave. Whatever has the session keeps what it knows of the conversation first.
    ///
    /// # Errors
    /// [`Error::TurnRunning`], [`Error::RequestInProgress`]; then nothing was changed.
    pub(in crate::object) fn begin_move(&self, to: &MovedTo, force: bool) -> Result<(), Error> {
        let new_id = || self.platform.random_uuid().to_string();
        self.change(|core, decide| {
            if core.state.moving.is_some() || core.state.provisioning.is_some() {
                return Err(Error::RequestInProgress);
            }
            decide::begin_move(&mut core.state, to);
            if !core.state.is_at_desk() {
                return decide::leave(&mut core.state, decide).map_err(|_| Error::TurnRunning);
            }
            let id = new_id();
            let left = at_desk(core, decide, &new_id, |desk, at| desk::close(desk, at, &id, "moved", true, force));
            match left {
                Some(Ok(())) => Ok(()),
                Some(Err(NotTaken::NotHeld)) | None => {
                    decide::arrive(&mut core.state, decide);
                    Ok(())
                }
                Some(Err(refused)) => {
                    decide::on_not_moved(&mut core.state);
                    Err(if refused == NotTaken::TurnRunning { Error::TurnRunning } else { Error::RequestInProgress })
                }
            }
        })?
    }
}
