//! The checksum from nothing (sync.md 12.4).

use datascript::{Datom, Db, Eid, Index, Pattern, Value};

use super::counted::{Counted, Reader};
use super::digest::Checksum;
use crate::rules::facts::Known;
use crate::rules::{Result, attrs};

/// Slots of the memory of targets' uuids: blocks of a page follow one another, and share their parents and page.
const SLOTS: usize = 1024;

/// The checksum of a database, from one pass over EAVT that leaves the node cache as it is. Memory: one entity, and the
/// uuids of the last thousand targets of references.
///
/// Each entity counts once per `:block/uuid` datom it has.
///
/// # Errors
///
/// Only when the database cannot be read.
pub fn full(db: &Db) -> Result<Checksum> {
    let mut known = Known::default();
    let is_e2ee = known.is_e2ee(db)?;
    let mut reader = Reader { db, known: &mut known, is_e2ee };
    let mut targets = Targets::default();
    let mut counted = Counted::default();
    let mut sum = Checksum::default();
    let mut entity: Vec<Datom> = Vec::new();
    let mut finish = |entity: &mut Vec<Datom>, sum: &mut Checksum| -> Result<()> {
        if entity.iter().any(|datom| datom.a == attrs::BLOCK_UUID) {
            reader.collect(entity, &mut counted, |eid| targets.uuid(db, eid))?;
            *sum = sum.plus(counted.sum(), 1);
        }
        entity.clear();
        Ok(())
    };
    let mut slice = db.datoms(Index::Eavt, &Pattern::ALL).scanning();
    while let Some(datom) = slice.next_ref()? {
        if entity.first().is_some_and(|first| first.e != datom.e) {
            finish(&mut entity, &mut sum)?;
        }
        if counts(datom) {
            entity.push(datom.clone());
        }
    }
    finish(&mut entity, &mut sum)?;
    Ok(sum)
}

fn counts(datom: &Datom) -> bool {
    matches!(
        datom.a,
        attrs::BLOCK_UUID
            | attrs::BLOCK_PARENT
            | attrs::BLOCK_PAGE
            | attrs::BLOCK_ORDER
            | attrs::BLOCK_TITLE
            | attrs::BLOCK_NAME
            | attrs::BLOCK_TAGS
            | attrs::BUILT_IN
    )
}

/// Uuids of entities, by a table in which later entities displace earlier ones.
struct Targets(Vec<(Eid, Option<Value>)>);

impl Default for Targets {
    fn default() -> Self {
        // No entity has the id 0.
        Self(vec![(0, None); SLOTS])
    }
}

impl Targets {
    fn uuid(&mut self, db: &Db, eid: Eid) -> Result<Option<Value>> {
        let Some(slot) = self.0.get_mut(eid as usize % SLOTS) else {
            return Ok(None);
        };
        if slot.0 != eid || eid == 0 {
            *slot = (eid, db.value(eid, attrs::BLOCK_UUID)?);
        }
        Ok(slot.1.clone())
    }
}
