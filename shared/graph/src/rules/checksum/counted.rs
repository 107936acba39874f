//! What of an entity counts for the checksum (sync.md 12.1, 12.2).

use datascript::{Attr, Datom, Db, Eid, Index, Pattern, Value};

use super::digest::{Checksum, Digest};
use crate::rules::facts::Known;
use crate::rules::value_set::Key;
use crate::rules::{Result, attrs, entity};

/// Up to so many tuples of an entity are compared pairwise.
const PAIRWISE: usize = 16;

/// An entity as the checksum sees it. The buffers of one are used for many.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    /// Whether there is any datom at all; only an entity that was [read](Reader::read) knows.
    pub(super) exists: bool,
    /// Value of the first `:block/uuid` datom.
    pub(crate) uuid: Option<Value>,
    /// How many `:block/uuid` datoms there are.
    pub(crate) uuid_datoms: u32,
    /// Whether the entity counts at all; otherwise it has no tuples.
    pub(crate) is_eligible: bool,
    /// Distinct attributes and values, references translated to the uuid of their target.
    pub(crate) tuples: Vec<(Attr, Option<Value>)>,
}

impl Counted {
    fn clear(&mut self) {
        self.exists = false;
        self.uuid = None;
        self.uuid_datoms = 0;
        self.is_eligible = false;
        self.tuples.clear();
    }

    /// Decides whether the entity counts, once all of it was seen.
    fn settle(&mut self, seen: &Seen) {
        let is_known = seen.has_name || seen.page == Some(true) || seen.is_page;
        self.is_eligible = is_known && !seen.is_built_in && self.uuid.as_ref().is_some_and(entity::is_uuid);
        if self.is_eligible { dedup(&mut self.tuples) } else { self.tuples.clear() }
    }

    /// What the entity adds to the checksum: the sum over all tuples, once for each of its `:block/uuid` datoms.
    pub(crate) fn sum(&self) -> Checksum {
        self.digests(|_| true).fold(Checksum::default(), |sum, digest| sum.plus(digest, self.uuid_datoms))
    }

    /// The same without the tuples that another state of the entity adds as well, where that is cheap to tell.
    pub(super) fn sum_without(&self, other: &Self) -> Checksum {
        let comparable = self.uuid == other.uuid
            && self.uuid_datoms == other.uuid_datoms
            && self.tuples.len().max(other.tuples.len()) <= PAIRWISE;
        let is_common = |(attr, value): &(Attr, Option<Value>)| {
            other.tuples.iter().any(|(a, v)| a == attr && is_same(v.as_ref(), value.as_ref()))
        };
        self.digests(|tuple| !comparable || !is_common(tuple))
            .fold(Checksum::default(), |sum, digest| sum.plus(digest, self.uuid_datoms))
    }

    fn digests(&self, test: impl Fn(&(Attr, Option<Value>)) -> bool) -> impl Iterator<Item = Checksum> {
        let mut start = None;
        self.tuples.iter().filter(move |tuple| test(tuple)).filter_map(move |(attr, value)| {
            let uuid = self.uuid.as_ref()?;
            let start = start.get_or_insert_with(|| Digest::of_entity(uuid));
            Some(start.tuple(*attr, value.as_ref()))
        })
    }
}

/// Reads entities of one database value.
pub(crate) struct Reader<'d, 'k> {
    pub(crate) db: &'d Db,
    pub(crate) known: &'k mut Known,
    pub(crate) is_e2ee: bool,
}

impl Reader<'_, '_> {
    /// Reads an entity into a buffer.
    pub(crate) fn read(&mut self, eid: Eid, into: &mut Counted) -> Result<()> {
        let db = self.db;
        let mut seen = Seen::default();
        into.clear();
        let mut slice = db.datoms(Index::Eavt, &Pattern::e(eid));
        while let Some(datom) = slice.next_ref()? {
            into.exists = true;
            self.take(datom, &mut seen, into, |target| Ok(db.value(target, attrs::BLOCK_UUID)?))?;
        }
        into.settle(&seen);
        Ok(())
    }

    /// Reads an entity from its datoms, which are in the order of attributes and values.
    pub(super) fn collect(
        &mut self,
        datoms: &[Datom],
        into: &mut Counted,
        mut uuid_of: impl FnMut(Eid) -> Result<Option<Value>>,
    ) -> Result<()> {
        let mut seen = Seen::default();
        into.clear();
        for datom in datoms {
            self.take(datom, &mut seen, into, &mut uuid_of)?;
        }
        into.settle(&seen);
        Ok(())
    }

    fn take(
        &mut self,
        datom: &Datom,
        seen: &mut Seen,
        into: &mut Counted,
        uuid_of: impl FnOnce(Eid) -> Result<Option<Value>>,
    ) -> Result<()> {
        if matches!(datom.a, attrs::BLOCK_UUID | attrs::BLOCK_NAME | attrs::BLOCK_TITLE | attrs::BLOCK_ORDER) {
            entity::look_through(self.db, &datom.v)?;
        }
        match datom.a {
            attrs::BLOCK_UUID => {
                into.uuid_datoms += 1;
                into.uuid.get_or_insert_with(|| datom.v.clone());
                into.tuples.push((datom.a, Some(datom.v.clone())));
            }
            attrs::BLOCK_PARENT | attrs::BLOCK_PAGE => {
                let target = entity::as_eid(&datom.v);
                let uuid = match (target, seen.target == target) {
                    (None, _) => None,
                    // The parent of a page's blocks is mostly the page.
                    (Some(_), true) => seen.target_uuid.clone(),
                    (Some(eid), false) => uuid_of(eid)?,
                };
                if datom.a == attrs::BLOCK_PAGE && seen.page.is_none() {
                    seen.page = Some(match target {
                        Some(target) => uuid.is_some() || self.db.exists(target)?,
                        None => false,
                    });
                }
                (seen.target, seen.target_uuid) = (target, uuid.clone());
                into.tuples.push((datom.a, uuid));
            }
            attrs::BLOCK_NAME | attrs::BLOCK_TITLE => {
                seen.has_name |= datom.a == attrs::BLOCK_NAME;
                if !self.is_e2ee {
                    into.tuples.push((datom.a, Some(datom.v.clone())));
                }
            }
            attrs::BLOCK_ORDER => into.tuples.push((datom.a, Some(datom.v.clone()))),
            attrs::BLOCK_TAGS if !seen.is_page => {
                if let Some(tag) = entity::as_eid(&datom.v) {
                    seen.is_page = self.known.tag(self.db, tag)?.is_page();
                }
            }
            attrs::BUILT_IN => seen.is_built_in |= datom.v.is_truthy(),
            _ => {}
        }
        Ok(())
    }
}

/// What was seen of an entity so far.
#[derive(Default)]
struct Seen {
    is_built_in: bool,
    has_name: bool,
    is_page: bool,
    /// Whether the first `:block/page` leads to an entity.
    page: Option<bool>,
    /// The latest target of a reference, and its uuid.
    target: Option<Eid>,
    target_uuid: Option<Value>,
}

/// Whether two values are fed to a digest alike. That is more than being equal: a list equals the vector of its elements,
/// and both have texts of their own.
pub(super) fn is_same(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => match (a, b) {
            (Value::String(a), Value::String(b)) => a == b,
            (Value::Uuid(a), Value::Uuid(b)) => a == b,
            _ => transit::write_string(a) == transit::write_string(b),
        },
        _ => false,
    }
}

/// Tuples are a set: the same value may be there with several transaction numbers, and dangling references are all the
/// same.
fn dedup(tuples: &mut Vec<(Attr, Option<Value>)>) {
    if tuples.len() <= PAIRWISE {
        let mut i = 1;
        while let Some(tuple) = tuples.get(i) {
            if tuples.iter().take(i).any(|earlier| earlier == tuple) {
                tuples.remove(i);
            } else {
                i += 1;
            }
        }
        return;
    }
    let mut seen: keyed::Set<(Attr, Option<Key<'_>>)> = keyed::Set::default();
    let keep: Vec<bool> = tuples.iter().map(|(attr, value)| seen.insert((*attr, value.as_ref().map(Key)))).collect();
    let mut keep = keep.into_iter();
    tuples.retain(|_| keep.next().unwrap_or(true));
}
