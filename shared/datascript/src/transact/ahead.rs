//! Looking ahead for tempids that denote existing entities.
//!
//! A transaction whose tempids turn out one by one to denote existing entities starts over for each of them
//! (datascript.md 9.7): quadratic, should a client send a thousand known blocks as new ones. After a few times the rest is
//! therefore looked up in one go. That is a guess, as an earlier item may take the identity away from its holder; it holds
//! only if every item bears it out in its turn, and then the outcome is the same.

use transit::Value;

use super::place::Place;
use super::prepare::Maps;
use super::tempids::Tempids;
use crate::db::Db;
use crate::error::Result;

/// Guesses the entity of every tempid whose item carries an identity that `db` knows: one pass over the items, with one
/// look-up at most for each fact, once in a transaction.
pub(super) fn guess<'a>(db: &Db, items: &'a [Value], maps: &'a Maps<'a>, tempids: &mut Tempids<'a>) -> Result<()> {
    for item in items {
        if let Some([op, e, a, v, ..]) = item.as_seq()
            && op.is_keyword("db/add")
        {
            guess_one(db, e, a, v, tempids)?;
        }
    }
    for map in maps.roots() {
        if let Some(id) = map.id {
            for (key, slot) in &map.entries {
                guess_one(db, id, key, slot.value, tempids)?;
            }
        }
    }
    Ok(())
}

fn guess_one<'a>(db: &Db, e: &'a Value, a: &Value, v: &Value, tempids: &mut Tempids<'a>) -> Result<()> {
    let Place::Temp(name) = Place::of(e) else { return Ok(()) };
    let Some(attr) = a.as_keyword().and_then(|keyword| db.attr(keyword.as_str())) else { return Ok(()) };
    let flags = db.flags(attr);
    if flags.is_identity()
        && !flags.is_ref()
        && !v.is_nil()
        && let Some(eid) = db.lookup(attr, v)?
    {
        tempids.guess(name, eid);
    }
    Ok(())
}
