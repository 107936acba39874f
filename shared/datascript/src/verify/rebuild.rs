//! Building indexes again from what the rows hold.

use std::rc::Rc;

use rustc_hash::FxHashSet;
use transit::Limits;

use super::Damage;
use super::walk::Walk;
use crate::attrs::Attrs;
use crate::datom::{Datom, Eid, TX0, TxId};
use crate::error::Result;
use crate::index::{Index, Pattern};
use crate::nodes::Nodes;
use crate::row::{Root, RootFields, RootWriter};
use crate::schema::Schema;
use crate::storage::{ADDR_BASE, Addr, ROOT_ADDR, Row, Storage, Writes};
use crate::tree::{Store, Tree};

/// Clean nodes held meanwhile, in bytes.
const CACHE_BYTES: usize = 8 << 20;

/// Changes of a tree before its nodes are written, so that few of them are in memory and writing them takes some
/// milliseconds. Long texts count as several.
const BATCH: usize = 2_000;

/// Bytes of a text that count as one more change.
const CHANGE_BYTES: usize = 256;

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

/// Builds the damaged indexes of a stored database again, under new addresses, some leaves at a time. The tail stays.
///
/// A fact is written to both EAVT and AEVT and removed from both, and where either failed, the removal did: so what stands
/// in one of them only was retracted. Of several values of an attribute that has one the latest counts, as a replacement
/// that did not find the old value left it beside the new one.
///
/// Until [`finish`](Self::finish) only rows of new addresses are written, and of these alone some are deleted: what there
/// was stays what it is. Memory: the cache, some thousand changes, and a few bytes for each old node.
pub struct Rebuild {
    nodes: Rc<Nodes>,
    damage: Damage,
    schema: Schema,
    max_eid: Eid,
    max_tx: TxId,
    /// The greatest address in use.
    counter: Addr,
    /// The facts by entity: those that there were, and from [`Phase::Retracted`] on the new ones.
    eavt: Tree,
    aevt: Tree,
    avet: Tree,
    phase: Phase,
    walk: Walk,
    /// Nodes that the walk has seen.
    seen: FxHashSet<Addr>,
    /// Datoms that it has seen.
    walked: usize,
    /// What EAVT or AEVT had, whichever had more.
    found: usize,
    /// Nodes that are not needed any more.
    old: Vec<Addr>,
    by_attr: Builder,
    facts: Builder,
    /// The tree of the last two phases.
    last: Builder,
}

/// What is walked through, and to what end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The old AEVT, to put its facts in order.
    Attributes,
    /// The old EAVT, for the facts that stand in both.
    Facts,
    /// The facts of AEVT, to leave out those that stand in it only.
    Retracted,
    /// The old AVET, for the addresses of its nodes.
    OldValues,
    /// The facts, for the new AVET.
    Values,
    Done,
}

impl Rebuild {
    /// Begins with the root row. `greatest_addr` is the greatest address of any row.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) when there is no root row that could be read.
    pub fn new(storage: Rc<dyn Storage>, attrs: Rc<Attrs>, greatest_addr: Addr, damage: Damage) -> Result<Self> {
        let nodes = Rc::new(Nodes::new(Some(storage), attrs, CACHE_BYTES));
        let row =
            nodes.row(ROOT_ADDR)?.ok_or(crate::Error::Corrupt { addr: ROOT_ADDR, reason: "the row is missing" })?;
        let Root { schema, max_eid, max_tx, max_addr, eavt, aevt, avet } =
            Root::decode(&row, nodes.attrs(), Limits::STORED)?;
        let (phase, walk) = if damage.facts {
            (Phase::Attributes, Walk::new(Index::Aevt, &aevt, Limits::STORED))
        } else {
            (Phase::OldValues, Walk::new(Index::Avet, &avet, Limits::STORED))
        };
        Ok(Self {
            nodes,
            damage,
            schema,
            max_eid,
            max_tx,
            counter: max_addr.max(greatest_addr).max(ADDR_BASE),
            eavt,
            aevt,
            avet,
            phase,
            walk,
            seen: FxHashSet::default(),
            walked: 0,
            found: 0,
            old: Vec::new(),
            by_attr: Builder::new(Index::Aevt),
            facts: Builder::new(Index::Eavt),
            last: Builder::new(Index::Avet),
        })
    }

    /// Goes through so many leaves. False: there are no more.
    pub fn step(&mut self, leaves: usize, write: &mut Write<'_>) -> Result<bool> {
        // Each turn takes a leaf or ends a phase.
        for _ in 0..leaves {
            if self.phase == Phase::Done {
                return Ok(false);
            }
            let Some((_, leaf)) = self.walk.next_leaf(&self.nodes, &mut self.seen)? else {
                self.next_phase(write)?;
                continue;
            };
            self.walked += leaf.len();
            for datom in leaf {
                self.take(datom, write)?;
            }
        }
        Ok(true)
    }

    /// The root row and the addresses of the nodes that are not needed any more, and what was done. To be written once
    /// [`step`](Self::step) has told that there are no more leaves; before that nothing of use.
    pub fn finish(self) -> (Writes, Repaired) {
        let Self { damage, schema, max_eid, max_tx, counter, eavt, aevt, avet, found, old, .. } = self;
        let content = RootWriter::default().encode(&RootFields {
            schema: &schema,
            max_eid,
            max_tx,
            max_addr: counter,
            trees: [
                ("eavt", "eavt-metadata", &eavt),
                ("aevt", "aevt-metadata", &aevt),
                ("avet", "avet-metadata", &avet),
            ],
        });
        let writes = Writes { rows: vec![Row { addr: ROOT_ADDR, content, addresses: None }], deleted: old };
        let left_out = found.saturating_sub(eavt.count());
        (writes, Repaired { damage, facts: eavt.count(), left_out })
    }

    fn take(&mut self, datom: Datom, write: &mut Write<'_>) -> Result<()> {
        let (nodes, counter) = (&*self.nodes, &mut self.counter);
        match self.phase {
            Phase::Attributes => self.by_attr.insert(nodes, datom, counter, write),
            Phase::Facts => {
                let is_one = !self.schema.flags(datom.a).is_many();
                if self.by_attr.holds(nodes, &datom)? && self.facts.make_way(nodes, &datom, is_one, counter, write)? {
                    self.max_eid = if datom.e < TX0 { self.max_eid.max(datom.e) } else { self.max_eid };
                    self.facts.insert(nodes, datom, counter, write)?;
                }
                Ok(())
            }
            Phase::Retracted if self.facts.holds(nodes, &datom)? => self.last.insert(nodes, datom, counter, write),
            Phase::Values if self.schema.flags(datom.a).is_indexed() => self.last.insert(nodes, datom, counter, write),
            Phase::Retracted | Phase::OldValues | Phase::Values | Phase::Done => Ok(()),
        }
    }

    fn next_phase(&mut self, write: &mut Write<'_>) -> Result<()> {
        let (nodes, counter) = (&*self.nodes, &mut self.counter);
        if matches!(self.phase, Phase::Attributes | Phase::Facts) {
            self.found = self.found.max(self.walked);
        }
        // The nodes of the new EAVT are the only ones that stay of those that are walked through.
        if self.phase == Phase::Values {
            self.seen.clear();
        } else {
            self.old.extend(self.seen.drain());
        }
        let (phase, index, tree) = match self.phase {
            Phase::Attributes => (Phase::Facts, Index::Eavt, &self.eavt),
            Phase::Facts => {
                self.eavt = self.facts.store(nodes, counter, write)?;
                self.aevt = self.by_attr.store(nodes, counter, write)?;
                self.last = Builder::new(Index::Aevt);
                // All of one are in the other.
                if self.eavt.count() == self.aevt.count() {
                    (Phase::OldValues, Index::Avet, &self.avet)
                } else {
                    (Phase::Retracted, Index::Aevt, &self.aevt)
                }
            }
            Phase::Retracted => {
                self.aevt = self.last.store(nodes, counter, write)?;
                (Phase::OldValues, Index::Avet, &self.avet)
            }
            Phase::OldValues => {
                self.last = Builder::new(Index::Avet);
                (Phase::Values, Index::Eavt, &self.eavt)
            }
            Phase::Values | Phase::Done => {
                self.avet = self.last.store(nodes, counter, write)?;
                self.phase = Phase::Done;
                return Ok(());
            }
        };
        self.walked = 0;
        self.walk = Walk::new(index, tree, Limits::STORED);
        self.phase = phase;
        Ok(())
    }
}

/// Builds damaged indexes again as a whole, in one storage transaction: the rows that are written in parts make sense
/// together only.
pub fn rebuild(
    storage: Rc<dyn Storage>,
    attrs: Rc<Attrs>,
    greatest_addr: Addr,
    damage: Damage,
    write: &mut (dyn FnMut(Writes) -> Result<()> + '_),
) -> Result<Repaired> {
    let mut rebuild = Rebuild::new(storage, attrs, greatest_addr, damage)?;
    while rebuild.step(usize::MAX, write)? {}
    let (writes, repaired) = rebuild.finish();
    write(writes)?;
    Ok(repaired)
}

/// A tree that is being built, most of it in the store.
struct Builder {
    index: Index,
    tree: Tree,
    /// Changes since its nodes were written.
    pending: usize,
}

impl Builder {
    fn new(index: Index) -> Self {
        Self { index, tree: Tree::empty(), pending: 0 }
    }

    fn insert(&mut self, nodes: &Nodes, datom: Datom, counter: &mut Addr, write: &mut Write<'_>) -> Result<()> {
        let changes = 1 + datom.v.as_str().map_or(0, str::len) / CHANGE_BYTES;
        self.tree.insert(nodes, self.index, datom)?;
        self.changed(nodes, changes, counter, write)
    }

    fn remove(&mut self, nodes: &Nodes, datom: &Datom, counter: &mut Addr, write: &mut Write<'_>) -> Result<()> {
        self.tree.remove(nodes, self.index, datom)?;
        self.changed(nodes, 1, counter, write)
    }

    /// Whether the fact is there with that transaction.
    fn holds(&self, nodes: &Nodes, datom: &Datom) -> Result<bool> {
        let pattern = Pattern { tx: Some(datom.tx), ..Pattern::eav(datom.e, datom.a, &datom.v) };
        self.tree.contains(nodes, self.index, &pattern)
    }

    /// Removes what an EAVT may not hold beside a fact: an older value, where there can be one only, and the same fact of
    /// another transaction. False: what is there is newer, and stays.
    fn make_way(
        &mut self,
        nodes: &Nodes,
        datom: &Datom,
        is_one: bool,
        counter: &mut Addr,
        write: &mut Write<'_>,
    ) -> Result<bool> {
        let pattern = if is_one { Pattern::ea(datom.e, datom.a) } else { Pattern::eav(datom.e, datom.a, &datom.v) };
        match self.tree.first(nodes, self.index, &pattern)? {
            Some(other) if other.tx > datom.tx => Ok(false),
            Some(other) => self.remove(nodes, &other, counter, write).map(|()| true),
            None => Ok(true),
        }
    }

    fn changed(&mut self, nodes: &Nodes, changes: usize, counter: &mut Addr, write: &mut Write<'_>) -> Result<()> {
        self.pending += changes;
        if self.pending >= BATCH { self.store(nodes, counter, write).map(drop) } else { Ok(()) }
    }

    /// Writes what was changed; gives the tree, all of it in the store.
    fn store(&mut self, nodes: &Nodes, counter: &mut Addr, write: &mut Write<'_>) -> Result<Tree> {
        let mut store = Store::new(nodes, *counter, write);
        store.tree(&mut self.tree, self.index)?;
        let stored = store.finish();
        *counter = stored.counter;
        self.pending = 0;
        write(stored.rest)?;
        Ok(self.tree.clone())
    }
}
