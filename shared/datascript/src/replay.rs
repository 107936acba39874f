//! Replay of the tail (datascript.md 7.2, the port's lenient way).

use crate::datom::{Datom, TX_MAX};
use crate::db::Db;
use crate::error::Result;
use crate::index::{Index, Pattern};

/// Applies one stored transaction again: what it says, without a check, so that no transaction of a tail can make a graph
/// unreadable (DS-4). The greatest transaction id never goes back (DS-3). An empty transaction changes nothing.
pub fn replay(db: &mut Db, datoms: &[Datom]) -> Result<()> {
    let Some(first) = datoms.first() else { return Ok(()) };
    let mut previous: Option<&Datom> = None;
    for datom in datoms {
        if datom.added {
            assert(db, datom, previous)?;
        } else {
            retract(db, datom)?;
        }
        previous = Some(datom);
    }
    db.close()?;
    db.line = db.nodes.next_value();
    db.max_tx = first.tx.max(db.max_tx.saturating_add(1)).min(TX_MAX);
    Ok(())
}

/// A transaction that replaced a value says so itself: the retraction stands right before the assertion. Then nothing else
/// goes, although an attribute that had many values once may have others left. An assertion on its own replaces the
/// value of an attribute that has one, as it does where a reference implementation reads the same tail.
fn assert(db: &mut Db, datom: &Datom, previous: Option<&Datom>) -> Result<()> {
    let (e, a) = (datom.e, datom.a);
    if db.with_first(Index::Eavt, &Pattern::eav(e, a, &datom.v), |_| ())?.is_some() {
        return Ok(());
    }
    let is_told = previous.is_some_and(|previous| !previous.added && (previous.e, previous.a) == (e, a));
    if !is_told
        && !db.flags(a).is_many()
        && let Some(old) = db.first(Index::Eavt, &Pattern::ea(e, a))?
    {
        remove(db, &old)?;
    }
    db.insert(datom)?;
    if db.flags(a).is_live() {
        db.schema.assert(e, a, &datom.v);
    }
    Ok(())
}

fn retract(db: &mut Db, datom: &Datom) -> Result<()> {
    match db.first(Index::Eavt, &Pattern::eav(datom.e, datom.a, &datom.v))? {
        Some(found) => remove(db, &found),
        None => Ok(()),
    }
}

fn remove(db: &mut Db, found: &Datom) -> Result<()> {
    db.remove(found)?;
    if db.flags(found.a).is_live() {
        // What the schema does not know needs no removal.
        let _ = db.schema.retract(found.e, found.a, &found.v);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use transit::Value;

    use super::*;
    use crate::attrs::Attrs;
    use crate::datom::TX0;
    use crate::nodes::Nodes;
    use crate::schema::Schema;

    fn empty() -> Db {
        let attrs = Attrs::new(&["db/ident", "db/index", "age"]);
        Db::empty(Nodes::in_memory(Rc::clone(&attrs)), Schema::new(attrs))
    }

    fn datom(db: &Db, e: u32, a: &str, v: impl Into<Value>, tx: u32, added: bool) -> Datom {
        Datom { e, a: db.attr(a).expect("preset"), v: v.into(), tx, added }
    }

    #[test]
    fn nothing_in_a_tail_is_refused() {
        let mut db = empty();
        let transaction = [
            datom(&db, 5, "age", 1, TX0 + 1, false),
            datom(&db, 5, "db/index", true, TX0 + 1, false),
            datom(&db, 5, "age", 1, TX0 + 1, true),
            datom(&db, 5, "age", 2, TX0 + 1, true),
            datom(&db, 5, "age", 2, TX0 + 9, true),
            datom(&db, 6, "db/ident", Value::keyword("x"), TX0 + 1, true),
            datom(&db, 7, "db/ident", Value::keyword("x"), TX0 + 1, true),
        ];
        replay(&mut db, &transaction).expect("in memory");
        let age = db.attr("age").expect("preset");
        assert_eq!(db.values(5, age).expect("in memory"), [Value::Int(2)]);
        assert_eq!((db.count(), db.max_eid()), (3, 7));
        assert!(db.schema().to_value().get("x").is_some());
    }

    #[test]
    fn a_replacement_removes_what_it_says_and_nothing_else() {
        let mut db = empty();
        let many =
            |db: &Db, added| datom(db, 5, "db/cardinality", Value::keyword("db.cardinality/many"), TX0 + 1, added);
        let define = [datom(&db, 5, "db/ident", Value::keyword("age"), TX0 + 1, true), many(&db, true)];
        replay(&mut db, &define).expect("in memory");
        let values = [1, 2, 3].map(|v| datom(&db, 6, "age", v, TX0 + 2, true));
        replay(&mut db, &values).expect("in memory");
        // The attribute has one value from here on, but two are left of those that it had.
        let one = [
            many(&db, false),
            datom(&db, 5, "db/cardinality", Value::keyword("db.cardinality/one"), TX0 + 3, true),
            datom(&db, 6, "age", 1, TX0 + 3, false),
            datom(&db, 6, "age", 9, TX0 + 3, true),
        ];
        replay(&mut db, &one).expect("in memory");
        let age = db.attr("age").expect("preset");
        assert_eq!(db.values(6, age).expect("in memory"), [2, 3, 9].map(Value::Int));
    }

    #[test]
    fn the_greatest_transaction_id_never_goes_back() {
        let mut db = empty();
        for (first, expected) in [(TX0 + 50, TX0 + 50), (TX0 + 3, TX0 + 51), (TX_MAX, TX_MAX), (TX0, TX_MAX)] {
            let transaction = [datom(&db, 5, "age", first, first, true)];
            replay(&mut db, &transaction).expect("in memory");
            assert_eq!(db.max_tx(), expected);
        }
        let before = db.max_tx();
        replay(&mut db, &[]).expect("in memory");
        assert_eq!(db.max_tx(), before);
    }
}
