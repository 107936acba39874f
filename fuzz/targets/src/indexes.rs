//! Checks that hold for the indexes of every database value.

use std::cmp::Ordering;

use datascript::{Attr, Datom, Db, Index, Pattern, Value, value};

/// The contents of a database as counts and sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    /// Number and sum of all datoms.
    all: (usize, u64),
    /// Number and sum of the datoms of AVET.
    indexed: (usize, u64),
}

/// Walks all three indexes: each is in its order without doubles, EAVT and AEVT hold the same, AVET a part of it, and the
/// count is right.
pub(crate) fn check(db: &Db) -> Result<Contents, datascript::Error> {
    let mut names = Names::default();
    let eavt = walk(db, Index::Eavt, &mut names)?;
    let aevt = walk(db, Index::Aevt, &mut names)?;
    let avet = walk(db, Index::Avet, &mut names)?;
    assert_eq!(eavt, aevt, "EAVT and AEVT differ");
    assert!(avet.0 <= eavt.0, "AVET holds more than there is");
    assert_eq!(db.count(), eavt.0, "the count is wrong");
    Ok(Contents { all: eavt, indexed: avet })
}

/// Hashes of attribute names, by attribute: attributes themselves differ from one opening of a graph to the next.
#[derive(Default)]
struct Names(Vec<Option<i32>>);

impl Names {
    fn hash(&mut self, db: &Db, attr: Attr) -> i32 {
        let hash = || value::hash(&Value::Keyword(db.attrs().keyword(attr)));
        if self.0.len() <= attr.index() {
            self.0.resize(attr.index() + 1, None);
        }
        self.0.get_mut(attr.index()).map_or_else(hash, |known| *known.get_or_insert_with(hash))
    }
}

/// Number and sum, which does not depend on the order, of an index.
fn walk(db: &Db, index: Index, names: &mut Names) -> Result<(usize, u64), datascript::Error> {
    let mut sum = (0, 0_u64);
    let mut last: Option<Datom> = None;
    for datom in db.datoms(index, &Pattern::ALL) {
        let datom = datom?;
        if let Some(last) = &last {
            assert_eq!(
                compare(db, index, last, &datom),
                Ordering::Less,
                "{index:?} is out of order: {last:?}, {datom:?}"
            );
        }
        sum.0 += 1;
        sum.1 = sum.1.wrapping_add(digest(names.hash(db, datom.a), &datom));
        last = Some(datom);
    }
    Ok(sum)
}

fn compare(db: &Db, index: Index, a: &Datom, b: &Datom) -> Ordering {
    let attr = || db.attrs().ranks().cmp(a.a, b.a);
    let entity = || a.e.cmp(&b.e);
    let value = || value::compare(&a.v, &b.v);
    if [a, b].iter().any(|datom| matches!(datom.v, Value::Float(number) if number.is_nan())) {
        // NaN has no place among numbers (datascript.md 3.3).
        return Ordering::Less;
    }
    let order = match index {
        Index::Eavt => entity().then_with(attr).then_with(value),
        Index::Aevt => attr().then_with(entity).then_with(value),
        Index::Avet => attr().then_with(value).then_with(entity),
    };
    order.then_with(|| a.tx.cmp(&b.tx))
}

fn digest(name: i32, datom: &Datom) -> u64 {
    [datom.e, datom.tx, name.cast_unsigned(), value::hash(&datom.v).cast_unsigned()]
        .into_iter()
        .fold(0, |sum: u64, part| (sum.rotate_left(11) ^ u64::from(part)).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
