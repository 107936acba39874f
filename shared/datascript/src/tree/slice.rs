//! Iteration (datascript.md 5.4): a stack of nodes instead of recursion, whole leaves at a time.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use arrayvec::ArrayVec;
use rustc_hash::FxHashSet;
use transit::Value;

use super::Tree;
use super::node::{Inner, Leaf, MAX_SHIFT, Slot};
use super::search::{child, child_at_or_after, lower_bound, place, upper_bound};
use crate::attrs::Ranks;
use crate::datom::Datom;
use crate::error::{Error, Result};
use crate::index::{Index, Order, Pattern, with_order};
use crate::nodes::{Keep, Nodes};
use crate::storage::Addr;
use crate::work::DESCENT;

/// The datoms of a tree that match a pattern, in the order of the index. Loads one leaf at a time.
pub struct Slice<'a> {
    tree: &'a Tree,
    nodes: &'a Nodes,
    index: Index,
    /// Bounds other than the value.
    bounds: Pattern<'static>,
    value: Option<Value>,
    /// Where to begin among the values of an open bound.
    start: Option<Value>,
    ranks: Ranks,
    keep: Keep,
    state: State,
    /// Inner nodes from the root down, each with the place of the child that was taken.
    stack: ArrayVec<(Rc<Inner>, u8), MAX_SHIFT>,
    leaf: Option<Rc<Leaf>>,
    /// Places in the leaf that match and were not yet returned.
    range: Range<usize>,
    /// Why there is nothing to iterate over; told instead of the first datom.
    failure: Option<Error>,
    /// Stored inner nodes entered so far: rows that refer to each other in a circle, or share children, would keep an
    /// iteration going for ever.
    entered: FxHashSet<Addr>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Running,
    /// No further leaf matches.
    LastLeaf,
}

impl<'a> Slice<'a> {
    pub(super) fn new(tree: &'a Tree, nodes: &'a Nodes, index: Index, pattern: &Pattern<'_>) -> Self {
        Self {
            tree,
            nodes,
            index,
            bounds: Pattern { e: pattern.e, a: pattern.a, v: None, tx: pattern.tx },
            value: pattern.v.cloned(),
            start: None,
            ranks: nodes.attrs().ranks(),
            keep: Keep::Cached,
            state: State::New,
            stack: ArrayVec::new(),
            leaf: None,
            range: 0..0,
            failure: None,
            entered: FxHashSet::default(),
        }
    }

    /// An iteration that yields nothing but this error.
    pub(crate) fn failing(mut self, error: Error) -> Self {
        self.failure = Some(error);
        self
    }

    /// Begins with the first datom that has this value or a later one, in an index where values come right after what is
    /// fixed. To be called before the first datom was taken.
    #[must_use]
    pub fn starting_at(mut self, value: Value) -> Self {
        self.start = Some(value);
        self
    }

    /// For bulk reads: nodes that have to be loaded do not enter the cache.
    #[must_use]
    pub fn scanning(mut self) -> Self {
        self.keep = Keep::Once;
        self
    }

    /// The next datom, without cloning it.
    pub fn next_ref(&mut self) -> Result<Option<&Datom>> {
        if self.range.is_empty() && !self.next_leaf()? {
            return Ok(None);
        }
        Ok(self.range.next().and_then(|i| self.leaf.as_ref()?.get(i)))
    }

    /// How many datoms are left; reads them leaf by leaf.
    pub fn total(mut self) -> Result<usize> {
        let mut total = self.range.len();
        while self.next_leaf()? {
            total += self.range.len();
        }
        Ok(total)
    }

    /// Goes to the next leaf that has matches; false at the end.
    fn next_leaf(&mut self) -> Result<bool> {
        let moved = match self.failure.take() {
            Some(error) => Err(error),
            None => with_order!(self.index, O => self.next_leaf_by::<O>()),
        };
        let moved = moved.and_then(|more| {
            self.nodes.work().step(DESCENT + self.range.len() as u64)?;
            Ok(more)
        });
        if moved.is_err() {
            self.state = State::LastLeaf;
            self.range = 0..0;
        }
        moved
    }

    fn next_leaf_by<O: Order>(&mut self) -> Result<bool> {
        loop {
            let leaf = match self.state {
                State::New => Some(self.first_leaf::<O>()?),
                State::Running => self.neighbour()?,
                State::LastLeaf => None,
            };
            let Some(leaf) = leaf else {
                self.state = State::LastLeaf;
                self.leaf = None;
                self.range = 0..0;
                return Ok(false);
            };
            let is_first = self.state == State::New;
            self.state = State::Running;
            self.range = self.matches::<O>(&leaf, is_first);
            self.leaf = Some(leaf);
            if !self.range.is_empty() {
                return Ok(true);
            }
        }
    }

    /// The places in a leaf that match. Where the range ends within it, it is the last leaf.
    fn matches<O: Order>(&mut self, leaf: &Leaf, is_first: bool) -> Range<usize> {
        let (pattern, ranks) = (&Pattern { v: self.value.as_ref(), ..self.bounds }, &self.ranks);
        let begin = &Pattern { v: self.start.as_ref().or(pattern.v), ..*pattern };
        let start = if is_first { lower_bound::<O>(leaf, begin, ranks) } else { 0 };
        if leaf.last().map(|datom| O::compare(datom, pattern, ranks)) == Some(Ordering::Greater) {
            let end = upper_bound::<O>(leaf, pattern, ranks);
            self.state = State::LastLeaf;
            return start..end.max(start);
        }
        start..leaf.len()
    }

    fn first_leaf<O: Order>(&mut self) -> Result<Rc<Leaf>> {
        if self.tree.shift == 0 {
            return self.nodes.leaf(&self.tree.root, self.keep);
        }
        let pattern = Pattern { v: self.start.as_ref().or(self.value.as_ref()), ..self.bounds };
        let mut node = self.nodes.inner(&self.tree.root, self.keep)?;
        loop {
            let i = child_at_or_after::<O>(&node, &pattern, &self.ranks);
            let slot = child(&node, i)?;
            if self.stack.len() + 1 == self.tree.shift {
                let leaf = self.nodes.leaf(slot, self.keep)?;
                self.stack.push((node, place(i)));
                return Ok(leaf);
            }
            let next = self.nodes.inner(slot, self.keep)?;
            self.stack.push((node, place(i)));
            node = next;
        }
    }

    /// The leaf beside the current one.
    fn neighbour(&mut self) -> Result<Option<Rc<Leaf>>> {
        while let Some((node, i)) = self.stack.last_mut() {
            *i += 1;
            if usize::from(*i) < node.slots.len() {
                break;
            }
            self.stack.pop();
        }
        while let Some((node, i)) = self.stack.last() {
            let slot = child(node, (*i).into())?;
            if self.stack.len() == self.tree.shift {
                return self.nodes.leaf(slot, self.keep).map(Some);
            }
            if let Slot::Stored { addr, .. } = slot
                && !self.entered.insert(*addr)
            {
                return Err(Error::Corrupt { addr: *addr, reason: "a node is reached twice" });
            }
            let next = self.nodes.inner(slot, self.keep)?;
            self.stack.push((next, 0));
        }
        Ok(None)
    }
}

impl Iterator for Slice<'_> {
    type Item = Result<Datom>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_ref().map(Option::<&Datom>::cloned).transpose()
    }
}

impl fmt::Debug for Slice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slice")
            .field("index", &self.index)
            .field("bounds", &self.bounds)
            .field("value", &self.value)
            .finish_non_exhaustive()
    }
}
