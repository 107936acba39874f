//! What the database of all sessions is told of one: its row in the list (agents.md 13.4), and what it waits for (20.10).

use super::{Platform, Session};
use crate::registry::{operator, sessions};
use crate::session::decide::{Wait, first_wait};

/// Operators are told of a wait that lasts so long, in milliseconds. Most turns are over before, and cost no rows. They are shown only
/// what is overdue by more than a minute.
const WORTH_TELLING_MS: u32 = 5_000;

/// What is being told, and what is to be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Telling {
    /// Somebody is telling.
    is_busy: bool,
    /// The row in the list is news.
    row: bool,
    /// What the session waits for is news.
    wait: bool,
    /// Somebody looks soon whether the session still waits.
    is_watched: bool,
}

/// What operators were told of what a session waits for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum ToldWait {
    /// An object that was started anew does not know.
    #[default]
    Unknown,
    /// This.
    Known(Option<Wait>),
}

impl<P: Platform> Session<P> {
    /// Tells what is new. One telling at a time; what fails is told with the next news, the row by the alarm too.
    pub(super) fn tell_index(&self, row: bool, wait: Option<Wait>) {
        // An object that was started anew does not know what was told: a row of earlier days would stay.
        let (told, is_news) = match self.told_wait.get() {
            ToldWait::Unknown => (None, true),
            ToldWait::Known(told) => (told, Wait::is_news(told, wait, self.platform.now_ms())),
        };
        let begins = is_news && told.is_none() && wait.is_some();
        if begins {
            self.watch_wait();
        }
        self.tell_of(row, is_news && !begins);
    }

    /// Tells the row and what the session waits for, as far as they are news.
    fn tell_of(&self, row: bool, wait: bool) {
        let telling = self.telling.get();
        let (row, wait) = (telling.row || row, telling.wait || wait);
        if !row && !wait {
            return;
        }
        self.telling.set(Telling { row, wait, ..telling });
        if telling.is_busy {
            return;
        }
        let (Some(me), Some(_)) = (self.me.upgrade(), self.platform.db()) else { return };
        self.telling.set(Telling { is_busy: true, ..self.telling.get() });
        self.platform.spawn(async move {
            let mut knows_row = false;
            // Each round tells what was news at its beginning; there is one more only when there was more news.
            loop {
                let telling = me.telling.get();
                me.telling.set(Telling { row: false, wait: false, ..telling });
                if telling.row {
                    knows_row = me.tell_row().await;
                }
                if telling.wait {
                    me.tell_wait().await;
                }
                if !telling.row && !telling.wait {
                    break;
                }
            }
            me.telling.set(Telling { is_busy: false, ..me.telling.get() });
            if knows_row && let Err(error) = me.change(|core, _| core.state.list_at = None) {
                me.warn("agents/index-not-told", &error);
            }
        });
    }

    /// Tells what the session waits for when it still waits in a while.
    fn watch_wait(&self) {
        let telling = self.telling.get();
        let (false, Some(me), Some(_)) = (telling.is_watched, self.me.upgrade(), self.platform.db()) else { return };
        self.telling.set(Telling { is_watched: true, ..telling });
        self.platform.spawn(async move {
            me.platform.sleep_ms(WORTH_TELLING_MS).await;
            me.telling.set(Telling { is_watched: false, ..me.telling.get() });
            me.tell_of(false, me.look(|core| first_wait(&core.state).is_some()).unwrap_or(false));
        });
    }

    /// Tells the row again, which whoever told it last did not bring to an end.
    pub(super) fn tell_row_again(&self) {
        let wait = self.look(|core| first_wait(&core.state)).ok().flatten();
        self.tell_index(true, wait);
    }

    /// Whether the list knows everything that was news when this began.
    async fn tell_row(&self) -> bool {
        let Some(db) = self.platform.db() else { return true };
        let row = self.look(|core| sessions::SessionRow {
            session_id: core.state.id.clone(),
            user_id: core.state.requested_by.clone(),
            graph_id: core.task.graph_id().map(str::to_owned),
            status: core.state.status.as_str().to_owned(),
            title: core.task.node_title().or(core.task.project_title()).unwrap_or_default().to_owned(),
            repo_key: core.task.repo_url().and_then(crate::repository::checkpoint_key),
            runtime_provider: core.state.runtime.as_ref().map(|runtime| runtime.provider.as_str().to_owned()),
            active: core.state.is_active(),
            archived: core.state.archived,
            created_at: core.state.created_at,
            updated_at: self.platform.now_ms(),
        });
        let Ok(row) = row else { return true };
        let told = sessions::upsert(&*db, &row).await;
        if let Err(error) = &told {
            self.warn("agents/index-not-told", error);
        }
        told.is_ok()
    }

    async fn tell_wait(&self) {
        let Some(db) = self.platform.db() else { return };
        // A session that is gone meanwhile has taken its row with it.
        let Ok((id, wait)) = self.look(|core| (core.state.id.clone(), first_wait(&core.state))) else { return };
        let told = match wait {
            Some(wait) => operator::put_wait(&*db, &id, wait).await,
            None => operator::forget_wait(&*db, &id).await,
        };
        match told {
            Ok(()) => {
                self.told_wait.set(ToldWait::Known(wait));
                // It may have ended while it was told, when that was no news yet.
                let current = self.look(|core| first_wait(&core.state)).ok().flatten();
                self.tell_of(false, Wait::is_news(wait, current, self.platform.now_ms()));
            }
            Err(error) => {
                self.told_wait.set(ToldWait::Unknown);
                self.warn("agents/wait-not-told", &error);
            }
        }
    }
}
