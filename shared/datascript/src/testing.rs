//! Helpers of the unit tests: a seeded generator, a row store in memory, checks of a tree's shape.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::Value;
use crate::attrs::{Attr, Attrs};
use crate::datom::{Datom, TX0};
use crate::index::{Index, Pattern};
use crate::nodes::{Keep, Nodes};
use crate::row::is_longer_than;
use crate::storage::{Addr, Row, Storage, StorageError, Writes};
use crate::tree::Tree;
use crate::tree::chunks::WIDTH;
use crate::tree::node::Slot;

/// `SplitMix64`.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.small(u32::try_from(n).unwrap())).unwrap()
    }

    pub(crate) fn small(&mut self, n: u32) -> u32 {
        u32::try_from(self.next() % u64::from(n)).unwrap()
    }

    /// A value of any type that stands at a place of the order.
    pub(crate) fn value(&mut self, variety: u32) -> Value {
        let n = self.small(variety);
        match self.below(9) {
            0 => Value::from(n),
            1 => Value::number(f64::from(n) + 0.5),
            2 => Value::Bool(n.is_multiple_of(2)),
            3 => Value::keyword(&format!("k/{n}")),
            4 => Value::Uuid(uuid::Uuid::from_u128(n.into())),
            5 => Value::vector([Value::from(n), Value::Nil]),
            6 => Value::Map([(Value::keyword("k"), Value::from(n))].into_iter().collect()),
            7 => Value::Instant(n.into()),
            _ => Value::String(format!("text {n} \u{1F600}").into()),
        }
    }

    pub(crate) fn datom(&mut self, entities: u32, attributes: u32, variety: u32) -> Datom {
        let (e, a) = (self.small(entities) + 1, Attr::new(self.small(attributes)));
        Datom::new(e, a, self.value(variety), TX0 + self.small(2))
    }
}

pub(crate) const ATTRS: [&str; 4] = ["block/title", "name", "block/uuid", "a.b/c"];
pub(crate) const ATTR_COUNT: u32 = 4;

/// Rows in memory.
#[derive(Default)]
pub(crate) struct MemoryStore(pub(crate) RefCell<BTreeMap<Addr, Row>>);

impl MemoryStore {
    pub(crate) fn apply(&self, writes: Writes) {
        let mut rows = self.0.borrow_mut();
        for row in writes.rows {
            rows.insert(row.addr, row);
        }
        for addr in writes.deleted {
            assert!(rows.remove(&addr).is_some(), "deleted a row that is not there: {addr}");
        }
    }
}

impl Storage for MemoryStore {
    fn load(&self, addr: Addr) -> Result<Option<Row>, StorageError> {
        Ok(self.0.borrow().get(&addr).cloned())
    }
}

pub(crate) fn memory_nodes() -> Rc<Nodes> {
    Nodes::in_memory(Attrs::new(&ATTRS))
}

pub(crate) fn datoms(tree: &Tree, nodes: &Nodes, index: Index) -> Vec<Datom> {
    tree.slice(nodes, index, &Pattern::ALL).collect::<Result<_, _>>().unwrap()
}

/// Checks order, separators, counts, fill and levels; returns the addresses of all stored nodes.
pub(crate) fn check(tree: &Tree, nodes: &Nodes, index: Index, min_fill: usize) -> Vec<Addr> {
    let mut walk = Walk { nodes, min_fill, all: Vec::new(), addresses: Vec::new() };
    walk.node(tree.root(), tree.shift(), true, true);
    let Walk { all, addresses, .. } = walk;
    let ranks = nodes.attrs().ranks();
    for pair in all.windows(2) {
        assert!(index.compare(&pair[0], &pair[1], &ranks).is_lt(), "out of order");
    }
    assert_eq!(all.len(), tree.count());
    addresses
}

struct Walk<'a> {
    nodes: &'a Nodes,
    min_fill: usize,
    all: Vec<Datom>,
    addresses: Vec<Addr>,
}

impl Walk<'_> {
    /// Checks a node and what is below it; returns the greatest datom.
    fn node(&mut self, slot: &Slot, shift: usize, is_root: bool, is_right_edge: bool) -> Option<Datom> {
        if slot.addr() != 0 {
            self.addresses.push(slot.addr());
        }
        if shift == 0 {
            let leaf = self.nodes.leaf(slot, Keep::Cached).unwrap();
            assert!(is_root || leaf.len() >= self.min_fill, "a leaf of {}", leaf.len());
            self.all.extend(leaf.iter().cloned());
            return leaf.last().cloned();
        }
        let inner = self.nodes.inner(slot, Keep::Cached).unwrap();
        let count = inner.slots.len();
        assert_eq!(inner.keys.len(), count);
        assert!(count <= WIDTH && count >= if is_root { 2 } else { self.min_fill });
        let mut last = None;
        for (i, (key, child)) in inner.keys.iter().zip(inner.slots.iter()).enumerate() {
            let is_right_edge = is_right_edge && i + 1 == count;
            last = self.node(child, shift - 1, false, is_right_edge);
            let may_lag = is_right_edge && !matches!(slot, Slot::Stored { .. });
            let last = last.as_ref().unwrap();
            let is_replaced = is_longer_than(last, self.nodes.attrs(), 900_000);
            assert!(may_lag || is_replaced || same(key, last), "a separator is not the greatest datom below");
        }
        last
    }
}

pub(crate) fn same(a: &Datom, b: &Datom) -> bool {
    a == b && a.tx == b.tx && a.added == b.added
}
