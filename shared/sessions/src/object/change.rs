//! The one way in which a session changes.

use std::rc::Rc;

use super::core::{Commit, Core, Shown};
use super::secrets::Secrets;
use super::{Known, Platform, Session, mailbox, secrets};
use crate::error::Error;
use crate::session::decide::{Decide, first_wait, next_alarm, on_wake, settle};
use crate::session::store::{Limits, Rows};
use crate::session::{Effect, State, Transition};

/// An alarm that is set already is left where it is when it is at most so much too early, in milliseconds: it looks, and is set
/// anew. Else each frame of a stream would set it.
const EARLY_MS: i64 = 60_000;

/// Writes further rows of a change.
type Also<'a, S> = &'a dyn Fn(&Rows<&S>) -> Result<(), database::local::SqlError>;

impl<P: Platform> Session<P> {
    /// Reads the session, unless that was done. Whether there is one.
    pub fn load(&self) -> Result<bool, Error> {
        if matches!(&*self.core.borrow(), Known::Nothing) {
            let loaded = Rows(self.platform.sql()).load()?;
            let Some(mut loaded) = loaded else {
                *self.core.borrow_mut() = Known::Absent;
                return Ok(false);
            };
            let (seal, bound_to) = (self.settings.seal(), secrets::bound_to(&loaded.state));
            let mut cut = None;
            for piece in std::mem::take(&mut loaded.texts) {
                match secrets::open_piece(&seal, &piece.text, &bound_to) {
                    _ if cut == Some(piece.slot) => {}
                    Ok(text) => loaded.turns.restore(piece.slot, &text),
                    Err(_) => {
                        loaded.turns.cut(piece.slot);
                        cut = Some(piece.slot);
                    }
                }
            }
            let secrets = self.open_secrets(&loaded.state, loaded.secrets.as_deref())?;
            let redactor = self.redactor(&secrets, &loaded.task, &loaded.state);
            let mut core = Core::new(loaded, secrets.task, redactor);
            if let Some(runtime) = &mut core.state.runtime {
                runtime.secrets = secrets.runtime;
            }
            *self.core.borrow_mut() = Known::Present(Box::new(core));
            self.change(|core, decide| on_wake(&mut core.state, decide))?;
        }
        Ok(matches!(&*self.core.borrow(), Known::Present(_)))
    }

    /// Looks at the session.
    pub(super) fn look<R>(&self, look: impl FnOnce(&Core) -> R) -> Result<R, Error> {
        match &*self.core.borrow() {
            Known::Present(core) => Ok(look(core)),
            Known::Nothing | Known::Absent => Err(Error::NotFound),
        }
    }

    /// Changes the session.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut Core, &mut Decide<'_>) -> R) -> Result<R, Error> {
        self.change_with(change, &|_| Ok(()))
    }

    /// Changes the session; `also` writes further rows in the same transaction.
    pub(super) fn change_with<R>(
        &self,
        change: impl FnOnce(&mut Core, &mut Decide<'_>) -> R,
        also: Also<'_, P::Sql>,
    ) -> Result<R, Error> {
        let mut change = Some(change);
        let mut result = None;
        let mut once =
            |core: &mut Core, decide: &mut Decide<'_>| result = change.take().map(|change| change(core, decide));
        self.apply(&mut once, also)?;
        result.ok_or(Error::NotFound)
    }

    /// [`Self::change_with`] for every change there is: not generic, since each copy of it would make the module 2 KB larger.
    fn apply(&self, change: &mut dyn FnMut(&mut Core, &mut Decide<'_>), also: Also<'_, P::Sql>) -> Result<(), Error> {
        let now = self.platform.now_ms();
        let mut known = self.core.borrow_mut();
        let Known::Present(core) = &mut *known else { return Err(Error::NotFound) };
        let before = core.state.clone();
        let user_day = Some(&self.settings.session.budget_user_day).filter(|budget| !budget.is_empty());
        let mut decide = Decide::new(now, &self.times).within(user_day);
        let new_id = || self.platform.random_uuid().to_string();
        let around = mailbox::Around { sql: self.platform.sql(), new_id: &new_id };
        change(core, &mut decide);
        mailbox::carry_out(core, &mut decide, &around);
        settle(&before, &mut core.state, &mut decide);
        mailbox::carry_out(core, &mut decide, &around);
        core.incoming = None;
        // A session that is being removed is not listed any more.
        let is_told = core.state.removal.is_none() && Summary::of(&before) != Summary::of(&core.state);
        if is_told && self.platform.db().is_some() {
            core.state.list_at = Some(now.saturating_add(self.times.notifying()));
        }
        let effects = decide.effects;
        let transition = Transition::of(&before, &core.state, &effects, now);
        let is_lost = effects.contains(&Effect::PublishingLost);
        let sql = self.platform.sql();
        let session = &self.settings.session;
        let has_new_secrets = runtime_secrets_changed(&before, &core.state);
        let sealed = has_new_secrets.then(|| self.seal_secrets(core)).transpose()?;
        if has_new_secrets {
            let runtime = core.state.runtime.as_ref().map(|runtime| runtime.secrets.clone()).unwrap_or_default();
            let redactor = self.redactor(&Secrets { task: core.secrets.clone(), runtime }, &core.task, &core.state);
            core.redactor = redactor.with_learned(&core.redactor);
        }
        let bound_to = secrets::bound_to(&core.state);
        let seal = self.settings.seal();
        let commit = Commit {
            sql,
            seal: &|piece| secrets::seal_piece(&seal, piece, &bound_to),
            now,
            max_event_bytes: session.max_event_bytes,
            limits: Limits { rows: session.max_event_rows, bytes: session.max_events_bytes },
            uuid: &|| self.platform.random_uuid().to_string(),
            also: &|| {
                if let Some(sealed) = &sealed {
                    Rows(sql).put("secrets", sealed)?;
                }
                also(&Rows(sql))
            },
        };
        match core.commit(&before, effects, &commit) {
            Ok((shown, jobs)) => {
                let next = next_alarm(&core.state, &Decide::new(now, &self.times).within(user_day));
                let wait = first_wait(&core.state);
                drop(known);
                self.show(&shown);
                self.wake_at(next);
                for job in jobs {
                    self.start(job);
                }
                if let Some(transition) = transition {
                    transition.tell(|event| self.platform.report(event));
                    self.platform.count(&transition);
                }
                self.tell_index(is_told, wait);
                if is_lost {
                    self.publishing_lost();
                }
                Ok(())
            }
            Err(error) => {
                // What is stored is what counts: it is read anew.
                *known = Known::Nothing;
                Err(Error::Internal(error.to_string()))
            }
        }
    }

    fn show(&self, shown: &[Shown]) {
        if self.viewers.is_empty() {
            return;
        }
        for shown in shown {
            match shown {
                Shown::Stored(frame) => self.viewers.stored(frame),
                Shown::Passing(frame) => self.viewers.passing(frame),
            }
        }
    }

    fn wake_at(&self, next: Option<i64>) {
        let Some(next) = next else { return };
        let is_set = self.alarm.get().is_some_and(|set| set <= next && set.saturating_add(EARLY_MS) >= next);
        if !is_set {
            self.alarm.set(Some(next));
            self.platform.set_alarm(next);
        }
    }

    /// The alarm of the object went off.
    pub fn alarm(self: &Rc<Self>) -> Result<(), Error> {
        self.alarm.set(None);
        if !self.load()? {
            return Ok(());
        }
        let now = self.platform.now_ms();
        crate::session::store::Idempotency::forget_old(self.platform.sql(), now)?;
        let new_id = || self.platform.random_uuid().to_string();
        self.change(|core, decide| {
            crate::session::decide::on_alarm(&mut core.state, decide);
            if core.state.removal.is_none() {
                mailbox::at_desk(core, decide, &new_id, crate::mailbox::desk::on_alarm);
            }
        })
    }
}

/// What the list of sessions says of one.
#[derive(PartialEq, Eq)]
struct Summary<'a>(crate::session::Status, Option<&'a str>, bool, bool);

impl<'a> Summary<'a> {
    fn of(state: &'a State) -> Self {
        Self(
            state.status,
            state.runtime.as_ref().map(|runtime| runtime.provider.as_str()),
            state.is_active(),
            state.archived,
        )
    }
}

fn runtime_secrets_changed(before: &State, after: &State) -> bool {
    let secrets = |state: &State| state.runtime.as_ref().map(|runtime| runtime.secrets.clone());
    secrets(before) != secrets(after)
}
