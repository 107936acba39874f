//! What is said about a session's pull requests comes back to it, and what its agent did about it is pushed (agents.md 20.4).

use std::cell::Cell;
use std::rc::Rc;

use super::jobs::JobError;
use super::{Platform, Session};
use crate::error::Error;
use crate::follow_up::{self, ORDER_KIND};
use crate::publisher::PublishRequest;
use crate::registry::pulls;
use crate::repository::Repository;
use crate::session::decide;
use crate::session::follow_up::Pull;
use crate::session::store::{Feedback, Order, Rows};

impl<P: Platform> Session<P> {
    /// What was said about a pull request becomes an order. All of it is one transaction.
    pub(super) fn follow_up(&self) -> Result<(), JobError> {
        let said = Feedback(self.platform.sql()).first().map_err(Error::from)?;
        let Some(said) = said else {
            self.change(|core, _| core.state.follow_up.due_at = None)?;
            return Ok(());
        };
        let names = self.look(|core| {
            let repository = core.task.repo_url().and_then(|url| Repository::parse(url).ok());
            let repository = repository.map(|repository| format!("{}/{}", repository.owner(), repository.name()));
            let pull = core.state.follow_up.pulls.iter().find(|pull| pull.number == said.number);
            (repository.unwrap_or_default(), pull.map(|pull| pull.head.clone()).unwrap_or_default())
        })?;
        let text = follow_up::order(&names.0, said.number, &names.1, &said.pieces);
        let waiting = decide::Waiting { number: said.number, by: &said.by, text: &text, has_more: said.has_more };
        let allowed =
            decide::Allowed { rounds: self.settings.follow_up.max_rounds, orders: self.settings.session.max_orders };
        let order = Order { message: text.clone(), by: said.by.clone(), kind: Some(ORDER_KIND.to_owned()) };
        let (made, now) = (Cell::new(None), self.platform.now_ms());
        self.change_with(
            |core, decide| {
                core.incoming = Some((core.state.next_order, order.clone()));
                made.set(decide::on_due(&mut core.state, decide, &waiting, allowed));
            },
            &|rows| {
                Feedback(rows.0).take(&said)?;
                made.get().map_or(Ok(()), |seq| rows.put_order(seq, &order, now))
            },
        )?;
        Ok(())
    }

    /// Pushes what the agent did about a pull request, to its branch, without force.
    pub(super) async fn push_follow_up(self: &Rc<Self>) -> Result<(), JobError> {
        let wanted = self.look(|core| {
            let push = core.state.follow_up.push.as_ref()?;
            let pull = core.state.follow_up.pulls.iter().find(|pull| pull.open && pull.number == push.number)?;
            Some((push.by.clone(), pull.head.clone()))
        })?;
        if let Some((by, head)) = wanted {
            let spoken = self.last_message()?;
            let wanted =
                PublishRequest { head_branch: Some(head), ..PublishRequest::by_chat(false, spoken.as_deref()) };
            if self.may_publish(&wanted).is_ok() {
                match self.publish(&by, &wanted).await {
                    Err(Error::RequestInProgress) => {
                        self.change(|core, decide| decide::on_push_postponed(&mut core.state, decide))?;
                        return Ok(());
                    }
                    Err(error) => self.warn("agents/follow-up-not-pushed", &error),
                    Ok(_) => {}
                }
            }
        }
        self.change(|core, decide| decide::on_push_over(&mut core.state, decide))?;
        Ok(())
    }

    /// There is a pull request: what is said about it is to find this session, if its creator wants that.
    pub(super) fn on_pull_request(&self, head: &str, number: u64) -> Result<(), Error> {
        let repository = self.look(|core| {
            core.task.follow_up().then(|| core.task.repo_url().and_then(crate::repository::checkpoint_key)).flatten()
        })?;
        let Some(repository) = repository else { return Ok(()) };
        let pushed = Rows(self.platform.sql()).branch(head)?.map(|commit| commit.as_str().to_owned());
        let pull = Pull { repository, number, head: head.to_owned(), pushed, open: true, untold: true };
        self.change(|core, decide| decide::on_pull(&mut core.state, decide, pull))
    }

    /// Tells the database of all sessions which pull requests there are. What fails is tried again by the alarm.
    pub(super) async fn tell_pulls(&self) -> Result<(), JobError> {
        let (id, untold) = self.look(|core| {
            let untold = core.state.follow_up.pulls.iter().filter(|pull| pull.untold);
            (core.state.id.clone(), untold.cloned().collect::<Vec<Pull>>())
        })?;
        if let Some(db) = self.platform.db() {
            // At most 20 (`session::follow_up`).
            for pull in &untold {
                let told = if pull.open {
                    pulls::put(&*db, &id, pull, self.platform.now_ms()).await
                } else {
                    pulls::forget(&*db, &id, &pull.repository, pull.number).await
                };
                told.map_err(Error::from)?;
            }
        }
        self.change(|core, _| decide::on_pulls_told(&mut core.state, &untold))?;
        Ok(())
    }
}
