//! The checksum after a transaction, from the one before it (sync.md 12.5).

use datascript::{Datom, Db, Eid, Index, Pattern, Value};
use rustc_hash::FxHashSet;

use super::counted::{Counted, Reader};
use super::digest::Checksum;
use super::full::full;
use crate::rules::facts::Scope;
use crate::rules::{Result, attrs, entity};

/// What a transaction changed, in either form: the result is the same.
#[derive(Clone, Copy)]
pub enum Changes<'a> {
    /// The datoms of one or more transactions: the cheaper form.
    Datoms(&'a [Datom]),
    /// A normalised transaction (sync.md 11.8).
    Items(&'a [Value]),
}

impl Changes<'_> {
    fn is_empty(&self) -> bool {
        match self {
            Self::Datoms(datoms) => datoms.is_empty(),
            Self::Items(items) => items.is_empty(),
        }
    }
}

/// The checksum of `after`, given that of `before`; `None` when there are no changes, and the stored text stays as it is,
/// right or wrong. Anything but 16 hexadecimal digits as `previous` means that `before` is summed up in full; a wrong
/// checksum stays wrong by the same amount.
///
/// The cost depends on the changes and on what refers to entities whose uuid changed, not on the size of the graph. What
/// is held in memory is a few words for each entity concerned.
///
/// # Errors
///
/// Only when a database cannot be read.
pub fn update(
    previous: Option<&str>,
    before: &Db,
    after: &Db,
    changes: Changes<'_>,
    scope: &mut Scope<'_>,
) -> Result<Option<Checksum>> {
    let is_e2ee = scope.after().is_e2ee(after)?;
    if scope.changes() && scope.before().is_e2ee(before)? != is_e2ee {
        return full(after).map(Some);
    }
    if changes.is_empty() {
        return Ok(None);
    }
    let initial = match previous.and_then(|text| text.parse().ok()) {
        Some(checksum) => checksum,
        None => full(before)?,
    };
    let is_complete = matches!(changes, Changes::Datoms(_));
    let delta = Delta { before, after, is_e2ee, is_complete, scope, states: (Counted::default(), Counted::default()) };
    Ok(Some(delta.apply(initial, touched(before, after, changes)?)?))
}

/// An entity that changes mention, and whether one of them concerns its uuid.
type Touched = (Eid, bool);

fn touched(before: &Db, after: &Db, changes: Changes<'_>) -> Result<Vec<Touched>> {
    let mut touched: Vec<Touched> = Vec::new();
    match changes {
        Changes::Datoms(datoms) => {
            for datom in datoms {
                let item = (datom.e, datom.a == attrs::BLOCK_UUID);
                if touched.last() != Some(&item) {
                    touched.push(item);
                }
            }
        }
        Changes::Items(items) => {
            for item in items {
                touch(before, after, item, &mut touched)?;
            }
        }
    }
    touched.sort_unstable();
    touched.dedup_by(|later, earlier| {
        let same = later.0 == earlier.0;
        earlier.1 |= same && later.1;
        same
    });
    Ok(touched)
}

/// Entities that a vector item may mean, in either database.
fn touch(before: &Db, after: &Db, item: &Value, touched: &mut Vec<Touched>) -> Result<()> {
    let Some([op, e, rest @ ..]) = item.as_vector() else {
        return Ok(());
    };
    let concerns_uuid = rest.first().is_some_and(|attr| attr.is_keyword("block/uuid"));
    let mut references = vec![e];
    if concerns_uuid && (op.is_keyword("db/add") || op.is_keyword("db/retract")) {
        references.extend(rest.get(1));
    }
    for reference in references {
        let uuid = match reference {
            Value::String(text) => text.parse().ok().map(Value::Uuid),
            uuid if entity::is_uuid(uuid) => Some(uuid.clone()),
            _ => None,
        };
        for db in [before, after] {
            let eid = match &uuid {
                Some(uuid) => db.lookup(attrs::BLOCK_UUID, uuid)?,
                None => denoted(db, reference)?,
            };
            touched.extend(eid.map(|eid| (eid, concerns_uuid)));
        }
    }
    Ok(())
}

/// The entity id that a reference means, whether or not there is such an entity.
fn denoted(db: &Db, reference: &Value) -> Result<Option<Eid>> {
    match db.entid(reference) {
        Ok(eid) => Ok(eid),
        Err(datascript::Error::Transact(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The difference that changes make.
struct Delta<'a, 'f> {
    before: &'a Db,
    after: &'a Db,
    is_e2ee: bool,
    /// Every entity with a changed datom is among the touched ones, so that all others are in `after` as in `before`.
    is_complete: bool,
    scope: &'a mut Scope<'f>,
    /// The entity under consideration, before and after.
    states: (Counted, Counted),
}

impl Delta<'_, '_> {
    fn apply(mut self, initial: Checksum, touched: Vec<Touched>) -> Result<Checksum> {
        let mut sum = initial;
        let mut effective: Vec<Eid> = Vec::with_capacity(touched.len());
        let mut renamed: Vec<Eid> = Vec::new();
        let mut uuids = Uuids::default();
        for (eid, concerns_uuid) in touched {
            self.read(eid)?;
            let (was, is) = &self.states;
            if was.uuid != is.uuid {
                renamed.push(eid);
            } else if !(concerns_uuid || was.is_eligible || is.is_eligible) {
                continue;
            }
            effective.push(eid);
            sum = self.count(sum);
            uuids.note(&self.states);
        }
        for eid in self.referrers(&renamed, &effective)? {
            self.read(eid)?;
            if self.states.0.is_eligible || self.states.1.is_eligible {
                effective.push(eid);
                sum = self.count(sum);
                uuids.note(&self.states);
            }
        }
        if self.any_shared(&mut uuids)? {
            return self.apply_shared(initial, effective, &uuids);
        }
        Ok(sum)
    }

    fn read(&mut self, eid: Eid) -> Result<()> {
        let (was, is) = &mut self.states;
        let is_e2ee = self.is_e2ee;
        Reader { db: self.before, known: self.scope.before(), is_e2ee }.read(eid, was)?;
        Reader { db: self.after, known: self.scope.after(), is_e2ee }.read(eid, is)
    }

    /// Adds what the entity under consideration gained, and takes away what it lost.
    fn count(&self, sum: Checksum) -> Checksum {
        let (was, is) = &self.states;
        sum.minus(was.sum_without(is), 1).plus(is.sum_without(was), 1)
    }

    /// Entities with a renamed one as their parent or page, in either database, that are not considered already
    /// (`effective` is ascending).
    fn referrers(&self, renamed: &[Eid], effective: &[Eid]) -> Result<Vec<Eid>> {
        let mut referrers: Vec<Eid> = Vec::new();
        // With complete changes, who refers now and did not before is among the effective ones.
        let databases = if self.is_complete { &[self.before][..] } else { &[self.before, self.after] };
        for eid in renamed {
            let target = Value::from(*eid);
            for db in databases {
                for attr in [attrs::BLOCK_PARENT, attrs::BLOCK_PAGE] {
                    let pattern = Pattern::av(attr, &target);
                    if db.first(Index::Avet, &pattern)?.is_none() {
                        continue;
                    }
                    for datom in db.datoms(Index::Avet, &pattern) {
                        let referrer = datom?.e;
                        if effective.binary_search(&referrer).is_err() {
                            referrers.push(referrer);
                        }
                    }
                }
            }
        }
        referrers.sort_unstable();
        referrers.dedup();
        Ok(referrers)
    }

    /// Whether one of the uuids is held by more than one entity, in either database.
    fn any_shared(&self, uuids: &mut Uuids) -> Result<bool> {
        for uuid in &uuids.was {
            if is_shared(self.before, uuid)? || is_shared(self.after, uuid)? {
                return Ok(true);
            }
        }
        for uuid in &uuids.new {
            let pattern = Pattern::av(attrs::BLOCK_UUID, uuid);
            let is_new = self.is_complete && !uuids.is_irregular && self.before.first(Index::Avet, &pattern)?.is_none();
            if !is_new && (is_shared(self.before, uuid)? || is_shared(self.after, uuid)?) {
                return Ok(true);
            }
        }
        // A uuid that nobody had is held by touched entities only.
        uuids.new.sort_unstable_by(datascript::value::compare);
        Ok(uuids.new.windows(2).any(|pair| matches!(pair, [a, b] if a == b)))
    }

    /// The case of uuids held by several entities: all holders are considered, each as often as it has a uuid.
    fn apply_shared(mut self, initial: Checksum, effective: Vec<Eid>, uuids: &Uuids) -> Result<Checksum> {
        let mut eids: FxHashSet<Eid> = effective.into_iter().collect();
        for uuid in uuids.was.iter().chain(&uuids.new) {
            for db in [self.before, self.after] {
                for datom in db.datoms(Index::Avet, &Pattern::av(attrs::BLOCK_UUID, uuid)) {
                    eids.insert(datom?.e);
                }
            }
        }
        let mut sum = initial;
        for eid in eids {
            self.read(eid)?;
            let (was, is) = &self.states;
            sum = sum.minus(was.sum(was.uuid_datoms), 1).plus(is.sum(is.uuid_datoms), 1);
        }
        Ok(sum)
    }
}

/// Uuids of the entities considered.
#[derive(Default)]
struct Uuids {
    /// Those in the database before.
    was: Vec<Value>,
    /// Those in the database after that the entity did not have before.
    new: Vec<Value>,
    /// Some entity has more than one uuid.
    is_irregular: bool,
}

impl Uuids {
    fn note(&mut self, (was, is): &(Counted, Counted)) {
        self.was.extend(was.uuid.clone());
        if was.uuid != is.uuid {
            self.new.extend(is.uuid.clone());
        }
        self.is_irregular |= was.uuid_datoms.max(is.uuid_datoms) > 1;
    }
}

fn is_shared(db: &Db, uuid: &Value) -> Result<bool> {
    Ok(db.datoms(Index::Avet, &Pattern::av(attrs::BLOCK_UUID, uuid)).nth(1).transpose()?.is_some())
}
