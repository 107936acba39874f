//! What the checksum is made of, block by block (sync.md 5.3).

use datascript::{Db, Index, Pattern, Value};
use transit::{json, number};

use super::checksum::{Checksum, Counted, Reader, full};
use super::facts::Known;
use super::{Result, attrs};

/// The facts about the whole graph that come before its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The checksum, summed up now.
    pub checksum: Checksum,
    /// Whether titles and names are ciphertext, and left out.
    pub is_e2ee: bool,
}

impl Summary {
    /// Names of the attributes that count, without namespace, sorted.
    pub const fn attrs(&self) -> &'static [&'static str] {
        if self.is_e2ee {
            &["order", "page", "parent", "uuid"]
        } else {
            &["name", "order", "page", "parent", "title", "uuid"]
        }
    }
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

/// The summary of a database: a full recompute.
///
/// # Errors
///
/// Only when the database cannot be read.
pub fn summary(db: &Db) -> Result<Summary> {
    Ok(Summary { checksum: full(db)?, is_e2ee: Known::default().is_e2ee(db)? })
}

/// Shows each entity that counts for the checksum to a visitor, by the text of its uuid, from a uuid on where one is given. One entity is in memory at a
/// time; the visitor ends the visit by returning false.
///
/// # Errors
///
/// Only when the database cannot be read.
pub fn blocks(db: &Db, from: Option<&Value>, mut visit: impl FnMut(&Block<'_>) -> bool) -> Result<()> {
    let mut known = Known::default();
    let is_e2ee = known.is_e2ee(db)?;
    let mut reader = Reader { db, known: &mut known, is_e2ee };
    let mut counted = Counted::default();
    let mut datoms = db.datoms(Index::Avet, &Pattern::a(attrs::BLOCK_UUID)).scanning();
    if let Some(from) = from {
        datoms = datoms.starting_at(from.clone());
    }
    for datom in datoms {
        let datom = datom?;
        reader.read(datom.e, &mut counted)?;
        let last = |attr| counted.tuples.iter().rfind(|(a, _)| *a == attr).and_then(|(_, value)| value.as_ref());
        // An entity with several uuids is shown once, under the last one.
        let Some(uuid) = last(attrs::BLOCK_UUID).filter(|uuid| **uuid == datom.v) else {
            continue;
        };
        let block = Block {
            uuid,
            parent: last(attrs::BLOCK_PARENT),
            page: last(attrs::BLOCK_PAGE),
            order: last(attrs::BLOCK_ORDER),
            texts: (!is_e2ee).then(|| Texts { title: last(attrs::BLOCK_TITLE), name: last(attrs::BLOCK_NAME) }),
        };
        if !visit(&block) {
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
