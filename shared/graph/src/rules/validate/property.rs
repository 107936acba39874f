//! Values of properties, judged by the property's type (sync.md 11.6).

use datascript::{Attr, Db, Eid, Value};

use super::record::{Record, Shape, Verdict};
use crate::rules::facts::{Attribute, Known, Tag};
use crate::rules::item::resolve;
use crate::rules::names::PropertyType;
use crate::rules::{Result, attrs, entity};

const PLACEHOLDER: &str = "logseq.property/empty-placeholder";

/// Every property of the entity that is not judged as a field.
pub(super) fn check_pairs(db: &Db, known: &mut Known, record: &Record) -> Result<Verdict> {
    for (attr, shape) in record.pairs() {
        if !is_valid(db, known, attr, shape)? {
            return Ok(Err(Some(attr)));
        }
    }
    Ok(Ok(()))
}

/// Tags are classes; a built-in entity has exactly one; a page in the narrow sense is nothing else of that sort.
pub(super) fn check_tags(db: &Db, known: &mut Known, record: &Record) -> Result<Verdict> {
    let Some(shape) = record.field(attrs::BLOCK_TAGS) else {
        return Ok(Ok(()));
    };
    let is_built_in = record.first(attrs::BUILT_IN).is_some_and(Value::is_truthy);
    let count = match shape {
        Shape::Set(tags) => tags.len(),
        Shape::One(_) => 1,
    };
    let other_page_tag = |tag: &Tag| matches!(tag, Tag::Class | Tag::Property | Tag::Journal | Tag::Whiteboard);
    let is_mixed = record.tags().contains(&Tag::Page) && record.tags().iter().any(other_page_tag);
    let is_valid = (!is_built_in || count == 1) && !is_mixed && is_valid(db, known, attrs::BLOCK_TAGS, shape)?;
    Ok(if is_valid { Ok(()) } else { Err(Some(attrs::BLOCK_TAGS)) })
}

fn is_valid(db: &Db, known: &mut Known, attr: Attr, shape: Shape<'_>) -> Result<bool> {
    let attribute = known.attribute(db, attr)?;
    let Some(property_type) = attribute.property_type else {
        return Ok(false);
    };
    match shape {
        Shape::One(Value::Set(values)) if attribute.is_many => all(db, known, attribute, property_type, values.iter()),
        Shape::One(value) => Ok(is_value(db, known, property_type, value)? || is_placeholder(db, attribute, value)?),
        Shape::Set(values) if attribute.is_many => {
            all(db, known, attribute, property_type, values.iter().map(|datom| &datom.v))
        }
        // Several values of a property that has one: a collection, as far as its type can tell.
        Shape::Set(_) => Ok(matches!(property_type, PropertyType::Any | PropertyType::Coll)),
    }
}

fn all<'v>(
    db: &Db,
    known: &mut Known,
    attribute: Attribute,
    property_type: PropertyType,
    mut values: impl Iterator<Item = &'v Value> + Clone,
) -> Result<bool> {
    for value in values.clone() {
        if !is_value(db, known, property_type, value)? {
            return match values.next() {
                Some(first) => is_placeholder(db, attribute, first),
                None => Ok(false),
            };
        }
    }
    Ok(true)
}

fn is_value(db: &Db, known: &mut Known, property_type: PropertyType, value: &Value) -> Result<bool> {
    let eid = match property_type {
        PropertyType::Datetime | PropertyType::RawNumber => return Ok(entity::is_number(value)),
        PropertyType::Checkbox => return Ok(matches!(value, Value::Bool(_))),
        PropertyType::Keyword => return Ok(matches!(value, Value::Keyword(_))),
        PropertyType::Map => return Ok(matches!(value, Value::Map(_))),
        PropertyType::Coll => {
            return Ok(matches!(value, Value::Vector(_) | Value::List(_) | Value::Set(_) | Value::Map(_)));
        }
        PropertyType::String | PropertyType::Json => return Ok(matches!(value, Value::String(_))),
        PropertyType::Any => return Ok(!value.is_nil()),
        _ => match resolve(db, value)? {
            Some(eid) => eid,
            None => return Ok(false),
        },
    };
    match property_type {
        PropertyType::Default => Ok(has_text_title(db, eid)? && entity::target(db, eid, attrs::BLOCK_PAGE)?.is_some()),
        PropertyType::Number => Ok(db.value(eid, attrs::PROPERTY_VALUE)?.as_ref().is_some_and(entity::is_number)),
        PropertyType::Url => has_text_title(db, eid),
        PropertyType::Node => has_title(db, eid),
        PropertyType::Date => Ok(has_title(db, eid)? && entity::has_tag(db, known, eid, |tag| tag == Tag::Journal)?),
        PropertyType::Asset => Ok(has_title(db, eid)? && entity::has_tag(db, known, eid, |tag| tag == Tag::Asset)?),
        PropertyType::Class => entity::has_tag(db, known, eid, |tag| tag == Tag::Class),
        PropertyType::Property => entity::has_tag(db, known, eid, |tag| tag == Tag::Property),
        PropertyType::Page => entity::is_page(db, known, eid),
        _ => Ok(true),
    }
}

fn has_title(db: &Db, eid: Eid) -> Result<bool> {
    Ok(db.value(eid, attrs::BLOCK_TITLE)?.is_some())
}

fn has_text_title(db: &Db, eid: Eid) -> Result<bool> {
    Ok(matches!(db.value(eid, attrs::BLOCK_TITLE)?, Some(Value::String(_))))
}

/// The value of no value is valid for every property.
fn is_placeholder(db: &Db, attribute: Attribute, value: &Value) -> Result<bool> {
    if !attribute.is_ref {
        return Ok(value.is_keyword(PLACEHOLDER));
    }
    match entity::as_eid(value) {
        Some(eid) => Ok(db.value(eid, attrs::DB_IDENT)?.is_some_and(|ident| ident.is_keyword(PLACEHOLDER))),
        None => Ok(false),
    }
}
