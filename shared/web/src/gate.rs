//! How many requests may do something costly at the same time.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of places; each is free again when whoever has it is done, or has given up.
#[derive(Debug)]
pub struct Gate {
    free: AtomicUsize,
}

/// A place behind a gate.
#[derive(Debug)]
pub struct Place<'a>(&'a Gate);

impl Gate {
    /// A gate with so many places.
    pub const fn new(places: usize) -> Self {
        Self { free: AtomicUsize::new(places) }
    }

    /// A place, if one is free. Nobody waits for it.
    pub fn enter(&self) -> Option<Place<'_>> {
        let taken = self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| free.checked_sub(1));
        taken.is_ok().then_some(Place(self))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, Ordering::Relaxed);
    }
}
