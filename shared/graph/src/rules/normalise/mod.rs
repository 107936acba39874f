//! A transaction in a form that means the same in every copy of the graph: what the log keeps (sync.md 11.8).
//!
//! The rule behind all of it (D-66): whoever applies the items to a copy of the database before has the database after.

mod collapse;
mod fate;
mod name;
mod redefined;
mod rename;
mod translate;

use std::sync::LazyLock;

use datascript::{Datom, Db, Eid, Index, Keyword, Pattern, Report, Value};

use super::facts::Scope;
use super::value_set::dedup;
use super::{Result, attrs};
use collapse::collapse;
use fate::{Fate, Fates, is_name};
use name::Name;
use redefined::Redefined;
use translate::{Meaning, Told, Translator};

/// Up to so many items are compared pairwise, which needs no memory.
const PAIRWISE: usize = 16;

static ADD: LazyLock<Keyword> = LazyLock::new(|| Keyword::new("db/add"));
static RETRACT: LazyLock<Keyword> = LazyLock::new(|| Keyword::new("db/retract"));
static RETRACT_ENTITY: LazyLock<Keyword> = LazyLock::new(|| Keyword::new("db/retractEntity"));

/// What the log gets of a transaction.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// The items. They may be none.
    pub items: Vec<Value>,
    /// Entities that were changed and have no name that other copies know: of these nothing is told, and so nothing may be
    /// kept.
    pub untold: Vec<Eid>,
}

/// Where an item stands among the others.
type Rank = u8;

/// Facts that go under attributes that are defined, changed or removed.
const BEFORE_DEFINITIONS: Rank = 0;
/// Retractions of entities whose name another one gets.
const EARLY_RETRACTION: Rank = 1;
/// New names of entities.
const RENAME: Rank = 2;
/// Facts about entities that come back under the name of one that goes; with definitions first among them.
const RECREATED: Rank = 3;
/// All other facts; with definitions first.
const FACT: Rank = 7;
/// Where ordinary facts stand among the facts.
const ORDINARY: Rank = 3;
/// Facts under attributes whose definition stands later in the same transaction.
const AFTER_DEFINITIONS: Rank = 11;
/// Names that are given up, the ident before the uuid.
const LAST_IDENT: Rank = 12;
const LAST_UUID: Rank = 13;
const RETRACTION: Rank = 14;
/// Facts that come under attributes whose entities were retracted.
const AFTER_RETRACTIONS: Rank = 15;

/// Turns the datoms of a transaction into items with portable references: `[:db/add e a v tx]`, `[:db/retract e a v tx]`
/// and `[:db/retractEntity e]`, where an entity is a lookup ref or ident that a copy knows, or, if it is new, a string
/// tempid. Datoms keep their order (D-16), but for definitions of properties, names and retractions of entities.
///
/// The cost is linear in the number of datoms: every step is a pass or two over them, with tables that are hashed with a
/// secret, and a few look-ups for each entity; only up to [`PAIRWISE`] of them are compared with each other.
///
/// # Errors
///
/// Refusals are [`Error::NothingFound`](super::Error::NothingFound), [`Error::Nameless`](super::Error::Nameless) and
/// [`Error::Untold`](super::Error::Untold): what the transaction does cannot be told. Else only when a database cannot be
/// read.
pub fn normalise(report: &Report, scope: &mut Scope<'_>) -> Result<Log> {
    let (before, after) = (&report.db_before, &report.db_after);
    let datoms = collapse(&report.tx_data);
    let fates = Fates::of(report, &datoms)?;
    let redefined = Redefined::of(before, after, &datoms, &fates)?;
    let mut teller = Teller {
        before,
        after,
        fates: &fates,
        redefined,
        recreated: Recreated::new(before, after, &fates, &datoms),
        translator: Translator::new(before, after, &fates, scope),
        items: Vec::with_capacity(datoms.len()),
        seen: keyed::Set::default(),
        untold: Vec::new(),
    };
    for item in rename::renames(before, after, &datoms, &fates)? {
        teller.items.push((RENAME, item));
    }
    for datom in &datoms {
        teller.datom(datom)?;
    }
    let Teller { mut items, untold, .. } = teller;
    if !items.is_sorted_by_key(|(rank, _)| *rank) {
        items.sort_by_key(|(rank, _)| *rank);
    }
    let mut items: Vec<Value> = items.into_iter().map(|(_, item)| item).collect();
    if has_duplicates(&items) {
        dedup(&mut items);
    }
    Ok(Log { items, untold })
}

/// Puts one datom after another into items.
struct Teller<'a, 's, 'f> {
    before: &'a Db,
    after: &'a Db,
    fates: &'a Fates,
    redefined: Redefined,
    recreated: Recreated<'a>,
    translator: Translator<'a, 's, 'f>,
    items: Vec<(Rank, Value)>,
    /// Entities of which one item tells everything.
    seen: keyed::Set<Eid>,
    untold: Vec<Eid>,
}

impl Teller<'_, '_, '_> {
    fn datom(&mut self, datom: &Datom) -> Result<()> {
        match self.fates.get(datom.e) {
            Some(Fate::Retracted { early }) => self.retract(datom.e, if early { EARLY_RETRACTION } else { RETRACTION }),
            Some(Fate::Nameless) => {
                self.untold.push(datom.e);
                self.retract(datom.e, RETRACTION)
            }
            Some(Fate::Renamed) if is_name(datom.a) => Ok(()),
            _ if self.redefined.contains(datom.a) => self.redefined(datom),
            fate => {
                let told = self.translator.fact(datom, Meaning::Both)?;
                let rank = self.rank(datom, fate == Some(Fate::TakenApart))?;
                self.tell(datom, told, rank);
                Ok(())
            }
        }
    }

    /// One retraction in the place of all datoms of an entity.
    fn retract(&mut self, eid: Eid, rank: Rank) -> Result<()> {
        if self.seen.insert(eid)
            && let Some(reference) = self.translator.known(eid)?
        {
            self.items.push((rank, Value::vector([Value::Keyword(RETRACT_ENTITY.clone()), reference])));
        }
        Ok(())
    }

    /// A fact whose attribute is defined in the same transaction.
    fn redefined(&mut self, datom: &Datom) -> Result<()> {
        let fact = Pattern::eav(datom.e, datom.a, &datom.v);
        if datom.added {
            if self.after.first(Index::Eavt, &fact)?.is_some() {
                let told = self.translator.fact(datom, Meaning::After)?;
                if matches!(told, Told::Item(_)) {
                    self.redefined.check_added(self.before, self.after, datom)?;
                }
                let rank = if self.redefined.is_unmade(datom.a) {
                    AFTER_RETRACTIONS
                } else if self.redefined.is_late() {
                    AFTER_DEFINITIONS
                } else {
                    self.rank(datom, false)?
                };
                self.tell(datom, told, rank);
            }
        } else if self.before.first(Index::Eavt, &fact)?.is_some() {
            let told = self.translator.fact(datom, Meaning::Before)?;
            Redefined::check_removed(datom, self.fates)?;
            self.tell(datom, told, BEFORE_DEFINITIONS);
        }
        Ok(())
    }

    fn tell(&mut self, datom: &Datom, told: Told, rank: Rank) {
        match told {
            Told::Item(item) => self.items.push((rank, item)),
            Told::Nothing => {}
            Told::Untold => self.untold.push(datom.e),
        }
    }

    fn rank(&mut self, datom: &Datom, is_taken_apart: bool) -> Result<Rank> {
        if is_taken_apart && is_name(datom.a) && !datom.added {
            return Ok(if datom.a == attrs::DB_IDENT { LAST_IDENT } else { LAST_UUID });
        }
        let order = match datom.a {
            attrs::DB_IDENT if self.gives_up_ident(datom)? => return Ok(LAST_IDENT),
            attrs::DB_IDENT => 0,
            attrs::DB_VALUE_TYPE => 1,
            attrs::DB_CARDINALITY => 2,
            _ => ORDINARY,
        };
        Ok(order + if self.recreated.contains(datom.e)? { RECREATED } else { FACT })
    }

    /// Whether an ident is retracted and given to no other entity: its entity is no attribute any more after that, so that
    /// the other items about it have to come first.
    fn gives_up_ident(&self, datom: &Datom) -> Result<bool> {
        Ok(!datom.added
            && self.after.value(datom.e, attrs::DB_IDENT)?.is_none()
            && self.after.lookup(attrs::DB_IDENT, &datom.v)?.is_none())
    }
}

/// New entities that take over the uuid of an entity that is retracted. Items about them come first.
struct Recreated<'a> {
    before: &'a Db,
    after: &'a Db,
    fates: &'a Fates,
    /// Whether there may be any.
    any: bool,
    known: keyed::Map<Eid, bool>,
}

impl<'a> Recreated<'a> {
    fn new(before: &'a Db, after: &'a Db, fates: &'a Fates, datoms: &[&Datom]) -> Self {
        // Unique values, too, go from one entity to another in an order that is kept.
        let any =
            fates.any_early() && !datoms.iter().any(|datom| after.flags(datom.a).is_unique() && !is_name(datom.a));
        Self { before, after, fates, any, known: keyed::Map::default() }
    }

    fn contains(&mut self, eid: Eid) -> Result<bool> {
        if !self.any {
            return Ok(false);
        }
        if let Some(known) = self.known.get(&eid) {
            return Ok(*known);
        }
        let is_recreated = match Name::of(self.after, eid)? {
            Some(Name::Uuid(uuid)) => {
                let holder = self.before.lookup(attrs::BLOCK_UUID, &uuid)?;
                holder.is_some_and(|holder| self.fates.is_retracted(holder))
            }
            _ => false,
        };
        self.known.insert(eid, is_recreated);
        Ok(is_recreated)
    }
}

/// Whether step 7 may have something to remove.
fn has_duplicates(items: &[Value]) -> bool {
    items.len() > PAIRWISE
        || items.iter().zip(1..).any(|(item, next)| items.iter().skip(next).any(|other| same(item, other)))
}

fn same(item: &Value, other: &Value) -> bool {
    match (fact_parts(item), fact_parts(other)) {
        // Most facts differ by their attribute, whose keyword is shared.
        (Some((_, _, Value::Keyword(a), _)), Some((_, _, Value::Keyword(b), _))) if !a.ptr_eq(b) => false,
        _ => item == other,
    }
}

/// The parts of an add or retract.
fn fact_parts(item: &Value) -> Option<(&Value, &Value, &Value, &Value)> {
    match item.as_vector()? {
        [op, e, a, v, _] => Some((op, e, a, v)),
        _ => None,
    }
}
