//! The terminals of a session that are open, or are being opened.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_channel::oneshot;

/// Terminals of one session (agents.md 2.8).
pub const MAX_TERMINALS: usize = 4;

#[derive(Debug, Default)]
struct Entry {
    pid: Cell<Option<u32>>,
    stop: RefCell<Option<oneshot::Sender<()>>>,
    /// Whoever waits for its end: dropped with it.
    waiting: RefCell<Vec<oneshot::Sender<()>>>,
}

type Entries = Rc<RefCell<Vec<Rc<Entry>>>>;

/// All terminals of a session.
#[derive(Debug, Default)]
pub(in crate::object) struct Terminals(Entries);

/// The place of one terminal, free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    entry: Rc<Entry>,
    entries: Entries,
}

impl Terminals {
    /// A place for one more, and what says that it is to end. None when there are enough.
    pub(super) fn enter(&self) -> Option<(Place, oneshot::Receiver<()>)> {
        let mut entries = self.0.borrow_mut();
        if entries.len() >= MAX_TERMINALS {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        let entry = Rc::new(Entry { stop: RefCell::new(Some(sender)), ..Entry::default() });
        entries.push(Rc::clone(&entry));
        Some((Place { entry, entries: Rc::clone(&self.0) }, receiver))
    }

    /// Whether the terminal with this process is served.
    pub(super) fn serves(&self, pid: u32) -> bool {
        self.0.borrow().iter().any(|entry| entry.pid.get() == Some(pid))
    }

    /// Tells all to end. What is given is over when they have.
    pub(super) fn stop(&self) -> Vec<oneshot::Receiver<()>> {
        let entries = self.0.borrow();
        let stopped = entries.iter().map(|entry| {
            if let Some(stop) = entry.stop.take() {
                // One that has ended meanwhile does not listen.
                let _ = stop.send(());
            }
            let (sender, receiver) = oneshot::channel();
            entry.waiting.borrow_mut().push(sender);
            receiver
        });
        stopped.collect()
    }
}

impl Place {
    /// Its process is known.
    pub(super) fn runs(&self, pid: u32) {
        self.entry.pid.set(Some(pid));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.entries.borrow_mut().retain(|entry| !Rc::ptr_eq(entry, &self.entry));
        self.entry.waiting.borrow_mut().clear();
    }
}

#[cfg(test)]
mod tests {
    use pollster::block_on;

    use super::*;

    #[test]
    fn places_are_few_and_free_again() {
        let terminals = Terminals::default();
        let mut places: Vec<_> = (0..MAX_TERMINALS).map(|_| terminals.enter().unwrap()).collect();
        assert!(terminals.enter().is_none());
        places.pop();
        assert!(terminals.enter().is_some());
    }

    #[test]
    fn whoever_stops_them_learns_of_their_end() {
        let terminals = Terminals::default();
        let (place, stopped) = terminals.enter().unwrap();
        place.runs(7);
        assert!(terminals.serves(7) && !terminals.serves(8));
        let mut ends = terminals.stop();
        assert_eq!(block_on(stopped), Ok(()));
        let end = ends.pop().unwrap();
        drop(place);
        assert!(block_on(end).is_err());
        assert!(!terminals.serves(7) && terminals.stop().is_empty());
    }
}
