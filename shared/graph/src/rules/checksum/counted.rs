//! What of an entity counts for the checksum (sync.md 12.1, 12.2).

use datascript::{Attr, Datom, Db, Eid, Index, Pattern, Value};

use super::digest::{Checksum, Digest};
use crate::rules::facts::Known;
use crate::rules::value_set::{Key, SafeMap};
use crate::rules::{Result, attrs, entity};

/// Up to so many tuples of an entity are compared pairwise.
const PAIRWISE: usize = 16;

/// An entity as the checksum sees it. The buffers of one are used for many.
#[derive(Debug, Default)]
pub(crate) struct Counted {
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
        self.uuid = None;
        self.uuid_datoms = 0;
        self.is_eligible = false;
        self.tuples.clear();
    }

    /// Sum over all tuples, times a weight.
    pub(super) fn sum(&self, weight: u32) -> Checksum {
        self.digests(|_| true).fold(Checksum::default(), |sum, digest| sum.plus(digest, weight))
    }

    /// Sum over the tuples that another state of the same entity does not have, where that is cheap to tell.
    pub(super) fn sum_without(&self, other: &Self) -> Checksum {
        let comparable = self.uuid == other.uuid && self.tuples.len().max(other.tuples.len()) <= PAIRWISE;
        self.digests(|tuple| !comparable || !other.tuples.contains(tuple))
            .fold(Checksum::default(), |sum, digest| sum.plus(digest, 1))
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
        let slice = self.db.datoms(Index::Eavt, &Pattern::e(eid));
        self.collect(slice.map(|datom| datom.map_err(Into::into)), into, |db, target| {
            Ok(db.value(target, attrs::BLOCK_UUID)?)
        })
    }

    /// Reads an entity from its datoms, which are in the order of attributes and values.
    pub(super) fn collect(
        &mut self,
        datoms: impl Iterator<Item = Result<Datom>>,
        into: &mut Counted,
        mut uuid_of: impl FnMut(&Db, Eid) -> Result<Option<Value>>,
    ) -> Result<()> {
        into.clear();
        let (mut is_built_in, mut has_name, mut has_page, mut is_page) = (false, false, None, None);
        for datom in datoms {
            let datom = datom?;
            match datom.a {
                attrs::BLOCK_UUID => {
                    into.uuid_datoms += 1;
                    into.uuid.get_or_insert_with(|| datom.v.clone());
                    into.tuples.push((datom.a, Some(datom.v)));
                }
                attrs::BLOCK_PARENT | attrs::BLOCK_PAGE => {
                    let target = entity::as_eid(&datom.v);
                    let uuid = match target {
                        Some(target) => uuid_of(self.db, target)?,
                        None => None,
                    };
                    if datom.a == attrs::BLOCK_PAGE && has_page.is_none() {
                        has_page = Some(match target {
                            Some(target) => uuid.is_some() || self.db.exists(target)?,
                            None => false,
                        });
                    }
                    into.tuples.push((datom.a, uuid));
                }
                attrs::BLOCK_NAME | attrs::BLOCK_TITLE => {
                    has_name |= datom.a == attrs::BLOCK_NAME;
                    if !self.is_e2ee {
                        into.tuples.push((datom.a, Some(datom.v)));
                    }
                }
                attrs::BLOCK_ORDER => into.tuples.push((datom.a, Some(datom.v))),
                attrs::BLOCK_TAGS => {
                    if is_page != Some(true)
                        && let Some(tag) = entity::as_eid(&datom.v)
                    {
                        is_page = Some(self.known.tag(self.db, tag)?.is_page());
                    }
                }
                attrs::BUILT_IN => is_built_in |= datom.v.is_truthy(),
                _ => {}
            }
        }
        let is_known = has_name || has_page == Some(true) || is_page == Some(true);
        into.is_eligible = is_known && !is_built_in && into.uuid.as_ref().is_some_and(entity::is_uuid);
        if into.is_eligible {
            dedup(&mut into.tuples)
        } else {
            into.tuples.clear()
        }
        Ok(())
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
    let mut seen: SafeMap<(Attr, Option<Key<'_>>), ()> = SafeMap::default();
    let keep: Vec<bool> =
        tuples.iter().map(|(attr, value)| seen.insert((*attr, value.as_ref().map(Key)), ()).is_none()).collect();
    let mut keep = keep.into_iter();
    tuples.retain(|_| keep.next().unwrap_or(true));
}
