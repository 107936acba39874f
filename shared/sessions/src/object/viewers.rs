//! Whoever watches a session (agents.md 3.11): the log from where they left off, then what happens, without a gap and without
//! anything twice.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use web::{Failure, LiveSource};

use super::{Platform, Session};
use crate::session::store::EventLog;
use crate::sse::{Frame, write_comment, write_heartbeat};

/// Streams of one session, and of one user, that may be open at the same time (agents.md 2.8).
pub const MAX_VIEWERS: usize = 200;
/// See [`MAX_VIEWERS`].
pub const MAX_VIEWERS_OF_USER: usize = 50;
/// Bytes that wait for one viewer; beyond it the stream is closed, and the client comes again.
pub const MAX_QUEUE_BYTES: usize = 1 << 20;
/// Between two signs of life, in milliseconds.
const HEARTBEAT_MS: u32 = 15_000;
/// Events that are read from the log at a time, and their bytes.
const PAGE_ROWS: usize = 512;
const PAGE_BYTES: usize = 128 << 10;
/// Bytes that are handed on at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// What waits for one viewer.
#[derive(Default)]
struct Queue {
    user: String,
    frames: RefCell<VecDeque<Rc<str>>>,
    bytes: Cell<usize>,
    /// Whether the viewer has seen the whole log: until then it reads what happens from there.
    is_live: Cell<bool>,
    is_closed: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Queue {
    fn push(&self, frame: &Rc<str>) {
        let bytes = self.bytes.get().saturating_add(frame.len());
        // One frame alone always finds room: it is bounded by itself.
        if bytes > MAX_QUEUE_BYTES && self.bytes.get() > 0 {
            self.is_closed.set(true);
            self.frames.borrow_mut().clear();
        } else {
            self.bytes.set(bytes);
            self.frames.borrow_mut().push_back(Rc::clone(frame));
        }
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// All viewers of a session.
#[derive(Default)]
pub(crate) struct Viewers(RefCell<Vec<Rc<Queue>>>);

/// No further stream is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Viewers {
    /// A place for one more. Counts of users are not limited where the operator wants that; those of a session always are.
    fn enter(&self, user: &str, users_are_limited: bool) -> Result<Rc<Queue>, TooMany> {
        let mut viewers = self.0.borrow_mut();
        let of_user = viewers.iter().filter(|viewer| viewer.user == user).count();
        if viewers.len() >= MAX_VIEWERS || (users_are_limited && of_user >= MAX_VIEWERS_OF_USER) {
            return Err(TooMany);
        }
        let queue = Rc::new(Queue { user: user.to_owned(), ..Queue::default() });
        viewers.push(Rc::clone(&queue));
        Ok(queue)
    }

    fn leave(&self, queue: &Rc<Queue>) {
        self.0.borrow_mut().retain(|viewer| !Rc::ptr_eq(viewer, queue));
    }

    /// Closes all streams.
    pub(crate) fn end(&self) {
        for viewer in self.0.borrow().iter() {
            viewer.is_closed.set(true);
            viewer.wake();
        }
    }

    /// Whether anybody watches.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Shows an event that was stored: whoever still reads the log meets it there.
    pub(crate) fn stored(&self, frame: &Rc<str>) {
        for viewer in self.0.borrow().iter() {
            if viewer.is_live.get() {
                viewer.push(frame);
            } else {
                viewer.wake();
            }
        }
    }

    /// Shows what is not stored.
    pub(crate) fn passing(&self, frame: &Rc<str>) {
        for viewer in self.0.borrow().iter().filter(|viewer| viewer.is_live.get()) {
            viewer.push(frame);
        }
    }
}

/// A stored event as a frame.
pub(crate) fn stored_frame(out: &mut String, cursor: u64, body: &str) {
    Frame { id: Some(cursor), event: None, data: body }.write(out);
}

/// The stream of one viewer.
pub(crate) struct Viewing<P: Platform> {
    session: Weak<Session<P>>,
    queue: Rc<Queue>,
    /// The last event of the log that was shown.
    cursor: u64,
    /// What is said before the log.
    greeting: String,
    named_heartbeat: bool,
    rest: Pin<Box<dyn Future<Output = ()>>>,
}

impl<P: Platform> Viewing<P> {
    /// A stream of everything after a cursor.
    pub(crate) fn new(
        session: &Rc<Session<P>>,
        user: &str,
        cursor: u64,
        is_truncated: bool,
        named_heartbeat: bool,
    ) -> Result<Self, TooMany> {
        let queue = session.viewers.enter(user, session.settings.rate_limits)?;
        let mut greeting = String::new();
        if is_truncated {
            write_comment(&mut greeting, "truncated");
        }
        let rest = Box::pin(session.platform.sleep_ms(HEARTBEAT_MS));
        Ok(Self { session: Rc::downgrade(session), queue, cursor, greeting, named_heartbeat, rest })
    }

    /// The next piece of the log; none when there is no more of it.
    fn log(&mut self, session: &Session<P>) -> Result<Option<String>, Failure> {
        let page = EventLog::page(session.platform.sql(), self.cursor, PAGE_ROWS, PAGE_BYTES);
        let page = page.map_err(|error| Failure(error.to_string()))?;
        let Some(last) = page.last() else { return Ok(None) };
        self.cursor = last.cursor;
        let mut text = String::with_capacity(page.iter().map(|event| event.body.len() + 32).sum());
        for event in &page {
            stored_frame(&mut text, event.cursor, &event.body);
        }
        Ok(Some(text))
    }

    fn queued(&self) -> Option<String> {
        let mut frames = self.queue.frames.borrow_mut();
        let mut text = String::new();
        while let Some(frame) = frames.pop_front() {
            self.queue.bytes.set(self.queue.bytes.get().saturating_sub(frame.len()));
            text.push_str(&frame);
            if text.len() >= CHUNK_BYTES {
                break;
            }
        }
        (!text.is_empty()).then_some(text)
    }

    fn next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<String>, Failure>> {
        let Some(session) = self.session.upgrade().filter(|_| !self.queue.is_closed.get()) else {
            return Poll::Ready(Ok(None));
        };
        if !self.greeting.is_empty() {
            return Poll::Ready(Ok(Some(std::mem::take(&mut self.greeting))));
        }
        if !self.queue.is_live.get() {
            match self.log(&session) {
                Ok(Some(text)) => return Poll::Ready(Ok(Some(text))),
                Ok(None) => {}
                Err(failure) => return Poll::Ready(Err(failure)),
            }
            // Nothing happens between the last look at the log and this line.
            self.queue.is_live.set(true);
            let live = session.live_frames();
            if !live.is_empty() {
                return Poll::Ready(Ok(Some(live)));
            }
        }
        if let Some(text) = self.queued() {
            return Poll::Ready(Ok(Some(text)));
        }
        if self.rest.as_mut().poll(context).is_ready() {
            self.rest = Box::pin(session.platform.sleep_ms(HEARTBEAT_MS));
            let mut text = String::new();
            if self.named_heartbeat {
                let now = u64::try_from(session.platform.now_ms()).unwrap_or_default();
                write_heartbeat(&mut text, session.last_cursor(), now);
            } else {
                write_comment(&mut text, "ping");
            }
            return Poll::Ready(Ok(Some(text)));
        }
        *self.queue.waker.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }
}

impl<P: Platform> LiveSource for Viewing<P> {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Vec<u8>>, Failure>> {
        self.next(context).map(|next| next.map(|text| text.map(String::into_bytes)))
    }
}

impl<P: Platform> Drop for Viewing<P> {
    fn drop(&mut self) {
        if let Some(session) = self.session.upgrade() {
            session.viewers.leave(&self.queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_counted_by_user_and_by_session() {
        let viewers = Viewers::default();
        let ann: Vec<_> = (0..MAX_VIEWERS_OF_USER).map(|_| viewers.enter("ann", true).unwrap()).collect();
        assert!(viewers.enter("ann", true).is_err());
        // `AGENT_RATE_LIMITS=off` lifts what is counted by user (agents.md 2.8).
        assert!(viewers.enter("ann", false).is_ok());
        for user in ["bob", "cat"] {
            (0..MAX_VIEWERS_OF_USER).for_each(|_| drop(viewers.enter(user, true).unwrap()));
        }
        let left = MAX_VIEWERS - viewers.0.borrow().len();
        (0..left).for_each(|_| drop(viewers.enter("ann", false).unwrap()));
        assert!(viewers.enter("dan", true).is_err() && viewers.enter("dan", false).is_err());
        viewers.leave(&ann[0]);
        assert!(viewers.enter("dan", true).is_ok());
    }
}
