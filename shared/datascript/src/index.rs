//! The three orders of datoms (datascript.md 3.3) and the bounds of a search in them.

use std::cmp::Ordering;

use transit::Value;

use crate::attrs::{Attr, Ranks};
use crate::datom::{Datom, Eid, TxId};
use crate::value;

/// One of the three indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Index {
    /// Entity, attribute, value, transaction: every datom.
    Eavt,
    /// Attribute, entity, value, transaction: every datom.
    Aevt,
    /// Attribute, value, entity, transaction: datoms whose attribute was indexed when they were added.
    Avet,
}

/// What a search fixes; `None` is open and equals everything (datascript.md 3.3).
///
/// The fixed fields must be a prefix of the index's order: after an open field the following ones select nothing
/// reliably.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pattern<'a> {
    /// Entity.
    pub e: Option<Eid>,
    /// Attribute.
    pub a: Option<Attr>,
    /// Value.
    pub v: Option<&'a Value>,
    /// Transaction.
    pub tx: Option<TxId>,
}

impl<'a> Pattern<'a> {
    /// Everything.
    pub const ALL: Self = Self { e: None, a: None, v: None, tx: None };

    /// All datoms of an entity (EAVT).
    pub fn e(e: Eid) -> Self {
        Self { e: Some(e), ..Self::ALL }
    }

    /// The datoms of an entity and attribute (EAVT, AEVT).
    pub fn ea(e: Eid, a: Attr) -> Self {
        Self { e: Some(e), a: Some(a), ..Self::ALL }
    }

    /// The datoms of one fact, whatever their transaction (any index).
    pub fn eav(e: Eid, a: Attr, v: &'a Value) -> Self {
        Self { e: Some(e), a: Some(a), v: Some(v), tx: None }
    }

    /// All datoms of an attribute (AEVT, AVET).
    pub fn a(a: Attr) -> Self {
        Self { a: Some(a), ..Self::ALL }
    }

    /// The datoms of an attribute and value (AVET).
    pub fn av(a: Attr, v: &'a Value) -> Self {
        Self { a: Some(a), v: Some(v), ..Self::ALL }
    }
}

/// What datoms are compared with: another datom, or a pattern whose open fields equal everything.
pub(crate) trait Probe {
    fn e(&self, e: Eid) -> Ordering;
    fn a(&self, a: Attr, ranks: &Ranks) -> Ordering;
    fn v(&self, v: &Value) -> Ordering;
    fn tx(&self, tx: TxId) -> Ordering;
}

impl Probe for Datom {
    #[inline]
    fn e(&self, e: Eid) -> Ordering {
        e.cmp(&self.e)
    }

    #[inline]
    fn a(&self, a: Attr, ranks: &Ranks) -> Ordering {
        if a == self.a { Ordering::Equal } else { ranks.cmp(a, self.a) }
    }

    #[inline]
    fn v(&self, v: &Value) -> Ordering {
        value::compare(v, &self.v)
    }

    #[inline]
    fn tx(&self, tx: TxId) -> Ordering {
        tx.cmp(&self.tx)
    }
}

impl Probe for Pattern<'_> {
    #[inline]
    fn e(&self, e: Eid) -> Ordering {
        self.e.map_or(Ordering::Equal, |bound| e.cmp(&bound))
    }

    #[inline]
    fn a(&self, a: Attr, ranks: &Ranks) -> Ordering {
        match self.a {
            Some(bound) if a != bound => ranks.cmp(a, bound),
            _ => Ordering::Equal,
        }
    }

    #[inline]
    fn v(&self, v: &Value) -> Ordering {
        self.v.map_or(Ordering::Equal, |bound| value::compare(v, bound))
    }

    #[inline]
    fn tx(&self, tx: TxId) -> Ordering {
        self.tx.map_or(Ordering::Equal, |bound| tx.cmp(&bound))
    }
}

/// The order of one index, known at compile time so that searches are monomorphised.
pub(crate) trait Order {
    /// Whether most of what is looked for and inserted is beyond all that is there, as with new entities in EAVT.
    const IS_APPENDED: bool = false;

    /// How `datom` stands to `probe`.
    fn compare(datom: &Datom, probe: &impl Probe, ranks: &Ranks) -> Ordering;
}

/// Order of EAVT.
pub(crate) struct Eavt;
/// Order of AEVT.
pub(crate) struct Aevt;
/// Order of AVET.
pub(crate) struct Avet;

impl Order for Eavt {
    const IS_APPENDED: bool = true;

    #[inline]
    fn compare(datom: &Datom, probe: &impl Probe, ranks: &Ranks) -> Ordering {
        probe
            .e(datom.e)
            .then_with(|| probe.a(datom.a, ranks))
            .then_with(|| probe.v(&datom.v))
            .then_with(|| probe.tx(datom.tx))
    }
}

impl Order for Aevt {
    #[inline]
    fn compare(datom: &Datom, probe: &impl Probe, ranks: &Ranks) -> Ordering {
        probe
            .a(datom.a, ranks)
            .then_with(|| probe.e(datom.e))
            .then_with(|| probe.v(&datom.v))
            .then_with(|| probe.tx(datom.tx))
    }
}

impl Order for Avet {
    #[inline]
    fn compare(datom: &Datom, probe: &impl Probe, ranks: &Ranks) -> Ordering {
        probe
            .a(datom.a, ranks)
            .then_with(|| probe.v(&datom.v))
            .then_with(|| probe.e(datom.e))
            .then_with(|| probe.tx(datom.tx))
    }
}

/// Runs a body with the type of an index's order bound to a name.
macro_rules! with_order {
    ($index:expr, $order:ident => $body:expr) => {
        match $index {
            $crate::index::Index::Eavt => {
                type $order = $crate::index::Eavt;
                $body
            }
            $crate::index::Index::Aevt => {
                type $order = $crate::index::Aevt;
                $body
            }
            $crate::index::Index::Avet => {
                type $order = $crate::index::Avet;
                $body
            }
        }
    };
}
pub(crate) use with_order;

impl Index {
    /// How two datoms stand in this index's order.
    pub fn compare(self, a: &Datom, b: &Datom, ranks: &Ranks) -> Ordering {
        with_order!(self, O => O::compare(a, b, ranks))
    }
}
