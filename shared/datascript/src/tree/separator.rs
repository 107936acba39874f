//! Short stand-ins for separators that are too long (datascript.md 13.4).
//!
//! A key of an inner node is the greatest datom of a child, value included. Two values of more than 1,000,000 bytes in one
//! inner node would make a row that cannot be stored, however the children are distributed. For a search it is enough that
//! a key is not less than what is below its child and less than what follows. Such a long key, and only a long one, is
//! replaced by a shorter datom of that kind where there is one: two texts that begin alike for a million characters have
//! no short text between them. No search looks at the last key of a node, so that it can always be replaced by a short
//! one. One long key between two children and a short last key fit into a row, as a datom is never longer than a row
//! less [`SHORT`]: every node can be stored. Readers take no data from inner nodes.

use std::rc::Rc;

use transit::Value;

use super::node::{Inner, Leaf, Slot};
use super::search::child;
use crate::attrs::Ranks;
use crate::datom::{Datom, TX_MAX};
use crate::error::Result;
use crate::index::Index;
use crate::nodes::{Keep, Nodes};
use crate::row::is_longer_than;
use crate::value;

/// Bytes of a key's text from which on it is replaced: two keys that are not make less than a row's limit.
pub(super) const LONG: usize = 900_000;
/// Bytes at most of a key in place of the last one of a node: those of an attribute's name and a short value.
pub(crate) const SHORT: usize = 25_000;

/// The greatest UTF-16 unit.
const GREATEST: &str = "\u{FFFF}";

/// Replaces long keys of separators.
pub(super) struct Shortener<'a> {
    pub(super) nodes: &'a Nodes,
    pub(super) index: Index,
    pub(super) ranks: Ranks,
}

impl Shortener<'_> {
    /// Replaces the long keys between children in the dirty nodes below a slot at `shift` levels above the leaves.
    pub(super) fn shorten(&self, slot: &mut Slot, shift: usize) -> Result<()> {
        let Slot::Inner { node, .. } = slot else { return Ok(()) };
        for i in 1..node.keys.len() {
            if node.keys.get(i - 1).is_some_and(|key| self.is_long(key)) {
                let next = self.first(child(node, i)?, shift - 1)?;
                if let Some(key) = Rc::make_mut(node).keys_mut().get_mut(i - 1) {
                    *key = self.between(key, next.as_ref());
                }
            }
        }
        for i in 0..node.slots.len() {
            if matches!(node.slots.get(i), Some(Slot::Inner { .. }))
                && let Some(child) = Rc::make_mut(node).slots.get_mut(i)
            {
                self.shorten(child, shift - 1)?;
            }
        }
        Ok(())
    }

    /// Replaces the last key of a node if its text has more bytes than `limit`.
    pub(super) fn cap(&self, node: &mut Rc<Inner>, limit: usize) {
        if let Some(last) = node.keys.last().filter(|last| is_longer_than(last, self.nodes.attrs(), limit)) {
            let cap = match self.index {
                // Entities are numbers, so there is always one beyond.
                Index::Eavt | Index::Aevt => {
                    Datom { e: last.e.saturating_add(1), v: Value::Int(0), tx: 0, ..last.clone() }
                }
                Index::Avet => after(last),
            };
            if let Some(last) = Rc::make_mut(node).keys_mut().last_mut() {
                *last = cap;
            }
        }
    }

    /// The key between a leaf's last datom and the first of the next one.
    pub(super) fn key(&self, last: &Datom, next: Option<&Datom>) -> Datom {
        if self.is_long(last) { self.between(last, next) } else { last.clone() }
    }

    fn is_long(&self, datom: &Datom) -> bool {
        is_longer_than(datom, self.nodes.attrs(), LONG)
    }

    /// The first datom below a slot. Nothing was written yet, so clean nodes load as they are.
    fn first(&self, slot: &Slot, shift: usize) -> Result<Option<Datom>> {
        let mut slot = slot.clone();
        for _ in 0..shift {
            let node = self.nodes.inner(&slot, Keep::Cached)?;
            slot = child(&node, 0)?.clone();
        }
        let leaf: Rc<Leaf> = self.nodes.leaf(&slot, Keep::Cached)?;
        Ok(leaf.first().cloned())
    }

    /// A short datom that is not less than `last` and less than `next`, or `last` where none is found.
    ///
    /// It differs from `last` in the value only, and from `next` in the value too: a search that leaves fields open must not
    /// take it for a match where `last` is none.
    fn between(&self, last: &Datom, next: Option<&Datom>) -> Datom {
        let fits = |key: &Datom| {
            let is_before = |next: &Datom| {
                self.index.compare(key, next, &self.ranks).is_lt() && value::compare(&key.v, &next.v).is_ne()
            };
            self.index.compare(last, key, &self.ranks).is_le() && next.is_none_or(is_before) && !self.is_long(key)
        };
        let inside = next.and_then(|next| text_between(&last.v, &next.v));
        let inside = inside.map(|text| Datom { v: Value::String(text.into()), tx: TX_MAX, ..last.clone() });
        [Some(after(last)), inside].into_iter().flatten().find(fits).unwrap_or_else(|| last.clone())
    }
}

/// A short datom beyond this one, unless its value is opaque or a string that begins with the greatest UTF-16 unit.
fn after(datom: &Datom) -> Datom {
    Datom { v: Value::string(GREATEST), tx: TX_MAX, ..datom.clone() }
}

/// What two strings begin with, the first one's next character and the greatest one: a text that is less than the second
/// one and, unless the first one goes on with the greatest character, greater than the first.
fn text_between(a: &Value, b: &Value) -> Option<String> {
    let (a, b) = (a.as_str()?, b.as_str()?);
    let shared: usize = a.chars().zip(b.chars()).take_while(|(x, y)| x == y).map(|(x, _)| x.len_utf8()).sum();
    let next = a.get(shared..)?.chars().next()?;
    Some([a.get(..shared + next.len_utf8())?, GREATEST].concat())
}
