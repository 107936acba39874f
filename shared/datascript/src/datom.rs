//! Facts.

use transit::Value;

use crate::attrs::Attr;

/// Entity id.
pub type Eid = u32;
/// Transaction id.
pub type TxId = u32;

/// The first transaction id is the one after this.
pub const TX0: TxId = 536_870_912;
/// The greatest transaction id.
pub const TX_MAX: TxId = 2_147_483_647;
/// The greatest entity id.
pub const E_MAX: Eid = 2_147_483_647;

/// One fact: the entity `e` has the value `v` under the attribute `a` since the transaction `tx`, or, where `added` is
/// false, has it no longer (datascript.md 1). 40 bytes; a clone costs at most one reference count.
#[derive(Clone, Debug)]
pub struct Datom {
    /// Entity.
    pub e: Eid,
    /// Attribute.
    pub a: Attr,
    /// Transaction that asserted or retracted the fact.
    pub tx: TxId,
    /// Assertion, or retraction. Within the indexes always true.
    pub added: bool,
    /// Value, never nil.
    pub v: Value,
}

impl Datom {
    /// An assertion.
    pub fn new(e: Eid, a: Attr, v: Value, tx: TxId) -> Self {
        Self { e, a, tx, added: true, v }
    }

    /// The retraction of the same fact by another transaction.
    #[must_use]
    pub fn retracted(&self, tx: TxId) -> Self {
        Self { tx, added: false, ..self.clone() }
    }
}

/// Same entity, attribute and value; transaction and direction do not matter (datascript.md 1).
impl PartialEq for Datom {
    fn eq(&self, other: &Self) -> bool {
        self.e == other.e && self.a == other.a && self.v == other.v
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datom_stays_small() {
        assert!(size_of::<Datom>() <= 40);
    }
}
