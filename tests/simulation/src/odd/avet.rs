//! Which facts AVET must hold and which it must not, followed from batch to batch.

use datascript::{Db, Schema, Value};
use graph::rules::attrs;
use rustc_hash::FxHashSet;

use super::facts::{Fact, Facts};
use super::failure::{Failure, Kind, Outcome};
use super::mentions::{Mention, Said};

/// Attributes whose facts change the schema.
const SCHEMA: [&str; 8] = [
    "db/ident",
    "db/index",
    "db/unique",
    "db/valueType",
    "db/cardinality",
    "db/isComponent",
    "db/doc",
    "db/tupleAttrs",
];

/// What is known of the facts of a graph, by their fingerprints.
#[derive(Debug, Default)]
pub(crate) struct Membership {
    /// Facts added while their attribute was indexed, as it has been ever since.
    must: FxHashSet<u64>,
    /// Facts added while their attribute was not indexed, as it has not been since.
    never: FxHashSet<u64>,
    /// Whether each attribute was indexed after the last batch.
    schema: Option<Schema>,
}

/// Attributes that a batch may have switched, perhaps there and back.
#[derive(Default)]
struct Switched {
    attrs: FxHashSet<String>,
    /// Number of items that may switch something: a single one cannot switch there and back.
    items: usize,
    everything: bool,
}

impl Membership {
    /// The state for a graph of unknown history.
    pub(crate) fn of(facts: &Facts, db: &Db) -> Self {
        // Its history is unknown, so whatever AVET holds counts as right.
        let must = facts.avet.iter().filter(|fact| is_indexed(db.schema(), fact)).map(|fact| fact.id).collect();
        Self { must, never: FxHashSet::default(), schema: Some(db.schema().clone()) }
    }

    /// Updates the state after a batch.
    pub(crate) fn follow(&mut self, before: &Facts, after: &Facts, said: &[Said], db: &Db) {
        let switched = Switched::by(said, before, after, db);
        let Some(schema) = self.schema.take() else { return };
        let old = ids(&before.eavt);
        let (mut must, mut never) = (FxHashSet::default(), FxHashSet::default());
        for fact in &after.eavt {
            let name = fact.a.as_str();
            let (was, is) = (is_indexed(&schema, fact), is_indexed(db.schema(), fact));
            let unsure = switched.everything || (switched.items > 1 && switched.attrs.contains(name));
            if unsure || was != is {
                continue;
            }
            let is_new = !old.contains(&fact.id);
            if is && (is_new || self.must.contains(&fact.id)) {
                must.insert(fact.id);
            } else if !is && (is_new || self.never.contains(&fact.id)) {
                never.insert(fact.id);
            }
        }
        *self = Self { must, never, schema: Some(db.schema().clone()) };
    }

    /// AVET holds no fact that EAVT does not hold.
    pub(crate) fn no_ghosts(facts: &Facts) -> Outcome {
        let all = ids(&facts.eavt);
        match facts.avet.iter().find(|fact| !all.contains(&fact.id)) {
            Some(fact) => Err(Failure::new(Kind::Ghost, format!("{fact} is in AVET alone"))),
            None => Ok(()),
        }
    }

    /// AVET holds no fact that was never indexed.
    pub(crate) fn none_too_many(&self, facts: &Facts) -> Outcome {
        match facts.avet.iter().find(|fact| self.never.contains(&fact.id)) {
            Some(fact) => Err(Failure::new(Kind::Overindexed, format!("{fact} is in AVET, and was never indexed"))),
            None => Ok(()),
        }
    }

    /// AVET holds every fact that it must hold.
    pub(crate) fn none_missing(&self, facts: &Facts) -> Outcome {
        let avet = ids(&facts.avet);
        match facts.eavt.iter().find(|fact| self.must.contains(&fact.id) && !avet.contains(&fact.id)) {
            Some(fact) => Err(Failure::new(Kind::Unindexed, format!("{fact} is not in AVET"))),
            None => Ok(()),
        }
    }
}

fn ids(facts: &[Fact]) -> FxHashSet<u64> {
    facts.iter().map(|fact| fact.id).collect()
}

fn is_indexed(schema: &Schema, fact: &Fact) -> bool {
    schema.attrs().get(fact.a.as_str()).is_some_and(|attr| schema.flags(attr).is_indexed())
}

impl Switched {
    fn by(said: &[Said], before: &Facts, after: &Facts, db: &Db) -> Self {
        let mut switched = Self::default();
        let mut entities = FxHashSet::default();
        for mention in said.iter().flat_map(|said| &said.mentions) {
            match mention {
                Mention::Add { e, a, v } if SCHEMA.contains(&a.as_str()) => {
                    switched.items += 1;
                    entities.insert(*e);
                    switched.name(v);
                }
                Mention::Pair { e, a } if SCHEMA.contains(&a.as_str()) => {
                    switched.items += 1;
                    entities.insert(*e);
                }
                Mention::Attr(a) if SCHEMA.contains(&a.as_str()) => switched.everything = true,
                Mention::Entity(_) | Mention::Unknown => switched.everything = true,
                Mention::Add { .. } | Mention::Pair { .. } | Mention::Attr(_) => {}
            }
        }
        for facts in [before, after] {
            for fact in facts.eavt.iter().filter(|fact| entities.contains(&fact.e) && fact.a == "db/ident") {
                switched.name(&fact.v);
            }
        }
        // An attribute of attributes that is many-valued, or a part, may do more than one fact says.
        for attr in [attrs::DB_IDENT, attrs::DB_INDEX, attrs::DB_VALUE_TYPE] {
            switched.everything |= switched.items > 0 && (db.flags(attr).is_many() || db.flags(attr).is_component());
        }
        switched
    }

    fn name(&mut self, ident: &Value) {
        if let Some(ident) = ident.as_keyword() {
            self.attrs.insert(ident.as_str().to_owned());
        }
    }
}
