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
    entries: Vec<Entry<T>>,
    by_addr: FxHashMap<Addr, u32>,
    free: Vec<u32>,
    hand: usize,
    bytes: usize,
}

struct Entry<T> {
    addr: Addr,
    used: bool,
    bytes: usize,
    /// None: the place is free.
    node: Option<Rc<T>>,
}

impl<T> Default for Clock<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), by_addr: FxHashMap::default(), free: Vec::new(), hand: 0, bytes: 0 }
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
        if let Some(entry) = self.entries.get_mut(hint.get() as usize)
            && entry.addr == addr
            && let Some(node) = &entry.node
        {
            entry.used = true;
            return Some(Rc::clone(node));
        }
        let place = *self.by_addr.get(&addr)?;
        hint.set(place);
        let entry = self.entries.get_mut(place as usize)?;
        entry.used = true;
        entry.node.clone()
    }

    /// Puts a node in place of what was there.
    pub(super) fn insert(&mut self, addr: Addr, node: Rc<T>, bytes: usize) {
        self.remove(addr);
        self.bytes += bytes;
        let entry = Entry { addr, used: true, bytes, node: Some(node) };
        let place = if let Some(place) = self.free.pop()
            && let Some(slot) = self.entries.get_mut(place as usize)
        {
            *slot = entry;
            place
        } else {
            self.entries.push(entry);
            // Each entry takes more than a byte of the address space, 4 GiB of entries cannot be.
            u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
        };
        self.by_addr.insert(addr, place);
    }

    /// Forgets a node.
    pub(super) fn remove(&mut self, addr: Addr) {
        if let Some(place) = self.by_addr.remove(&addr) {
            self.release(place);
        }
    }

    fn release(&mut self, place: u32) {
        if let Some(entry) = self.entries.get_mut(place as usize)
            && entry.node.take().is_some()
        {
            self.bytes -= entry.bytes;
            self.free.push(place);
        }
    }

    /// Drops one node that was not used for long; false when none is left.
    pub(super) fn evict(&mut self) -> bool {
        // The first round clears every flag, so the second finds a node if there is one.
        for _ in 0..2 * self.entries.len() {
            let place = self.hand;
            self.hand = if place + 1 < self.entries.len() { place + 1 } else { 0 };
            let Some(entry) = self.entries.get_mut(place) else { continue };
            if entry.node.is_none() {
                continue;
            }
            if std::mem::take(&mut entry.used) {
                continue;
            }
            let addr = entry.addr;
            self.remove(addr);
            return true;
        }
        false
    }

    /// Forgets everything and gives the memory back.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
