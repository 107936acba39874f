//! How much is done with a database, counted in steps, and how much may be.
//!
//! What a client asks for in a few bytes can cost as much as the graph is large, and asking for it again costs no more
//! bytes. Counting at the door of the indexes bounds all of it at once, whichever rule or loop it is for: everything that
//! reads or changes a database passes here, and stops where the allowance ends. Steps, not time: the same entry on the same
//! graph is refused or taken wherever it is tried.

use std::cell::Cell;

use crate::error::{Error, Result};
use crate::value;

/// Steps of looking a datom up: a descent of a tree. A step stands for a datom that is looked at.
pub(crate) const DESCENT: u64 = 8;
/// Steps of inserting or removing a fact: its places in three trees, and the copies of their paths.
pub(crate) const CHANGE: u64 = 32;
/// Bytes of a long text that are looked at in one step.
const TEXT: u64 = 64;
/// Elements of maps and sets that are hashed, to compare them, in one step.
const HASHED: u64 = 4;

/// The counter of one graph. Without an allowance it only counts.
#[derive(Debug)]
pub struct Work {
    done: Cell<u64>,
    most: Cell<u64>,
}

impl Default for Work {
    fn default() -> Self {
        Self { done: Cell::new(0), most: Cell::new(u64::MAX) }
    }
}

impl Work {
    /// Steps since the graph was opened.
    pub fn done(&self) -> u64 {
        self.done.get()
    }

    /// Allows so many steps from now on. Whatever needs more fails with [`Error::TooMuchWork`].
    pub fn allow(&self, steps: u64) {
        self.most.set(self.done().saturating_add(steps));
    }

    /// Allows everything, as before the first [`allow`](Self::allow).
    pub fn allow_all(&self) {
        self.most.set(u64::MAX);
    }

    /// Takes some steps.
    ///
    /// # Errors
    ///
    /// [`Error::TooMuchWork`] beyond what is allowed.
    #[inline]
    pub fn step(&self, steps: u64) -> Result<()> {
        let done = self.done.get().saturating_add(steps + value::take_hashed() / HASHED);
        self.done.set(done);
        if done > self.most.get() { Err(Error::TooMuchWork) } else { Ok(()) }
    }

    /// The steps of looking through a text.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    #[inline]
    pub fn text(&self, text: &str) -> Result<()> {
        match text.len() as u64 / TEXT {
            0 => Ok(()),
            steps => self.step(steps),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_ends() {
        let work = Work::default();
        assert!(work.step(u64::MAX / 2).is_ok());
        work.allow(3);
        assert!(work.step(3).is_ok());
        assert!(work.text(&"x".repeat(63)).is_ok());
        assert!(matches!(work.text(&"x".repeat(64)), Err(Error::TooMuchWork)));
        work.allow_all();
        assert!(work.step(1).is_ok());
        assert_eq!(work.done(), u64::MAX / 2 + 5);
    }
}
