//! A transaction in a form that means the same in every copy of the graph: what the log keeps (sync.md 11.8).

use std::sync::LazyLock;

use datascript::{Attr, Datom, Db, Eid, Keyword, Value};

use super::entity::is_uuid;
use super::facts::Scope;
use super::value_set::{Key, OwnedKey, OwnedSet, dedup};
use super::{Result, attrs};

/// Up to so many datoms or items are compared pairwise, which needs no memory.
const PAIRWISE: usize = 16;

static ADD: LazyLock<Keyword> = LazyLock::new(|| Keyword::new("db/add"));
static RETRACT: LazyLock<Keyword> = LazyLock::new(|| Keyword::new("db/retract"));
static RETRACT_ENTITY: LazyLock<Keyword> = LazyLock::new(|| Keyword::new("db/retractEntity"));
static BLOCK_UUID: LazyLock<Keyword> = LazyLock::new(|| Keyword::new("block/uuid"));

/// Turns the datoms of a transaction into items with portable references: `[:db/add e a v tx]`, `[:db/retract e a v tx]`
/// and `[:db/retractEntity e]`, where an entity is a lookup ref or ident that `before` knows, or, if it is new, a string
/// tempid. Datoms keep their order (D-16), but for the definitions of properties, which go first, and retractions of
/// entities.
///
/// The result may be empty. The cost is linear in the number of datoms: every step is a pass or two over them, with tables
/// that are hashed with a secret; only up to [`PAIRWISE`] of them are compared with each other.
///
/// # Errors
///
/// Only when a database cannot be read.
pub fn normalise(before: &Db, after: &Db, tx_data: &[Datom], scope: &mut Scope<'_>) -> Result<Vec<Value>> {
    let mut steps = retract_entities(after, &collapse(tx_data))?;
    if steps.iter().any(|step| step.priority() < Step::LAST) {
        steps.sort_by_key(Step::priority);
    }
    let mut translator = Translator::new(before, after, scope);
    let mut items = Vec::with_capacity(steps.len());
    let mut retracts_entities = false;
    for step in steps {
        let item = match step {
            Step::Fact(datom) => translator.fact(datom)?,
            Step::Retract(target) => {
                retracts_entities = true;
                translator.retract(target)?
            }
        };
        items.extend(item);
    }
    if retracts_entities {
        drop_references_to_retracted(after, &mut items)?;
        items = reorder(items);
    }
    if has_duplicates(&items) {
        dedup(&mut items);
    }
    Ok(items)
}

/// Step 1: of datoms with the same entity, attribute, value and transaction the last one counts, in the place of the
/// first.
fn collapse(tx_data: &[Datom]) -> Vec<&Datom> {
    // A fact comes twice only if it was retracted in between.
    if tx_data.iter().all(|datom| datom.added) {
        return tx_data.iter().collect();
    }
    let mut current: Vec<&Datom> = Vec::with_capacity(tx_data.len());
    if tx_data.len() <= PAIRWISE {
        for datom in tx_data {
            match current.iter_mut().find(|earlier| FactKey(earlier) == FactKey(datom)) {
                Some(earlier) => *earlier = datom,
                None => current.push(datom),
            }
        }
        return current;
    }
    let mut places: keyed::Map<FactKey<'_>, usize> = keyed::Map::default();
    for datom in tx_data {
        let place = *places.entry(FactKey(datom)).or_insert(current.len());
        match current.get_mut(place) {
            Some(earlier) => *earlier = datom,
            None => current.push(datom),
        }
    }
    current
}

/// A datom by entity, attribute, value and transaction.
struct FactKey<'a>(&'a Datom);

impl PartialEq for FactKey<'_> {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.0, other.0);
        (a.e, a.a, a.tx) == (b.e, b.a, b.tx) && Key(&a.v) == Key(&b.v)
    }
}

impl Eq for FactKey<'_> {}

impl std::hash::Hash for FactKey<'_> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.0.e, self.0.a, self.0.tx).hash(state);
        Key(&self.0.v).hash(state);
    }
}

/// A datom to translate, or the retraction of an entity in place of all of its datoms.
enum Step<'a> {
    Fact(&'a Datom),
    Retract(Target),
}

/// Whose retraction it is, by what is looked up in the database before.
enum Target {
    Eid(Eid),
    Uuid(Value),
}

impl Step<'_> {
    const LAST: u8 = 3;

    fn priority(&self) -> u8 {
        match self {
            Self::Fact(datom) => match datom.a {
                attrs::DB_IDENT => 0,
                attrs::DB_VALUE_TYPE => 1,
                attrs::DB_CARDINALITY => 2,
                _ => Self::LAST,
            },
            Self::Retract(_) => Self::LAST,
        }
    }
}

/// Step 2: all datoms of an entity whose uuid went, or lives on under another id, become one retraction of it.
fn retract_entities<'a>(after: &Db, datoms: &[&'a Datom]) -> Result<Vec<Step<'a>>> {
    let mut targets: keyed::Map<Eid, Option<Target>> = keyed::Map::default();
    for datom in datoms {
        if datom.a == attrs::BLOCK_UUID && !datom.added {
            let holder = after.lookup(attrs::BLOCK_UUID, &datom.v)?;
            if holder != Some(datom.e) {
                let target = if holder.is_some() { Target::Eid(datom.e) } else { Target::Uuid(datom.v.clone()) };
                targets.insert(datom.e, Some(target));
            }
        }
    }
    if targets.is_empty() {
        return Ok(datoms.iter().copied().map(Step::Fact).collect());
    }
    let mut steps = Vec::new();
    for datom in datoms {
        match targets.get_mut(&datom.e) {
            Some(target) => steps.extend(target.take().map(Step::Retract)),
            None => steps.push(Step::Fact(datom)),
        }
    }
    Ok(steps)
}

/// Step 4: portable references.
struct Translator<'a, 's, 'f> {
    before: &'a Db,
    after: &'a Db,
    scope: &'s mut Scope<'f>,
    /// References of entities in the database before, and tempids of those in the one after.
    lookups: keyed::Map<Eid, Option<Value>>,
    tempids: keyed::Map<Eid, Option<Value>>,
}

impl<'a, 's, 'f> Translator<'a, 's, 'f> {
    fn new(before: &'a Db, after: &'a Db, scope: &'s mut Scope<'f>) -> Self {
        Self { before, after, scope, lookups: keyed::Map::default(), tempids: keyed::Map::default() }
    }

    fn fact(&mut self, datom: &Datom) -> Result<Option<Value>> {
        let Some(e) = self.reference(datom.e, datom.added)? else {
            return Ok(None);
        };
        let v = match datom.v.as_int() {
            Some(number) if number > 0 && self.is_ref(datom.a)? => {
                let target = match Eid::try_from(number) {
                    Ok(eid) => self.reference(eid, datom.added)?,
                    Err(_) => None,
                };
                match target {
                    Some(target) => target,
                    None => return Ok(None),
                }
            }
            _ => datom.v.clone(),
        };
        let verb = if datom.added { &*ADD } else { &*RETRACT };
        let attribute = self.after.attrs().keyword(datom.a);
        Ok(Some(Value::Vector(
            [Value::Keyword(verb.clone()), e, Value::Keyword(attribute), v, Value::from(datom.tx)].into(),
        )))
    }

    fn retract(&mut self, target: Target) -> Result<Option<Value>> {
        let eid = match target {
            Target::Eid(eid) => Some(eid),
            Target::Uuid(uuid) => self.before.lookup(attrs::BLOCK_UUID, &uuid)?,
        };
        let reference = match eid {
            Some(eid) => self.lookup(eid)?,
            None => None,
        };
        Ok(reference.map(|reference| Value::Vector([Value::Keyword(RETRACT_ENTITY.clone()), reference].into())))
    }

    /// What an entity is called: as the database before knows it or, where something is added, as a tempid.
    fn reference(&mut self, eid: Eid, added: bool) -> Result<Option<Value>> {
        match self.lookup(eid)? {
            None if added => self.tempid(eid),
            reference => Ok(reference),
        }
    }

    fn lookup(&mut self, eid: Eid) -> Result<Option<Value>> {
        if let Some(reference) = self.lookups.get(&eid) {
            return Ok(reference.clone());
        }
        let reference = match name(self.before, eid)? {
            Some(Name::Uuid(uuid)) => Some(Value::Vector([Value::Keyword(BLOCK_UUID.clone()), uuid].into())),
            Some(Name::Ident(ident)) => Some(ident),
            None => None,
        };
        self.lookups.insert(eid, reference.clone());
        Ok(reference)
    }

    fn tempid(&mut self, eid: Eid) -> Result<Option<Value>> {
        if let Some(tempid) = self.tempids.get(&eid) {
            return Ok(tempid.clone());
        }
        let tempid = match name(self.after, eid)? {
            Some(Name::Uuid(value) | Name::Ident(value)) => text(&value).map(Value::from),
            None => None,
        };
        self.tempids.insert(eid, tempid.clone());
        Ok(tempid)
    }

    fn is_ref(&mut self, attr: Attr) -> Result<bool> {
        Ok(self.after.flags(attr).is_ref()
            || self.before.flags(attr).is_ref()
            || self.scope.after().attribute(self.after, attr)?.is_ref
            || self.scope.before().attribute(self.before, attr)?.is_ref)
    }
}

/// What an entity can be known by in another copy of the graph.
enum Name {
    Uuid(Value),
    Ident(Value),
}

fn name(db: &Db, eid: Eid) -> Result<Option<Name>> {
    Ok(match db.value(eid, attrs::BLOCK_UUID)? {
        Some(uuid) => Some(Name::Uuid(uuid)),
        None => db.value(eid, attrs::DB_IDENT)?.map(Name::Ident),
    })
}

/// The text of a uuid, or of an ident with its colon.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Uuid(uuid) => Some(uuid.to_string()),
        Value::Keyword(ident) => Some(ident.to_string()),
        Value::Scalar(scalar) if is_uuid(value) => Some(scalar.rep.as_ref().to_owned()),
        Value::String(text) => Some(text.as_ref().to_owned()),
        _ => None,
    }
}

/// The parts of an add or retract.
fn fact_parts(item: &Value) -> Option<(&Value, &Value, &Value, &Value)> {
    match item.as_vector()? {
        [op, e, a, v, _] => Some((op, e, a, v)),
        _ => None,
    }
}

/// The target of a retraction of an entity.
fn retract_target(item: &Value) -> Option<&Value> {
    match item.as_vector()? {
        [_, target] => Some(target),
        _ => None,
    }
}

/// The uuid of a lookup ref by uuid.
fn lookup_uuid(reference: &Value) -> Option<&Value> {
    match reference.as_vector()? {
        [_, uuid] => Some(uuid),
        _ => None,
    }
}

/// Everything an item may call the target of a retraction: the reference itself, the uuid, its text.
fn aliases(target: &Value, into: &mut OwnedSet) {
    into.insert(OwnedKey(target.clone()));
    if let Some(uuid) = lookup_uuid(target) {
        into.insert(OwnedKey(uuid.clone()));
        into.extend(text(uuid).map(|text| OwnedKey(Value::from(text))));
    }
}

/// Step 5: facts about, or pointing at, entities that are gone.
fn drop_references_to_retracted(after: &Db, items: &mut Vec<Value>) -> Result<()> {
    let mut gone = OwnedSet::default();
    for target in items.iter().filter_map(retract_target) {
        let lives = match lookup_uuid(target) {
            Some(uuid) => after.lookup(attrs::BLOCK_UUID, uuid)?,
            None => after.entid(target)?,
        };
        if lives.is_none() {
            aliases(target, &mut gone);
        }
    }
    if !gone.is_empty() {
        items.retain(|item| {
            fact_parts(item)
                .is_none_or(|(_, e, _, v)| !gone.contains(&OwnedKey(e.clone())) && !gone.contains(&OwnedKey(v.clone())))
        });
    }
    Ok(())
}

/// Step 6: retractions of entities that come back in this transaction, what is said about them, all else, the other
/// retractions.
fn reorder(items: Vec<Value>) -> Vec<Value> {
    let mut recreated = OwnedSet::default();
    for (op, _, a, v) in items.iter().filter_map(fact_parts) {
        if op.is_keyword("db/add") && a.is_keyword("block/uuid") {
            recreated.insert(OwnedKey(v.clone()));
        }
    }
    let mut retracted = OwnedSet::default();
    for target in items.iter().filter_map(retract_target) {
        aliases(target, &mut retracted);
    }
    let rank = |item: &Value| match (retract_target(item), fact_parts(item)) {
        (Some(target), _) => {
            let comes_back = lookup_uuid(target).is_some_and(|uuid| recreated.contains(&OwnedKey(uuid.clone())));
            if comes_back { 0 } else { 3 }
        }
        (None, Some((_, e, ..))) if retracted.contains(&OwnedKey(e.clone())) => 1_u8,
        _ => 2,
    };
    let mut ranked: Vec<(u8, Value)> = items.into_iter().map(|item| (rank(&item), item)).collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, item)| item).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_of_equal_facts_counts() {
        let datom = |v: i64, added| Datom { added, ..Datom::new(1, attrs::BLOCK_ORDER, Value::Int(v), 5) };
        let collapsed = |datoms: &[Datom]| -> Vec<(Option<i64>, bool)> {
            collapse(datoms).into_iter().map(|datom| (datom.v.as_int(), datom.added)).collect()
        };
        assert_eq!(collapsed(&[datom(1, true), datom(2, true)]), [(Some(1), true), (Some(2), true)]);
        assert_eq!(
            collapsed(&[datom(1, true), datom(2, true), datom(1, false), datom(2, false), datom(1, true)]),
            [(Some(1), true), (Some(2), false)]
        );
        let many: Vec<Datom> = (0..40).map(|i| datom(i % 20, i >= 20)).collect();
        assert_eq!(collapsed(&many), (0..20).map(|i| (Some(i), true)).collect::<Vec<_>>());
    }
}
