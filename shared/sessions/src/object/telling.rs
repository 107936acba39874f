//! What the database of all sessions is told of one: its row in the list (agents.md 13.4), and what it waits for (20.10).

use super::{Platform, Session};
use crate::registry::{operator, sessions};
use crate::session::decide::{Wait, first_wait};

/// What is being told, and what is to be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Telling {
    /// Somebody is telling.
    is_busy: bool,
    /// The row in the list is news.
    row: bool,
    /// What the session waits for is news.
    wait: bool,
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
        let now = self.platform.now_ms();
        // An object that was started anew does not know what was told: a row of earlier days would stay.
        let is_news = match self.told_wait.get() {
            ToldWait::Unknown => true,
            ToldWait::Known(told) => Wait::is_news(told, wait, now),
        };
        let telling = self.telling.get();
        let (row, wait) = (telling.row || row, telling.wait || is_news);
        if !row && !wait {
            return;
        }
        self.telling.set(Telling { row, wait, ..telling });
        if telling.is_busy {
            return;
        }
        let (Some(me), Some(_)) = (self.me.upgrade(), self.platform.db()) else { return };
        self.telling.set(Telling { is_busy: true, row, wait });
        self.platform.spawn(async move {
            let mut knows_row = false;
            // Each round tells what was news at its beginning; there is one more only when there was more news.
            loop {
                let Telling { row, wait, .. } = me.telling.replace(Telling { is_busy: true, ..Telling::default() });
                if row {
                    knows_row = me.tell_row().await;
                }
                if wait {
                    me.tell_wait().await;
                }
                if !row && !wait {
                    break;
                }
            }
            me.telling.set(Telling::default());
            if knows_row && let Err(error) = me.change(|core, _| core.state.list_at = None) {
                me.warn("agents/index-not-told", &error);
            }
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
            Ok(()) => self.told_wait.set(ToldWait::Known(wait)),
            Err(error) => {
                self.told_wait.set(ToldWait::Unknown);
                self.warn("agents/wait-not-told", &error);
            }
        }
    }
}
