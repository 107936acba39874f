//! What the items of an entry may change, as far as that can be said without a database.

use datascript::{Eid, Value};
use rustc_hash::FxHashSet;

use super::facts::Facts;
use super::plan::Entry;

/// What an item may change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Mention {
    /// `[:db/add e a v]` with the number of an entity.
    Add { e: Eid, a: String, v: Value },
    /// Something else about one attribute of one entity.
    Pair { e: Eid, a: String },
    /// An attribute of an entity that is not given by its number.
    Attr(String),
    /// Anything, as an entity is retracted.
    Entity(Value),
    /// Something unknown.
    Unknown,
}

/// What the items of an entry say.
pub(crate) struct Said {
    pub(crate) mentions: Vec<Mention>,
    /// The entry may be dropped without an error, as some operations are.
    pub(crate) may_be_dropped: bool,
    /// Something gets an ident that is no keyword.
    pub(crate) odd_ident: bool,
    /// An entity may change its name, or lose it and stay.
    pub(crate) renames: bool,
}

impl Said {
    /// Reads the entries of a batch.
    pub(crate) fn all(entries: &[Entry], before: &Facts) -> Vec<Self> {
        let known = before.eavt.iter().filter(|fact| fact.a == "block/uuid" || fact.a == "db/ident");
        let mut identified = known.map(|fact| Identity::entity(fact.a.as_str(), &Value::from(fact.e))).collect();
        entries.iter().map(|entry| Self::by(entry, &mut identified)).collect()
    }

    /// Reads an entry; `identified` are the entities that have a name.
    fn by(entry: &Entry, identified: &mut FxHashSet<String>) -> Self {
        let mut said =
            Self { mentions: Vec::new(), may_be_dropped: entry.op.is_some(), odd_ident: false, renames: false };
        for item in &entry.items {
            let Ok(item) = transit::read_str(item) else {
                said.mentions.push(Mention::Unknown);
                continue;
            };
            match &item {
                Value::Map(entries) => said.mentions.extend(of_entries(entries)),
                Value::Vector(parts) | Value::List(parts) => said.mentions.push(of_parts(parts)),
                _ => {}
            }
            said.odd_ident |= ident(&item).is_some_and(|ident| ident.as_keyword().is_none());
            if matches!(said.mentions.last(), Some(Mention::Entity(_))) {
                // What is named by an ident alone goes by its facts, and those about it after it: it or what is below it.
                said.renames |= identified.iter().any(|name| name.starts_with("db/ident "));
            }
            for identity in Identity::of(&item) {
                // The number of an entity made in this batch may be one that is given.
                said.renames |= !identity.is_new || (identity.is_numbered && identified.contains(SOMEONE));
                if !identity.is_numbered {
                    identified.insert(SOMEONE.to_owned());
                }
                said.renames |= !identified.insert(identity.entity);
            }
        }
        said
    }
}

fn ident(item: &Value) -> Option<&Value> {
    match item {
        Value::Vector(parts) if parts.get(2)?.is_keyword("db/ident") => parts.get(3),
        other => other.get("db/ident"),
    }
}

/// What an item says of an entity's name.
struct Identity {
    /// The entity and the attribute, as they are written.
    entity: String,
    /// It gets a valid name.
    is_new: bool,
    /// It is given by its number.
    is_numbered: bool,
}

/// Stands for entities made by the batch.
const SOMEONE: &str = "someone";

impl Identity {
    /// What is said of its uuid, and of its ident.
    fn of(item: &Value) -> Vec<Self> {
        match item {
            Value::Map(_) => {
                let names = ["block/uuid", "db/ident"];
                names
                    .iter()
                    .filter_map(|name| Some(Self::new(name, item.get("db/id"), item.get(name)?, true)))
                    .collect()
            }
            Value::Vector(parts) | Value::List(parts) => match &**parts {
                [op, entity, attr, value @ ..] if attr.is_keyword("block/uuid") || attr.is_keyword("db/ident") => {
                    let name = if attr.is_keyword("block/uuid") { "block/uuid" } else { "db/ident" };
                    let value = value.first().unwrap_or(&Value::Nil);
                    vec![Self::new(name, Some(entity), value, op.is_keyword("db/add"))]
                }
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    fn new(name: &str, entity: Option<&Value>, value: &Value, is_added: bool) -> Self {
        let is_name = value.as_uuid().is_some() || (name == "db/ident" && value.as_keyword().is_some());
        let is_new =
            is_added && is_name && entity.is_none_or(|entity| matches!(entity, Value::Int(_) | Value::String(_)));
        let is_numbered = entity.and_then(Value::as_int).is_some_and(|number| number > 0);
        Self { entity: Self::entity(name, entity.unwrap_or(value)), is_new, is_numbered }
    }

    fn entity(name: &str, entity: &Value) -> String {
        format!("{name} {}", transit::write_string(entity))
    }
}

fn of_entries(entries: &[(Value, Value)]) -> Vec<Mention> {
    let of_entry = |(key, value): &(Value, Value)| match key.as_keyword() {
        Some(keyword) if !nests_map(value) => Mention::Attr(keyword.as_str().replacen("/_", "/", 1)),
        _ => Mention::Unknown,
    };
    entries.iter().map(of_entry).collect()
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
