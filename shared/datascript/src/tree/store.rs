//! Storing (datascript.md 6.2, 13.4): dirty nodes become rows, and clean.

use std::rc::Rc;

use rustc_hash::FxHashSet;

use super::Tree;
use super::chunks::WIDTH;
use super::node::{Inner, Leaf, MAX_SHIFT, NO_ADDR, Slot};
use super::separator::{LONG, SHORT, Shortener};
use crate::attrs::Attrs;
use crate::datom::Datom;
use crate::error::{Error, Result};
use crate::index::Index;
use crate::nodes::Nodes;
use crate::row::{Encoder, encode_addresses, encoded_size};
use crate::storage::{ADDR_MAX, Addr, MAX_ROW_TEXT, Row, Writes};

/// A node whose text would be longer is split (datascript.md 13.4).
const MAX_TEXT: usize = 1_000_000;

/// Children that an inner node takes however long their keys are, or no number of levels would bring them together.
const MIN_CHILDREN: usize = 2;

/// Rows are handed on once they pass so many bytes: all rows of a large flush together are several times the size of the
/// batch that led to them.
const PART_BYTES: usize = 1 << 20;

/// Takes a part of what has to be written.
pub(crate) type Sink<'f> = dyn FnMut(Writes) -> Result<()> + 'f;

/// One flush: hands on the rows of dirty nodes, children before parents.
pub(crate) struct Store<'a, 'f> {
    nodes: &'a Nodes,
    sink: &'a mut Sink<'f>,
    /// The greatest address handed out.
    counter: Addr,
    rows: Vec<Row>,
    rows_bytes: usize,
    /// Addresses of the rows that were handed on.
    written: FxHashSet<Addr>,
    freed: Vec<Addr>,
    encoder: Encoder,
}

/// The last rows of a flush, the addresses to delete, and the address counter after it.
pub(crate) struct Stored {
    pub(crate) rest: Writes,
    pub(crate) counter: Addr,
}

/// Nodes in place of one that was split by size, each with its greatest datom.
type Pieces = Vec<(Slot, Datom)>;

impl<'a, 'f> Store<'a, 'f> {
    pub(crate) fn new(nodes: &'a Nodes, counter: Addr, sink: &'a mut Sink<'f>) -> Self {
        Self {
            nodes,
            sink,
            counter,
            rows: Vec::new(),
            rows_bytes: 0,
            written: FxHashSet::default(),
            freed: Vec::new(),
            encoder: Encoder::default(),
        }
    }

    /// Stores the dirty nodes of one tree. An error leaves the tree unusable.
    pub(crate) fn tree(&mut self, tree: &mut Tree, index: Index) -> Result<()> {
        self.freed.append(&mut tree.freed);
        refresh_right_edge(&mut tree.root);
        let shortener = Shortener { nodes: self.nodes, index, ranks: self.nodes.attrs().ranks() };
        shortener.shorten(&mut tree.root, tree.shift)?;
        let mut pieces = self.slot(&mut tree.root, &shortener)?;
        // A root that was split gets a level above it, which may itself have to be split.
        while let Some(children) = pieces.take() {
            if tree.shift == MAX_SHIFT {
                return Err(Error::Full("no further level"));
            }
            tree.shift += 1;
            let mut nodes = self.inner_pieces(children, NO_ADDR, &shortener)?;
            match nodes.pop() {
                Some((only, _)) if nodes.is_empty() => tree.root = only,
                Some(last) => {
                    nodes.push(last);
                    pieces = Some(nodes);
                }
                None => return Err(Error::Full("a split without pieces")),
            }
        }
        Ok(())
    }

    /// The rows; a freed address that another node took over is not deleted.
    pub(crate) fn finish(mut self) -> Stored {
        if !self.freed.is_empty() {
            self.freed.sort_unstable();
            self.freed.dedup();
            self.written.extend(self.rows.iter().map(|row| row.addr));
            self.freed.retain(|addr| !self.written.contains(addr));
            for addr in &self.freed {
                self.nodes.forget(*addr);
            }
        }
        Stored { rest: Writes { rows: self.rows, deleted: self.freed }, counter: self.counter }
    }

    fn push(&mut self, row: Row) -> Result<()> {
        self.rows_bytes += row.content.len();
        self.rows.push(row);
        if self.rows_bytes < PART_BYTES {
            return Ok(());
        }
        self.rows_bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        self.written.extend(rows.iter().map(|row| row.addr));
        (self.sink)(Writes { rows, deleted: Vec::new() })
    }

    fn allocate(&mut self) -> Result<Addr> {
        if self.counter >= ADDR_MAX {
            return Err(Error::Full("no further address"));
        }
        self.counter += 1;
        Ok(self.counter)
    }

    /// Stores a node if it is dirty. Where it had to be split, returns what takes its place.
    fn slot(&mut self, slot: &mut Slot, shortener: &Shortener<'_>) -> Result<Option<Pieces>> {
        match slot {
            Slot::Stored { .. } => Ok(None),
            Slot::Leaf { addr, node } => {
                let (addr, node) = (*addr, Rc::clone(node));
                // What is far too long is not written out to find that.
                let texts: usize = node.iter().map(|datom| datom.v.as_str().map_or(0, str::len)).sum();
                if texts > MAX_TEXT && node.len() > 1 {
                    return self.leaf_pieces(&node, addr, shortener).map(Some);
                }
                let text = self.encoder.keys(node.iter(), self.nodes.attrs());
                if text.len() > MAX_TEXT && node.len() > 1 {
                    return self.leaf_pieces(&node, addr, shortener).map(Some);
                }
                let text = text.to_owned();
                *slot = self.leaf(node, text, addr)?;
                Ok(None)
            }
            Slot::Inner { addr, node } => {
                let addr = *addr;
                let mut node = Rc::clone(node);
                // What the slot held goes away, so that the node can be changed in place.
                *slot = Slot::stored(addr);
                let split = self.children(Rc::make_mut(&mut node), shortener)?;
                if split.is_empty() {
                    let text = self.inner_text(&mut node, shortener);
                    if text.len() <= MAX_TEXT || node.slots.len() <= MIN_CHILDREN {
                        *slot = self.inner(node, text, addr)?;
                        return Ok(None);
                    }
                }
                let mut pieces = self.inner_pieces(replace(&node, split), addr, shortener)?;
                if pieces.len() > 1 {
                    return Ok(Some(pieces));
                }
                if let Some((only, _)) = pieces.pop() {
                    *slot = only;
                }
                Ok(None)
            }
        }
    }

    /// Stores the dirty children of an inner node; returns what takes the place of those that were split.
    fn children(&mut self, node: &mut Inner, shortener: &Shortener<'_>) -> Result<Vec<(usize, Pieces)>> {
        let mut split = Vec::new();
        for i in 0..node.slots.len() {
            // Asking for a slot to change it copies shared ones, clean children need no change.
            if let Some(Slot::Stored { .. }) = node.slots.get(i) {
                continue;
            }
            if let Some(child) = node.slots.get_mut(i)
                && let Some(pieces) = self.slot(child, shortener)?
            {
                split.push((i, pieces));
            }
        }
        Ok(split)
    }

    fn leaf(&mut self, node: Rc<Leaf>, content: String, addr: Addr) -> Result<Slot> {
        let addr = if addr == NO_ADDR { self.allocate()? } else { addr };
        self.push(Row { addr, content, addresses: None })?;
        self.nodes.adopt_leaf(addr, node);
        Ok(Slot::stored(addr))
    }

    /// The text of an inner node; where it is too long and the node cannot be split, it gets a short last key.
    fn inner_text(&mut self, node: &mut Rc<Inner>, shortener: &Shortener<'_>) -> String {
        shortener.cap(node, LONG);
        let mut text = self.encoder.keys(node.keys.iter(), self.nodes.attrs());
        if text.len() > MAX_TEXT && node.slots.len() <= MIN_CHILDREN {
            shortener.cap(node, SHORT);
            text = self.encoder.keys(node.keys.iter(), self.nodes.attrs());
        }
        text.to_owned()
    }

    fn inner(&mut self, node: Rc<Inner>, content: String, addr: Addr) -> Result<Slot> {
        let is_taken = addr == NO_ADDR || node.slots.iter().any(|slot| slot.addr() == addr);
        let addr = if is_taken { self.allocate()? } else { addr };
        if content.len() > MAX_ROW_TEXT {
            return Err(Error::Full("a separator too long to store"));
        }
        let addresses = encode_addresses(node.slots.iter().map(Slot::addr));
        self.push(Row { addr, content, addresses: Some(addresses) })?;
        self.nodes.adopt_inner(addr, node);
        Ok(Slot::stored(addr))
    }

    /// Stores the datoms of one leaf as several; the first keeps the address.
    fn leaf_pieces(&mut self, node: &Leaf, mut addr: Addr, shortener: &Shortener<'_>) -> Result<Pieces> {
        let mut pieces = Vec::new();
        let mut end = 0;
        for size in cut(node.iter(), node.len(), 1, self.nodes.attrs()) {
            let leaf: Leaf = node.iter().skip(end).take(size).cloned().collect();
            end += size;
            let Some(last) = leaf.last() else { break };
            let key = shortener.key(last, node.get(end));
            let text = self.encoder.keys(leaf.iter(), self.nodes.attrs()).to_owned();
            pieces.push((self.leaf(Rc::new(leaf), text, addr)?, key));
            addr = NO_ADDR;
        }
        Ok(pieces)
    }

    /// Stores children as one inner node or several; the first keeps the address.
    fn inner_pieces(&mut self, children: Pieces, mut addr: Addr, shortener: &Shortener<'_>) -> Result<Pieces> {
        let mut pieces = Vec::new();
        let keys = children.iter().map(|(_, key)| key);
        let sizes = cut(keys, children.len(), MIN_CHILDREN, self.nodes.attrs());
        let mut children = children.into_iter();
        for size in sizes {
            let mut inner: Rc<Inner> = Rc::new(children.by_ref().take(size).collect());
            let Some(key) = inner.keys.last().cloned() else { break };
            let text = self.inner_text(&mut inner, shortener);
            pieces.push((self.inner(inner, text, addr)?, key));
            addr = NO_ADDR;
        }
        Ok(pieces)
    }
}

/// Brings the keys along the right edge, which insertion does not touch, up to date; returns the greatest datom. Below a
/// clean node all are.
fn refresh_right_edge(slot: &mut Slot) -> Option<Datom> {
    match slot {
        Slot::Stored { .. } => None,
        Slot::Leaf { node, .. } => node.last().cloned(),
        Slot::Inner { node, .. } => {
            let i = node.slots.len().checked_sub(1)?;
            if !matches!(node.slots.last(), Some(Slot::Stored { .. })) {
                let node = Rc::make_mut(node);
                let last = refresh_right_edge(node.slots.get_mut(i)?)?;
                if let Some(key) = node.keys_mut().last_mut() {
                    *key = last;
                }
            }
            node.keys.last().cloned()
        }
    }
}

/// The children of a node, those that were split replaced by their pieces.
fn replace(node: &Inner, split: Vec<(usize, Pieces)>) -> Pieces {
    let mut split = split.into_iter().peekable();
    let mut children = Vec::with_capacity(node.slots.len() + split.len());
    for (i, (slot, key)) in node.slots.iter().zip(node.keys.iter()).enumerate() {
        match split.next_if(|(at, _)| *at == i) {
            Some((_, mut pieces)) => {
                // The last piece is bounded by what bounded the child.
                if let Some((_, last)) = pieces.last_mut() {
                    last.clone_from(key);
                }
                children.extend(pieces);
            }
            None => children.push((slot.clone(), key.clone())),
        }
    }
    children
}

/// Sizes of nodes for these keys: none longer than [`MAX_TEXT`] unless it has `min` keys, none of more than [`WIDTH`],
/// about evenly filled where only their number matters.
fn cut<'k>(keys: impl Iterator<Item = &'k Datom>, len: usize, min: usize, attrs: &Attrs) -> Vec<usize> {
    let width = len.div_ceil(len.div_ceil(WIDTH).max(1));
    let mut sizes = Vec::new();
    let (mut size, mut text) = (0, 0);
    for key in keys {
        let added = encoded_size(key, attrs);
        if size == width || (size >= min && text + added > MAX_TEXT) {
            sizes.push(size);
            (size, text) = (0, 0);
        }
        size += 1;
        text += added;
    }
    sizes.push(size);
    sizes
}
