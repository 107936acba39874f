//! Questions about entities that several rules ask.

use datascript::{Attr, Db, Eid, Index, Pattern, Value};

use super::facts::{Known, Tag};
use super::{Result, attrs};

/// The entity id that a stored reference is.
pub(crate) fn as_eid(value: &Value) -> Option<Eid> {
    value.as_int().and_then(|number| Eid::try_from(number).ok())
}

/// Whether any tag of an entity passes a test.
pub(crate) fn has_tag(db: &Db, known: &mut Known, eid: Eid, test: impl Fn(Tag) -> bool) -> Result<bool> {
    for datom in db.datoms(Index::Eavt, &Pattern::ea(eid, attrs::BLOCK_TAGS)) {
        if let Some(tag) = as_eid(&datom?.v)
            && test(known.tag(db, tag)?)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether an entity is a page: tagged Page, Journal, Tag or Property (sync.md 11.6).
pub(crate) fn is_page(db: &Db, known: &mut Known, eid: Eid) -> Result<bool> {
    has_tag(db, known, eid, Tag::is_page)
}

/// Whether an entity is a plain block: it has a uuid and a page, and is no page (sync.md 11.5 d).
pub(crate) fn is_plain_block(db: &Db, known: &mut Known, eid: Eid) -> Result<bool> {
    Ok(db.value(eid, attrs::BLOCK_UUID)?.is_some()
        && target(db, eid, attrs::BLOCK_PAGE)?.is_some()
        && !is_page(db, known, eid)?)
}

/// The entity that a reference attribute points at, if there is one: a dangling reference is none.
pub(crate) fn target(db: &Db, eid: Eid, attr: Attr) -> Result<Option<Eid>> {
    match db.value(eid, attr)?.as_ref().and_then(as_eid) {
        Some(target) if db.exists(target)? => Ok(Some(target)),
        _ => Ok(None),
    }
}

/// The entities that refer to one through an attribute, ascending.
pub(crate) fn referrers(db: &Db, attr: Attr, eid: Eid) -> Result<Vec<Eid>> {
    let mut found = Vec::new();
    for datom in db.datoms(Index::Avet, &Pattern::av(attr, &Value::from(eid))) {
        let e = datom?.e;
        if found.last() != Some(&e) {
            found.push(e);
        }
    }
    Ok(found)
}

/// Counts the steps of looking at all of a value: it may be long, and an item of a few bytes that
/// touches the entity is enough to have it looked at.
///
/// # Errors
///
/// Only where too much was done.
pub(crate) fn look_through(db: &Db, value: &Value) -> Result<()> {
    let work = db.nodes().work();
    match value {
        Value::String(text) => work.text(text)?,
        Value::Scalar(scalar) => work.text(&scalar.rep)?,
        Value::Vector(items) | Value::List(items) | Value::Set(items) => {
            work.step(items.len() as u64)?;
            for item in items.iter() {
                look_through(db, item)?;
            }
        }
        Value::Map(entries) => {
            work.step(entries.len() as u64)?;
            for (key, value) in entries.iter() {
                look_through(db, key)?;
                look_through(db, value)?;
            }
        }
        Value::Tagged(tagged) => look_through(db, &tagged.rep)?,
        _ => {}
    }
    Ok(())
}

/// Whether a value is a UUID, well-formed or not.
pub(crate) fn is_uuid(value: &Value) -> bool {
    match value {
        Value::Uuid(_) => true,
        Value::Scalar(scalar) => scalar.tag == 'u',
        _ => false,
    }
}

/// Whether a value is any number.
pub(crate) fn is_number(value: &Value) -> bool {
    matches!(value, Value::Int(_) | Value::Float(_))
}
