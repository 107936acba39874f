//! What the three indexes of a graph hold, in a form that outlives the graph's object.

use std::hash::{DefaultHasher, Hash, Hasher};

use datascript::{Attr, Datom, Db, Eid, Index, Keyword, Pattern, TxId, Value};

use crate::{Result, fail};

/// A fact of an index.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) e: Eid,
    pub(crate) a: Keyword,
    pub(crate) v: Value,
    pub(crate) tx: TxId,
    /// Fingerprint of entity and attribute.
    pub(crate) ea: u64,
    /// Fingerprint of entity, attribute and value as it is written.
    pub(crate) eav: u64,
    /// Fingerprint of everything.
    pub(crate) id: u64,
}

/// The indexes, each in its own order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) eavt: Vec<Fact>,
    pub(crate) aevt: Vec<Fact>,
    pub(crate) avet: Vec<Fact>,
    /// What the database says that its count is.
    pub(crate) count: usize,
}

impl Facts {
    /// Reads a copy of the value, so that what reading brings about stays with the copy.
    pub(crate) fn read(db: &Db) -> Result<Self> {
        let db = db.clone();
        let mut names = Names::default();
        let mut walk = |index| {
            let datoms = db.datoms(index, &Pattern::ALL).scanning();
            datoms
                .map(|datom| datom.map(|datom| names.fact(&db, datom)))
                .collect::<Result<Vec<Fact>, _>>()
                .map_err(fail)
        };
        Ok(Self { eavt: walk(Index::Eavt)?, aevt: walk(Index::Aevt)?, avet: walk(Index::Avet)?, count: db.count() })
    }

    /// Whether an ident is no keyword.
    pub(crate) fn has_odd_ident(&self) -> bool {
        self.eavt.iter().any(|fact| fact.a == "db/ident" && fact.v.as_keyword().is_none())
    }

    /// The first difference between two readings of what should be one state.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        for (name, ours, theirs) in
            [("EAVT", &self.eavt, &other.eavt), ("AEVT", &self.aevt, &other.aevt), ("AVET", &self.avet, &other.avet)]
        {
            if let Some(place) = (0..ours.len().max(theirs.len()))
                .find(|&place| ours.get(place).map(|fact| fact.id) != theirs.get(place).map(|fact| fact.id))
            {
                let show = |fact: Option<&Fact>| fact.map_or("nothing".to_owned(), ToString::to_string);
                return Some(format!(
                    "{name} of {} and {} facts at {place}: {} and {}",
                    ours.len(),
                    theirs.len(),
                    show(ours.get(place)),
                    show(theirs.get(place))
                ));
            }
        }
        None
    }
}

/// Keywords and fingerprints by attribute of one database.
#[derive(Default)]
struct Names(Vec<Option<(Keyword, u64)>>);

impl Names {
    fn fact(&mut self, db: &Db, datom: Datom) -> Fact {
        let (a, name) = self.of(db, datom.a);
        let ea = pair(datom.e, name);
        let eav = triple(ea, &datom.v);
        Fact { e: datom.e, a, ea, eav, id: fingerprint(&(eav, datom.tx)), v: datom.v, tx: datom.tx }
    }

    fn of(&mut self, db: &Db, attr: Attr) -> (Keyword, u64) {
        if self.0.len() <= attr.index() {
            self.0.resize(attr.index() + 1, None);
        }
        let make = || {
            let keyword = db.attrs().keyword(attr);
            let name = fingerprint(keyword.as_str());
            (keyword, name)
        };
        match self.0.get_mut(attr.index()) {
            Some(slot) => slot.get_or_insert_with(make).clone(),
            None => make(),
        }
    }
}

/// Fingerprint of an entity and an attribute given as text.
pub(crate) fn ea(e: Eid, attr: &str) -> u64 {
    pair(e, fingerprint(attr))
}

fn pair(e: Eid, name: u64) -> u64 {
    fingerprint(&(e, name))
}

fn triple(ea: u64, value: &Value) -> u64 {
    match value {
        Value::Int(number) => fingerprint(&(ea, 1, number)),
        Value::String(text) => fingerprint(&(ea, 2, &**text)),
        Value::Bool(value) => fingerprint(&(ea, 3, value)),
        Value::Keyword(keyword) => fingerprint(&(ea, 4, keyword.as_str())),
        Value::Uuid(uuid) => fingerprint(&(ea, 5, uuid.as_bytes())),
        other => fingerprint(&(ea, 6, transit::write_string(other))),
    }
}

fn fingerprint<T: Hash + ?Sized>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Values as short as they can be told.
pub(crate) fn shown(value: &Value) -> String {
    let text = transit::write_string(value);
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}… ({} bytes)", text.get(..end).unwrap_or_default(), text.len()),
        None => text,
    }
}

impl std::fmt::Display for Fact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{} {} {} {}]", self.e, self.a, shown(&self.v), self.tx)
    }
}
