//! The one way in which a runner changes.

use std::rc::Rc;

use database::local::Sql as _;

use super::{Known, Platform, RunnerObject};
use crate::error::Error;
use crate::mailbox::Presence;
use crate::mailbox::runner::{Decide, Effect, Runner, next_alarm, on_alarm};
use crate::mailbox::store::MailboxRows;
use crate::registry::mailbox_runners::{self, Seen};

/// When the runner was last seen is stored when that moved by so much, in milliseconds: less than what is added before it is called offline
/// ([`OFFLINE_SLACK_MS`](crate::mailbox::limits::OFFLINE_SLACK_MS)).
const SEEN_STORED_MS: i64 = 4_000;

impl<P: Platform> RunnerObject<P> {
    /// Looks at the runner; none when there is none. Looking writes nothing.
    pub(super) fn look<R>(&self, look: impl FnOnce(Option<&Runner>) -> R) -> Result<R, Error> {
        self.read()?;
        match &*self.known.borrow() {
            Known::Read(known) => Ok(look(known.0.as_ref())),
            Known::Nothing => Err(Error::NotFound),
        }
    }

    fn read(&self) -> Result<(), Error> {
        let is_read = matches!(&*self.known.borrow(), Known::Read(_));
        if !is_read {
            let stored = MailboxRows(self.platform.sql()).runner()?;
            *self.known.borrow_mut() = Known::Read(Box::new((stored.clone(), stored)));
        }
        Ok(())
    }

    /// Whether the runner is there; none without a runner.
    pub(super) fn presence(&self) -> Result<Option<Presence>, Error> {
        self.look(|runner| runner.map(|runner| runner.presence))
    }

    /// Something happens to the runner. What follows is stored before any of it is done.
    pub(super) fn change<R>(
        &self,
        happens: impl FnOnce(&mut Option<Runner>, &mut Decide<'_>) -> R,
    ) -> Result<R, Error> {
        self.read()?;
        let mut decide = Decide::new(self.platform.now_ms(), &self.times);
        let mut known = self.known.borrow_mut();
        let Known::Read(both) = &mut *known else { return Err(Error::NotFound) };
        let (runner, stored) = &mut **both;
        let was_online = runner.as_ref().map(|runner| runner.presence.offline.is_none());
        let result = happens(runner, &mut decide);
        if decide.effects.contains(&Effect::Forget) {
            self.platform.sql().delete_all()?;
            **both = (None, None);
            return Ok(result);
        }
        let Some(now) = runner.as_ref() else { return Ok(result) };
        if is_to_be_stored(now, stored.as_ref()) {
            let sql = self.platform.sql();
            let rows = MailboxRows(sql);
            let done = sql.transaction(&mut || rows.create().and_then(|()| rows.put_runner(now)));
            if let Err(error) = done {
                // What is stored is what counts: it is read anew.
                *known = Known::Nothing;
                return Err(error.into());
            }
            *stored = Some(now.clone());
        }
        let next = next_alarm(now, &decide);
        let is_online = now.presence.offline.is_none();
        drop(known);
        self.follow(&decide.effects, was_online.is_some_and(|was| was != is_online));
        self.wake_at(next);
        Ok(result)
    }

    fn follow(&self, effects: &[Effect], is_turned: bool) {
        for effect in effects {
            match effect {
                Effect::EndWaiting(how) => {
                    self.waiting.borrow_mut().end(*how);
                    self.wake();
                }
                Effect::Wake => self.wake(),
                Effect::TellSessions => self.tell_sessions(),
                Effect::WriteSeen | Effect::Forget => {}
            }
        }
        if is_turned || effects.contains(&Effect::WriteSeen) {
            self.write_seen(None);
        }
    }

    /// Whoever waits looks again.
    pub(super) fn wake(&self) {
        for sleeper in self.sleepers.borrow_mut().drain(..) {
            // Whoever slept may have gone.
            let _ = sleeper.send(());
        }
    }

    /// An alarm that comes too early looks and is set anew; one that is set is never put off.
    fn wake_at(&self, next: Option<i64>) {
        let Some(next) = next else { return };
        if self.alarm.get().is_none_or(|set| next < set) {
            self.alarm.set(Some(next));
            self.platform.set_alarm(next);
        }
    }

    /// Notes in the list of runners whether this one is there. `most` is how many sessions it takes, where that is new.
    pub(super) fn write_seen(&self, most: Option<i64>) {
        let (Some(me), Some(db)) = (self.me.upgrade(), self.platform.db()) else { return };
        self.platform.spawn(async move {
            let known = me.look(|runner| runner.map(|runner| (runner.key.clone(), runner.presence)));
            let Ok(Some((key, presence))) = known else { return };
            let (is_online, active) = (presence.offline.is_none(), me.active.get());
            let seen = Seen { is_online, at: presence.last_seen_at, active, most };
            if let Err(error) = mailbox_runners::note(&*db, &key, seen).await {
                me.warn("agents/runner-not-noted", &error);
            }
        });
    }

    /// Tells the operator of something that is settled otherwise.
    pub(super) fn warn(&self, name: &'static str, error: &dyn std::fmt::Display) {
        self.platform.report(&web::Event::new(web::Level::Warning, name).with_error(&error.to_string()));
    }

    /// The alarm of the object went off.
    ///
    /// # Errors
    /// When the database fails.
    pub fn alarm(self: &Rc<Self>) -> Result<(), Error> {
        self.alarm.set(None);
        self.change(|runner, decide| {
            if let Some(runner) = runner {
                on_alarm(runner, decide);
            }
        })
    }
}

/// Whether something has changed that must outlive the object. Times alone are written now and then.
fn is_to_be_stored(now: &Runner, stored: Option<&Runner>) -> bool {
    let Some(stored) = stored else { return true };
    let moved = now.presence.last_seen_at.saturating_sub(stored.presence.last_seen_at);
    if moved >= SEEN_STORED_MS {
        return true;
    }
    let mut same = now.clone();
    same.presence.last_seen_at = stored.presence.last_seen_at;
    same != *stored
}
