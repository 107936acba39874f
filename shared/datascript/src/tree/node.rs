//! Nodes of a B+tree (datascript.md 4, 5).

use std::cell::Cell;
use std::rc::Rc;

use arrayvec::ArrayVec;

use super::chunks::{Chunks, WIDTH};
use crate::datom::Datom;
use crate::storage::Addr;

/// A node that a deletion leaves with no more than this many entries is merged with a neighbour or filled from it.
pub(crate) const MIN_FILL: usize = WIDTH / 2;
/// Levels above the leaves at most. A tree of 2^31 datoms at minimal fill has seven; nodes split by size (13.4) have
/// fewer children.
pub(crate) const MAX_SHIFT: usize = 16;

/// The address of a node that was never stored.
pub(crate) const NO_ADDR: Addr = 0;

/// Datoms in index order.
pub(crate) type Leaf = Chunks<Datom>;

/// The greatest datoms of children.
pub(crate) type Keys = ArrayVec<Datom, WIDTH>;

/// Children and the greatest datom of each.
#[derive(Clone, Debug)]
pub(crate) struct Inner {
    /// `keys[i]` is the greatest datom of child `i`, or, instead of a very long one, a short datom between it and the next
    /// child. No search looks at the last key: along the right edge of a tree it may lag behind until it is stored, and
    /// instead of a very long one it may be any that is greater. Shared apart: a change below leaves the keys alone.
    pub(crate) keys: Rc<Keys>,
    /// Children, as many as keys.
    pub(crate) slots: Chunks<Slot>,
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

/// Children with their greatest datoms; at most [`WIDTH`].
impl FromIterator<(Slot, Datom)> for Inner {
    fn from_iter<I: IntoIterator<Item = (Slot, Datom)>>(children: I) -> Self {
        let (mut keys, mut slots) = (Keys::new(), Chunks::default());
        for (slot, key) in children {
            slots.push(slot);
            keys.push(key);
        }
        Self { keys: Rc::new(keys), slots }
    }
}

impl Inner {
    /// The keys, for changing.
    pub(crate) fn keys_mut(&mut self) -> &mut Keys {
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
        self.slots.remove(i);
        self.keys_mut().pop_at(i);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_stay_small() {
        assert!(size_of::<Slot>() <= 16);
    }
}
