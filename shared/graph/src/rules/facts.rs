//! What the rules remember of a graph's own description of itself: its tags, its properties, two settings.

use datascript::{Attr, Datom, Db, Eid, Keyword, Value};
use protocol::limits::SCHEMA_VERSION_CHARS;
use rustc_hash::FxHashMap;

use super::names::{PropertyType, is_property};
use super::{Result, attrs};

/// More is not remembered than so many tags or attributes each; then memory starts anew.
const CAPACITY: usize = 4096;

/// Memory of one graph, kept from one transaction to the next.
///
/// It holds nothing but what follows from the datoms of five attributes (`:db/ident`, `:db/valueType`,
/// `:db/cardinality`, `:logseq.property/type`, `:kv/value`). [`scope`](Self::scope) looks at each transaction's datoms and
/// forgets everything when one of these is among them, before and after it: so memory is right even where the
/// transaction is refused afterwards. A graph that is reopened starts with a new one.
#[derive(Debug, Default)]
pub struct Facts {
    known: Known,
    /// The last transaction changed what is remembered: it may have been dropped since.
    unsettled: bool,
}

/// Memory as it holds for the two database values around one transaction.
#[derive(Debug)]
pub struct Scope<'f> {
    after: &'f mut Known,
    /// Separate where the transaction changes what is remembered.
    before: Option<Known>,
}

impl Facts {
    /// Memory for the rules that look at one transaction, given all of its datoms.
    pub fn scope(&mut self, tx_data: &[Datom]) -> Scope<'_> {
        let changes = tx_data.iter().any(|datom| {
            matches!(
                datom.a,
                attrs::DB_IDENT | attrs::DB_VALUE_TYPE | attrs::DB_CARDINALITY | attrs::PROPERTY_TYPE | attrs::KV_VALUE
            )
        });
        if changes || self.unsettled {
            self.known = Known::default();
        }
        self.unsettled = changes;
        Scope { after: &mut self.known, before: changes.then(Known::default) }
    }
}

impl Scope<'_> {
    pub(crate) fn after(&mut self) -> &mut Known {
        self.after
    }

    pub(crate) fn before(&mut self) -> &mut Known {
        self.before.as_mut().unwrap_or(self.after)
    }

    /// Whether the transaction changes idents, property definitions or settings.
    pub(crate) fn changes(&self) -> bool {
        self.before.is_some()
    }
}

/// What is known about one database value.
#[derive(Debug, Default)]
pub(crate) struct Known {
    tags: FxHashMap<Eid, Tag>,
    attributes: FxHashMap<Attr, Attribute>,
    is_db_graph: Option<bool>,
    is_e2ee: Option<bool>,
}

/// A tag, as far as a rule tells it from others: by its ident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    Page,
    Journal,
    Class,
    Property,
    Whiteboard,
    Asset,
    Other,
}

impl Tag {
    /// Whether what carries the tag is a page.
    pub(crate) const fn is_page(self) -> bool {
        matches!(self, Self::Page | Self::Journal | Self::Class | Self::Property)
    }

    fn of(ident: &Keyword) -> Self {
        match ident.as_str() {
            "logseq.class/Page" => Self::Page,
            "logseq.class/Journal" => Self::Journal,
            "logseq.class/Tag" => Self::Class,
            "logseq.class/Property" => Self::Property,
            "logseq.class/Whiteboard" => Self::Whiteboard,
            "logseq.class/Asset" => Self::Asset,
            _ => Self::Other,
        }
    }
}

/// What a graph says about one of its attributes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attribute {
    /// It is a property with an entity of its own (sync.md 11.6).
    pub(crate) is_property: bool,
    /// `:logseq.property/type` of that entity.
    pub(crate) property_type: Option<PropertyType>,
    /// `:db/cardinality` of that entity is many.
    pub(crate) is_many: bool,
    /// `:db/valueType` of the attribute's entity, property or not, is a reference.
    pub(crate) is_ref: bool,
}

impl Known {
    /// The tag that an entity is.
    pub(crate) fn tag(&mut self, db: &Db, eid: Eid) -> Result<Tag> {
        if let Some(tag) = self.tags.get(&eid) {
            return Ok(*tag);
        }
        let tag = match db.value(eid, attrs::DB_IDENT)? {
            Some(Value::Keyword(ident)) => Tag::of(&ident),
            _ => Tag::Other,
        };
        make_room(&mut self.tags);
        self.tags.insert(eid, tag);
        Ok(tag)
    }

    /// What an attribute is.
    pub(crate) fn attribute(&mut self, db: &Db, attr: Attr) -> Result<Attribute> {
        if let Some(attribute) = self.attributes.get(&attr) {
            return Ok(*attribute);
        }
        let keyword = db.attrs().keyword(attr);
        let entity = db.ident_of(&keyword)?;
        let value = |a| match entity {
            Some(eid) => db.value(eid, a),
            None => Ok(None),
        };
        let is = |value: Option<Value>, text| value.is_some_and(|value| value.is_keyword(text));
        let attribute = Attribute {
            is_property: entity.is_some() && is_property(&keyword),
            property_type: value(attrs::PROPERTY_TYPE)?.as_ref().and_then(PropertyType::parse),
            is_many: is(value(attrs::DB_CARDINALITY)?, "db.cardinality/many"),
            is_ref: is(value(attrs::DB_VALUE_TYPE)?, "db.type/ref"),
        };
        make_room(&mut self.attributes);
        self.attributes.insert(attr, attribute);
        Ok(attribute)
    }

    /// Whether an attribute refers to entities: its entity says so, or the live schema (D-15).
    pub(crate) fn is_ref(&mut self, db: &Db, attr: Attr) -> Result<bool> {
        Ok(db.flags(attr).is_ref() || self.attribute(db, attr)?.is_ref)
    }

    /// Whether the graph was initialised as a DB graph (sync.md 11.6).
    pub(crate) fn is_db_graph(&mut self, db: &Db) -> Result<bool> {
        if let Some(known) = self.is_db_graph {
            return Ok(known);
        }
        let is_db_graph = setting(db, "logseq.kv/db-type")?.is_some_and(|value| value.as_str() == Some("db"));
        self.is_db_graph = Some(is_db_graph);
        Ok(is_db_graph)
    }

    /// Whether titles and names are ciphertext (sync.md 12.2).
    pub(crate) fn is_e2ee(&mut self, db: &Db) -> Result<bool> {
        if let Some(known) = self.is_e2ee {
            return Ok(known);
        }
        let is_e2ee = setting(db, "logseq.kv/graph-rtc-e2ee?")?.is_some_and(|value| value.is_truthy());
        self.is_e2ee = Some(is_e2ee);
        Ok(is_e2ee)
    }
}

/// `:logseq.kv/schema-version` as clients write it: `<major>.<minor>`, `<major>` without a minor version, a text as it is. What
/// is longer than a client may name ([`SCHEMA_VERSION_CHARS`]) is none.
pub fn schema_version(db: &Db) -> Result<Option<String>> {
    let Some(value) = setting(db, "logseq.kv/schema-version")? else { return Ok(None) };
    let number = |key| value.get(key).and_then(Value::as_int);
    let version = match (&value, number("major"), number("minor")) {
        (Value::String(text), ..) => text.as_ref().to_owned(),
        (_, Some(major), Some(minor)) => format!("{major}.{minor}"),
        (_, Some(major), None) => major.to_string(),
        _ => return Ok(None),
    };
    Ok(Some(version).filter(|version| !version.is_empty() && version.chars().count() <= SCHEMA_VERSION_CHARS))
}

/// `:kv/value` of a key-value entity.
fn setting(db: &Db, ident: &str) -> Result<Option<Value>> {
    Ok(match db.ident(ident)? {
        Some(eid) => db.value(eid, attrs::KV_VALUE)?,
        None => None,
    })
}

fn make_room<K, V>(map: &mut FxHashMap<K, V>) {
    if map.len() >= CAPACITY {
        map.clear();
    }
}
