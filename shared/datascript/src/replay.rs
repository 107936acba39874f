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
