//! Building indexes again from what the rows hold.

use std::rc::Rc;

use rustc_hash::FxHashSet;
use transit::Limits;

use super::Damage;
use super::walk::Walk;
use crate::attrs::Attrs;
use crate::datom::{Datom, TX0};
use crate::error::Result;
use crate::index::{Index, Pattern};
use crate::nodes::Nodes;
use crate::row::{Root, RootFields, RootWriter};
use crate::storage::{ADDR_BASE, Addr, ROOT_ADDR, Row, Storage, Writes};
use crate::tree::{Store, Tree};

/// Clean nodes held meanwhile, in bytes.
const CACHE_BYTES: usize = 8 << 20;

/// Datoms that a tree takes in before its nodes are written, so that few of them are in memory.
const BATCH: usize = 20_000;

/// What building again did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// What was damaged.
    pub damage: Damage,
    /// Facts that the database has now.
    pub facts: usize,
    /// Facts that stood in one of EAVT and AEVT only, and values beside a later one that replaced them.
    pub left_out: usize,
}

/// Takes rows to the store that the storage reads from.
type Write<'f> = dyn FnMut(Writes) -> Result<()> + 'f;

/// Builds the damaged indexes of a stored database again, under new addresses, and deletes the old nodes. The tail stays.
///
/// A fact is written to both EAVT and AEVT and removed from both, and where either failed, the removal did: so what stands
/// in one of them only was retracted. Of several values of an attribute that has one the latest counts, as a replacement
/// that did not find the old value left it beside the new one.
///
/// The rows are written in several parts that make sense together only: in one storage transaction.
pub fn rebuild(
    storage: Rc<dyn Storage>,
    attrs: Rc<Attrs>,
    greatest_addr: Addr,
    damage: Damage,
    write: &mut (dyn FnMut(Writes) -> Result<()> + '_),
) -> Result<Repaired> {
    let nodes = Nodes::new(Some(storage), attrs, CACHE_BYTES);
    let row = nodes.row(ROOT_ADDR)?.ok_or(crate::Error::Corrupt { addr: ROOT_ADDR, reason: "the row is missing" })?;
    let Root { schema, mut max_eid, max_tx, max_addr, eavt, aevt, avet } =
        Root::decode(&row, nodes.attrs(), Limits::STORED)?;
    let mut counter = max_addr.max(greatest_addr).max(ADDR_BASE);
    let mut old = Vec::new();
    let mut found = 0;
    let (eavt, aevt) = if damage.facts {
        let mut by_attr = Builder::new(&nodes, Index::Aevt);
        found = each(&nodes, Index::Aevt, &aevt, &mut old, |datom| by_attr.insert(datom, &mut counter, write))?;
        let mut facts = Builder::new(&nodes, Index::Eavt);
        let in_eavt = each(&nodes, Index::Eavt, &eavt, &mut old, |datom| {
            let is_one = !schema.flags(datom.a).is_many();
            if by_attr.holds(&datom)? && facts.make_way(&datom, is_one, &mut counter, write)? {
                max_eid = if datom.e < TX0 { max_eid.max(datom.e) } else { max_eid };
                facts.insert(datom, &mut counter, write)?;
            }
            Ok(())
        })?;
        found = found.max(in_eavt);
        let mut retracted = Vec::new();
        for datom in by_attr.tree.slice(&nodes, Index::Aevt, &Pattern::ALL).scanning() {
            let datom = datom?;
            if !facts.holds(&datom)? {
                retracted.push(datom);
            }
        }
        for datom in &retracted {
            by_attr.remove(datom, &mut counter, write)?;
        }
        (facts.finish(&mut counter, write)?, by_attr.finish(&mut counter, write)?)
    } else {
        (eavt, aevt)
    };
    each(&nodes, Index::Avet, &avet, &mut old, |_| Ok(()))?;
    let mut by_value = Builder::new(&nodes, Index::Avet);
    for datom in eavt.slice(&nodes, Index::Eavt, &Pattern::ALL).scanning() {
        let datom = datom?;
        if schema.flags(datom.a).is_indexed() {
            by_value.insert(datom, &mut counter, write)?;
        }
    }
    let avet = by_value.finish(&mut counter, write)?;
    let content = RootWriter::default().encode(&RootFields {
        schema: &schema,
        max_eid,
        max_tx,
        max_addr: counter,
        trees: [("eavt", "eavt-metadata", &eavt), ("aevt", "aevt-metadata", &aevt), ("avet", "avet-metadata", &avet)],
    });
    write(Writes { rows: vec![Row { addr: ROOT_ADDR, content, addresses: None }], deleted: old })?;
    Ok(Repaired { damage, facts: eavt.count(), left_out: found.saturating_sub(eavt.count()) })
}

/// Shows every datom of a stored tree, in whatever order they stand, and counts them; notes the addresses of its nodes.
fn each(
    nodes: &Nodes,
    index: Index,
    tree: &Tree,
    addresses: &mut Vec<Addr>,
    mut take: impl FnMut(Datom) -> Result<()>,
) -> Result<usize> {
    let mut count = 0;
    let mut seen = FxHashSet::default();
    let mut walk = Walk::new(index, tree, Limits::STORED);
    while let Some((_, leaf)) = walk.next_leaf(nodes, &mut seen)? {
        count += leaf.len();
        for datom in &leaf {
            take(datom.clone())?;
        }
    }
    addresses.extend(seen);
    Ok(count)
}

/// A tree that is being built, most of it in the store.
struct Builder<'n> {
    nodes: &'n Nodes,
    index: Index,
    tree: Tree,
    /// Changes since its nodes were written.
    pending: usize,
}

impl<'n> Builder<'n> {
    fn new(nodes: &'n Nodes, index: Index) -> Self {
        Self { nodes, index, tree: Tree::empty(), pending: 0 }
    }

    fn insert(&mut self, datom: Datom, counter: &mut Addr, write: &mut Write<'_>) -> Result<()> {
        self.tree.insert(self.nodes, self.index, datom)?;
        self.changed(counter, write)
    }

    fn remove(&mut self, datom: &Datom, counter: &mut Addr, write: &mut Write<'_>) -> Result<()> {
        self.tree.remove(self.nodes, self.index, datom)?;
        self.changed(counter, write)
    }

    /// Whether the fact is there with that transaction.
    fn holds(&self, datom: &Datom) -> Result<bool> {
        let pattern = Pattern { tx: Some(datom.tx), ..Pattern::eav(datom.e, datom.a, &datom.v) };
        self.tree.contains(self.nodes, self.index, &pattern)
    }

    /// Removes what an EAVT may not hold beside a fact: an older value, where there can be one only, and the same fact of
    /// another transaction. False: what is there is newer, and stays.
    fn make_way(&mut self, datom: &Datom, is_one: bool, counter: &mut Addr, write: &mut Write<'_>) -> Result<bool> {
        let pattern = if is_one { Pattern::ea(datom.e, datom.a) } else { Pattern::eav(datom.e, datom.a, &datom.v) };
        match self.tree.first(self.nodes, self.index, &pattern)? {
            Some(other) if other.tx > datom.tx => Ok(false),
            Some(other) => self.remove(&other, counter, write).map(|()| true),
            None => Ok(true),
        }
    }

    fn changed(&mut self, counter: &mut Addr, write: &mut Write<'_>) -> Result<()> {
        self.pending += 1;
        if self.pending >= BATCH { self.store(counter, write) } else { Ok(()) }
    }

    fn store(&mut self, counter: &mut Addr, write: &mut Write<'_>) -> Result<()> {
        let mut store = Store::new(self.nodes, *counter, write);
        store.tree(&mut self.tree, self.index)?;
        let stored = store.finish();
        *counter = stored.counter;
        self.pending = 0;
        write(stored.rest)
    }

    fn finish(mut self, counter: &mut Addr, write: &mut Write<'_>) -> Result<Tree> {
        self.store(counter, write)?;
        Ok(self.tree)
    }
}
