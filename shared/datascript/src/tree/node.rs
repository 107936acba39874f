//! Nodes of a B+tree (datascript.md 4, 5).

use std::cell::Cell;
use std::rc::Rc;

use arrayvec::ArrayVec;

use crate::datom::Datom;
use crate::storage::Addr;

/// Branching factor: the most datoms of a leaf and the most children of an inner node.
pub(crate) const WIDTH: usize = 32;
/// A node that a deletion leaves with no more than this many entries is merged with a neighbour or filled from it.
pub(crate) const MIN_FILL: usize = WIDTH / 2;
/// Levels above the leaves at most. A tree of 2^31 datoms at minimal fill has seven; nodes split by size (13.4) have
/// fewer children.
pub(crate) const MAX_SHIFT: usize = 16;

/// The address of a node that was never stored.
pub(crate) const NO_ADDR: Addr = 0;

/// Datoms in index order, in one allocation together with their count.
pub(crate) type Leaf = ArrayVec<Datom, WIDTH>;

/// Children and the greatest datom of each.
#[derive(Clone, Debug)]
pub(crate) struct Inner {
    /// `keys[i]` is the greatest datom of child `i`. Shared apart, so that replacing a child does not copy them.
    pub(crate) keys: Rc<Leaf>,
    /// Children, as many as keys.
    pub(crate) slots: ArrayVec<Slot, WIDTH>,
}

/// A child, or the root.
#[derive(Clone, Debug)]
pub(crate) enum Slot {
    /// A clean node: its row is in storage, and perhaps its content in the cache.
    Stored {
        /// Address of its row.
        addr: Addr,
        /// Where the cache had it the last time; only a guess.
        hint: Cell<u32>,
    },
    /// A leaf that differs from its row or has none.
    Leaf {
        /// Address of the row that it will replace, or [`NO_ADDR`].
        addr: Addr,
        /// Content, shared with other values of the tree.
        node: Rc<Leaf>,
    },
    /// An inner node that differs from its row or has none.
    Inner {
        /// Address of the row that it will replace, or [`NO_ADDR`].
        addr: Addr,
        /// Content, shared with other values of the tree.
        node: Rc<Inner>,
    },
}

impl Slot {
    /// A node as it is in storage.
    pub(crate) fn stored(addr: Addr) -> Self {
        Self::Stored { addr, hint: Cell::new(0) }
    }

    /// A leaf without a row.
    pub(crate) fn new_leaf(leaf: Leaf) -> Self {
        Self::Leaf { addr: NO_ADDR, node: Rc::new(leaf) }
    }

    /// An inner node without a row.
    pub(crate) fn new_inner(inner: Inner) -> Self {
        Self::Inner { addr: NO_ADDR, node: Rc::new(inner) }
    }

    /// Address of the row, or [`NO_ADDR`].
    pub(crate) fn addr(&self) -> Addr {
        match self {
            Self::Stored { addr, .. } | Self::Leaf { addr, .. } | Self::Inner { addr, .. } => *addr,
        }
    }

    /// The greatest datom below; unknown (none) of a stored or an empty node.
    pub(crate) fn last(&self) -> Option<&Datom> {
        match self {
            Self::Stored { .. } => None,
            Self::Leaf { node, .. } => node.last(),
            Self::Inner { node, .. } => node.keys.last(),
        }
    }
}

impl Inner {
    /// An inner node over children with their greatest datoms; at most [`WIDTH`].
    pub(crate) fn new(children: impl IntoIterator<Item = (Slot, Datom)>) -> Self {
        let mut keys = Leaf::new();
        let mut slots = ArrayVec::new();
        for (slot, key) in children {
            slots.push(slot);
            keys.push(key);
        }
        Self { keys: Rc::new(keys), slots }
    }

    /// The keys, for changing.
    pub(crate) fn keys_mut(&mut self) -> &mut Leaf {
        Rc::make_mut(&mut self.keys)
    }

    /// Takes the greatest datom of child `i`, which is loaded, over into the keys.
    pub(crate) fn refresh_key(&mut self, i: usize) {
        if let Some(last) = self.slots.get(i).and_then(Slot::last).cloned()
            && let Some(key) = self.keys_mut().get_mut(i)
        {
            *key = last;
        }
    }

    /// Removes a child.
    pub(crate) fn remove(&mut self, i: usize) {
        if i < self.slots.len() {
            self.slots.remove(i);
            self.keys_mut().pop_at(i);
        }
    }
}

/// What deletion does with two neighbours of one level.
pub(crate) trait Siblings: Clone {
    /// Number of entries.
    fn size(&self) -> usize;
    /// Takes over all entries of the right neighbour; together they are at most [`WIDTH`].
    fn append(&mut self, right: &Self);
    /// Shares the entries of both evenly, in order; the left one gets the smaller half.
    fn balance(&mut self, right: &mut Self);
}

fn balance<T, const N: usize>(left: &mut ArrayVec<T, N>, right: &mut ArrayVec<T, N>) {
    let half = usize::midpoint(left.len(), right.len());
    if left.len() > half {
        let old = std::mem::take(right);
        right.extend(left.drain(half..));
        right.extend(old);
    } else {
        let missing = half - left.len();
        left.extend(right.drain(..missing));
    }
}

impl Siblings for Leaf {
    fn size(&self) -> usize {
        self.len()
    }

    fn append(&mut self, right: &Self) {
        self.extend(right.iter().cloned());
    }

    fn balance(&mut self, right: &mut Self) {
        balance(self, right);
    }
}

impl Siblings for Inner {
    fn size(&self) -> usize {
        self.slots.len()
    }

    fn append(&mut self, right: &Self) {
        self.slots.extend(right.slots.iter().cloned());
        self.keys_mut().extend(right.keys.iter().cloned());
    }

    fn balance(&mut self, right: &mut Self) {
        balance(&mut self.slots, &mut right.slots);
        balance(self.keys_mut(), right.keys_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_stay_small() {
        assert!(size_of::<Slot>() <= 16);
    }

    #[test]
    fn balancing_keeps_the_order() {
        for (a, b) in [(3, 20), (20, 3), (16, 17), (1, 32), (32, 15)] {
            let mut left: ArrayVec<usize, 32> = (0..a).collect();
            let mut right: ArrayVec<usize, 32> = (a..a + b).collect();
            balance(&mut left, &mut right);
            assert_eq!(left.len(), (a + b) / 2);
            assert!(left.iter().chain(&right).copied().eq(0..a + b));
        }
    }
}
