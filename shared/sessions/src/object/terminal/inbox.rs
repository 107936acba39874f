//! What a viewer has said to its terminal and nobody has taken yet.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use super::bell::Bell;
use super::frames::{self, Said};
use crate::runtime::TerminalSize;

/// The longest frame of a viewer, in bytes: larger than what anybody pastes.
pub const MAX_FRAME_BYTES: usize = 256 << 10;
/// Bytes of a viewer that wait at most. Beyond it, or beyond [`MAX_FRAME_BYTES`], the terminal ends.
pub const MAX_WAITING_BYTES: usize = 1 << 20;
/// Bytes that are typed at a time.
const PIECE_BYTES: usize = 64 << 10;
/// What something that waits counts, whatever its length.
const COST_BYTES: usize = 64;

/// What is to be told to the terminal, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// This was typed.
    Input {
        /// The bytes.
        bytes: Vec<u8>,
        /// Whether all of it came as text, which waits a moment for more.
        is_text: bool,
    },
    /// The size has changed.
    Resize(TerminalSize),
}

/// Why nothing more comes of a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// It has gone.
    Gone,
    /// It says more than the terminal can take.
    Flooded,
}

/// What a platform hands in of one socket, bounded.
#[derive(Debug, Default)]
pub struct Inbox {
    items: RefCell<VecDeque<Item>>,
    bytes: Cell<usize>,
    /// Frames that came, whatever was in them.
    frames: Cell<u64>,
    over: Cell<Option<Over>>,
    bell: Bell,
}

impl Inbox {
    /// A text frame has come.
    pub fn text(&self, text: &str) {
        if !self.takes(text.len()) {
            return;
        }
        match frames::read(text) {
            Said::Input(data) => self.input(data.as_bytes(), true),
            Said::Raw => self.input(text.as_bytes(), true),
            Said::Resize(size) => self.resize(size),
            Said::Nothing => self.bell.ring(),
        }
    }

    /// A frame of bytes has come.
    pub fn bytes(&self, bytes: &[u8]) {
        if self.takes(bytes.len()) {
            self.input(bytes, false);
        }
    }

    /// A frame of that length has come that is larger than what anybody takes: the platform need not read it.
    pub fn too_large(&self) {
        self.end(Over::Flooded);
    }

    /// The viewer has gone, or its connection has.
    pub fn gone(&self) {
        self.end(Over::Gone);
    }

    fn end(&self, over: Over) {
        if self.over.get().is_none() {
            self.over.set(Some(over));
        }
        self.items.borrow_mut().clear();
        self.bytes.set(0);
        self.bell.ring();
    }

    /// Whether a frame of that length is looked at.
    fn takes(&self, len: usize) -> bool {
        self.frames.set(self.frames.get().wrapping_add(1));
        if self.over.get().is_none() && len > MAX_FRAME_BYTES {
            self.too_large();
        }
        self.over.get().is_none()
    }

    /// What follows something typed joins it.
    fn input(&self, new: &[u8], new_is_text: bool) {
        if new.is_empty() {
            return self.bell.ring();
        }
        let mut items = self.items.borrow_mut();
        let mut cost = new.len();
        if let Some(Item::Input { bytes, is_text }) = items.back_mut() {
            bytes.extend_from_slice(new);
            *is_text &= new_is_text;
        } else {
            cost = cost.saturating_add(COST_BYTES);
            items.push_back(Item::Input { bytes: new.to_vec(), is_text: new_is_text });
        }
        drop(items);
        self.count(cost);
    }

    /// Of sizes that follow each other the last one counts.
    fn resize(&self, size: TerminalSize) {
        let mut items = self.items.borrow_mut();
        if let Some(Item::Resize(last)) = items.back_mut() {
            *last = size;
            drop(items);
            return self.bell.ring();
        }
        items.push_back(Item::Resize(size));
        drop(items);
        self.count(COST_BYTES);
    }

    fn count(&self, cost: usize) {
        self.bytes.set(self.bytes.get().saturating_add(cost));
        if self.bytes.get() > MAX_WAITING_BYTES {
            self.end(Over::Flooded);
        } else {
            self.bell.ring();
        }
    }

    /// Waits until something is to be told.
    pub(super) async fn ready(&self) {
        self.bell.until(|| (!self.items.borrow().is_empty()).then_some(())).await;
    }

    /// Waits until nothing more comes.
    pub(super) async fn over(&self) -> Over {
        self.bell.until(|| self.over.get()).await
    }

    /// Frames that have come so far.
    pub(super) fn frames(&self) -> u64 {
        self.frames.get()
    }

    /// Waits until a frame comes after so many.
    pub(super) async fn heard(&self, frames: u64) {
        self.bell.until(|| (self.frames.get() != frames).then_some(())).await;
    }

    /// Whether all that waits is text, which more may follow at once.
    pub(super) fn may_wait(&self) -> bool {
        let items = self.items.borrow();
        items.len() == 1 && matches!(items.front(), Some(Item::Input { is_text: true, .. }))
    }

    /// The next thing to be told; of a long input a piece.
    pub(super) fn take(&self) -> Option<Item> {
        let mut items = self.items.borrow_mut();
        let first = items.front_mut()?;
        if let Item::Input { bytes, is_text } = first
            && bytes.len() > PIECE_BYTES
        {
            let rest = bytes.split_off(PIECE_BYTES);
            let piece = std::mem::replace(bytes, rest);
            self.bytes.set(self.bytes.get().saturating_sub(piece.len()));
            return Some(Item::Input { bytes: piece, is_text: *is_text });
        }
        let taken = items.pop_front()?;
        let cost = if let Item::Input { bytes, .. } = &taken { bytes.len() } else { 0 };
        self.bytes.set(self.bytes.get().saturating_sub(cost.saturating_add(COST_BYTES)));
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use pollster::block_on;

    use super::*;

    fn typed(bytes: &[u8], is_text: bool) -> Item {
        Item::Input { bytes: bytes.to_vec(), is_text }
    }

    #[test]
    fn what_is_typed_joins_and_keeps_its_order() {
        let inbox = Inbox::default();
        inbox.text(r#"{"type":"input","data":"a"}"#);
        inbox.text("b");
        assert!(inbox.may_wait());
        inbox.text(r#"{"type":"resize","cols":80,"rows":25}"#);
        assert!(!inbox.may_wait(), "a new size sends what was typed before it");
        inbox.text(r#"{"type":"resize","cols":81,"rows":26}"#);
        inbox.bytes(b"c");
        inbox.text("");
        inbox.text(r#"{"type":"input"}"#);
        block_on(inbox.ready());
        assert_eq!(inbox.take(), Some(typed(b"ab", true)));
        assert_eq!(inbox.take(), Some(Item::Resize(TerminalSize { cols: 81, rows: 26 })));
        assert!(!inbox.may_wait(), "bytes are sent as they come");
        assert_eq!(inbox.take(), Some(typed(b"c", false)));
        assert_eq!(inbox.take(), None);
        assert_eq!((inbox.bytes.get(), inbox.frames()), (0, 7));
    }

    #[test]
    fn a_long_input_goes_in_pieces() {
        let inbox = Inbox::default();
        inbox.bytes(&vec![b'x'; PIECE_BYTES + 1]);
        assert_eq!(inbox.take(), Some(typed(&vec![b'x'; PIECE_BYTES], false)));
        assert_eq!(inbox.take(), Some(typed(b"x", false)));
        assert_eq!(inbox.bytes.get(), 0);
    }

    #[test]
    fn a_frame_has_a_limit() {
        let inbox = Inbox::default();
        inbox.bytes(&vec![0; MAX_FRAME_BYTES]);
        assert_eq!(inbox.over.get(), None);
        inbox.text(&"x".repeat(MAX_FRAME_BYTES + 1));
        assert_eq!(block_on(inbox.over()), Over::Flooded);
        assert_eq!(inbox.take(), None, "nothing is typed any more");
    }

    #[test]
    fn what_waits_has_a_limit() {
        let inbox = Inbox::default();
        for _ in 0..MAX_WAITING_BYTES / MAX_FRAME_BYTES - 1 {
            inbox.bytes(&vec![0; MAX_FRAME_BYTES]);
        }
        inbox.bytes(&vec![0; MAX_FRAME_BYTES - COST_BYTES]);
        assert_eq!(inbox.over.get(), None);
        inbox.bytes(b"x");
        assert_eq!(inbox.over.get(), Some(Over::Flooded));
        // Sizes in between cost something too.
        let inbox = Inbox::default();
        for _ in 0..MAX_WAITING_BYTES / COST_BYTES {
            inbox.text(r#"{"type":"resize","cols":80,"rows":25}"#);
            inbox.bytes(b"x");
        }
        assert_eq!(inbox.over.get(), Some(Over::Flooded));
    }

    #[test]
    fn a_viewer_that_has_gone_says_nothing_more() {
        let inbox = Inbox::default();
        inbox.text("rm");
        inbox.gone();
        inbox.text(" -rf");
        inbox.too_large();
        assert_eq!((block_on(inbox.over()), inbox.take()), (Over::Gone, None));
    }
}
