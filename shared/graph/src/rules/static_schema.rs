//! The schema of a graph without rows (sync.md 9.5).

use std::rc::Rc;

use datascript::schema::Schema;
use datascript::{Attr, Attrs, Value};

use super::attrs;

/// Attribute, and the entries of its attribute map.
const ATTRIBUTES: &[(Attr, &[Entry])] = &[
    (attrs::DB_IDENT, &[Entry::Identity]),
    (attrs::KV_VALUE, &[]),
    (attrs::BLOCK_UUID, &[Entry::Identity]),
    (attrs::BLOCK_PARENT, &[Entry::Ref, Entry::Index]),
    (attrs::BLOCK_ORDER, &[Entry::Index]),
    (attrs::BLOCK_COLLAPSED, &[]),
    (attrs::BLOCK_PAGE, &[Entry::Ref, Entry::Index]),
    (attrs::BLOCK_REFS, &[Entry::Ref, Entry::Many]),
    (attrs::BLOCK_TAGS, &[Entry::Ref, Entry::Many]),
    (attrs::BLOCK_LINK, &[Entry::Ref, Entry::Index]),
    (attrs::BLOCK_ALIAS, &[Entry::Ref, Entry::Many, Entry::Index]),
    (attrs::BLOCK_CREATED_AT, &[Entry::Index]),
    (attrs::BLOCK_UPDATED_AT, &[Entry::Index]),
    (attrs::BLOCK_NAME, &[Entry::Index]),
    (attrs::BLOCK_TITLE, &[Entry::Index]),
    (attrs::BLOCK_JOURNAL_DAY, &[Entry::Index]),
    (attrs::BLOCK_TX_ID, &[]),
    (attrs::BLOCK_CLOSED_VALUE_PROPERTY, &[Entry::Ref, Entry::Many]),
    (attrs::FILE_PATH, &[Entry::Identity]),
    (attrs::FILE_CONTENT, &[]),
    (attrs::FILE_CREATED_AT, &[]),
    (attrs::FILE_LAST_MODIFIED_AT, &[]),
    (attrs::FILE_SIZE, &[]),
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

/// The schema that a new graph starts with, schema version 65.33. The interner begins with [`attrs::PRESET`].
pub fn static_schema(attrs: Rc<Attrs>) -> Schema {
    let entries = ATTRIBUTES.iter().map(|(attr, entries)| {
        let name = Value::Keyword(attrs.keyword(*attr));
        (name, Value::Map(entries.iter().map(|entry| entry.value()).collect()))
    });
    let entries = Value::Map(entries.collect());
    Schema::from_value(attrs, &entries)
}

/// The attributes of the static schema.
pub(crate) fn static_attrs() -> impl Iterator<Item = Attr> {
    ATTRIBUTES.iter().map(|(attr, _)| *attr)
}

#[cfg(test)]
mod tests {
    use super::*;

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
