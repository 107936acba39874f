//! Replay of the tail (datascript.md 7.2, the port's lenient way).

use crate::datom::{Datom, TX_MAX};
use crate::db::Db;
use crate::error::Result;
use crate::index::{Index, Pattern};

/// Applies one stored transaction again: the datoms as they are, without a check, so that no transaction of a tail can make
/// a graph unreadable (DS-4). The greatest transaction id never goes back (DS-3). An empty transaction changes nothing.
pub fn replay(db: &mut Db, datoms: &[Datom]) -> Result<()> {
    let Some(first) = datoms.first() else { return Ok(()) };
    for datom in datoms {
        if datom.added { assert(db, datom)? } else { retract(db, datom)? }
    }
    db.close()?;
    db.max_tx = first.tx.max(db.max_tx.saturating_add(1)).min(TX_MAX);
    Ok(())
}

fn assert(db: &mut Db, datom: &Datom) -> Result<()> {
    let flags = db.flags(datom.a);
    let pattern =
        if flags.is_many() { Pattern::eav(datom.e, datom.a, &datom.v) } else { Pattern::ea(datom.e, datom.a) };
    match db.first(Index::Eavt, &pattern)? {
        Some(old) if old.v == datom.v => return Ok(()),
        Some(old) => remove(db, &old)?,
        None => {}
    }
    db.insert(datom)?;
    if flags.is_live() {
        db.schema.assert(datom.e, datom.a, &datom.v);
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
