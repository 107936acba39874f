//! How far an agent is read ahead of what was taken in: a bounded number of lines, and of bytes of them. What waits in this process's memory, and
//! what is still stored once the host takes nothing more, is bounded by that.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Lines that are read ahead.
const LINES: usize = 256;
/// Bytes of them. One that is longer is read when nothing else waits.
const BYTES: usize = 16 << 20;

/// What is read ahead: the thread that reads an agent waits here for the session.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: usize,
    bytes: usize,
    is_over: bool,
}

impl Waiting {
    fn has_room(&self, bytes: usize) -> bool {
        self.lines == 0 || (self.lines < LINES && self.bytes.saturating_add(bytes) <= BYTES)
    }
}

impl Ahead {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Two counters and a flag: there is no half of a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a line of so many bytes may be passed on. False when nobody takes lines any more.
    pub(crate) fn enter(&self, bytes: usize) -> bool {
        let mut waiting = self.waiting();
        // Ends with the agent at the latest: whoever drops it closes this.
        while !waiting.is_over && !waiting.has_room(bytes) {
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.lines = waiting.lines.saturating_add(1);
        waiting.bytes = waiting.bytes.saturating_add(bytes);
        !waiting.is_over
    }

    /// So many lines, with so many bytes, do not wait any more.
    pub(crate) fn leave(&self, lines: usize, bytes: usize) {
        let mut waiting = self.waiting();
        // What did not come through here counts for nothing.
        waiting.lines = waiting.lines.saturating_sub(lines);
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
        self.changed.notify_all();
    }

    /// Nobody takes lines any more.
    pub(crate) fn close(&self) {
        self.waiting().is_over = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn lines_and_bytes_that_wait_are_bounded_and_a_long_line_goes_alone() {
        let mut waiting = Waiting::default();
        assert!(waiting.has_room(BYTES + 1), "nothing else waits");
        (waiting.lines, waiting.bytes) = (1, BYTES - 5);
        assert!(waiting.has_room(5) && !waiting.has_room(6));
        (waiting.lines, waiting.bytes) = (LINES, 0);
        assert!(!waiting.has_room(0));
    }

    #[test]
    fn whoever_waits_goes_on_when_lines_were_taken_in_and_ends_when_nobody_takes_them() {
        let ahead = Arc::new(Ahead::default());
        assert!(ahead.enter(BYTES));
        let (told, hear) = channel();
        let reader = {
            let ahead = Arc::clone(&ahead);
            std::thread::spawn(move || {
                for bytes in [1, BYTES] {
                    told.send(ahead.enter(bytes)).unwrap();
                }
            })
        };
        assert!(hear.try_recv().is_err());
        ahead.leave(1, BYTES);
        assert!(hear.recv().unwrap());
        ahead.close();
        assert!(!hear.recv().unwrap());
        reader.join().unwrap();
    }
}
