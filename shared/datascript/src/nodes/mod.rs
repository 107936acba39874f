//! Loading of nodes, and the cache of clean ones (datascript.md 13.3).

mod cache;
pub(crate) mod size;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use crate::attrs::Attrs;
use crate::error::{Error, Result};
use crate::referrers::Referrers;
use crate::row;
use crate::storage::{Addr, Row, Storage};
use crate::tree::node::{Inner, Leaf, Slot};
use crate::work::Work;
use cache::Clock;

/// Where the nodes of one graph come from: its row store, a cache of clean nodes bounded in bytes, and its interned
/// attributes. Shared by all database values of the graph.
///
/// Dirty nodes are held by the trees themselves; the cache leaves room for them. Evicted first are leaves, inner nodes when leaves are down to a quarter.
pub struct Nodes {
    storage: Option<Rc<dyn Storage>>,
    attrs: Rc<Attrs>,
    cache: RefCell<Cache>,
    work: Work,
    referrers: RefCell<Referrers>,
    /// Memory of the nodes that were changed and not stored since, in bytes.
    waiting: Cell<usize>,
    /// How many database values there were.
    values: Cell<u64>,
}

struct Cache {
    leaves: Clock<Leaf>,
    inners: Clock<Inner>,
    budget: usize,
}

impl Nodes {
    /// A budget that lets several graphs share one isolate of 128 MB, whose wasm memory never shrinks: with what a batch
    /// needs at its height a graph stays below 32 MiB.
    pub const DEFAULT_BUDGET: usize = 12 * 1024 * 1024;

    /// Nodes over a row store, or purely in memory when there is none. `budget` bounds the clean nodes held, in bytes.
    pub fn new(storage: Option<Rc<dyn Storage>>, attrs: Rc<Attrs>, budget: usize) -> Self {
        let cache = Cache { leaves: Clock::default(), inners: Clock::default(), budget };
        Self {
            storage,
            attrs,
            cache: RefCell::new(cache),
            work: Work::default(),
            referrers: RefCell::default(),
            waiting: Cell::new(0),
            values: Cell::new(0),
        }
    }

    /// Nodes of a database that lives in memory only.
    pub fn in_memory(attrs: Rc<Attrs>) -> Rc<Self> {
        Rc::new(Self::new(None, attrs, Self::DEFAULT_BUDGET))
    }

    /// The graph's attributes.
    pub fn attrs(&self) -> &Rc<Attrs> {
        &self.attrs
    }

    /// What was done with the graph's database values, and may be.
    pub fn work(&self) -> &Work {
        &self.work
    }

    /// What is known of the latest database value's references.
    pub(crate) fn referrers(&self) -> &RefCell<Referrers> {
        &self.referrers
    }

    /// A number for another database value.
    pub(crate) fn next_value(&self) -> u64 {
        self.values.set(self.values.get() + 1);
        self.values.get()
    }

    /// Bytes of the clean nodes held now.
    pub fn cached_bytes(&self) -> usize {
        self.cache.borrow().bytes()
    }

    /// Bytes of the nodes that were changed and not stored since. Those of values that were dropped count too, and what nodes
    /// have grown by does not.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting.get()
    }

    /// A leaf is changed that was clean.
    pub(crate) fn leaf_waits(&self, leaf: &Leaf) {
        self.waiting.set(self.waiting.get().saturating_add(size::leaf(leaf)));
    }

    /// An inner node is changed that was clean.
    pub(crate) fn inner_waits(&self, inner: &Inner) {
        self.waiting.set(self.waiting.get().saturating_add(size::inner(inner)));
    }

    /// All nodes are stored.
    pub(crate) fn none_waits(&self) {
        self.waiting.set(0);
    }

    /// Forgets all clean nodes.
    pub fn clear(&self) {
        let mut cache = self.cache.borrow_mut();
        cache.leaves.clear();
        cache.inners.clear();
    }

    /// The row at an address, if there is one.
    pub(crate) fn row(&self, addr: Addr) -> Result<Option<Row>> {
        match &self.storage {
            Some(storage) => Ok(storage.load(addr)?),
            None => Ok(None),
        }
    }

    /// The rows at some addresses, at most 32, in any order.
    pub(crate) fn rows(&self, addrs: &[Addr]) -> Result<Vec<Row>> {
        match &self.storage {
            Some(storage) => Ok(storage.load_all(addrs)?),
            None => Ok(Vec::new()),
        }
    }

    /// Whether rows are stored at all.
    pub(crate) fn is_stored(&self) -> bool {
        self.storage.is_some()
    }

    /// The leaf in a slot of the lowest level.
    #[inline]
    pub(crate) fn leaf(&self, slot: &Slot, keep: Keep) -> Result<Rc<Leaf>> {
        match slot {
            Slot::Leaf { node, .. } => Ok(Rc::clone(node)),
            Slot::Stored { addr, hint } => {
                let cached = self.cache.borrow_mut().leaves.get(*addr, hint);
                cached.map_or_else(|| self.load_leaf(*addr, keep), Ok)
            }
            Slot::Inner { addr, .. } => Err(Error::Corrupt { addr: *addr, reason: "an inner node among leaves" }),
        }
    }

    /// The inner node in a slot of a higher level.
    #[inline]
    pub(crate) fn inner(&self, slot: &Slot, keep: Keep) -> Result<Rc<Inner>> {
        match slot {
            Slot::Inner { node, .. } => Ok(Rc::clone(node)),
            Slot::Stored { addr, hint } => {
                let cached = self.cache.borrow_mut().inners.get(*addr, hint);
                cached.map_or_else(|| self.load_inner(*addr, keep), Ok)
            }
            Slot::Leaf { addr, .. } => Err(Error::Corrupt { addr: *addr, reason: "a leaf among inner nodes" }),
        }
    }

    #[cold]
    fn load_leaf(&self, addr: Addr, keep: Keep) -> Result<Rc<Leaf>> {
        let row = self.row(addr)?.ok_or(Error::Corrupt { addr, reason: "the row is missing" })?;
        let node = Rc::new(row::decode_leaf(&row, &self.attrs)?);
        if keep == Keep::Cached {
            self.adopt_leaf(addr, Rc::clone(&node));
        }
        Ok(node)
    }

    #[cold]
    fn load_inner(&self, addr: Addr, keep: Keep) -> Result<Rc<Inner>> {
        let row = self.row(addr)?.ok_or(Error::Corrupt { addr, reason: "the row is missing" })?;
        let node = Rc::new(row::decode_inner(&row, &self.attrs)?);
        if keep == Keep::Cached {
            self.adopt_inner(addr, Rc::clone(&node));
        }
        Ok(node)
    }

    /// Takes a leaf that equals its row into the cache.
    pub(crate) fn adopt_leaf(&self, addr: Addr, node: Rc<Leaf>) {
        let bytes = size::leaf(&node);
        let mut cache = self.cache.borrow_mut();
        cache.leaves.insert(addr, node, bytes);
        cache.shrink(self.waiting.get());
    }

    /// Takes an inner node that equals its row into the cache.
    pub(crate) fn adopt_inner(&self, addr: Addr, node: Rc<Inner>) {
        let bytes = size::inner(&node);
        let mut cache = self.cache.borrow_mut();
        cache.inners.insert(addr, node, bytes);
        cache.shrink(self.waiting.get());
    }

    /// Forgets the node of a row that is no longer there.
    pub(crate) fn forget(&self, addr: Addr) {
        let mut cache = self.cache.borrow_mut();
        cache.leaves.remove(addr);
        cache.inners.remove(addr);
    }
}

/// Whether a node that had to be loaded is worth keeping: bulk reads would push out everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Put it into the cache.
    Cached,
    /// Use it once.
    Once,
}

impl Cache {
    fn bytes(&self) -> usize {
        self.leaves.bytes() + self.inners.bytes()
    }

    /// Nodes that wait to be stored take of the budget, up to its half.
    ///
    /// Leaves keep a quarter of what is left. Without that the inner nodes of a large graph would leave no room for any leaf, and
    /// each look at a datom would read and parse a row.
    fn shrink(&mut self, waiting: usize) {
        let budget = self.budget - waiting.min(self.budget / 2);
        while self.bytes() > budget {
            let spares_leaves = self.leaves.bytes() <= budget / 4;
            let evicted = !spares_leaves && self.leaves.evict();
            if !evicted && !self.inners.evict() && !self.leaves.evict() {
                break;
            }
        }
    }
}

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nodes").field("cached_bytes", &self.cached_bytes()).finish_non_exhaustive()
    }
}
