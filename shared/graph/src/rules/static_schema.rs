//! The schema of a graph without rows (sync.md 9.5).

use std::rc::Rc;

use datascript::schema::Schema;
use datascript::{Attrs, Value};

/// Attribute, and the entries of its attribute map.
const ATTRIBUTES: &[(&str, &[Entry])] = &[
    ("db/ident", &[Entry::Identity]),
    ("kv/value", &[]),
    ("block/uuid", &[Entry::Identity]),
    ("block/parent", &[Entry::Ref, Entry::Index]),
    ("block/order", &[Entry::Index]),
    ("block/collapsed?", &[]),
    ("block/page", &[Entry::Ref, Entry::Index]),
    ("block/refs", &[Entry::Ref, Entry::Many]),
    ("block/tags", &[Entry::Ref, Entry::Many]),
    ("block/link", &[Entry::Ref, Entry::Index]),
    ("block/alias", &[Entry::Ref, Entry::Many, Entry::Index]),
    ("block/created-at", &[Entry::Index]),
    ("block/updated-at", &[Entry::Index]),
    ("block/name", &[Entry::Index]),
    ("block/title", &[Entry::Index]),
    ("block/journal-day", &[Entry::Index]),
    ("block/tx-id", &[]),
    ("block/closed-value-property", &[Entry::Ref, Entry::Many]),
    ("file/path", &[Entry::Identity]),
    ("file/content", &[]),
    ("file/created-at", &[]),
    ("file/last-modified-at", &[]),
    ("file/size", &[]),
];

#[derive(Clone, Copy)]
enum Entry {
    Identity,
    Ref,
    Many,
    Index,
}

impl Entry {
    fn value(self) -> (Value, Value) {
        match self {
            Self::Identity => (Value::keyword("db/unique"), Value::keyword("db.unique/identity")),
            Self::Ref => (Value::keyword("db/valueType"), Value::keyword("db.type/ref")),
            Self::Many => (Value::keyword("db/cardinality"), Value::keyword("db.cardinality/many")),
            Self::Index => (Value::keyword("db/index"), Value::Bool(true)),
        }
    }
}

/// The schema that a new graph starts with, schema version 65.33.
pub fn static_schema(attrs: Rc<Attrs>) -> Schema {
    let entries = ATTRIBUTES
        .iter()
        .map(|(name, entries)| (Value::keyword(name), Value::Map(entries.iter().map(|entry| entry.value()).collect())));
    Schema::from_value(attrs, &Value::Map(entries.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::attrs;

    #[test]
    fn flags_of_static_attributes() {
        let schema = static_schema(Attrs::new(attrs::PRESET));
        assert!(schema.flags(attrs::BLOCK_UUID).is_identity());
        assert!(schema.flags(attrs::BLOCK_REFS).is_many() && schema.flags(attrs::BLOCK_REFS).is_ref());
        assert!(schema.flags(attrs::BLOCK_TITLE).is_indexed() && !schema.flags(attrs::BLOCK_TITLE).is_ref());
        assert!(!schema.flags(attrs::KV_VALUE).is_indexed());
        assert_eq!(schema.to_value().as_map().unwrap().len(), ATTRIBUTES.len());
    }
}
