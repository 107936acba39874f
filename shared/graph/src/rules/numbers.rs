//! Entities that items name by their numbers (D-65).

use datascript::{Db, Eid, TX0, Value};

use super::item::is_retract_entity;
use super::{Error, Result};

/// Numbers that a client may run ahead of the server: those of entities that only it has.
const AHEAD: Eid = 1_000_000;

/// Refuses items about entities with numbers that were never given out and are far from it: one of them would use up
/// all numbers below it for good. The cost is one look at each item, and at each element of a map item's values.
///
/// # Errors
///
/// [`Error::IdOutOfRange`]
pub fn check_entities(db: &Db, items: &[Value]) -> Result<()> {
    let greatest = f64::from(db.max_eid().saturating_add(AHEAD).min(TX0 - 1));
    let is_out = |value: &Value| value.as_f64().is_some_and(|number| number > greatest);
    let mut pending: Vec<&Value> = Vec::new();
    for item in items {
        match item {
            Value::Vector(parts) | Value::List(parts) if parts.get(1).is_some_and(is_out) => {
                return Err(Error::IdOutOfRange);
            }
            Value::Map(_) => pending.push(item),
            _ => {}
        }
        // Nothing is looked at twice, so the size of the entry bounds this.
        while let Some(value) = pending.pop() {
            match value {
                Value::Map(entries) => {
                    for (key, value) in entries.iter() {
                        let is_reverse = key.as_keyword().is_some_and(|key| key.name().starts_with('_'));
                        let names_entities = is_reverse || key.is_keyword("db/id");
                        let elements = value.as_seq().or_else(|| value.as_set()).unwrap_or_default();
                        if names_entities && (is_out(value) || elements.iter().any(is_out)) {
                            return Err(Error::IdOutOfRange);
                        }
                        pending.push(value);
                    }
                }
                Value::Vector(elements) | Value::List(elements) | Value::Set(elements) => {
                    pending.extend(elements.iter());
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Whether pieces of an entry may not be told one by one, although the whole may: items name entities by numbers that
/// are not given out yet, or give names to entities that are there already. One or two look-ups for an item at most.
///
/// # Errors
///
/// Only when the database cannot be read.
pub fn belong_together(db: &Db, items: &[Value]) -> Result<bool> {
    for item in items {
        let together = match item {
            Value::Vector(parts) | Value::List(parts) => vector_does(db, parts)?,
            Value::Map(entries) => map_does(db, entries)?,
            _ => false,
        };
        if together {
            return Ok(true);
        }
    }
    Ok(false)
}

fn vector_does(db: &Db, parts: &[Value]) -> Result<bool> {
    let [Value::Keyword(op), e, rest @ ..] = parts else { return Ok(false) };
    if is_retract_entity(op.as_str()) {
        return Ok(false);
    }
    let [attr, values @ ..] = rest else { return Ok(false) };
    if is_new(db, e)? {
        return Ok(true);
    }
    if is_name(attr) {
        let is_tempid = e.as_str().is_some() || e.as_int().is_some_and(|number| number < 0);
        let says_nothing = matches!(e.as_seq(), Some([by, name]) if by == attr && values.first() == Some(name));
        return Ok(!(is_tempid || says_nothing && op.as_str() == "db/add"));
    }
    match values.first() {
        Some(value) if is_ref(db, attr) => is_new(db, value),
        _ => Ok(false),
    }
}

/// Maps that name entities by numbers, or within which others do, are rare.
fn map_does(db: &Db, entries: &[(Value, Value)]) -> Result<bool> {
    let names_itself = entries.iter().any(|(key, _)| is_name(key));
    for (key, value) in entries {
        let elements = value.as_seq().or_else(|| value.as_set()).unwrap_or_default();
        if key.is_keyword("db/id") {
            let is_there = value.as_str().is_none() && value.as_int().is_none_or(|number| number > 0);
            if is_new(db, value)? || (names_itself && is_there) {
                return Ok(true);
            }
        } else if is_ref(db, key) || key.as_keyword().is_some_and(|key| key.name().starts_with('_')) {
            for value in elements.iter().chain([value]) {
                if is_new(db, value)? || value.get("db/id").is_some() {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

fn is_name(attr: &Value) -> bool {
    attr.is_keyword("block/uuid") || attr.is_keyword("db/ident")
}

fn is_ref(db: &Db, attr: &Value) -> bool {
    let attr = attr.as_keyword().and_then(|keyword| db.attr(keyword.as_str()));
    attr.is_some_and(|attr| db.flags(attr).is_ref())
}

/// Whether a value is the number of an entity that is not there.
fn is_new(db: &Db, value: &Value) -> Result<bool> {
    match value.as_int().map(Eid::try_from) {
        Some(Ok(eid)) if eid > 0 => Ok(!db.exists(eid)?),
        _ => Ok(false),
    }
}
