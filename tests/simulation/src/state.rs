//! What two copies of a graph must agree on: facts by uuid or ident, without entity ids and transaction numbers.

use datascript::{Db, Eid, Index, Pattern, Value, as_eid};
use graph::rules::attrs;

use crate::{Result, fail};

/// The facts of a database, sorted.
pub(crate) fn facts(db: &Db) -> Result<Vec<String>> {
    let mut facts = Vec::with_capacity(db.count());
    let mut entity: Option<(Eid, String)> = None;
    for datom in db.datoms(Index::Eavt, &Pattern::ALL).scanning() {
        let datom = datom.map_err(fail)?;
        if entity.as_ref().is_none_or(|(eid, _)| *eid != datom.e) {
            entity = Some((datom.e, name(db, datom.e)?));
        }
        let value = match as_eid(&datom.v) {
            Some(target) if db.flags(datom.a).is_ref() => name(db, target)?,
            _ => transit::write_string(&datom.v),
        };
        let name = entity.as_ref().map_or("", |(_, name)| name);
        facts.push(format!("{name} {} {value}", db.attrs().keyword(datom.a)));
    }
    facts.sort_unstable();
    Ok(facts)
}

fn name(db: &Db, eid: Eid) -> Result<String> {
    for attr in [attrs::BLOCK_UUID, attrs::DB_IDENT] {
        if let Some(value) = db.value(eid, attr).map_err(fail)? {
            return Ok(match value {
                Value::Uuid(uuid) => uuid.to_string(),
                value => transit::write_string(&value),
            });
        }
    }
    Ok("anonymous".to_owned())
}

/// The first difference between two lists of facts.
pub(crate) fn difference(ours: &[String], theirs: &[String]) -> Option<String> {
    if ours == theirs {
        return None;
    }
    let only = |one: &[String], other: &[String]| {
        let missing: Vec<&String> = one.iter().filter(|fact| other.binary_search(fact).is_err()).take(5).collect();
        format!("{missing:?}")
    };
    Some(format!("only here: {}, only there: {}", only(ours, theirs), only(theirs, ours)))
}
