//! What the items of an entry speak of, as far as that can be told without a database.

use datascript::{Eid, Value};

use super::plan::Entry;

/// What an item may change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Mention {
    /// `[:db/add e a v]` with the number of an entity.
    Add { e: Eid, a: String, v: Value },
    /// Something else about one attribute of one entity.
    Pair { e: Eid, a: String },
    /// An attribute of an entity that is not told by its number.
    Attr(String),
    /// Whatever follows from the end of an entity.
    Entity(Value),
    /// Something that cannot be told.
    Unknown,
}

/// What the items of an entry say, and whether what they speak of may be dropped without a word: some operations are.
pub(crate) struct Said {
    pub(crate) mentions: Vec<Mention>,
    pub(crate) may_be_dropped: bool,
}

impl Said {
    /// Reads an entry.
    pub(crate) fn by(entry: &Entry) -> Self {
        let mentions = entry.items.iter().flat_map(|item| mentions(item)).collect();
        Self { mentions, may_be_dropped: entry.op.is_some() }
    }
}

/// What the item says.
fn mentions(item: &str) -> Vec<Mention> {
    let Ok(value) = transit::read_str(item) else { return vec![Mention::Unknown] };
    match &value {
        Value::Map(entries) => entries.iter().map(|(key, value)| of_entry(key, value)).collect(),
        Value::Vector(parts) | Value::List(parts) => vec![of_parts(parts)],
        _ => Vec::new(),
    }
}

fn of_entry(key: &Value, value: &Value) -> Mention {
    match key.as_keyword() {
        Some(keyword) if !nests_map(value) => Mention::Attr(keyword.as_str().replacen("/_", "/", 1)),
        _ => Mention::Unknown,
    }
}

/// Under a reference these are entities of their own.
fn nests_map(value: &Value) -> bool {
    match value {
        Value::Map(_) => true,
        Value::Vector(items) | Value::List(items) | Value::Set(items) => items.iter().any(nests_map),
        _ => false,
    }
}

fn of_parts(parts: &[Value]) -> Mention {
    let [op, e, rest @ ..] = parts else { return Mention::Unknown };
    let op = op.as_keyword().map_or("", |keyword| keyword.as_str());
    if matches!(op, "db/retractEntity" | "db.fn/retractEntity") {
        return Mention::Entity(e.clone());
    }
    let Some(a) = rest.first().and_then(Value::as_keyword) else { return Mention::Unknown };
    let a = a.as_str().to_owned();
    let number = e.as_int().and_then(|number| Eid::try_from(number).ok()).filter(|number| *number > 0);
    match (op, number, rest.get(1)) {
        ("db/add", Some(e), Some(v)) => Mention::Add { e, a, v: v.clone() },
        (_, Some(e), _) => Mention::Pair { e, a },
        (_, None, _) => Mention::Attr(a),
    }
}
