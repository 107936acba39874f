//! Database values: three indexes, a schema and two counters.

use std::fmt;
use std::rc::Rc;

use transit::{Keyword, Value};

use crate::attrs::{Attr, Attrs, NameCount};
use crate::datom::{Datom, E_MAX, Eid, TX0, TxId};
use crate::error::Result;
use crate::index::{Aevt, Index, Pattern};
use crate::lagging::Lagging;
use crate::nodes::Nodes;
use crate::schema::{Flags, Schema};
use crate::tree::{Slice, Tree};
use crate::work::DESCENT;

/// An immutable database value. Cloning it is a handful of reference counts; a transaction makes a new value that shares
/// every unchanged node with the old one.
#[derive(Clone)]
pub struct Db {
    pub(crate) nodes: Rc<Nodes>,
    pub(crate) schema: Schema,
    pub(crate) eavt: Tree,
    pub(crate) aevt: Lagging,
    pub(crate) avet: Lagging,
    pub(crate) max_eid: Eid,
    pub(crate) max_tx: TxId,
    /// Which value it is; clones are one.
    pub(crate) line: u64,
}

impl Db {
    /// A database without datoms.
    pub fn empty(nodes: Rc<Nodes>, schema: Schema) -> Self {
        Self::from_trees(nodes, schema, [Tree::empty(), Tree::empty(), Tree::empty()], 0, TX0)
    }

    /// A value of its parts; the trees are EAVT, AEVT, AVET.
    pub(crate) fn from_trees(
        nodes: Rc<Nodes>,
        schema: Schema,
        [eavt, aevt, avet]: [Tree; 3],
        max_eid: Eid,
        max_tx: TxId,
    ) -> Self {
        let (aevt, avet) = (Lagging::new(Index::Aevt, aevt), Lagging::new(Index::Avet, avet));
        let line = nodes.next_value();
        Self { nodes, schema, eavt, aevt, avet, max_eid, max_tx, line }
    }

    /// The three trees with every change taken in, as they are to be stored: EAVT, AEVT, AVET.
    pub(crate) fn settled(&mut self) -> Result<[&mut Tree; 3]> {
        Ok([&mut self.eavt, self.aevt.settle(&self.nodes)?, self.avet.settle(&self.nodes)?])
    }

    /// Bulk load (datascript.md 5.6): datoms in any order, without checks. AVET gets those that the schema indexes.
    pub fn from_datoms(nodes: Rc<Nodes>, schema: Schema, mut datoms: Vec<Datom>) -> Self {
        let mut max_eid = 0;
        let mut max_tx = TX0;
        for datom in &datoms {
            max_tx = max_tx.max(datom.tx);
            if datom.e < TX0 {
                max_eid = max_eid.max(datom.e);
            }
            if schema.flags(datom.a).is_ref()
                && let Some(target) = datom.v.as_int().and_then(|v| Eid::try_from(v).ok()).filter(|v| *v < TX0)
            {
                max_eid = max_eid.max(target);
            }
        }
        let ranks = nodes.attrs().ranks();
        let sorted = |index: Index, mut datoms: Vec<Datom>| {
            datoms.sort_by(|a, b| index.compare(a, b, &ranks));
            Tree::from_sorted(datoms)
        };
        let avet = datoms.iter().filter(|datom| schema.flags(datom.a).is_indexed()).cloned().collect();
        let avet = sorted(Index::Avet, avet);
        let aevt = sorted(Index::Aevt, datoms.clone());
        datoms.sort_by(|a, b| Index::Eavt.compare(a, b, &ranks));
        let eavt = Tree::from_sorted(datoms);
        Self::from_trees(nodes, schema, [eavt, aevt, avet], max_eid, max_tx)
    }

    /// The schema.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The interner of the graph's attributes.
    pub fn attrs(&self) -> &Attrs {
        self.schema.attrs()
    }

    /// The node cache of the graph.
    pub fn nodes(&self) -> &Rc<Nodes> {
        &self.nodes
    }

    /// The attribute of that text, if it is known. Names in the schema are; others become known as nodes load, so that none
    /// does not mean that there are no facts.
    pub fn attr(&self, text: &str) -> Option<Attr> {
        self.attrs().get(text)
    }

    /// What an attribute is.
    #[inline]
    pub fn flags(&self, attr: Attr) -> Flags {
        self.schema.flags(attr)
    }

    /// The greatest entity id in use below the transaction ids.
    pub fn max_eid(&self) -> Eid {
        self.max_eid
    }

    /// The id of the latest transaction.
    pub fn max_tx(&self) -> TxId {
        self.max_tx
    }

    /// How many datoms there are.
    pub fn count(&self) -> usize {
        self.eavt.count()
    }

    /// One of the three trees, with every change taken in.
    pub fn tree(&self, index: Index) -> Result<&Tree> {
        match index {
            Index::Eavt => Ok(&self.eavt),
            Index::Aevt => self.aevt.tree(&self.nodes),
            Index::Avet => self.avet.tree(&self.nodes),
        }
    }

    /// The datoms that match a pattern, in index order. An attribute that was never indexed has none in AVET.
    pub fn datoms<'a>(&'a self, index: Index, pattern: &Pattern<'_>) -> Slice<'a> {
        let lagging = match index {
            Index::Eavt => return self.eavt.slice(&self.nodes, index, pattern),
            Index::Aevt => &self.aevt,
            Index::Avet => &self.avet,
        };
        match lagging.tree_for(&self.nodes, pattern) {
            Ok(tree) => tree.slice(&self.nodes, index, pattern),
            Err(error) => lagging.stale().slice(&self.nodes, index, pattern).failing(error),
        }
    }

    /// The first datom that matches a pattern.
    #[inline]
    pub fn first(&self, index: Index, pattern: &Pattern<'_>) -> Result<Option<Datom>> {
        self.with_first(index, pattern, Datom::clone)
    }

    /// Looks at the first datom that matches a pattern without cloning it.
    #[inline]
    pub fn with_first<T>(
        &self,
        index: Index,
        pattern: &Pattern<'_>,
        look: impl FnOnce(&Datom) -> T,
    ) -> Result<Option<T>> {
        self.nodes.work().step(DESCENT)?;
        match index {
            Index::Eavt => self.eavt.with_first(&self.nodes, index, pattern, look),
            Index::Aevt => self.aevt.with_first(&self.nodes, pattern, look),
            Index::Avet => self.avet.with_first(&self.nodes, pattern, look),
        }
    }

    /// The first value of an entity's attribute.
    pub fn value(&self, e: Eid, a: Attr) -> Result<Option<Value>> {
        self.with_first(Index::Eavt, &Pattern::ea(e, a), |datom| datom.v.clone())
    }

    /// All values of an entity's attribute, in index order.
    pub fn values(&self, e: Eid, a: Attr) -> Result<Vec<Value>> {
        self.datoms(Index::Eavt, &Pattern::ea(e, a)).map(|datom| datom.map(|datom| datom.v)).collect()
    }

    /// The entity that a reference attribute points at: the first one.
    pub fn target(&self, e: Eid, a: Attr) -> Result<Option<Eid>> {
        Ok(self.value(e, a)?.as_ref().and_then(as_eid))
    }

    /// The first entity that holds the value under an indexed attribute.
    pub fn lookup(&self, a: Attr, v: &Value) -> Result<Option<Eid>> {
        self.with_first(Index::Avet, &Pattern::av(a, v), |datom| datom.e)
    }

    /// Whether the entity has any datom.
    pub fn exists(&self, e: Eid) -> Result<bool> {
        Ok(self.with_first(Index::Eavt, &Pattern::e(e), |_| ())?.is_some())
    }

    /// How many attributes have datoms, and the bytes of their names; stops counting beyond so many. One descent of AEVT for
    /// each.
    pub fn count_attrs(&self, most: usize) -> Result<NameCount> {
        let tree = self.tree(Index::Aevt)?;
        let (mut count, mut last) = (NameCount::default(), None);
        while count.names <= most
            && let Some(next) = tree.attr_after::<Aevt>(&self.nodes, last)?
        {
            count.names += 1;
            count.bytes += self.attrs().keyword(next).as_str().len();
            last = Some(next);
        }
        Ok(count)
    }

    /// The entity with that ident, given without the colon.
    pub fn ident(&self, text: &str) -> Result<Option<Eid>> {
        match self.attr(text) {
            Some(attr) => self.ident_of(&self.attrs().keyword(attr)),
            None => self.ident_of(&Keyword::new(text)),
        }
    }

    /// The entity with that ident.
    pub fn ident_of(&self, keyword: &Keyword) -> Result<Option<Eid>> {
        self.lookup(self.schema.ident_attr(), &Value::Keyword(keyword.clone()))
    }

    /// Raises the greatest entity id in use; ids in the range of transactions do not count.
    pub(crate) fn advance_max_eid(&mut self, eid: Eid) {
        if eid > self.max_eid && eid < TX0 {
            self.max_eid = eid;
        }
    }
}

/// The entity id that a stored reference value is.
pub fn as_eid(value: &Value) -> Option<Eid> {
    value.as_int().and_then(|number| Eid::try_from(number).ok()).filter(|eid| *eid <= E_MAX)
}

/// A reference to an entity as a value.
pub fn eid_value(eid: Eid) -> Value {
    Value::Int(i64::from(eid))
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db")
            .field("count", &self.count())
            .field("max_eid", &self.max_eid)
            .field("max_tx", &self.max_tx)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    #[test]
    fn attributes_with_datoms_are_counted() {
        for count in [0_u32, 1, 2, 33, 700] {
            let attrs = Attrs::new(&[]);
            let mut rng = Rng(count.into());
            for i in 0..count {
                attrs.intern_str(&format!("n{}/x{i}", rng.below(9)));
            }
            attrs.intern_str("without/datoms");
            let mut datoms = Vec::new();
            for a in 0..count {
                for e in 0..=rng.small(90) {
                    datoms.push(Datom::new(e + 1, Attr::new(a), Value::from(e), TX0 + 1));
                }
            }
            let db = Db::from_datoms(Nodes::in_memory(Rc::clone(&attrs)), Schema::new(attrs), datoms);
            let count = count as usize;
            let used = (0..count).map(|a| db.attrs().keyword(Attr::new(u32::try_from(a).expect("few"))));
            let bytes = used.map(|keyword| keyword.as_str().len()).sum();
            assert_eq!(db.count_attrs(usize::MAX).expect("in memory"), NameCount { names: count, bytes });
            assert_eq!(db.count_attrs(10).expect("in memory").names, count.min(11));
        }
    }
}
