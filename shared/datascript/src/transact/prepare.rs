//! Map items made ready before the first pass (datascript.md 9.1).

use transit::Value;

use crate::db::Db;

/// Every map of a transaction that stands for an entity, nested ones included.
///
/// They are found once, before the first pass, so that a map without `:db/id` has the same tempid in every pass: its place
/// in this list.
#[derive(Default)]
pub(super) struct Maps<'a> {
    maps: Vec<MapItem<'a>>,
    /// How many of them are items of the transaction; these come first.
    roots: usize,
}

/// A map that stands for an entity.
pub(super) struct MapItem<'a> {
    /// Its place in [`Maps`].
    pub(super) place: usize,
    /// Its `:db/id`, if it has one.
    pub(super) id: Option<&'a Value>,
    /// The other entries.
    pub(super) entries: Vec<(&'a Value, Slot<'a>)>,
}

/// A value in a [`MapItem`].
pub(super) enum Slot<'a> {
    /// A value as given.
    Plain(&'a Value),
    /// A nested map that stands for an entity, by its place in [`Maps`].
    Map(usize),
    /// A collection with such maps among its elements.
    Many(Vec<Self>),
}

impl<'a> Maps<'a> {
    /// The maps among the transaction's items, in order.
    pub(super) fn roots(&'a self) -> impl Iterator<Item = &'a MapItem<'a>> {
        self.maps.iter().take(self.roots)
    }

    pub(super) fn get(&'a self, place: usize) -> Option<&'a MapItem<'a>> {
        self.maps.get(place)
    }
}

/// Finds the maps. A list of vector items costs one look at each.
pub(super) fn maps<'a>(db: &Db, items: &'a [Value]) -> Maps<'a> {
    let mut todo: Vec<&'a [(Value, Value)]> = items.iter().filter_map(Value::as_map).collect();
    let roots = todo.len();
    let mut maps = Vec::with_capacity(roots);
    // Grows while it is walked: nested maps are appended, so that depth costs no stack.
    let mut at = 0;
    while let Some(source) = todo.get(at).copied() {
        let mut item = MapItem { place: at, id: None, entries: Vec::with_capacity(source.len()) };
        for (key, value) in source {
            if key.is_keyword("db/id") {
                item.id = Some(value);
            } else {
                item.entries.push((key, slot(db, key, value, &mut todo)));
            }
        }
        maps.push(item);
        at += 1;
    }
    Maps { maps, roots }
}

fn slot<'a>(db: &Db, key: &Value, value: &'a Value, todo: &mut Vec<&'a [(Value, Value)]>) -> Slot<'a> {
    let Value::Keyword(keyword) = key else { return Slot::Plain(value) };
    let mut nested = |map: &'a [(Value, Value)]| {
        todo.push(map);
        Slot::Map(todo.len() - 1)
    };
    let reverse = keyword.name().starts_with('_');
    let flags = db.attr(keyword.as_str()).map(|attr| db.flags(attr)).unwrap_or_default();
    if !reverse && !flags.is_ref() {
        return Slot::Plain(value);
    }
    if let Value::Map(map) = value {
        return nested(map);
    }
    match members(value) {
        Some(elements) if (reverse || flags.is_many()) && elements.iter().any(|v| v.as_map().is_some()) => Slot::Many(
            elements
                .iter()
                .map(|element| match element {
                    Value::Map(map) => nested(map),
                    other => Slot::Plain(other),
                })
                .collect(),
        ),
        _ => Slot::Plain(value),
    }
}

/// The elements of a collection that is not a map.
pub(super) fn members(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Vector(elements) | Value::List(elements) | Value::Set(elements) => Some(elements),
        _ => None,
    }
}
