//! Frames of sockets that wait behind one whose sender's membership is being asked, or whose long answer is being made.
//!
//! Nothing else may wait for either: not other sockets, not requests. Frames of one socket keep their order all the same.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use graph::sockets::OwnedFrame;
use protocol::limits::MESSAGE_BYTES;

/// Bytes that frames of all sockets together may wait with: as one message at its longest. A question or a
/// long answer takes seconds, and clients send one batch at a time.
const WAITING_BYTES: usize = MESSAGE_BYTES;

/// Bytes that are answered of a line before others have their turn.
const TURN_BYTES: usize = 64 << 10;

/// What a frame counts beside its bytes, so that this bounds the number of frames as well.
const FRAME_BYTES: usize = 1 << 10;

/// The lines of a graph, by the numbers of their sockets.
#[derive(Debug, Default)]
pub(crate) struct Lines(RefCell<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    lines: HashMap<u64, VecDeque<OwnedFrame>>,
    bytes: usize,
}

/// The line of a socket, which ends with this.
pub(super) struct Line {
    lines: Rc<Lines>,
    socket: u64,
    /// Bytes of frames that were taken since the last turn of others.
    taken: usize,
}

/// A frame that comes while there is no room.
pub(super) struct NoRoom;

impl Lines {
    /// Begins a line. None is there for this socket: whoever finds one joins it.
    pub(super) fn begin(self: &Rc<Self>, socket: u64) -> Line {
        self.0.borrow_mut().lines.insert(socket, VecDeque::new());
        Line { lines: Rc::clone(self), socket, taken: 0 }
    }

    /// Puts a frame behind those of its socket that wait, or gives it back where none does.
    pub(super) fn join(&self, socket: u64, frame: OwnedFrame) -> Result<Option<OwnedFrame>, NoRoom> {
        let waiting = &mut *self.0.borrow_mut();
        let Some(line) = waiting.lines.get_mut(&socket) else { return Ok(Some(frame)) };
        let bytes = waiting.bytes + weight(&frame);
        if bytes > WAITING_BYTES {
            return Err(NoRoom);
        }
        waiting.bytes = bytes;
        line.push_back(frame);
        Ok(None)
    }
}

impl Line {
    /// The next frame. The line ends when there is none, before anything else can happen.
    pub(super) fn next(&mut self) -> Option<OwnedFrame> {
        let waiting = &mut *self.lines.0.borrow_mut();
        if let Some(frame) = waiting.lines.get_mut(&self.socket)?.pop_front() {
            waiting.bytes -= weight(&frame);
            self.taken += weight(&frame);
            Some(frame)
        } else {
            waiting.lines.remove(&self.socket);
            None
        }
    }

    /// Whether so much was taken that others are to have their turn, which counts as given.
    pub(super) fn wants_turn(&mut self) -> bool {
        let wants = self.taken >= TURN_BYTES;
        if wants {
            self.taken = 0;
        }
        wants
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let waiting = &mut *self.lines.0.borrow_mut();
        if let Some(line) = waiting.lines.remove(&self.socket) {
            waiting.bytes -= line.iter().map(weight).sum::<usize>();
        }
    }
}

fn weight(frame: &OwnedFrame) -> usize {
    let bytes = match frame {
        OwnedFrame::Text(text) => text.len(),
        OwnedFrame::Binary(bytes) => bytes.len(),
    };
    bytes + FRAME_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: usize) -> OwnedFrame {
        OwnedFrame::Text("x".repeat(bytes))
    }

    #[test]
    fn frames_wait_in_their_order_and_only_behind_their_own() {
        let lines = Rc::<Lines>::default();
        let mut line = lines.begin(1);
        for bytes in [1, 2, 3] {
            assert!(matches!(lines.join(1, text(bytes)), Ok(None)));
        }
        assert!(matches!(lines.join(2, text(1)), Ok(Some(_))), "another socket waits for nobody");
        let mut lengths = Vec::new();
        while let Some(OwnedFrame::Text(text)) = line.next() {
            lengths.push(text.len());
        }
        assert_eq!(lengths, [1, 2, 3]);
        assert!(matches!(lines.join(1, text(1)), Ok(Some(_))), "the line has ended");
        assert_eq!(lines.0.borrow().bytes, 0);
    }

    #[test]
    fn waiting_frames_are_bounded_together() {
        let lines = Rc::<Lines>::default();
        let (first, _second) = (lines.begin(1), lines.begin(2));
        assert!(matches!(lines.join(1, text(WAITING_BYTES - FRAME_BYTES)), Ok(None)));
        assert!(matches!(lines.join(2, text(0)), Err(NoRoom)));
        drop(first);
        assert!(matches!(lines.join(2, text(0)), Ok(None)), "whatever waited is gone with its line");
    }

    #[test]
    fn empty_frames_count() {
        let lines = Rc::<Lines>::default();
        let _line = lines.begin(1);
        let taken = (0..WAITING_BYTES).take_while(|_| lines.join(1, text(0)).is_ok()).count();
        assert_eq!(taken, WAITING_BYTES / FRAME_BYTES);
    }
}
