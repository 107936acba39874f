//! Requests that are answered over one connection of HTTP/2, and since when there are none (self-host.md 9.3).

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// How many there are.
#[derive(Debug)]
pub(super) struct Streams {
    open: Cell<usize>,
    since: Cell<Instant>,
    changed: Notify,
}

impl Default for Streams {
    fn default() -> Self {
        Self { open: Cell::default(), since: Cell::new(Instant::now()), changed: Notify::default() }
    }
}

/// One of them, for as long as this lives.
pub(super) struct Open(Rc<Streams>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.change(self.0.open.get().saturating_sub(1));
    }
}

impl Streams {
    fn change(&self, open: usize) {
        self.open.set(open);
        self.since.set(Instant::now());
        self.changed.notify_one();
    }

    /// One more.
    pub(super) fn begin(self: &Rc<Self>) -> Open {
        self.change(self.open.get() + 1);
        Open(Rc::clone(self))
    }

    /// Waits until there were none for so long.
    pub(super) async fn unused_for(&self, limit: Duration) {
        loop {
            let end = self.since.get() + limit;
            if self.open.get() == 0 && end <= Instant::now() {
                return;
            }
            tokio::select! {
                () = self.changed.notified() => {}
                () = tokio::time::sleep_until(end), if self.open.get() == 0 => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_is_unused_when_nothing_was_asked_for_long() {
        let streams = Rc::new(Streams::default());
        let limit = Duration::from_millis(20);
        let begun = Instant::now();
        streams.unused_for(limit).await;
        assert!(begun.elapsed() >= limit / 2);
        let (first, second) = (streams.begin(), streams.begin());
        drop(first);
        assert!(tokio::time::timeout(10 * limit, streams.unused_for(limit)).await.is_err(), "one is answered still");
        drop(second);
        streams.unused_for(limit).await;
    }
}
