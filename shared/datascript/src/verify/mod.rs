//! Whether stored rows are a database that can be worked with (datascript.md 4): every node of the three trees is looked at
//! once, in the order of the index, and none is kept.
//!
//! Two kinds of fault are told apart. What no reader can use, such as a missing row or a leaf of 33 keys, is an
//! [`Error::Corrupt`]. Indexes that can be read but do not agree, or whose datoms are out of order, are [`Damage`], which
//! [`Rebuild`] repairs: rows of that kind were written by earlier versions of this engine.

mod rebuild;
mod sum;
#[cfg(test)]
mod tests;
mod walk;

use std::cmp::Ordering;
use std::rc::Rc;

use rustc_hash::{FxHashMap, FxHashSet};
use transit::Limits;

use crate::attrs::Attr;
use crate::datom::{Datom, E_MAX, TX_MAX, TX0};
use crate::error::{Error, Result};
use crate::index::Index;
use crate::nodes::Nodes;
use crate::row::{Root, decode_tail};
use crate::schema::Schema;
use crate::storage::{ADDR_MAX, Addr, ROOT_ADDR, Storage, TAIL_ADDR};
use crate::tree::Tree;
pub use rebuild::{Rebuild, Repaired, rebuild};
use sum::Sum;
use walk::Walk;

/// Numbers that have to be left for entities, transactions and rows, so that a graph can be worked with for long.
const ROOM: u32 = 1_000_000;

const INDEXES: [Index; 3] = [Index::Eavt, Index::Aevt, Index::Avet];

/// Which indexes are to be built again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// EAVT or AEVT is out of order, or they do not hold the same facts: all three are built again.
    pub facts: bool,
    /// AVET is out of order, holds what is no fact, or lacks facts of an attribute that was always indexed.
    pub values: bool,
}

impl Damage {
    /// Whether anything has to be built again.
    pub fn any(self) -> bool {
        self.facts || self.values
    }
}

/// A look at all nodes of a stored database, some at a time.
///
/// Memory: one node for each level, and a few bytes for each node that was seen.
pub struct Verify {
    nodes: Rc<Nodes>,
    /// The schema of a new graph, whose attributes were always what they are.
    static_schema: Schema,
    limits: Limits,
    /// The trees that are not looked at yet, the next one last.
    rest: Vec<(Index, Tree)>,
    walk: Option<Walk>,
    seen: FxHashSet<Addr>,
    sums: Sums,
    damage: Damage,
}

/// Sums over facts, the same for the same facts in any order.
#[derive(Default)]
struct Sums {
    eavt: Sum,
    aevt: Sum,
    /// For each attribute that has any, the facts in EAVT and those in AVET.
    by_attr: FxHashMap<Attr, (Sum, Sum)>,
}

impl Sums {
    /// Whether AVET holds what is no fact, or lacks facts of an attribute that was always indexed. Of others it may lack
    /// some: indexing an attribute does not bring older facts in (datascript.md 8.3).
    fn avet_differs(&self, always_indexed: &Schema) -> bool {
        self.by_attr.iter().any(|(attr, (facts, avet))| match avet.count().cmp(&facts.count()) {
            Ordering::Greater => true,
            Ordering::Equal => facts != avet,
            Ordering::Less => always_indexed.flags(*attr).is_indexed(),
        })
    }
}

impl Verify {
    /// Begins with the root row and the tail. `greatest_addr` is the greatest address of any row, `static_schema` that of a
    /// new graph, by whose interner the rows are read; `limits` tell whether they are read as what others have written.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when there is no root row, or it or the tail is not what a database needs.
    pub fn new(storage: Rc<dyn Storage>, static_schema: Schema, greatest_addr: u64, limits: Limits) -> Result<Self> {
        let nodes = Rc::new(Nodes::new(Some(storage), Rc::clone(static_schema.attrs()), 0));
        let corrupt = |addr, reason| Error::Corrupt { addr, reason };
        let row = nodes.row(ROOT_ADDR)?.ok_or(corrupt(ROOT_ADDR, "the row is missing"))?;
        let root = Root::decode(&row, nodes.attrs(), limits)?;
        if greatest_addr.max(root.max_addr.into()) > u64::from(ADDR_MAX - ROOM) {
            return Err(corrupt(ROOT_ADDR, "no addresses are left"));
        }
        if root.max_eid >= TX0 - ROOM {
            return Err(corrupt(ROOT_ADDR, "no entity ids are left"));
        }
        if root.max_tx > TX_MAX - ROOM {
            return Err(corrupt(ROOT_ADDR, "no transaction ids are left"));
        }
        if !root.schema.fits_a_row() {
            return Err(corrupt(ROOT_ADDR, "the schema is too long"));
        }
        if let Some(row) = nodes.row(TAIL_ADDR)? {
            for datom in decode_tail(&row, nodes.attrs(), limits)?.iter().flatten() {
                check_datom(TAIL_ADDR, datom)?;
            }
        }
        let rest = INDEXES.into_iter().zip([root.eavt, root.aevt, root.avet]).rev().collect();
        Ok(Self {
            nodes,
            static_schema,
            limits,
            rest,
            walk: None,
            seen: FxHashSet::default(),
            sums: Sums::default(),
            damage: Damage::default(),
        })
    }

    /// The addresses of all nodes that were reached so far.
    pub fn reached(&self) -> impl Iterator<Item = Addr> + '_ {
        self.seen.iter().copied()
    }

    /// Looks at so many leaves. False: there are no more.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a row that cannot be used; then nothing else is of interest.
    pub fn step(&mut self, leaves: usize) -> Result<bool> {
        // Each turn reads a row or ends a tree.
        for _ in 0..leaves {
            let Some(walk) = &mut self.walk else {
                let Some((index, tree)) = self.rest.pop() else { return Ok(false) };
                self.walk = Some(Walk::new(index, &tree, self.limits));
                continue;
            };
            let Some((addr, leaf)) = walk.next_leaf(&self.nodes, &mut self.seen)? else {
                let (index, is_sound) = (walk.index(), walk.is_sound());
                self.walk = None;
                self.ended(index, is_sound);
                continue;
            };
            let index = walk.index();
            for datom in &leaf {
                check_datom(addr, datom)?;
                if !datom.added {
                    return Err(Error::Corrupt { addr, reason: "a retraction among facts" });
                }
                match index {
                    Index::Eavt => {
                        let digest = self.sums.eavt.add(datom);
                        self.sums.by_attr.entry(datom.a).or_default().0.add_digest(digest);
                    }
                    Index::Aevt => drop(self.sums.aevt.add(datom)),
                    Index::Avet => drop(self.sums.by_attr.entry(datom.a).or_default().1.add(datom)),
                }
            }
        }
        Ok(true)
    }

    /// What is to be built again, once there are no more leaves.
    pub fn damage(&self) -> Damage {
        let facts = self.damage.facts || self.sums.eavt != self.sums.aevt;
        Damage { facts, values: self.damage.values || self.sums.avet_differs(&self.static_schema) }
    }

    fn ended(&mut self, index: Index, is_sound: bool) {
        match index {
            Index::Eavt | Index::Aevt => self.damage.facts |= !is_sound,
            Index::Avet => self.damage.values |= !is_sound,
        }
    }
}

/// The numbers of a stored datom are those of an entity and a transaction, and its value is one.
fn check_datom(addr: Addr, datom: &Datom) -> Result<()> {
    let reason = if datom.e == 0 || datom.e > E_MAX {
        "an entity id out of range"
    } else if datom.tx == 0 || datom.tx > TX_MAX {
        "a transaction out of range"
    } else if datom.v.is_nil() {
        "a datom without a value"
    } else {
        return Ok(());
    };
    Err(Error::Corrupt { addr, reason })
}
