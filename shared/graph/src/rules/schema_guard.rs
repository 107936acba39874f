//! What an entry may do to the schema (datascript.md 8.2): facts about attributes change it as they are transacted, for
//! all clients of the graph, and such a change is never undone.
//!
//! Ordinary entries have no such facts, which one pass over their datoms shows.

use std::rc::Rc;

use datascript::{Attr, Datom, Db, Flags, Index, Keyword, Pattern, Schema, Value};
use protocol::limits;

use super::names::is_attribute_property;
use super::static_schema::{static_attrs, static_schema};
use super::{Error, Result, attrs};

/// A refusal.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SchemaError {
    /// An attribute that the server itself, or the schema, relies on would be another one, if only for a moment.
    #[error("built-in attribute {0} cannot be redefined")]
    BuiltIn(Keyword),
    /// A fact about an attribute is of the wrong type.
    #[error("{attribute} must be {expected}")]
    Type {
        /// The attribute of the fact.
        attribute: Keyword,
        /// What its values are, with an article.
        expected: &'static str,
    },
    /// `:db/id` is the name of an entity in map items, and nothing that an entity can have.
    #[error(":db/id cannot be stored")]
    Id,
    /// See [`limits::ATTRIBUTE_NAME_BYTES`]. The name is not repeated.
    #[error("attribute name too long")]
    NameTooLong,
}

/// Refuses items with names that are too long, before anything remembers them.
///
/// All keys of map items count, also those of maps within their values, which are items themselves under a reference
/// attribute. The cost is one look at each item, and at each element of a map item's values.
///
/// # Errors
///
/// [`SchemaError::NameTooLong`]
pub fn check_names(items: &[Value]) -> Result<()> {
    let is_too_long =
        |name: &Value| name.as_keyword().is_some_and(|name| name.as_str().len() > limits::ATTRIBUTE_NAME_BYTES);
    // Maps that are yet to be looked at. Nothing is looked at twice, so the size of the entry bounds both loops.
    let mut pending: Vec<&Value> = Vec::new();
    for item in items {
        match item {
            Value::Vector(fields) | Value::List(fields) => {
                let [_, _, attribute, values @ ..] = &**fields else { continue };
                if is_too_long(attribute) || attribute.is_keyword("db/ident") && values.iter().any(is_too_long) {
                    return Err(SchemaError::NameTooLong.into());
                }
            }
            Value::Map(_) => pending.push(item),
            _ => {}
        }
        while let Some(value) = pending.pop() {
            match value {
                Value::Map(entries) => {
                    for (key, value) in entries.iter() {
                        if is_too_long(key) || key.is_keyword("db/ident") && is_too_long(value) {
                            return Err(SchemaError::NameTooLong.into());
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

/// Judges the facts about attributes, each by itself, whatever the operation.
///
/// # Errors
///
/// [`SchemaError`]
pub fn check_facts(after: &Db, tx_data: &[Datom]) -> Result<()> {
    for datom in tx_data.iter().filter(|datom| datom.added && attrs::is_live(datom.a)) {
        check_type(datom, after)?;
    }
    Ok(check_idents(after, tx_data)?)
}

/// Judges what all facts of an entry about attributes made of the schema, whatever the operation. The facts themselves were
/// judged before ([`check_facts`]).
///
/// # Errors
///
/// [`Error::Schema`], and [`Error::TooLarge`] where the schema would no longer fit into its row, are refusals. Else only
/// when a database cannot be read.
pub fn check(before: &Db, after: &Db, tx_data: &[Datom]) -> Result<()> {
    if !tx_data.iter().any(|datom| attrs::is_live(datom.a)) {
        return Ok(());
    }
    check_flags(before, after, tx_data)?;
    after.nodes().work().step(after.schema().steps_to_measure())?;
    // A schema that an earlier version let grow too long may only shrink.
    let fits = after.schema().fits_a_row() || after.schema().len() < before.schema().len();
    if fits { Ok(()) } else { Err(Error::TooLarge) }
}

/// Whether the value of a fact about an attribute is what such facts are made of. The transactor takes any.
fn check_type(fact: &Datom, db: &Db) -> Result<(), SchemaError> {
    let is_keyword = fact.v.as_keyword().is_some();
    let (is_right, expected) = match fact.a {
        attrs::DB_ID => return Err(SchemaError::Id),
        attrs::DB_INDEX | attrs::DB_IS_COMPONENT => (matches!(fact.v, Value::Bool(_)), "a boolean"),
        attrs::DB_DOC => (fact.v.as_str().is_some(), "a string"),
        attrs::DB_TUPLE_ATTRS | attrs::DB_TUPLE_TYPES => {
            let elements = fact.v.as_vector();
            let is_right = elements.is_some_and(|names| names.iter().all(|name| name.as_keyword().is_some()));
            (is_right, "a vector of keywords")
        }
        _ => (is_keyword, "a keyword"),
    };
    if is_right { Ok(()) } else { Err(SchemaError::Type { attribute: db.attrs().keyword(fact.a), expected }) }
}

/// The attributes that the schema of a graph is nothing without: those of the static schema, and those that make facts
/// about attributes.
fn built_ins() -> impl Iterator<Item = Attr> {
    let live = [
        attrs::DB_VALUE_TYPE,
        attrs::DB_CARDINALITY,
        attrs::DB_INDEX,
        attrs::DB_UNIQUE,
        attrs::DB_IS_COMPONENT,
        attrs::DB_DOC,
        attrs::DB_ID,
        attrs::DB_TUPLE_ATTRS,
        attrs::DB_TUPLE_TYPE,
        attrs::DB_TUPLE_TYPES,
    ];
    static_attrs().chain(live)
}

/// The built-in attribute that an ident is the name of.
fn built_in(db: &Db, ident: &Value) -> Option<Attr> {
    let attr = db.attr(ident.as_keyword()?.as_str())?;
    built_ins().find(|built_in| *built_in == attr)
}

/// Idents of built-in attributes are given to the property entities that Logseq has for some of them, and never taken
/// away, with which the attribute would leave the schema. Where Logseq has no such entity, no entity may take
/// the ident: it could never be deleted again.
fn check_idents(after: &Db, tx_data: &[Datom]) -> Result<(), SchemaError> {
    for datom in tx_data.iter().filter(|datom| datom.a == attrs::DB_IDENT) {
        if let Some(attr) = built_in(after, &datom.v) {
            let ident = after.attrs().keyword(attr);
            if !(datom.added && is_attribute_property(&ident)) {
                return Err(SchemaError::BuiltIn(ident));
            }
        }
    }
    Ok(())
}

/// Built-in attributes stay what they are. That a transaction changed one for a moment, so that facts got in that do not
/// suit it, is seen from retractions: without one, nothing that was changed can be as before (idents are not retracted,
/// see [`check_idents`], so that who ever had one has it `after`).
fn check_flags(before: &Db, after: &Db, tx_data: &[Datom]) -> Result<()> {
    for fact in tx_data.iter().filter(|datom| !datom.added && decides_flags(datom.a)) {
        for ident in after.values(fact.e, attrs::DB_IDENT)? {
            if let Some(attr) = built_in(after, &ident) {
                return Err(SchemaError::BuiltIn(after.attrs().keyword(attr)).into());
            }
        }
    }
    if before.schema().ptr_eq(after.schema()) {
        return Ok(());
    }
    let changed: Vec<Attr> = built_ins().filter(|attr| before.flags(*attr) != after.flags(*attr)).collect();
    if changed.is_empty() {
        return Ok(());
    }
    let own = static_schema(Rc::clone(before.schema().attrs()));
    for attr in changed {
        if !is_definition(&own, attr, after.flags(attr)) || is_left_behind(before, after, tx_data, attr)? {
            return Err(SchemaError::BuiltIn(after.attrs().keyword(attr)).into());
        }
    }
    Ok(())
}

/// Whether a built-in attribute is what Logseq says that it is: in the static schema, or, where that is something else, in
/// the definition of its property entity, which a graph gets later.
fn is_definition(own: &Schema, attr: Attr, flags: Flags) -> bool {
    let by_entity = match attr {
        attrs::BLOCK_COLLAPSED => Flags::INDEXED,
        attrs::BLOCK_CLOSED_VALUE_PROPERTY => Flags::REF.union(Flags::INDEXED),
        _ => own.flags(attr),
    };
    flags == own.flags(attr) || flags == by_entity
}

/// Whether an attribute becomes a reference or unique while there are facts with it: these would not be found by their
/// values.
fn is_left_behind(before: &Db, after: &Db, tx_data: &[Datom], attr: Attr) -> Result<bool> {
    let (was, is) = (before.flags(attr), after.flags(attr));
    if is.is_ref() == was.is_ref() && is.is_unique() == was.is_unique() {
        return Ok(false);
    }
    let is_used = tx_data.iter().any(|datom| datom.a == attr);
    Ok(is_used || before.first(Index::Aevt, &Pattern::a(attr))?.is_some())
}

/// Whether facts with an attribute decide on the flags of another.
fn decides_flags(attr: Attr) -> bool {
    matches!(
        attr,
        attrs::DB_VALUE_TYPE | attrs::DB_CARDINALITY | attrs::DB_INDEX | attrs::DB_UNIQUE | attrs::DB_IS_COMPONENT
    )
}
