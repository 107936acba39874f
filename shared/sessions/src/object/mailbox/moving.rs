//! A session leaves its runtime for another one (session-mailbox.md 7.5).

use super::at_desk;
use crate::error::Error;
use crate::mailbox::desk::{self, NotTaken};
use crate::object::{Platform, Session};
use crate::session::MovedTo;
use crate::session::decide;

impl<P: Platform> Session<P> {
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
