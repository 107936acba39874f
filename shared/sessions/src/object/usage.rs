//! What a session used is told to the database of all sessions, and what the creator's others used is asked (agents.md 20.1).

use super::jobs::JobError;
use super::{Platform, Session};
use crate::registry::usage;
use crate::session::budget::{Day, day_of};
use crate::session::decide;

impl<P: Platform> Session<P> {
    /// Tells what is untold. One telling at a time; what comes meanwhile begins a further one.
    pub(super) async fn tell_usage(&self) -> Result<(), JobError> {
        if self.is_telling_usage.replace(true) {
            return Ok(());
        }
        let told = self.tell_usage_once().await;
        self.is_telling_usage.set(false);
        if let Err(error) = &told {
            // The alarm tries it again.
            self.warn("agents/usage-not-told", error);
        }
        Ok(())
    }

    async fn tell_usage_once(&self) -> Result<(), crate::error::Error> {
        let Some(db) = self.platform.db() else {
            // There is nobody to tell.
            return self.change(|core, _| {
                let revision = core.state.usage.revision;
                decide::on_usage_told(&mut core.state, Some(revision), None);
            });
        };
        // Each round tells what was untold at its beginning; reports of the agent bring further ones, one at a time.
        loop {
            let (id, user, revision, days) = self.look(|core| {
                let usage = &core.state.usage;
                let days: Vec<Day> = usage.days.iter().filter(|day| day.untold).cloned().collect();
                (core.state.id.clone(), core.state.requested_by.clone(), usage.revision, days)
            })?;
            // At most a week of days.
            for day in &days {
                usage::tell(&*db, &user, &id, revision, day).await?;
            }
            let others = self.others_today(&*db, &user, &id).await?;
            let is_untold = self.change(|core, _| {
                decide::on_usage_told(&mut core.state, Some(revision), others);
                core.state.usage.is_untold()
            })?;
            if !is_untold {
                return Ok(());
            }
        }
    }

    /// What the creator's other sessions used today, where the use of a day is limited.
    async fn others_today(
        &self,
        db: &P::Db,
        user: &str,
        id: &str,
    ) -> Result<Option<(i64, crate::session::budget::Used)>, crate::error::Error> {
        if self.settings.session.budget_user_day.is_empty() {
            return Ok(None);
        }
        let day = day_of(self.platform.now_ms());
        Ok(Some((day, usage::of_others(db, user, id, day).await?)))
    }

    /// Asks anew what the creator used today, before a prompt is sent or somebody is told.
    pub(super) async fn ask_user_day(&self) -> Result<(), crate::error::Error> {
        let Some(db) = self.platform.db() else { return Ok(()) };
        let (id, user) = self.look(|core| (core.state.id.clone(), core.state.requested_by.clone()))?;
        let others = self.others_today(&*db, &user, &id).await?;
        if others.is_some() {
            self.change(|core, _| decide::on_usage_told(&mut core.state, None, others))?;
        }
        Ok(())
    }
}
