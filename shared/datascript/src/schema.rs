//! The live schema: what each attribute is, kept up to date by the facts about attributes themselves
//! (datascript.md 8).

mod flags;
mod live;
mod size;

use std::cell::OnceCell;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use indexmap::IndexMap;
use transit::Value;

use crate::attrs::{Attr, Attrs};
use crate::{E_MAX, Eid};
pub use flags::Flags;

/// Attributes whose facts change the schema as they are transacted: set S of datascript.md 8.2.
const LIVE: [&str; 11] = [
    "db/ident",
    "db/id",
    "db/isComponent",
    "db/valueType",
    "db/cardinality",
    "db/unique",
    "db/index",
    "db/doc",
    "db/tupleAttrs",
    "db/tupleType",
    "db/tupleTypes",
];

/// Key of the schema map.
#[derive(Clone, Debug)]
enum Key {
    /// An ident; most of them, and all that matter, are attributes.
    Ident(Attr),
    /// An entity that has, had or may get an ident.
    Entity(Eid),
    /// Anything else that a client stored under `:db/ident`, such as a string.
    Other(Value),
}

// A NaN among the `Other` keys is equal to itself: a schema of nothing else would be searched key by key.
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ident(a), Self::Ident(b)) => a == b,
            (Self::Entity(a), Self::Entity(b)) => a == b,
            (Self::Other(a), Self::Other(b)) => transit::same_key(a, b),
            _ => false,
        }
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Ident(attr) => (0_u8, attr.0).hash(state),
            Self::Entity(eid) => (1_u8, eid).hash(state),
            Self::Other(value) => {
                state.write_u8(2);
                transit::hash_value(value, state);
            }
        }
    }
}

type Entries = IndexMap<Key, Value, keyed::Build>;

/// The schema of one database value; cloning shares it, changing a shared one copies it.
///
/// Besides the map that is stored in the root row it holds the derived flags of each attribute, so that asking for them is
/// one array access. A change of the schema updates the flags of the attributes concerned only (DS-12).
#[derive(Clone)]
pub struct Schema {
    attrs: Rc<Attrs>,
    inner: Rc<Inner>,
    ident: Attr,
}

#[derive(Clone, Default)]
struct Inner {
    entries: Entries,
    /// By [`Attr::index`]; attributes beyond the end have no flags.
    flags: Vec<Flags>,
    /// Attributes with the ref flag, in the order in which they got it.
    refs: Rc<Vec<Attr>>,
    /// Upper bound of the bytes of all entries' text; computed when it is first needed.
    text: OnceCell<usize>,
}

impl Schema {
    /// A schema without entries. `:db/ident` is unique identity all the same (datascript.md 8.1).
    pub fn new(attrs: Rc<Attrs>) -> Self {
        let ident = attrs.intern_str("db/ident");
        let mut schema = Self { attrs, inner: Rc::default(), ident };
        for text in LIVE {
            let attr = schema.attrs.intern_str(text);
            schema.refresh(attr);
        }
        schema
    }

    /// The schema map as it stands in the root row. Whatever is no map makes an empty schema.
    pub fn from_value(attrs: Rc<Attrs>, value: &Value) -> Self {
        let mut schema = Self::new(attrs);
        for (key, entry) in value.as_map().unwrap_or_default() {
            let key = schema.key(key);
            Rc::make_mut(&mut schema.inner).entries.insert(key, entry.clone());
        }
        let idents: Vec<Attr> = schema.inner.entries.keys().filter_map(Key::attr).collect();
        for attr in idents {
            schema.refresh(attr);
        }
        schema
    }

    /// The map for the root row, in insertion order.
    pub fn to_value(&self) -> Value {
        Value::Map(self.inner.entries.iter().map(|(key, entry)| (self.key_value(key), entry.clone())).collect())
    }

    /// What an attribute is.
    #[inline]
    pub fn flags(&self, attr: Attr) -> Flags {
        self.inner.flags.get(attr.index()).copied().unwrap_or_default()
    }

    /// The attributes of reference type, in a fixed order.
    pub fn ref_attrs(&self) -> &[Attr] {
        &self.inner.refs
    }

    /// The same list as a shared pointer. While a caller holds it, a list at another address means that the schema has changed.
    pub(crate) fn shared_refs(&self) -> &Rc<Vec<Attr>> {
        &self.inner.refs
    }

    /// The interner of the attributes.
    pub fn attrs(&self) -> &Rc<Attrs> {
        &self.attrs
    }

    /// The attribute `:db/ident`.
    pub fn ident_attr(&self) -> Attr {
        self.ident
    }

    /// The attribute map of an attribute, if the schema has one.
    pub fn entry(&self, attr: Attr) -> Option<&Value> {
        self.inner.entries.get(&Key::Ident(attr))
    }

    /// How many entries the schema map has.
    pub fn len(&self) -> usize {
        self.inner.entries.len()
    }

    /// Whether the schema map has no entry.
    pub fn is_empty(&self) -> bool {
        self.inner.entries.is_empty()
    }

    /// Whether both are one shared value: then nothing changed between them.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.inner, &other.inner)
    }

    fn key(&self, value: &Value) -> Key {
        match value {
            Value::Keyword(keyword) => Key::Ident(self.attrs.intern(keyword)),
            Value::Int(number) => match Eid::try_from(*number) {
                Ok(eid) if eid <= E_MAX => Key::Entity(eid),
                _ => Key::Other(value.clone()),
            },
            _ => Key::Other(value.clone()),
        }
    }

    fn key_value(&self, key: &Key) -> Value {
        match key {
            Key::Ident(attr) => Value::Keyword(self.attrs.keyword(*attr)),
            Key::Entity(eid) => Value::Int(i64::from(*eid)),
            Key::Other(value) => value.clone(),
        }
    }

    /// Derives the flags of one attribute again (datascript.md 8.3).
    fn refresh(&mut self, attr: Attr) {
        let mut flags = Flags::default();
        if let Some(Value::Map(facts)) = self.entry(attr) {
            flags = facts.iter().fold(flags, |flags, (key, value)| flags.with_fact(key, value));
        }
        if attr == self.ident && !flags.is_unique() {
            flags = flags.union(Flags::UNIQUE_IDENTITY).union(Flags::INDEXED);
        }
        if LIVE.contains(&self.attrs.keyword(attr).as_str()) {
            flags = flags.union(Flags::LIVE);
        }
        let before = self.flags(attr);
        if before == flags {
            return;
        }
        let inner = Rc::make_mut(&mut self.inner);
        if inner.flags.len() <= attr.index() {
            inner.flags.resize(attr.index() + 1, Flags::default());
        }
        if let Some(slot) = inner.flags.get_mut(attr.index()) {
            *slot = flags;
        }
        if flags.is_ref() && !before.is_ref() {
            Rc::make_mut(&mut inner.refs).push(attr);
        } else if before.is_ref() && !flags.is_ref() {
            Rc::make_mut(&mut inner.refs).retain(|other| *other != attr);
        }
    }
}

impl Key {
    fn attr(&self) -> Option<Attr> {
        match self {
            Self::Ident(attr) => Some(*attr),
            _ => None,
        }
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_value().fmt(f)
    }
}
