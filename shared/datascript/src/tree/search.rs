//! Binary search within nodes, and descents from the root (datascript.md 5.1).

use std::cmp::Ordering;
use std::rc::Rc;

use transit::Value;

use super::node::{Inner, Leaf, Slot};
use super::{Path, Tree};
use crate::attrs::{Attr, Ranks};
use crate::datom::{Datom, Eid, TxId};
use crate::error::{Error, Result};
use crate::index::{Order, Pattern, Probe};
use crate::nodes::{Keep, Nodes};

/// The first place whose datom is not less than the probe.
#[inline]
pub(super) fn lower_bound<O: Order>(leaf: &Leaf, probe: &impl Probe, ranks: &Ranks) -> usize {
    if O::IS_APPENDED && leaf.last().is_some_and(|key| O::compare(key, probe, ranks) == Ordering::Less) {
        return leaf.len();
    }
    leaf.partition_point(|key| O::compare(key, probe, ranks) == Ordering::Less)
}

/// The first place whose datom is greater than the probe.
#[inline]
pub(super) fn upper_bound<O: Order>(leaf: &Leaf, probe: &impl Probe, ranks: &Ranks) -> usize {
    leaf.partition_point(|key| O::compare(key, probe, ranks) != Ordering::Greater)
}

/// The child to search for the first datom not less than the probe: the last child takes everything greater.
#[inline]
pub(super) fn child_at_or_after<O: Order>(node: &Inner, probe: &impl Probe, ranks: &Ranks) -> usize {
    let keys = without_last(&node.keys);
    if O::IS_APPENDED && keys.last().is_some_and(|key| O::compare(key, probe, ranks) == Ordering::Less) {
        return keys.len();
    }
    keys.partition_point(|key| O::compare(key, probe, ranks) == Ordering::Less)
}

fn without_last(keys: &[Datom]) -> &[Datom] {
    keys.split_last().map_or(keys, |(_, rest)| rest)
}

/// Child `i` of an inner node.
#[inline]
pub(super) fn child(node: &Inner, i: usize) -> Result<&Slot> {
    // An inner node has at least one child, and the searches above stay below the number of keys, which is the same.
    node.slots.get(i).ok_or(Error::Corrupt { addr: 0, reason: "an inner node without children" })
}

/// A place in a node, of which there are at most 32.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "nodes have at most 32 entries")]
pub(super) fn place(i: usize) -> u8 {
    i as u8
}

/// What stands right behind all datoms of an attribute, or before all datoms.
struct After(Option<Attr>);

impl Probe for After {
    fn e(&self, _: Eid) -> Ordering {
        Ordering::Equal
    }

    fn a(&self, a: Attr, ranks: &Ranks) -> Ordering {
        match self.0 {
            Some(attr) if a == attr => Ordering::Less,
            Some(attr) => ranks.cmp(a, attr),
            None => Ordering::Equal,
        }
    }

    fn v(&self, _: &Value) -> Ordering {
        Ordering::Equal
    }

    fn tx(&self, _: TxId) -> Ordering {
        Ordering::Equal
    }
}

impl Tree {
    pub(super) fn first_by<O: Order, T>(
        &self,
        nodes: &Nodes,
        pattern: &Pattern<'_>,
        look: impl FnOnce(&Datom) -> T,
    ) -> Result<Option<T>> {
        let ranks = nodes.attrs().ranks();
        let leaf = self.seek::<O>(nodes, pattern, &ranks, |_| ())?;
        let found = leaf.get(lower_bound::<O>(&leaf, pattern, &ranks));
        Ok(found.filter(|datom| O::compare(datom, pattern, &ranks) == Ordering::Equal).map(look))
    }

    /// The same with the datom after it, whether that matches or not, if both are in one leaf.
    pub(super) fn first_two_by<O: Order, T>(
        &self,
        nodes: &Nodes,
        pattern: &Pattern<'_>,
        look: impl FnOnce(&Datom, Option<&Datom>) -> T,
    ) -> Result<Option<T>> {
        let ranks = nodes.attrs().ranks();
        let leaf = self.seek::<O>(nodes, pattern, &ranks, |_| ())?;
        let i = lower_bound::<O>(&leaf, pattern, &ranks);
        let found = leaf.get(i).filter(|datom| O::compare(datom, pattern, &ranks) == Ordering::Equal);
        Ok(found.map(|datom| look(datom, leaf.get(i + 1))))
    }

    /// The path to where `datom` is or belongs, and whether it is there. A deletion descends the same way: where
    /// all keys are less, the last child has no such datom either.
    pub(super) fn locate<O: Order>(&self, nodes: &Nodes, datom: &Datom, ranks: &Ranks) -> Result<(Path, bool)> {
        let mut path = Path::new();
        let leaf = self.seek::<O>(nodes, datom, ranks, |i| path.push(place(i)))?;
        let i = lower_bound::<O>(&leaf, datom, ranks);
        path.push(place(i));
        let found = leaf.get(i).is_some_and(|other| O::compare(other, datom, ranks) == Ordering::Equal);
        Ok((path, found))
    }

    /// The attribute that comes after `attr`, or the first one, in an index that is ordered by attribute.
    pub(crate) fn attr_after<O: Order>(&self, nodes: &Nodes, attr: Option<Attr>) -> Result<Option<Attr>> {
        let ranks = nodes.attrs().ranks();
        let probe = After(attr);
        let leaf = self.seek::<O>(nodes, &probe, &ranks, |_| ())?;
        Ok(leaf.get(lower_bound::<O>(&leaf, &probe, &ranks)).map(|datom| datom.a))
    }

    /// Descends to the leaf that holds the first datom not less than the probe, if there is one.
    #[inline]
    fn seek<O: Order>(
        &self,
        nodes: &Nodes,
        probe: &impl Probe,
        ranks: &Ranks,
        mut step: impl FnMut(usize),
    ) -> Result<Rc<Leaf>> {
        if self.shift == 0 {
            return nodes.leaf(&self.root, Keep::Cached);
        }
        let mut node = nodes.inner(&self.root, Keep::Cached)?;
        for _ in 1..self.shift {
            let i = child_at_or_after::<O>(&node, probe, ranks);
            step(i);
            node = nodes.inner(child(&node, i)?, Keep::Cached)?;
        }
        let i = child_at_or_after::<O>(&node, probe, ranks);
        step(i);
        nodes.leaf(child(&node, i)?, Keep::Cached)
    }
}
