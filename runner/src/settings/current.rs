//! What is set now: some of it is read again while the runner works (docs/spec/session-mailbox.md 8.3).

use std::sync::{Arc, PoisonError, RwLock};

use super::{Mailbox, Settings};

/// Settings that may change while the runner works.
pub(crate) struct Current(RwLock<Arc<Settings>>);

impl Current {
    /// Those of the start.
    pub(crate) fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self(RwLock::new(Arc::new(settings))))
    }

    /// As they are now. Whoever does one thing does all of it with the same.
    pub(crate) fn get(&self) -> Arc<Settings> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes limits, agents and who may use the machine from what was read again. Everything else is as it was at the start, for that is how the
    /// runner is registered and its agents are walled in.
    pub(crate) fn renew(&self, fresh: Settings) {
        let mut now = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let Mailbox { idle_exit, turn, start, orphan, .. } = fresh.mailbox;
        let old = Settings::clone(&now);
        let mailbox = Mailbox { idle_exit, turn, start, orphan, ..old.mailbox };
        *now = Arc::new(Settings { mailbox, tables: fresh.tables, ..old });
    }
}
