//! Deletion (datascript.md 5.3).

use std::rc::Rc;

use super::Tree;
use super::node::{Inner, Leaf, MIN_FILL, NO_ADDR, Slot};
use crate::datom::Datom;
use crate::error::{Error, Result};
use crate::index::Order;
use crate::nodes::{Keep, Nodes};
use crate::storage::Addr;

/// What a deletion did to a node, as its parent has to know.
struct Shrunk {
    /// Entries left.
    size: usize,
    /// Whether the greatest datom was the deleted one.
    last: bool,
}

/// What deletion needs besides the tree.
struct Context<'a> {
    nodes: &'a Nodes,
    freed: &'a mut Vec<Addr>,
}

impl Tree {
    pub(super) fn remove_by<O: Order>(&mut self, nodes: &Nodes, datom: &Datom) -> Result<bool> {
        let ranks = nodes.attrs().ranks();
        let (path, found) = self.locate::<O>(nodes, datom, &ranks)?;
        if !found {
            return Ok(false);
        }
        let mut context = Context { nodes, freed: &mut self.freed };
        remove(&mut self.root, &mut context, &path)?;
        self.count = self.count.saturating_sub(1);
        self.collapse_root(nodes)?;
        Ok(true)
    }

    /// An inner root with a single child gives way to it.
    fn collapse_root(&mut self, nodes: &Nodes) -> Result<()> {
        while self.shift > 0 {
            let root = nodes.inner(&self.root, Keep::Cached)?;
            let only = match (root.slots.first(), root.slots.len()) {
                (Some(only), 1) => only.clone(),
                (Some(_), _) => break,
                (None, _) => {
                    self.shift = 1;
                    Slot::new_leaf(Leaf::default())
                }
            };
            free(&mut self.freed, &self.root);
            self.root = only;
            self.shift -= 1;
        }
        Ok(())
    }
}

fn free(freed: &mut Vec<Addr>, slot: &Slot) {
    if slot.addr() != NO_ADDR {
        freed.push(slot.addr());
    }
}

/// Removes what the end of `path` points at; every place on it exists.
fn remove(slot: &mut Slot, context: &mut Context<'_>, path: &[u8]) -> Result<Shrunk> {
    let addr = slot.addr();
    match path {
        [place] => {
            let leaf = slot.leaf_mut(context.nodes)?;
            let last = usize::from(*place) + 1 == leaf.len();
            leaf.remove((*place).into());
            Ok(Shrunk { size: leaf.len(), last })
        }
        [place, rest @ ..] => {
            let i = usize::from(*place);
            let node = slot.inner_mut(context.nodes)?;
            let is_last = i + 1 == node.slots.len();
            let child = node.slots.get_mut(i).ok_or(Error::Corrupt { addr, reason: "a child is missing" })?;
            let shrunk = remove(child, context, rest)?;
            if shrunk.last {
                node.refresh_key(i);
            }
            if shrunk.size <= MIN_FILL {
                match rest {
                    [_] => rebalance::<Leaf>(node, i, shrunk.size, context)?,
                    _ => rebalance::<Inner>(node, i, shrunk.size, context)?,
                }
            }
            Ok(Shrunk { size: node.slots.len(), last: shrunk.last && is_last })
        }
        [] => Err(Error::Corrupt { addr, reason: "a path that ends above the leaves" }),
    }
}

/// Nodes of one kind, and what deletion does with two neighbours.
trait Level: Clone {
    fn get(slot: &Slot, nodes: &Nodes) -> Result<Rc<Self>>;
    fn get_mut<'a>(slot: &'a mut Slot, nodes: &Nodes) -> Result<&'a mut Self>;
    /// Number of entries.
    fn size(&self) -> usize;
    /// Takes over all entries of the right neighbour; together they are at most 32. `bound` is the own key in the parent.
    fn append(&mut self, right: &Self, bound: &Datom);
    /// Shares the entries of both evenly, in order; the left one gets the smaller half. `bound` is the own key in the
    /// parent.
    fn balance(&mut self, right: &mut Self, bound: &Datom);
}

impl Level for Leaf {
    fn get(slot: &Slot, nodes: &Nodes) -> Result<Rc<Self>> {
        nodes.leaf(slot, Keep::Cached)
    }

    fn get_mut<'a>(slot: &'a mut Slot, nodes: &Nodes) -> Result<&'a mut Self> {
        slot.leaf_mut(nodes)
    }

    fn size(&self) -> usize {
        self.len()
    }

    fn append(&mut self, right: &Self, _: &Datom) {
        self.append(right);
    }

    fn balance(&mut self, right: &mut Self, _: &Datom) {
        self.balance(right);
    }
}

impl Level for Inner {
    fn get(slot: &Slot, nodes: &Nodes) -> Result<Rc<Self>> {
        nodes.inner(slot, Keep::Cached)
    }

    fn get_mut<'a>(slot: &'a mut Slot, nodes: &Nodes) -> Result<&'a mut Self> {
        slot.inner_mut(nodes)
    }

    fn size(&self) -> usize {
        self.slots.len()
    }

    fn append(&mut self, right: &Self, bound: &Datom) {
        self.slots.append(&right.slots);
        self.bound(bound);
        self.keys_mut().extend(right.keys.iter().cloned());
    }

    fn balance(&mut self, right: &mut Self, bound: &Datom) {
        self.slots.balance(&mut right.slots);
        self.bound(bound);
        let keys = || self.keys.iter().chain(right.keys.iter()).cloned();
        let half = self.slots.len();
        let (left, rest) = (keys().take(half).collect(), keys().skip(half).collect());
        (self.keys, right.keys) = (Rc::new(left), Rc::new(rest));
    }
}

impl Inner {
    /// The last key is about to separate two children, which the parent's key for this node does for certain.
    fn bound(&mut self, bound: &Datom) {
        if let Some(last) = self.keys_mut().last_mut() {
            last.clone_from(bound);
        }
    }
}

/// Merges child `i`, which has too few entries, with a neighbour, or evens it out with one (`rotate` of 5.3).
fn rebalance<T: Level>(node: &mut Inner, i: usize, size: usize, context: &mut Context<'_>) -> Result<()> {
    if size == 0 {
        // Only where nodes were split by size, or written by others, was there a single entry before.
        if let Some(slot) = node.slots.get(i) {
            free(context.freed, slot);
        }
        node.remove(i);
        return Ok(());
    }
    let size_of = |i: Option<usize>| -> Result<Option<usize>> {
        let slot = i.and_then(|i| node.slots.get(i));
        slot.map(|slot| Ok(T::get(slot, context.nodes)?.size())).transpose()
    };
    let before = i.checked_sub(1);
    match (size_of(before)?, size_of(Some(i + 1))?) {
        (Some(left), _) if left <= MIN_FILL => merge::<T>(node, i - 1, context),
        (_, Some(right)) if right <= MIN_FILL => merge::<T>(node, i, context),
        (Some(_), None) => balance::<T>(node, i - 1, context),
        (Some(left), Some(right)) if left < right => balance::<T>(node, i - 1, context),
        (_, Some(_)) => balance::<T>(node, i, context),
        // The only child of its parent, which is too small itself and dealt with one level up.
        (None, None) => Ok(()),
    }
}

/// Children `i` and `i + 1` become one under the address of the first.
fn merge<T: Level>(node: &mut Inner, i: usize, context: &mut Context<'_>) -> Result<()> {
    let (Some(right), Some(bound)) = (node.slots.get(i + 1).cloned(), node.keys.get(i).cloned()) else { return Ok(()) };
    let Some(left) = node.slots.get_mut(i) else { return Ok(()) };
    T::get_mut(left, context.nodes)?.append(&*T::get(&right, context.nodes)?, &bound);
    free(context.freed, &right);
    // What bounded the right one bounds both.
    node.slots.remove(i + 1);
    node.keys_mut().pop_at(i);
    Ok(())
}

/// Children `i` and `i + 1` share their entries evenly; both keep their addresses.
fn balance<T: Level>(node: &mut Inner, i: usize, context: &mut Context<'_>) -> Result<()> {
    let (Some(mut right), Some(bound)) = (node.slots.get(i + 1).cloned(), node.keys.get(i).cloned()) else {
        return Ok(());
    };
    let Some(left) = node.slots.get_mut(i) else { return Ok(()) };
    T::get_mut(left, context.nodes)?.balance(T::get_mut(&mut right, context.nodes)?, &bound);
    if let Some(slot) = node.slots.get_mut(i + 1) {
        *slot = right;
    }
    node.refresh_key(i);
    Ok(())
}
