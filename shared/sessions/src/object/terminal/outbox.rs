//! What a terminal has written and its viewer was not sent yet, and how fast it is sent.

use std::cell::{Cell, RefCell};

use super::bell::Bell;
use super::run::End;

/// Bytes that wait for the viewer at most. Beyond it nothing more is read, and the process waits when it writes.
pub(super) const HELD_BYTES: usize = 256 << 10;
/// Bytes of one frame.
pub(super) const FRAME_BYTES: usize = 64 << 10;

/// What waits for the viewer.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    held: RefCell<Vec<u8>>,
    end: RefCell<Option<End>>,
    bell: Bell,
}

impl Outbox {
    pub(super) fn push(&self, bytes: &[u8]) {
        self.held.borrow_mut().extend_from_slice(bytes);
        self.bell.ring();
    }

    /// Nothing more is written.
    pub(super) fn end(&self, end: End) {
        *self.end.borrow_mut() = Some(end);
        self.bell.ring();
    }

    /// Waits until there is room.
    pub(super) async fn room(&self) {
        self.bell.until(|| (self.held.borrow().len() < HELD_BYTES).then_some(())).await;
    }

    /// Waits until there is something to send, or the end.
    pub(super) async fn ready(&self) {
        self.bell.until(|| (!self.held.borrow().is_empty() || self.end.borrow().is_some()).then_some(())).await;
    }

    /// The next frame; when nothing is left, the end if there is one.
    pub(super) fn take(&self) -> Result<Vec<u8>, Option<End>> {
        let mut held = self.held.borrow_mut();
        if held.is_empty() {
            return Err(self.end.borrow_mut().take());
        }
        let len = FRAME_BYTES.min(held.len());
        let rest = held.split_off(len);
        let frame = std::mem::replace(&mut *held, rest);
        drop(held);
        self.bell.ring();
        Ok(frame)
    }
}

/// Bytes that may be sent at once, and in a second after that. The platform does not say what the viewer has taken off its hands, so
/// that what waits there is bounded by this alone.
pub(super) const BURST_BYTES: usize = 4 << 20;
/// See [`BURST_BYTES`].
pub(super) const SECOND_BYTES: usize = 512 << 10;
/// Bytes that are sent to a viewer of whom nothing is heard.
pub(super) const UNHEARD_BYTES: usize = 16 << 20;

/// When the next frame may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// Now; it was counted.
    Now,
    /// After so many milliseconds.
    After(u32),
    /// When the viewer has said something after so many frames.
    Heard(u64),
}

/// How fast a viewer is sent what a terminal writes. Pure but for its cells.
#[derive(Debug)]
pub(super) struct Pace {
    left: Cell<usize>,
    at: Cell<i64>,
    frames: Cell<u64>,
    unheard: Cell<usize>,
}

impl Pace {
    pub(super) fn new(now: i64) -> Self {
        Self { left: Cell::new(BURST_BYTES), at: Cell::new(now), frames: Cell::new(0), unheard: Cell::new(0) }
    }

    /// Whether so many bytes may be sent to a viewer that has said so many frames.
    pub(super) fn take(&self, bytes: usize, frames: u64, now: i64) -> When {
        if frames != self.frames.replace(frames) {
            self.unheard.set(0);
        }
        if self.unheard.get().saturating_add(bytes) > UNHEARD_BYTES {
            return When::Heard(frames);
        }
        // A clock that goes back gives nothing.
        let passed = usize::try_from(now.saturating_sub(self.at.replace(now)).clamp(0, 60_000)).unwrap_or_default();
        let left = self.left.get().saturating_add(passed.saturating_mul(SECOND_BYTES / 1_000)).min(BURST_BYTES);
        self.left.set(left);
        let Some(rest) = left.checked_sub(bytes) else {
            let missing = bytes.saturating_sub(left).div_ceil(SECOND_BYTES / 1_000);
            return When::After(u32::try_from(missing).unwrap_or(u32::MAX));
        };
        self.left.set(rest);
        self.unheard.set(self.unheard.get().saturating_add(bytes));
        When::Now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_pieces_in_order_and_the_end_comes_last() {
        let outbox = Outbox::default();
        outbox.push(&vec![b'a'; FRAME_BYTES]);
        outbox.push(b"b");
        outbox.end(End::Exited(0));
        assert_eq!(outbox.take().map(|frame| frame.len()), Ok(FRAME_BYTES));
        assert_eq!(outbox.take(), Ok(b"b".to_vec()));
        assert_eq!(outbox.take(), Err(Some(End::Exited(0))));
        assert_eq!(outbox.take(), Err(None));
    }

    #[test]
    fn a_full_outbox_has_no_room() {
        let outbox = Outbox::default();
        let has_room = |outbox: &Outbox| {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            std::pin::pin!(outbox.room()).as_mut().poll(&mut context).is_ready()
        };
        outbox.push(&vec![0; HELD_BYTES - 1]);
        assert!(has_room(&outbox));
        outbox.push(&[0]);
        assert!(!has_room(&outbox));
        outbox.take().unwrap();
        assert!(has_room(&outbox));
    }

    #[test]
    fn a_burst_is_sent_at_once_and_the_rest_as_time_goes() {
        let pace = Pace::new(0);
        for _ in 0..BURST_BYTES / FRAME_BYTES {
            assert_eq!(pace.take(FRAME_BYTES, 0, 0), When::Now);
        }
        let When::After(ms) = pace.take(FRAME_BYTES, 0, 0) else { panic!("it has to wait") };
        assert_eq!(pace.take(FRAME_BYTES, 0, i64::from(ms) - 1), When::After(1));
        assert_eq!(pace.take(FRAME_BYTES, 0, i64::from(ms)), When::Now);
        assert!(matches!(pace.take(FRAME_BYTES, 0, 0), When::After(_)), "a clock that goes back gives nothing");
    }

    #[test]
    fn a_viewer_that_says_nothing_gets_no_more() {
        let (pace, mut now) = (Pace::new(0), 0);
        for _ in 0..UNHEARD_BYTES / FRAME_BYTES {
            now += 1_000;
            assert_eq!(pace.take(FRAME_BYTES, 3, now), When::Now);
        }
        assert_eq!(pace.take(FRAME_BYTES, 3, now + 60_000), When::Heard(3));
        assert_eq!(pace.take(FRAME_BYTES, 4, now + 60_000), When::Now);
    }
}
