//! Whether anybody uses this server: a server with clients is not replaced by another build (docs/spec/daemon.md 4.5).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use daemon_lifecycle::admin::RECENT;

/// Connections that are open, and when the last one went.
#[derive(Default)]
pub(crate) struct Clients(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    open: usize,
    last: Option<Instant>,
}

/// A connection, for as long as this lives.
pub(crate) struct Client<'a>(&'a Clients);

impl Clients {
    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more.
    pub(crate) fn enter(&self) -> Client<'_> {
        self.counted().open += 1;
        Client(self)
    }

    /// How many there are; those who have just gone count as one.
    pub(super) fn recent(&self) -> usize {
        let counted = self.counted();
        counted.open.max(usize::from(counted.last.is_some_and(|last| last.elapsed() < RECENT)))
    }
}

impl Drop for Client<'_> {
    fn drop(&mut self) {
        let mut counted = self.0.counted();
        counted.open = counted.open.saturating_sub(1);
        counted.last = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_just_gone_still_counts() {
        let clients = Clients::default();
        assert_eq!(clients.recent(), 0);
        let both = (clients.enter(), clients.enter());
        assert_eq!(clients.recent(), 2);
        drop(both);
        assert_eq!(clients.recent(), 1);
    }
}
