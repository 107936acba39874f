//! What goes with a deleted entity (sync.md 11.5 e): references to it in texts, views of it, its history and reactions.

mod history;
mod titles;

use datascript::{Db, Eid, Value};

use super::facts::Known;
use super::item::{Item, resolve, retracted};
use super::sanitise::retract_entity;
use super::value_set::dedup;
use super::{Result, attrs, entity};
use titles::Titles;

/// The items to append to an entry that deletes something; none for any other entry.
///
/// A retraction of a reference that does not exist, which the reference implementation writes for every pair of a
/// referrer and a deleted block, is left out: it has no effect, and the pairs grow with the square of the entry.
///
/// # Errors
///
/// When the database cannot be read, or the texts with the titles put in would be too large to store.
pub fn deletion_cleanup(db: &Db, items: &[Value]) -> Result<Vec<Value>> {
    let mut round = starting_entities(db, items)?;
    let mut cleanup = history::retract_new_rows(db, items, &round)?;
    if round.is_empty() {
        return Ok(cleanup);
    }
    let mut known = Known::default();
    let mut gone = keyed::Set::default();
    // Every round is of other entities, so that no entity is looked at twice; all of them will be deleted, and the work that
    // may be done bounds how many a small entry can reach.
    loop {
        round.retain(|eid| gone.insert(*eid));
        if round.is_empty() {
            break;
        }
        round = clean_up(db, &mut known, &round, &gone, &mut cleanup)?;
    }
    dedup(&mut cleanup);
    Ok(cleanup)
}

/// Entities that the entry retracts, and history rows that lose one of their references in it. A few look-ups an item.
fn starting_entities(db: &Db, items: &[Value]) -> Result<Vec<Eid>> {
    let mut entities = Vec::new();
    for item in items {
        if let Some(reference) = retracted(item) {
            entities.extend(resolve(db, reference)?);
        }
    }
    for item in items {
        if let Item::Fact(fact) = Item::of(item)
            && history::loses_reference(fact)
            && let Some(eid) = resolve(db, fact.e)?
            && history::is_row(db, eid)?
        {
            entities.push(eid);
        }
    }
    Ok(entities)
}

/// Items for one round of deleted entities; returns the entities that these items delete in turn.
fn clean_up(
    db: &Db,
    known: &mut Known,
    entities: &[Eid],
    gone: &keyed::Set<Eid>,
    cleanup: &mut Vec<Value>,
) -> Result<Vec<Eid>> {
    let mut follow = Vec::new();
    for eid in entities {
        follow.extend(entity::referrers(db, attrs::VIEW_FOR, *eid)?);
    }
    for eid in entities {
        if history::is_row(db, *eid)? {
            follow.push(*eid);
        }
    }
    for eid in entities {
        for attr in [attrs::HISTORY_BLOCK, attrs::HISTORY_PROPERTY, attrs::HISTORY_REF_VALUE] {
            follow.extend(entity::referrers(db, attr, *eid)?);
        }
    }
    for eid in entities {
        follow.extend(entity::referrers(db, attrs::REACTION_TARGET, *eid)?);
    }
    let leaving: keyed::Set<Eid> = follow.iter().copied().collect();
    let stays = |eid: Eid| !gone.contains(&eid) && !leaving.contains(&eid);
    remove_references(db, known, entities, stays, cleanup)?;
    cleanup.extend(follow.iter().copied().map(retract_entity));
    Ok(follow)
}

/// Takes deleted plain blocks out of `:block/refs` of others, and puts their titles where others' texts mention them: one
/// item for each reference, one text for each referrer.
fn remove_references(
    db: &Db,
    known: &mut Known,
    entities: &[Eid],
    stays: impl Fn(Eid) -> bool,
    cleanup: &mut Vec<Value>,
) -> Result<()> {
    let mut blocks = Vec::new();
    let mut references = Vec::new();
    for eid in entities {
        if entity::is_plain_block(db, known, *eid)? {
            blocks.push(*eid);
            for referrer in entity::referrers(db, attrs::BLOCK_REFS, *eid)? {
                references.push((referrer, *eid));
            }
        }
    }
    if references.is_empty() {
        return Ok(());
    }
    let mut titles = Titles::new(db, &blocks)?;
    // Stable: the blocks of one referrer stay in the order in which they were deleted.
    references.sort_by_key(|(referrer, _)| *referrer);
    let mut rewritten = None;
    for (referrer, block) in references {
        if rewritten != Some(referrer) {
            rewritten = Some(referrer);
            if stays(referrer)
                && let Some(title) = titles.rewritten(db, known, referrer)?
            {
                cleanup.push(Value::vector([
                    Value::keyword("db/add"),
                    Value::from(referrer),
                    Value::keyword("block/title"),
                    title,
                ]));
            }
        }
        cleanup.push(Value::vector([
            Value::keyword("db/retract"),
            Value::from(referrer),
            Value::keyword("block/refs"),
            Value::from(block),
        ]));
    }
    Ok(())
}
