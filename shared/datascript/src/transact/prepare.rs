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
    /// Whether it is a new entity unless it says otherwise. A map under an attribute that only the transaction itself makes
    /// a reference is not: it must name its entity.
    pub(super) has_tempid: bool,
    /// The other entries.
    pub(super) entries: Vec<(&'a Value, Slot<'a>)>,
}

/// A value in a [`MapItem`].
pub(super) struct Slot<'a> {
    /// The value as given.
    pub(super) value: &'a Value,
    pub(super) nested: Nested,
}

/// Maps in a [`Slot`], by their place in [`Maps`]. Whether they stand for entities is known when the item's turn comes.
pub(super) enum Nested {
    /// None.
    None,
    /// The value itself.
    Map(usize),
    /// Elements of the value.
    Elements(Vec<Option<usize>>),
}

impl<'a> Maps<'a> {
    /// The maps among the transaction's items, in order.
    pub(super) fn roots(&'a self) -> impl Iterator<Item = &'a MapItem<'a>> {
        self.maps.iter().take(self.roots)
    }

    /// How many maps there are, nested ones included.
    pub(super) fn len(&self) -> usize {
        self.maps.len()
    }

    pub(super) fn get(&'a self, place: usize) -> Option<&'a MapItem<'a>> {
        self.maps.get(place)
    }
}

/// A map that was found and whose entries are to be looked at.
struct Found<'a> {
    source: &'a [(Value, Value)],
    has_tempid: bool,
}

/// Finds the maps. A list of vector items costs one look at each.
pub(super) fn maps<'a>(db: &Db, items: &'a [Value]) -> Maps<'a> {
    let roots = items.iter().filter_map(Value::as_map);
    let mut found: Vec<Found<'a>> = roots.map(|source| Found { source, has_tempid: true }).collect();
    let roots = found.len();
    let mut maps = Vec::with_capacity(roots);
    // Grows while it is walked: nested maps are appended, so that depth costs no stack.
    let mut place = 0;
    while let Some(&Found { source, has_tempid }) = found.get(place) {
        let mut item = MapItem { place, id: None, has_tempid, entries: Vec::with_capacity(source.len()) };
        for (key, value) in source {
            if key.is_keyword("db/id") {
                item.id = Some(value);
            } else {
                let nested = nested(value, |source| {
                    found.push(Found { source, has_tempid: has_tempid && is_link(db, key) });
                    found.len() - 1
                });
                item.entries.push((key, Slot { value, nested }));
            }
        }
        maps.push(item);
        place += 1;
    }
    Maps { maps, roots }
}

/// Whether a map under that key is an entity by the schema before the transaction.
fn is_link(db: &Db, key: &Value) -> bool {
    let Value::Keyword(keyword) = key else { return false };
    keyword.name().starts_with('_') || db.attr(keyword.as_str()).is_some_and(|attr| db.flags(attr).is_ref())
}

fn nested<'a>(value: &'a Value, mut found: impl FnMut(&'a [(Value, Value)]) -> usize) -> Nested {
    if let Value::Map(map) = value {
        return Nested::Map(found(map));
    }
    match members(value) {
        Some(elements) if elements.iter().any(|element| element.as_map().is_some()) => {
            Nested::Elements(elements.iter().map(|element| element.as_map().map(&mut found)).collect())
        }
        _ => Nested::None,
    }
}

/// The elements of a collection that is not a map.
pub(super) fn members(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Vector(elements) | Value::List(elements) | Value::Set(elements) => Some(elements),
        _ => None,
    }
}
