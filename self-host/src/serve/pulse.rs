//! Whether the loops turn that take connections. A service manager hears that the server is alive only while they do (self-host.md 3.4): one
//! that waits for connections turns when it is asked to, and one that hangs does not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// Asks the loops to turn.
pub(crate) struct Pulse {
    asked: watch::Sender<u64>,
    /// The last question that each loop has heard; as many as there are listeners on all threads.
    heard: Mutex<Vec<Arc<AtomicU64>>>,
}

/// A loop's part of it.
pub(super) struct Turning {
    asked: watch::Receiver<u64>,
    heard: Arc<AtomicU64>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { asked: watch::Sender::new(0), heard: Mutex::default() }
    }
}

impl Pulse {
    /// A loop that is to turn from now on. One that has ended does not turn.
    pub(super) fn join(&self) -> Turning {
        let asked = self.asked.subscribe();
        let heard = Arc::new(AtomicU64::new(*asked.borrow()));
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&heard));
        Turning { asked, heard }
    }

    /// Whether all loops have turned since this was asked last; asks them again.
    pub(super) fn has_turned(&self) -> bool {
        let last = *self.asked.borrow();
        let turned = {
            let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.iter().all(|heard| heard.load(Ordering::Relaxed) == last)
        };
        self.asked.send_replace(last.wrapping_add(1));
        turned
    }
}

impl Turning {
    /// Waits until the loop is to turn, and notes that it does.
    pub(super) async fn turn(&mut self) {
        if self.asked.changed().await.is_err() {
            // Nobody asks any more.
            return std::future::pending().await;
        }
        self.heard.store(*self.asked.borrow_and_update(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_does_not_turn_is_noticed() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let pulse = Pulse::default();
            let (mut first, mut second) = (pulse.join(), pulse.join());
            assert!(pulse.has_turned(), "nobody was asked yet");
            first.turn().await;
            assert!(!pulse.has_turned(), "the other one hangs");
            first.turn().await;
            second.turn().await;
            assert!(pulse.has_turned(), "it goes on");
            drop(second);
            first.turn().await;
            assert!(!pulse.has_turned(), "it has ended");
        });
    }
}
