//! Waiting for something that changes on the same thread.

use std::cell::RefCell;
use std::task::{Poll, Waker};

/// Wakes whoever waits until something is so.
#[derive(Debug, Default)]
pub(super) struct Bell(RefCell<Vec<Waker>>);

impl Bell {
    /// Something has changed: everybody looks again.
    pub(super) fn ring(&self) {
        self.0.take().into_iter().for_each(Waker::wake);
    }

    /// Waits until there is something to be found.
    pub(super) async fn until<T>(&self, look: impl Fn() -> Option<T>) -> T {
        std::future::poll_fn(|context| {
            if let Some(found) = look() {
                return Poll::Ready(found);
            }
            let mut wakers = self.0.borrow_mut();
            // A task that looks again before the bell has rung waits once.
            if !wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                wakers.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}
