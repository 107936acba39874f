//! Insertion (datascript.md 5.2).

use std::rc::Rc;

use super::Tree;
use super::chunks::WIDTH;
use super::node::{Inner, Keys, Leaf, MAX_SHIFT, Slot};
use crate::datom::Datom;
use crate::error::{Error, Result};
use crate::index::Order;
use crate::nodes::{Keep, Nodes};

impl Tree {
    pub(super) fn insert_by<O: Order>(&mut self, nodes: &Nodes, datom: Datom) -> Result<bool> {
        let ranks = nodes.attrs().ranks();
        // First find the place without touching anything: an unchanged path must stay clean and shared.
        let (path, found) = self.locate::<O>(nodes, &datom, &ranks)?;
        if found {
            return Ok(false);
        }
        if let Some(right) = insert(&mut self.root, nodes, &path, datom)? {
            self.grow_root(right)?;
        }
        self.count += 1;
        Ok(true)
    }

    fn grow_root(&mut self, right: Slot) -> Result<()> {
        if self.shift == MAX_SHIFT {
            return Err(Error::Full("no further level"));
        }
        let children = [self.root.clone(), right].into_iter();
        let children = children.filter_map(|slot| slot.last().cloned().map(|last| (slot, last)));
        self.root = Slot::new_inner(children.collect());
        self.shift += 1;
        Ok(())
    }
}

/// Inserts at the end of `path`, a list of places from this node down. A node that is full keeps its lower half; the
/// upper one, without an address, is returned.
///
/// The greatest datom of a node changes here only along the right edge of the tree, where keys may lag behind.
fn insert(slot: &mut Slot, nodes: &Nodes, path: &[u8], datom: Datom) -> Result<Option<Slot>> {
    let addr = slot.addr();
    match path {
        [place] => Ok(insert_datom(slot.leaf_mut(nodes)?, (*place).into(), datom)),
        [place, rest @ ..] => {
            let i = usize::from(*place);
            let node = slot.inner_mut(nodes)?;
            let child = node.slots.get_mut(i).ok_or(Error::Corrupt { addr, reason: "a child is missing" })?;
            match insert(child, nodes, rest, datom)? {
                None => Ok(None),
                Some(right) => Ok(insert_child(node, i, right)),
            }
        }
        [] => Err(Error::Corrupt { addr, reason: "a path that ends above the leaves" }),
    }
}

fn insert_datom(leaf: &mut Leaf, i: usize, datom: Datom) -> Option<Slot> {
    if leaf.len() < WIDTH {
        leaf.insert(i, datom);
        return None;
    }
    let mut right = leaf.split_off(WIDTH / 2);
    // A place right at the cut belongs to the lower half, which then has 17 datoms.
    if i > WIDTH / 2 {
        right.insert(i - WIDTH / 2, datom);
    } else {
        leaf.insert(i, datom);
    }
    Some(Slot::new_leaf(right))
}

/// Puts the upper half of child `i` beside it.
fn insert_child(node: &mut Inner, i: usize, right: Slot) -> Option<Slot> {
    // What bounded the child bounds its upper half.
    let key = node.keys.get(i).cloned()?;
    node.refresh_key(i);
    let place = i + 1;
    if node.slots.len() < WIDTH {
        node.slots.insert(place, right);
        node.keys_mut().insert(place, key);
        return None;
    }
    // Of 33 children the node keeps the first 16, the new one counted.
    let half = usize::midpoint(WIDTH, 1);
    let cut = if place < half { half - 1 } else { half };
    let mut slots = node.slots.split_off(cut);
    let mut keys: Keys = node.keys_mut().drain(cut..).collect();
    if place < half {
        node.slots.insert(place, right);
        node.keys_mut().insert(place, key);
    } else {
        slots.insert(place - half, right);
        keys.insert(place - half, key);
    }
    Some(Slot::new_inner(Inner { keys: Rc::new(keys), slots }))
}

impl Slot {
    /// The leaf for changing: in place if nothing else refers to it, else a copy. The slot is dirty afterwards.
    pub(super) fn leaf_mut(&mut self, nodes: &Nodes) -> Result<&mut Leaf> {
        if let Self::Stored { addr, .. } = *self {
            let node = nodes.leaf(self, Keep::Cached)?;
            nodes.leaf_waits(&node);
            *self = Self::Leaf { addr, node };
        }
        match self {
            Self::Leaf { node, .. } => Ok(Rc::make_mut(node)),
            Self::Stored { addr, .. } | Self::Inner { addr, .. } => {
                Err(Error::Corrupt { addr: *addr, reason: "an inner node among leaves" })
            }
        }
    }

    /// The inner node for changing, likewise.
    pub(super) fn inner_mut(&mut self, nodes: &Nodes) -> Result<&mut Inner> {
        if let Self::Stored { addr, .. } = *self {
            let node = nodes.inner(self, Keep::Cached)?;
            nodes.inner_waits(&node);
            *self = Self::Inner { addr, node };
        }
        match self {
            Self::Inner { node, .. } => Ok(Rc::make_mut(node)),
            Self::Stored { addr, .. } | Self::Leaf { addr, .. } => {
                Err(Error::Corrupt { addr: *addr, reason: "a leaf among inner nodes" })
            }
        }
    }
}
