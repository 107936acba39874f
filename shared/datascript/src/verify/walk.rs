//! The leaves of one tree by its structure alone, whatever the order of the datoms is.

use std::cmp::Ordering;
use std::rc::Rc;

use rustc_hash::FxHashSet;
use transit::Limits;

use crate::attrs::Ranks;
use crate::datom::Datom;
use crate::error::{Error, Result};
use crate::index::Index;
use crate::nodes::{Keep, Nodes};
use crate::row::decode_datoms;
use crate::storage::{Addr, Row};
use crate::tree::Tree;
use crate::tree::node::{Inner, Keys, Slot};

/// A walk over the leaves of a stored tree from left to right.
pub(super) struct Walk {
    index: Index,
    shift: usize,
    limits: Limits,
    /// The root, until it was looked at.
    root: Option<Slot>,
    /// Inner nodes from the root down, each with the place of the child that comes next.
    stack: Vec<(Rc<Inner>, usize)>,
    /// Rows of the leaves below the lowest of them that are still to come: they are read together.
    leaves: Vec<Row>,
    /// Datoms still to come, by the tree's own count.
    missing: i64,
    /// The last datom so far.
    last: Option<Datom>,
    /// The separator that was passed, which what follows has to exceed.
    floor: Option<Datom>,
    is_ordered: bool,
}

impl Walk {
    pub(super) fn new(index: Index, tree: &Tree, limits: Limits) -> Self {
        Self {
            index,
            shift: tree.shift(),
            limits,
            root: Some(tree.root().clone()),
            stack: Vec::new(),
            leaves: Vec::new(),
            missing: i64::try_from(tree.count()).unwrap_or(i64::MAX),
            last: None,
            floor: None,
            is_ordered: true,
        }
    }

    pub(super) const fn index(&self) -> Index {
        self.index
    }

    /// Whether the leaves so far are ascending and as the separators say, and, at the end, as many as the tree says.
    pub(super) const fn is_sound(&self) -> bool {
        self.is_ordered && self.missing == 0
    }

    /// The next leaf and its address; none at the end. `seen` are the addresses of all nodes of all trees so far.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a row that is no node of its level, an empty one, and one that is reached twice.
    pub(super) fn next_leaf(&mut self, nodes: &Nodes, seen: &mut FxHashSet<Addr>) -> Result<Option<(Addr, Keys)>> {
        let ranks = nodes.attrs().ranks();
        let mut slot = match self.root.take() {
            Some(root) => root,
            None => match self.next_child(&ranks) {
                Some(slot) => slot,
                None => return Ok(None),
            },
        };
        // Each turn goes one level down.
        while self.stack.len() < self.shift {
            visit(&slot, seen)?;
            let inner = nodes.inner(&slot, Keep::Once)?;
            let first = inner.slots.first().cloned();
            let first = first.ok_or(Error::Corrupt { addr: slot.addr(), reason: "an inner node without children" })?;
            if self.stack.len() + 1 == self.shift {
                let addrs: Vec<Addr> = inner.slots.iter().map(Slot::addr).collect();
                self.leaves = nodes.rows(&addrs)?;
            }
            self.stack.push((inner, 1));
            slot = first;
        }
        visit(&slot, seen)?;
        let addr = slot.addr();
        let row = match self.leaves.iter().position(|row| row.addr == addr) {
            Some(place) => Some(self.leaves.swap_remove(place)),
            None => nodes.row(addr)?,
        };
        let row = row.ok_or(Error::Corrupt { addr, reason: "the row is missing" })?;
        let leaf = decode_datoms(&row, nodes.attrs(), self.limits)?;
        if leaf.is_empty() && self.shift > 0 {
            return Err(Error::Corrupt { addr, reason: "a leaf without datoms" });
        }
        self.take(&leaf, &ranks);
        Ok(Some((addr, leaf)))
    }

    /// The child after the one that was walked through last.
    fn next_child(&mut self, ranks: &Ranks) -> Option<Slot> {
        loop {
            let (inner, next) = self.stack.last_mut()?;
            if let Some(slot) = inner.slots.get(*next).cloned() {
                let separator = inner.keys.get(*next - 1).cloned();
                *next += 1;
                if let (Some(last), Some(separator)) = (&self.last, &separator) {
                    self.is_ordered &= self.index.compare(last, separator, ranks).is_le();
                }
                self.floor = separator;
                return Some(slot);
            }
            self.stack.pop();
        }
    }

    fn take(&mut self, leaf: &[Datom], ranks: &Ranks) {
        let compare = |a: &Datom, b: &Datom| self.index.compare(a, b, ranks);
        if let Some(first) = leaf.first() {
            let exceeds = |other: &Option<Datom>| other.as_ref().is_none_or(|other| compare(other, first).is_lt());
            self.is_ordered = self.is_ordered && exceeds(&self.last) && exceeds(&self.floor);
        }
        self.is_ordered &= leaf.iter().is_sorted_by(|a, b| compare(a, b) == Ordering::Less);
        self.last = leaf.last().cloned();
        self.missing -= i64::try_from(leaf.len()).unwrap_or(i64::MAX);
    }
}

fn visit(slot: &Slot, seen: &mut FxHashSet<Addr>) -> Result<()> {
    let addr = slot.addr();
    if seen.insert(addr) { Ok(()) } else { Err(Error::Corrupt { addr, reason: "a node is reached twice" }) }
}
