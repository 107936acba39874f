//! Waiting. Unlike `worker::Delay` it does not panic when the runtime refuses a timer (there are at most 10,000 at a time).

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use js_sys::global;
use wasm_bindgen::JsCast as _;
use wasm_bindgen::closure::Closure;
use worker::web_sys::WorkerGlobalScope;

/// A time that is waited for; no time where there is no timer. Dropped, its timer ends.
pub struct Sleep {
    time: Duration,
    timer: Option<Timer>,
    over: Rc<Over>,
}

/// What the timer tells, and whom: a body that is sent piece by piece is asked by another task each time.
#[derive(Default)]
struct Over {
    is_over: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// A running timer, and what it calls, which must live as long.
struct Timer {
    id: i32,
    _callback: Closure<dyn FnMut()>,
}

impl Sleep {
    /// Waits so long from its first poll on.
    pub fn new(time: Duration) -> Self {
        Self { time, timer: None, over: Rc::default() }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.over.is_over.get() {
            return Poll::Ready(());
        }
        *self.over.waker.borrow_mut() = Some(context.waker().clone());
        if self.timer.is_some() {
            return Poll::Pending;
        }
        let over = Rc::clone(&self.over);
        let callback = Closure::<dyn FnMut()>::new(move || {
            over.is_over.set(true);
            if let Some(waker) = over.waker.borrow_mut().take() {
                waker.wake();
            }
        });
        let ms = i32::try_from(self.time.as_millis()).unwrap_or(i32::MAX);
        let function = callback.as_ref().unchecked_ref();
        match scope().set_timeout_with_callback_and_timeout_and_arguments_0(function, ms) {
            Ok(id) => {
                self.timer = Some(Timer { id, _callback: callback });
                Poll::Pending
            }
            Err(_) => Poll::Ready(()),
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take()
            && !self.over.is_over.get()
        {
            // What it calls is gone in a moment.
            scope().clear_timeout_with_handle(timer.id);
        }
    }
}

fn scope() -> WorkerGlobalScope {
    global().unchecked_into()
}
