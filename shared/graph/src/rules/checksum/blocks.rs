//! What the checksum is made of, block by block, as the diagnostics show it (sync.md 5.3).

use datascript::{Db, Eid, Index, Pattern, Value};
use transit::{json, number};

use super::{Checksum, Counted, Reader};
use crate::rules::facts::Known;
use crate::rules::{Result, attrs};

/// Names of the attributes that count, without namespace, sorted.
pub const fn attr_names(is_e2ee: bool) -> &'static [&'static str] {
    if is_e2ee { &["order", "page", "parent", "uuid"] } else { &["name", "order", "page", "parent", "title", "uuid"] }
}

/// Whether titles and names are ciphertext, and left out.
///
/// # Errors
///
/// Only when the database cannot be read.
pub fn is_e2ee(db: &Db) -> Result<bool> {
    Known::default().is_e2ee(db)
}

/// Where a visit has come to: entities are visited by the text of their uuid, and those of one uuid by their id.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// A uuid of the entity.
    pub uuid: Value,
    /// The entity.
    pub eid: Eid,
}

/// An entity that has a uuid, as a visitor sees it.
#[derive(Debug)]
pub struct Visited<'a> {
    /// The place, from which another visit may go on.
    pub place: &'a Place,
    /// What the entity adds to the checksum.
    pub sum: Checksum,
    /// Absent where the entity does not count, and under a uuid that is not its last one.
    pub block: Option<Block<'a>>,
}

/// One entity that counts for the checksum.
#[derive(Clone, Debug, PartialEq)]
pub struct Block<'a> {
    /// Its uuid.
    pub uuid: &'a Value,
    /// The uuid of its parent.
    pub parent: Option<&'a Value>,
    /// The uuid of its page.
    pub page: Option<&'a Value>,
    /// Its order key.
    pub order: Option<&'a Value>,
    /// Title and name; `None` on end-to-end encrypted graphs.
    pub texts: Option<Texts<'a>>,
}

/// What an encrypted graph does not show of a block.
#[derive(Clone, Debug, PartialEq)]
pub struct Texts<'a> {
    /// `:block/title`
    pub title: Option<&'a Value>,
    /// `:block/name`
    pub name: Option<&'a Value>,
}

/// Shows each entity that has a uuid to a visitor, those after `after` where it is given. One entity is in memory at a time;
/// the visitor ends the visit by returning false. The sums of all of them are the checksum of the database.
///
/// # Errors
///
/// Only when the database cannot be read.
pub fn visit(
    db: &Db,
    is_e2ee: bool,
    after: Option<&Place>,
    mut visitor: impl FnMut(&Visited<'_>) -> bool,
) -> Result<()> {
    let mut known = Known::default();
    let mut reader = Reader { db, known: &mut known, is_e2ee };
    let mut counted = Counted::default();
    let mut datoms = db.datoms(Index::Avet, &Pattern::a(attrs::BLOCK_UUID)).scanning();
    if let Some(after) = after {
        datoms = datoms.starting_at(after.uuid.clone());
    }
    let mut last = after.cloned();
    for datom in datoms {
        let datom = datom?;
        if last.as_ref().is_some_and(|last| last.uuid == datom.v && datom.e <= last.eid) {
            continue;
        }
        reader.read(datom.e, &mut counted)?;
        let place = last.insert(Place { uuid: datom.v, eid: datom.e });
        let value = |attr| counted.tuples.iter().rfind(|(a, _)| *a == attr).and_then(|(_, value)| value.as_ref());
        // An entity with several uuids is shown once, under the last one.
        let uuid = value(attrs::BLOCK_UUID).filter(|uuid| **uuid == place.uuid);
        let block = uuid.map(|uuid| Block {
            uuid,
            parent: value(attrs::BLOCK_PARENT),
            page: value(attrs::BLOCK_PAGE),
            order: value(attrs::BLOCK_ORDER),
            texts: (!is_e2ee).then(|| Texts { title: value(attrs::BLOCK_TITLE), name: value(attrs::BLOCK_NAME) }),
        });
        let sum = if block.is_some() { counted.sum() } else { Checksum::default() };
        if !visitor(&Visited { place, sum, block }) {
            break;
        }
    }
    Ok(())
}

impl Block<'_> {
    /// Writes the block as a JSON object.
    pub fn write_json(&self, out: &mut String) {
        out.push_str("{\"uuid\":");
        write_value(out, Some(self.uuid));
        for (key, value) in [("parent", self.parent), ("page", self.page), ("order", self.order)] {
            write_member(out, key, value);
        }
        if let Some(texts) = &self.texts {
            write_member(out, "title", texts.title);
            write_member(out, "name", texts.name);
        }
        out.push('}');
    }
}

fn write_member(out: &mut String, key: &str, value: Option<&Value>) {
    out.push_str(",\"");
    out.push_str(key);
    out.push_str("\":");
    write_value(out, value);
}

fn write_value(out: &mut String, value: Option<&Value>) {
    match value {
        None | Some(Value::Nil) => out.push_str("null"),
        Some(Value::String(text)) => json::write_str(out, text),
        Some(Value::Uuid(uuid)) => {
            json::write_str(out, uuid.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()));
        }
        Some(Value::Scalar(scalar)) => json::write_str(out, &scalar.rep),
        Some(Value::Keyword(keyword)) => json::write_str(out, keyword.as_str()),
        Some(Value::Bool(value)) => out.push_str(if *value { "true" } else { "false" }),
        Some(Value::Int(_) | Value::Float(_)) => {
            let number = value.and_then(Value::as_f64).unwrap_or_default();
            if number.is_finite() {
                number::write_js(out, number);
            } else {
                out.push_str("null");
            }
        }
        Some(other) => json::write_str(out, &transit::write_string(other)),
    }
}
