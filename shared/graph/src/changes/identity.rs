//! What an entity is called outside of the graph (sync.md 7.6): its number never leaves the server.

use std::cmp::Ordering;

use datascript::value::compare_utf16;
use datascript::{Attr, Db, Eid, Result, Value};
use transit::Writer;

use crate::rules::attrs;

/// The attributes that name an entity, in the order in which they are tried and sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unique {
    /// `:block/uuid`
    Uuid,
    /// `:db/ident`
    Ident,
    /// `:file/path`
    Path,
}

impl Unique {
    const ALL: [Self; 3] = [Self::Uuid, Self::Ident, Self::Path];

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|unique| unique.name() == name)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Uuid => "block/uuid",
            Self::Ident => "db/ident",
            Self::Path => "file/path",
        }
    }

    const fn attr(self) -> Attr {
        match self {
            Self::Uuid => attrs::BLOCK_UUID,
            Self::Ident => attrs::DB_IDENT,
            Self::Path => attrs::FILE_PATH,
        }
    }
}

/// `[attribute value]`: a name that holds in every copy of the graph.
///
/// Sorted by attribute, then by the text of the value in UTF-16 code units.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    unique: Unique,
    value: Value,
}

impl Identity {
    pub(super) const fn new(unique: Unique, value: Value) -> Self {
        Self { unique, value }
    }

    /// The identity that an entity position of an item is by itself: a lookup ref or an ident.
    pub(super) fn of(entity: &Value) -> Option<Self> {
        if let Value::Keyword(_) = entity {
            return Some(Self::new(Unique::Ident, entity.clone()));
        }
        match entity.as_seq()? {
            [Value::Keyword(name), value] => Some(Self::new(Unique::parse(name.as_str())?, value.clone())),
            _ => None,
        }
    }

    /// What an entity is called: its uuid, else its ident, else its file path.
    pub(super) fn name(db: &Db, eid: Eid) -> Result<Option<Self>> {
        for unique in Unique::ALL {
            if let Some(value) = db.value(eid, unique.attr())? {
                return Ok(Some(Self::new(unique, value)));
            }
        }
        Ok(None)
    }

    /// The entity of that name in a database.
    pub(super) fn resolve(&self, db: &Db) -> Result<Option<Eid>> {
        if self.value.is_nil() { Ok(None) } else { db.lookup(self.unique.attr(), &self.value) }
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        writer.begin_vector();
        writer.keyword(self.unique.name());
        writer.value(&self.value);
        writer.end_vector();
    }

    /// Memory that it takes, in bytes.
    pub(super) fn weight(&self) -> usize {
        weight(&self.value)
    }
}

/// Memory that a value takes at most, in bytes.
pub(super) fn weight(value: &Value) -> usize {
    let own = size_of::<Value>();
    own + match value {
        Value::String(text) => text.len(),
        Value::Keyword(keyword) => keyword.as_str().len(),
        Value::Symbol(symbol) => symbol.as_str().len(),
        Value::Scalar(scalar) => scalar.rep.len(),
        Value::Vector(items) | Value::List(items) | Value::Set(items) => items.iter().map(weight).sum(),
        Value::Map(entries) => entries.iter().map(|(key, value)| weight(key) + weight(value)).sum(),
        Value::Tagged(tagged) => tagged.tag.len() + weight(&tagged.rep),
        _ => 0,
    }
}

impl Ord for Identity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.unique.cmp(&other.unique).then_with(|| compare(&self.value, &other.value))
    }
}

impl PartialOrd for Identity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Identity {}

fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        // The order of the bytes is that of the text.
        (Value::Uuid(a), Value::Uuid(b)) => a.cmp(b),
        (Value::Keyword(a), Value::Keyword(b)) => compare_utf16(a.as_str(), b.as_str()),
        (Value::String(a), Value::String(b)) => compare_utf16(a, b),
        // Seldom: what is no uuid under `:block/uuid`, for example. Different values may have the same text.
        _ => compare_utf16(&text(a), &text(b))
            .then_with(|| compare_utf16(&transit::write_string(a), &transit::write_string(b))),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Uuid(uuid) => uuid.to_string(),
        Value::Keyword(keyword) => keyword.as_str().to_owned(),
        Value::String(text) => text.as_ref().to_owned(),
        Value::Scalar(scalar) => scalar.rep.as_ref().to_owned(),
        other => transit::write_string(other),
    }
}
