//! A session goes, with everything that belongs to it (agents.md 20.5). Each step may be repeated; the alarm repeats them until all
//! is gone.

use std::rc::Rc;

use super::jobs::JobError;
use super::telling::ToldWait;
use super::{Platform, Session};
use crate::error::Error;
use crate::registry::{operator, pulls, sessions, webhooks};
use crate::runtime::RuntimeError;
use crate::session::decide;
use crate::session::store::Rows;

impl<P: Platform> Session<P> {
    /// Removes the session, or notes that it is to be tried again.
    pub(super) async fn remove(self: &Rc<Self>) -> Result<(), JobError> {
        if self.is_removing.replace(true) {
            return Ok(());
        }
        let removed = self.remove_once().await;
        self.is_removing.set(false);
        if removed.is_err() {
            self.change(|core, decide| decide::on_removal_failed(&mut core.state, decide))?;
        }
        removed
    }

    async fn remove_once(self: &Rc<Self>) -> Result<(), JobError> {
        self.detach();
        self.viewers.end();
        if let Some(runtime) = self.bound()?.filter(crate::runtime::Runtime::is_mailbox) {
            self.wait_for_leave().await?;
            let holder = self.look(|core| core.state.holder().map(|holder| holder.runner_key.clone()))?;
            // A runner that was away, or did not answer, finds nothing of the session any more, and ends what it has of it.
            if let (Some(key), Some(runner_id)) = (holder, &runtime.runner_id)
                && let Err(error) = self.leave_runner(&key, runner_id).await
            {
                self.warn("agents/runner-not-left", &error);
            }
            self.change(|core, _| {
                core.state.runtime = None;
                core.state.runtime_active = false;
            })?;
        }
        self.remove_files().await?;
        if let Some(runtime) = self.bound()? {
            let ended = self.give_up(&runtime).await;
            let insists = self.look(|core| decide::insists_on_ending(&core.state))?;
            match ended {
                Ok(()) | Err(RuntimeError::SandboxMissing(_)) => {}
                Err(error) if insists => return Err(error.into()),
                Err(error) => self.warn("agents/runtime-not-ended", &error),
            }
            if runtime.runner_id.is_some() {
                self.free_runner(&runtime).await;
            }
            self.change(|core, _| {
                core.state.runtime = None;
                core.state.runtime_active = false;
            })?;
        }
        self.leave_bridges().await?;
        self.destroy_unbound().await?;
        self.remove_conversation().await?;
        self.remove_bundles().await?;
        let id = self.look(|core| core.state.id.clone())?;
        if let Some(db) = self.platform.db() {
            webhooks::forget_session(&*db, &id).await.map_err(Error::from)?;
            pulls::forget_session(&*db, &id).await.map_err(Error::from)?;
            operator::forget_wait(&*db, &id).await.map_err(Error::from)?;
            self.told_wait.set(ToldWait::Known(None));
            sessions::mark_deleted(&*db, &id, self.platform.now_ms()).await.map_err(Error::from)?;
        }
        Rows(self.platform.sql()).drop_all().map_err(Error::from)?;
        self.forget();
        Ok(())
    }
}
