//! A bounded cache of clean nodes.

use std::cell::Cell;
use std::rc::Rc;

use rustc_hash::FxHashMap;

use crate::storage::Addr;

/// Nodes of one kind by address, evicted by the clock algorithm: an approximation of least recently used whose hits
/// cost one flag instead of a list update.
///
/// Callers keep the place of an entry as a hint, so that most hits do without hashing.
pub(super) struct Clock<T> {
    /// Without gaps, in no particular order.
    entries: Vec<Entry<T>>,
    /// The place of each address among the entries.
    by_addr: FxHashMap<Addr, u32>,
    hand: usize,
    bytes: usize,
}

struct Entry<T> {
    addr: Addr,
    used: bool,
    bytes: usize,
    node: Rc<T>,
}

impl<T> Default for Clock<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), by_addr: FxHashMap::default(), hand: 0, bytes: 0 }
    }
}

impl<T> Clock<T> {
    /// Memory held, as measured by the callers of [`Clock::insert`].
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The node at `addr`; looks at the hinted place first and corrects the hint.
    #[inline]
    pub(super) fn get(&mut self, addr: Addr, hint: &Cell<u32>) -> Option<Rc<T>> {
        let hinted = self.entries.get_mut(hint.get() as usize);
        let entry = if let Some(entry) = hinted.filter(|entry| entry.addr == addr) {
            entry
        } else {
            let place = *self.by_addr.get(&addr)?;
            hint.set(place);
            self.entries.get_mut(place as usize)?
        };
        entry.used = true;
        Some(Rc::clone(&entry.node))
    }

    /// Puts a node in place of what was there.
    pub(super) fn insert(&mut self, addr: Addr, node: Rc<T>, bytes: usize) {
        self.remove(addr);
        self.bytes += bytes;
        self.place(addr, self.entries.len());
        self.entries.push(Entry { addr, used: true, bytes, node });
    }

    /// Forgets a node.
    pub(super) fn remove(&mut self, addr: Addr) {
        let Some(place) = self.by_addr.remove(&addr).map(|place| place as usize) else { return };
        if place < self.entries.len() {
            self.bytes -= self.entries.swap_remove(place).bytes;
            if let Some(moved) = self.entries.get(place).map(|entry| entry.addr) {
                self.place(moved, place);
            }
        }
    }

    fn place(&mut self, addr: Addr, place: usize) {
        // So many entries do not fit into memory; a wrong place would be found empty or taken by another address.
        self.by_addr.insert(addr, u32::try_from(place).unwrap_or(u32::MAX));
    }

    /// Drops one node that was not used for long; false when none is left.
    pub(super) fn evict(&mut self) -> bool {
        // One round clears every flag, so that the next step finds a node.
        for _ in 0..=self.entries.len() {
            if self.hand >= self.entries.len() {
                self.hand = 0;
            }
            let Some(entry) = self.entries.get_mut(self.hand) else { return false };
            if !std::mem::take(&mut entry.used) {
                let addr = entry.addr;
                self.remove(addr);
                return true;
            }
            self.hand += 1;
        }
        false
    }

    /// Forgets everything and gives the memory back.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_there_whatever_the_hint_says() {
        let mut clock = Clock::default();
        for addr in 10..20 {
            clock.insert(addr, Rc::new(addr), 5);
        }
        clock.remove(12);
        clock.insert(13, Rc::new(99), 7);
        assert_eq!(clock.bytes(), 8 * 5 + 7);
        for hint in [0, 3, 8, 9, 1000] {
            for addr in 0..30 {
                let expected = match addr {
                    13 => Some(99),
                    10 | 11 | 14..20 => Some(addr),
                    _ => None,
                };
                assert_eq!(clock.get(addr, &Cell::new(hint)).as_deref().copied(), expected);
            }
        }
    }

    #[test]
    fn what_is_used_stays_longest() {
        let mut clock = Clock::default();
        for addr in 1..=100 {
            clock.insert(addr, Rc::new(()), 1);
        }
        assert!(clock.evict(), "all were used once, one has to go");
        for _ in 0..60 {
            for addr in 90..=100 {
                clock.get(addr, &Cell::new(0));
            }
            assert!(clock.evict());
        }
        assert!((90..=100).all(|addr| clock.get(addr, &Cell::new(0)).is_some()));
        while clock.evict() {}
        assert_eq!(clock.bytes(), 0);
    }
}
