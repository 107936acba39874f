//! Work that one at a time does, while the others wait in the order in which they came.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// A place for one. Whoever waits has a socket, and one place in its line at most; sockets are counted.
#[derive(Debug, Default)]
pub(crate) struct Single {
    taken: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

/// The place, until this is dropped.
pub(super) struct Taken<'a>(&'a Single);

impl Single {
    /// The place, if nobody has it.
    pub(super) fn enter_at_once(&self) -> Option<Taken<'_>> {
        // Not `then_some`: a place that is made and dropped frees it.
        (!self.taken.replace(true)).then(|| Taken(self))
    }

    /// The place, once nobody has it.
    pub(super) async fn enter(&self) -> Taken<'_> {
        poll_fn(|context| {
            if let Some(taken) = self.enter_at_once() {
                return Poll::Ready(taken);
            }
            self.waiting.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.taken.set(false);
        // All of them, as some may have given up; those who come too late wait again, in their order.
        for waker in self.0.waiting.take() {
            waker.wake();
        }
    }
}
