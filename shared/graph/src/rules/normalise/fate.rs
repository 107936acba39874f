//! What becomes of entities that lose a name in a transaction.

use datascript::{Attr, Datom, Db, Eid, Index, Pattern, Report, Value, as_eid};

use super::name::Name;
use crate::rules::{Error, Result, attrs};

/// What becomes of an entity that had a name and lost it, or another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing is left of it, of its parts, and of references to it: one retraction tells all of that. `early`: one of its
    /// names goes to another entity, so that it has to be told before.
    Retracted { early: bool },
    /// Nothing is left of it, but not all of its parts went with it: told fact by fact, the names last.
    TakenApart,
    /// It lives under other names.
    Renamed,
    /// It exists, but has no name that other copies of the graph know it by.
    Nameless,
}

/// The fates of a transaction's entities.
#[derive(Default)]
pub(super) struct Fates {
    by_eid: keyed::Map<Eid, Fate>,
    /// Entities without a name that went as parts of others that are retracted: that tells of them as well.
    parts: keyed::Set<Eid>,
    /// Those that live, in the order of their datoms.
    living: Vec<Eid>,
    /// Some entity has no stable name.
    renames: bool,
}

/// Whether an attribute holds names.
pub(super) const fn is_name(attr: Attr) -> bool {
    matches!(attr, attrs::BLOCK_UUID | attrs::DB_IDENT)
}

impl Fates {
    /// Looks at every entity that loses a uuid or an ident: a few look-ups for each, and for those that were taken apart
    /// one for each reference attribute.
    ///
    /// # Errors
    ///
    /// Refusals: [`Error::NothingFound`] where something would still refer to an entity that is gone, [`Error::Untold`] where
    /// only the pieces of an entity could be told, in an order that there is none of.
    pub(super) fn of(report: &Report, datoms: &[&Datom]) -> Result<Self> {
        let mut fates = Self::default();
        let (before, after) = (&report.db_before, &report.db_after);
        for datom in datoms.iter().filter(|datom| !datom.added && is_name(datom.a)) {
            let early = after.lookup(datom.a, &datom.v)?.is_some_and(|holder| holder != datom.e);
            if let Some(fate) = fates.by_eid.get_mut(&datom.e) {
                if let Fate::Retracted { early: already } = fate {
                    *already |= early;
                }
                continue;
            }
            if let Some(fate) = fate(before, after, datom.e, early)? {
                fates.renames |= fate == Fate::Renamed;
                fates.by_eid.insert(datom.e, fate);
            } else if after.exists(datom.e)? && Name::of(before, datom.e)?.is_some() {
                fates.living.push(datom.e);
            }
        }
        if fates.renames {
            // Names go from one entity to another: all that change are told together.
            fates.by_eid.extend(fates.living.iter().map(|eid| (*eid, Fate::Renamed)));
        }
        if fates.by_eid.values().any(|fate| matches!(fate, Fate::Retracted { .. })) {
            fates.look_at_parts(before, after, datoms)?;
            fates.look_at_rest(report)?;
        }
        Ok(fates)
    }

    pub(super) fn get(&self, eid: Eid) -> Option<Fate> {
        if self.by_eid.is_empty() { None } else { self.by_eid.get(&eid).copied() }
    }

    /// Whether a retraction tells that the entity went, and what referred to it.
    pub(super) fn is_retracted(&self, eid: Eid) -> bool {
        matches!(self.get(eid), Some(Fate::Retracted { .. })) || self.is_part(eid)
    }

    /// Whether the entity went as a part of another one.
    pub(super) fn is_part(&self, eid: Eid) -> bool {
        !self.parts.is_empty() && self.parts.contains(&eid)
    }

    /// Whether nothing is left of the entity.
    pub(super) fn is_gone(&self, eid: Eid) -> bool {
        matches!(self.get(eid), Some(Fate::Retracted { .. } | Fate::TakenApart)) || self.is_part(eid)
    }

    /// Whether any entity went.
    pub(super) fn any_gone(&self) -> bool {
        self.by_eid.values().any(|fate| matches!(fate, Fate::Retracted { .. } | Fate::TakenApart))
    }

    /// Whether any has to be told to have gone before its name is another's.
    pub(super) fn any_early(&self) -> bool {
        self.by_eid.values().any(|fate| *fate == Fate::Retracted { early: true })
    }

    /// Entities to be told under other names.
    pub(super) fn renames(&self) -> bool {
        self.renames
    }

    /// A retraction takes the parts of an entity with it: where one of them lives on, it would say too much.
    fn look_at_parts(&mut self, before: &Db, after: &Db, datoms: &[&Datom]) -> Result<()> {
        let is_part = |datom: &Datom| {
            !datom.added && (before.flags(datom.a).is_component() || after.flags(datom.a).is_component())
        };
        let mut lists = Vec::new();
        for datom in datoms.iter().filter(|datom| is_part(datom)) {
            let Some(part) = as_eid(&datom.v) else { continue };
            let lives = after.exists(part)?;
            lists.push((datom.e, part, lives));
            if let (true, Some(fate @ Fate::Retracted { .. })) = (lives, self.by_eid.get_mut(&datom.e)) {
                if *fate == (Fate::Retracted { early: true }) {
                    return Err(Error::Untold("an entity gives away its name and its parts"));
                }
                *fate = Fate::TakenApart;
            }
        }
        // In the order in which they were retracted: wholes before their parts.
        for (whole, part, lives) in lists {
            if self.is_retracted(whole) {
                if lives {
                    return Err(Error::Untold("a part of a part lives on"));
                }
                if self.get(part).is_none() {
                    self.parts.insert(part);
                }
            }
        }
        Ok(())
    }

    /// Who was taken away fact by fact, rather than as a whole, may still be referred to.
    fn look_at_rest(&self, report: &Report) -> Result<()> {
        let wholes: keyed::Set<Eid> = report.retracted.iter().copied().collect();
        let after = &report.db_after;
        for (eid, fate) in &self.by_eid {
            if matches!(fate, Fate::Retracted { .. } | Fate::TakenApart) && !wholes.contains(eid) {
                let value = Value::from(*eid);
                for attr in after.schema().ref_attrs() {
                    if after.first(Index::Avet, &Pattern::av(*attr, &value))?.is_some() {
                        return Err(Error::NothingFound(*eid));
                    }
                }
            }
        }
        Ok(())
    }
}

/// The fate of one entity; none where it had no name before, or keeps its uuid.
fn fate(before: &Db, after: &Db, eid: Eid, early: bool) -> Result<Option<Fate>> {
    if Name::of(before, eid)?.is_none() {
        return Ok(None);
    }
    if !after.exists(eid)? {
        return Ok(Some(Fate::Retracted { early }));
    }
    let (was, is) = (before.value(eid, attrs::BLOCK_UUID)?, after.value(eid, attrs::BLOCK_UUID)?);
    Ok(match Name::of(after, eid)? {
        None => Some(Fate::Nameless),
        Some(Name::Uuid(_)) if was == is => None,
        Some(_) => Some(Fate::Renamed),
    })
}
