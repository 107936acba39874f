//! The persistent B+tree of one index (datascript.md 5).

mod bulk;
pub(crate) mod chunks;
mod insert;
pub(crate) mod node;
mod remove;
mod search;
mod separator;
mod slice;
mod store;
#[cfg(test)]
mod tests;

use arrayvec::ArrayVec;

use crate::datom::Datom;
use crate::error::{Error, Result};
use crate::index::{Index, Pattern, with_order};
use crate::nodes::Nodes;
use crate::storage::Addr;
use node::{Leaf, MAX_SHIFT, Slot};

pub(crate) use separator::SHORT as SHORT_KEY;
pub use slice::Slice;
pub(crate) use store::Store;

/// One index as a value: cloning is cheap, and changing a clone copies only the nodes on the path to the change.
///
/// A method that fails part way leaves the value unusable: work on a clone and drop it on an error.
#[derive(Clone, Debug)]
pub struct Tree {
    root: Slot,
    /// Levels above the leaves.
    shift: usize,
    count: usize,
    /// Addresses of rows that merges made unnecessary since the last flush (datascript.md 6.4).
    freed: Vec<Addr>,
}

/// The child taken at each level from the root down, then the place in the leaf.
type Path = ArrayVec<u8, { MAX_SHIFT + 1 }>;

impl Tree {
    /// An empty tree: one empty leaf.
    pub fn empty() -> Self {
        Self { root: Slot::new_leaf(Leaf::default()), shift: 0, count: 0, freed: Vec::new() }
    }

    /// The tree whose root has the row `addr` and `shift` levels of inner nodes.
    pub(crate) fn stored(addr: Addr, shift: usize, count: usize) -> Result<Self> {
        if shift > MAX_SHIFT {
            return Err(Error::Corrupt { addr, reason: "a tree of too many levels" });
        }
        Ok(Self { root: Slot::stored(addr), shift, count, freed: Vec::new() })
    }

    /// Number of datoms.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Levels above the leaves.
    pub(crate) fn shift(&self) -> usize {
        self.shift
    }

    /// The root.
    pub(crate) fn root(&self) -> &Slot {
        &self.root
    }

    /// Address of the root's row; 0 if it was never stored.
    pub(crate) fn addr(&self) -> Addr {
        self.root.addr()
    }

    /// Adds a datom. False: it was there already, transaction included.
    pub fn insert(&mut self, nodes: &Nodes, index: Index, datom: Datom) -> Result<bool> {
        with_order!(index, O => self.insert_by::<O>(nodes, datom))
    }

    /// Removes a datom. False: it was not there with that transaction.
    pub fn remove(&mut self, nodes: &Nodes, index: Index, datom: &Datom) -> Result<bool> {
        with_order!(index, O => self.remove_by::<O>(nodes, datom))
    }

    /// The first datom that matches: one descent, no allocation.
    pub fn first(&self, nodes: &Nodes, index: Index, pattern: &Pattern<'_>) -> Result<Option<Datom>> {
        self.with_first(nodes, index, pattern, Datom::clone)
    }

    /// Looks at the first datom that matches without cloning it.
    pub fn with_first<T>(
        &self,
        nodes: &Nodes,
        index: Index,
        pattern: &Pattern<'_>,
        look: impl FnOnce(&Datom) -> T,
    ) -> Result<Option<T>> {
        with_order!(index, O => self.first_by::<O, T>(nodes, pattern, look))
    }

    /// Looks at the first datom that matches and at the one after it, whether that matches or not; the latter is `None` where
    /// another leaf would have it.
    pub(crate) fn with_first_two<T>(
        &self,
        nodes: &Nodes,
        index: Index,
        pattern: &Pattern<'_>,
        look: impl FnOnce(&Datom, Option<&Datom>) -> T,
    ) -> Result<Option<T>> {
        with_order!(index, O => self.first_two_by::<O, T>(nodes, pattern, look))
    }

    /// Whether any datom matches.
    pub fn contains(&self, nodes: &Nodes, index: Index, pattern: &Pattern<'_>) -> Result<bool> {
        Ok(self.with_first(nodes, index, pattern, |_| ())?.is_some())
    }

    /// All datoms that match, in index order.
    pub fn slice<'a>(&'a self, nodes: &'a Nodes, index: Index, pattern: &Pattern<'_>) -> Slice<'a> {
        Slice::new(self, nodes, index, pattern)
    }
}
