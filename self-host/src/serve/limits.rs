//! Limits that hold while the server runs, and change with its configuration (self-host.md 9.3).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sync_http::service::{self, Limit};

use crate::config::Limits;
use crate::graphs::GraphLimits;

/// What connections ask, and what graphs ask.
pub(crate) struct Bounds {
    now: RwLock<Limits>,
    taken: Arc<AtomicUsize>,
    graphs: GraphLimits,
    sockets: service::Limits,
    /// Threads that have graphs, each of which may have its share open.
    threads: usize,
}

/// A place of a connection, which is free again when this is dropped.
pub(super) struct Taken(Arc<AtomicUsize>);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Bounds {
    /// These, where so many threads have graphs. `sockets` are those that the surface asks.
    pub(crate) fn new(limits: Limits, threads: usize, sockets: &service::Limits) -> Self {
        let graphs = GraphLimits {
            open: Limit::new(share(limits.open_graphs, threads)),
            unread: Limit::new(limits.unread),
            exports: Limit::new(limits.exports),
        };
        let sockets = sockets.clone();
        Self { now: RwLock::new(limits), taken: Arc::default(), graphs, sockets, threads }
    }

    /// Those that graphs ask.
    pub(crate) fn of_graphs(&self) -> GraphLimits {
        self.graphs.clone()
    }

    fn now(&self) -> Limits {
        *self.now.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Others from now on. Whoever has more already keeps it.
    pub(super) fn change(&self, limits: Limits) {
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = limits;
        self.graphs.open.set(share(limits.open_graphs, self.threads));
        self.graphs.unread.set(limits.unread);
        self.graphs.exports.set(limits.exports);
        self.sockets.user_sockets.set(limits.user_sockets);
        self.sockets.graph_sockets.set(limits.graph_sockets);
    }

    /// A place for a connection, if there is one.
    pub(super) fn enter(&self) -> Option<Taken> {
        let limit = self.now().connections;
        let more = |taken: usize| (taken < limit).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Taken(Arc::clone(&self.taken)))
    }

    /// Time for the head of a request.
    pub(super) fn head(&self) -> Duration {
        self.now().head
    }

    /// Bytes of the head of a request.
    pub(super) fn head_bytes(&self) -> usize {
        self.now().head_bytes
    }

    /// Time between pieces of a body.
    pub(super) fn body_idle(&self) -> Duration {
        self.now().body_idle
    }

    /// Time between two requests on a connection.
    pub(super) fn keep_alive(&self) -> Duration {
        self.now().keep_alive
    }

    /// Time between pings of a socket.
    pub(super) fn ping(&self) -> Duration {
        self.now().ping
    }
}

/// How many of all graphs one thread may have open.
fn share(open: usize, threads: usize) -> usize {
    open.div_ceil(threads.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_and_change() {
        let sockets = service::Limits { user_sockets: Limit::new(1), graph_sockets: Limit::new(2) };
        let seconds = Duration::from_secs(1);
        let mut limits = Limits {
            connections: 2,
            per_address: 1,
            user_sockets: 1,
            graph_sockets: 2,
            head_bytes: 8192,
            head: seconds,
            body_idle: seconds,
            keep_alive: seconds,
            ping: seconds,
            unread: 1,
            failed_logins: 1,
            open_graphs: 5,
            exports: 8,
        };
        let bounds = Bounds::new(limits, 2, &sockets);
        let of_graphs = bounds.of_graphs();
        assert_eq!((of_graphs.open.get(), of_graphs.exports.get()), (3, 8));
        let first = bounds.enter();
        let second = bounds.enter();
        assert!(first.is_some() && second.is_some() && bounds.enter().is_none());
        drop(first);
        assert!(bounds.enter().is_some());
        (limits.connections, limits.user_sockets, limits.open_graphs, limits.keep_alive) = (1, 7, 1, 2 * seconds);
        bounds.change(limits);
        assert!(bounds.enter().is_none(), "the one that is there stays");
        assert_eq!((sockets.user_sockets.get(), of_graphs.open.get(), bounds.keep_alive()), (7, 1, 2 * seconds));
        drop(second);
        assert!(bounds.enter().is_some());
    }
}
