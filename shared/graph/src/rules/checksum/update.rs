//! The checksum after a transaction, from the one before it (sync.md 12.5).

use datascript::{Attr, Datom, Db, Eid, Index, Pattern, Value};

use super::counted::{Counted, Reader, is_same};
use super::digest::Checksum;
use crate::rules::facts::Scope;
use crate::rules::{Result, attrs, entity};

/// More references than this to entities that changed in the eyes of others are not followed one by one: then one pass
/// over the database is as cheap, and needs no memory.
pub const MAX_REFERENCES: usize = 1 << 16;

/// What a transaction changed, in either form: the result is the same, as far as items can tell (those about entities
/// without uuid and ident cannot).
#[derive(Clone, Copy)]
pub enum Changes<'a> {
    /// The datoms of one or more transactions: the cheaper form, and the exact one.
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

/// What becomes of a checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// It stays as it is.
    None,
    /// It is this one now.
    Sum(Checksum),
    /// It has to be summed up in full.
    Anew,
}

/// The checksum of `after`, given that of `before`; [`Update::None`] when there are no changes, and the stored text stays as it is,
/// right or wrong. Given datoms and the right checksum of `before`, the result is what [`full`](super::full::full) says of `after`, whatever
/// was done. Anything but 16 hexadecimal digits as `previous` means that `after` is summed up in full; a wrong checksum
/// stays wrong by the same amount until that happens.
///
/// What an entity adds depends on its own datoms, on the uuids of its page and parent, on whether there is a page, on
/// whether its tags make it one, and on one setting. So entities with changed datoms are looked at, and what refers to
/// those among them that others see differently now. The cost depends on these, not on the size of the graph; where they
/// cannot be looked up or are more than [`MAX_REFERENCES`], or where the setting changed, the sum is made anew in one pass.
/// What is held in memory is a few words for each entity concerned.
///
/// A sum that has to be made anew is left to the caller, who may have more changes: one pass over the database does for all of
/// them. `references` are those that may yet be followed one by one, [`MAX_REFERENCES`] at first; what is followed is taken off.
///
/// # Errors
///
/// Only when a database cannot be read.
pub fn follow(
    previous: Option<&str>,
    before: &Db,
    after: &Db,
    changes: Changes<'_>,
    scope: &mut Scope<'_>,
    references: &mut usize,
) -> Result<Update> {
    let is_e2ee = scope.after().is_e2ee(after)?;
    if scope.changes() && scope.before().is_e2ee(before)? != is_e2ee {
        return Ok(Update::Anew);
    }
    if changes.is_empty() {
        return Ok(Update::None);
    }
    let Some(initial) = previous.and_then(|text| text.parse().ok()) else {
        return Ok(Update::Anew);
    };
    let is_complete = matches!(changes, Changes::Datoms(_));
    let touched = touched(before, after, changes)?;
    let delta = Delta { before, after, is_e2ee, is_complete, scope, states: (Counted::default(), Counted::default()) };
    Ok(delta.apply(initial, &touched, references)?.map_or(Update::Anew, Update::Sum))
}

/// The entities that changes mention, ascending.
fn touched(before: &Db, after: &Db, changes: Changes<'_>) -> Result<Vec<Eid>> {
    let mut touched: Vec<Eid> = Vec::new();
    match changes {
        Changes::Datoms(datoms) => {
            for datom in datoms {
                if touched.last() != Some(&datom.e) {
                    touched.push(datom.e);
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
    touched.dedup();
    Ok(touched)
}

/// Entities that a vector item may mean, in either database.
fn touch(before: &Db, after: &Db, item: &Value, touched: &mut Vec<Eid>) -> Result<()> {
    let Some([op, e, rest @ ..]) = item.as_vector() else {
        return Ok(());
    };
    let concerns_uuid = rest.first().is_some_and(|attr| attr.is_keyword("block/uuid"));
    let mut references = vec![e];
    if concerns_uuid && (op.is_keyword("db/add") || op.is_keyword("db/retract")) {
        references.extend(rest.get(1));
    }
    for reference in references {
        for db in [before, after] {
            match named_uuid(reference) {
                // A reference by uuid may mean any of its holders.
                Some(uuid) => {
                    for datom in db.datoms(Index::Avet, &Pattern::av(attrs::BLOCK_UUID, &uuid)) {
                        touched.push(datom?.e);
                    }
                }
                None => touched.extend(denoted(db, reference)?),
            }
        }
    }
    Ok(())
}

/// The uuid that a tempid or a lookup ref names.
fn named_uuid(reference: &Value) -> Option<Value> {
    match reference {
        Value::String(text) => text.parse().ok().map(Value::Uuid),
        Value::Vector(pair) => match &**pair {
            [attr, uuid] if attr.is_keyword("block/uuid") => Some(uuid.clone()),
            _ => None,
        },
        uuid if entity::is_uuid(uuid) => Some(uuid.clone()),
        _ => None,
    }
}

/// The entity id that a reference means, whether or not there is such an entity; a text is a tempid that tells an ident.
fn denoted(db: &Db, reference: &Value) -> Result<Option<Eid>> {
    if let Some(ident) = reference.as_str().and_then(|text| text.strip_prefix(':')) {
        return Ok(db.ident(ident)?);
    }
    match db.entid(reference) {
        Ok(eid) => Ok(eid),
        Err(datascript::Error::Transact(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// An entity that others see differently now, and the attribute through which they do.
type Renewed = (Attr, Eid);

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
    /// The sum after the changes; `None` where it is to be made anew. Bounded by the touched entities, which are fewer than
    /// the datoms of the entry, and by the references that may yet be followed.
    fn apply(mut self, initial: Checksum, touched: &[Eid], references: &mut usize) -> Result<Option<Checksum>> {
        let mut sum = initial;
        let mut renewed: Vec<Renewed> = Vec::new();
        for eid in touched {
            self.read(*eid)?;
            sum = self.count(sum);
            self.compare(*eid, &mut renewed)?;
        }
        let Some(referrers) = self.referrers(&renewed, touched, *references)? else {
            return Ok(None);
        };
        *references -= referrers.len();
        for eid in referrers {
            self.read(eid)?;
            sum = self.count(sum);
        }
        Ok(Some(sum))
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

    /// Notes in which ways others see the entity under consideration differently now.
    fn compare(&mut self, eid: Eid, renewed: &mut Vec<Renewed>) -> Result<()> {
        let (was, is) = &self.states;
        if !is_same(was.uuid.as_ref(), is.uuid.as_ref()) {
            renewed.extend([(attrs::BLOCK_PARENT, eid), (attrs::BLOCK_PAGE, eid)]);
        } else if was.exists != is.exists {
            renewed.push((attrs::BLOCK_PAGE, eid));
        }
        if self.scope.changes() {
            let made_pages = self.scope.before().tag(self.before, eid)?.is_page();
            if made_pages != self.scope.after().tag(self.after, eid)?.is_page() {
                renewed.push((attrs::BLOCK_TAGS, eid));
            }
        }
        Ok(())
    }

    /// The entities that see one of the renewed ones, in either database, and are not touched themselves; ascending.
    /// `None` where they cannot be looked up, or are too many.
    fn referrers(&self, renewed: &[Renewed], touched: &[Eid], most: usize) -> Result<Option<Vec<Eid>>> {
        let mut referrers: Vec<Eid> = Vec::new();
        // With complete changes, who refers now and did not before is among the touched ones.
        let databases = if self.is_complete { &[self.before][..] } else { &[self.before, self.after] };
        for (attr, eid) in renewed {
            if !self.is_indexed(*attr) {
                return Ok(None);
            }
            let target = Value::from(*eid);
            let pattern = Pattern::av(*attr, &target);
            for db in databases {
                if db.first(Index::Avet, &pattern)?.is_none() {
                    continue;
                }
                for datom in db.datoms(Index::Avet, &pattern) {
                    let referrer = datom?.e;
                    if touched.binary_search(&referrer).is_ok() {
                        continue;
                    }
                    if referrers.len() >= most {
                        return Ok(None);
                    }
                    referrers.push(referrer);
                }
            }
        }
        referrers.sort_unstable();
        referrers.dedup();
        Ok(Some(referrers))
    }

    /// Whether AVET held every reference of an attribute. The schema of a graph that was uploaded may say otherwise; then
    /// values need be no entity ids either, nor in an order that a search can rely on.
    fn is_indexed(&self, attr: Attr) -> bool {
        self.before.flags(attr).is_ref()
    }
}
