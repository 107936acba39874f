//! Entities that live on under other names (D-63).

use std::collections::VecDeque;

use datascript::{Attr, Datom, Db, Eid, TxId, Value};

use super::fate::{Fate, Fates, is_name};
use super::name::Name;
use super::{ADD, RETRACT};
use crate::rules::value_set::OwnedKey;
use crate::rules::{Error, Result, attrs};

/// One name of an entity that becomes another one, or none.
struct Change {
    /// Place among the renamed entities.
    entity: usize,
    attr: Attr,
    old: Option<Value>,
    new: Option<Value>,
    tx: TxId,
}

/// The names that an entity has while its changes are told.
struct Current {
    eid: Eid,
    uuid: Option<Value>,
    ident: Option<Value>,
}

/// The items that give entities their new names, each under the name that the entity has at that moment. A name is given up
/// before another entity gets it, and an entity gets a name before it gives up its last one.
///
/// A few look-ups for each change, and each is looked at three times at most.
///
/// # Errors
///
/// [`Error::Untold`] is a refusal: names that go around in a circle have no such order.
pub(super) fn renames(before: &Db, after: &Db, datoms: &[&Datom], fates: &Fates) -> Result<Vec<Value>> {
    if !fates.renames() {
        return Ok(Vec::new());
    }
    let (mut entities, changes) = changes(before, after, datoms, fates)?;
    let (mut waiting, followers) = order(&changes);
    let mut ready: VecDeque<usize> =
        waiting.iter().enumerate().filter(|(_, count)| **count == 0).map(|(at, _)| at).collect();
    let mut items = Vec::with_capacity(changes.len());
    while let Some(at) = ready.pop_front() {
        if let Some(change) = changes.get(at)
            && let Some(entity) = entities.get_mut(change.entity)
        {
            items.push(change.item(after, entity)?);
        }
        for follower in followers.get(at).into_iter().flatten() {
            if let Some(count) = waiting.get_mut(*follower) {
                *count -= 1;
                if *count == 0 {
                    ready.push_back(*follower);
                }
            }
        }
    }
    if items.len() < changes.len() {
        return Err(Error::Untold("names go around in a circle"));
    }
    Ok(items)
}

fn changes(before: &Db, after: &Db, datoms: &[&Datom], fates: &Fates) -> Result<(Vec<Current>, Vec<Change>)> {
    let mut entities: Vec<Current> = Vec::new();
    let mut places: keyed::Map<Eid, usize> = keyed::Map::default();
    let mut changes: Vec<Change> = Vec::new();
    let mut seen: keyed::Set<(Eid, Attr)> = keyed::Set::default();
    for datom in datoms.iter().filter(|datom| is_name(datom.a) && fates.get(datom.e) == Some(Fate::Renamed)) {
        if !seen.insert((datom.e, datom.a)) {
            continue;
        }
        let entity = *places.entry(datom.e).or_insert(entities.len());
        if entity == entities.len() {
            let uuid = before.value(datom.e, attrs::BLOCK_UUID)?;
            entities.push(Current { eid: datom.e, uuid, ident: before.value(datom.e, attrs::DB_IDENT)? });
        }
        let (old, new) = (before.value(datom.e, datom.a)?, after.value(datom.e, datom.a)?);
        if old != new {
            changes.push(Change { entity, attr: datom.a, old, new, tx: datom.tx });
        }
    }
    Ok((entities, changes))
}

/// How many changes each one waits for, and which wait for it.
fn order(changes: &[Change]) -> (Vec<usize>, Vec<Vec<usize>>) {
    let mut givers: keyed::Map<(Attr, OwnedKey), usize> = keyed::Map::default();
    let mut takers: keyed::Map<usize, usize> = keyed::Map::default();
    for (at, change) in changes.iter().enumerate() {
        if let Some(old) = &change.old {
            givers.insert((change.attr, OwnedKey(old.clone())), at);
        }
        if change.new.is_some() {
            takers.insert(change.entity, at);
        }
    }
    let mut waiting = vec![0; changes.len()];
    let mut followers = vec![Vec::new(); changes.len()];
    for (at, change) in changes.iter().enumerate() {
        let first = match &change.new {
            Some(new) => givers.get(&(change.attr, OwnedKey(new.clone()))),
            None => takers.get(&change.entity),
        };
        if let Some(first) = first.filter(|first| **first != at)
            && let (Some(count), Some(list)) = (waiting.get_mut(at), followers.get_mut(*first))
        {
            *count += 1;
            list.push(at);
        }
    }
    (waiting, followers)
}

impl Change {
    fn item(&self, after: &Db, entity: &mut Current) -> Result<Value> {
        let name = Name::choose(entity.uuid.clone(), || Ok(entity.ident.clone()))?;
        let reference = name.map(Name::reference).ok_or(Error::Nameless(entity.eid))?;
        let place = if self.attr == attrs::BLOCK_UUID { &mut entity.uuid } else { &mut entity.ident };
        place.clone_from(&self.new);
        let (verb, value) = match (&self.new, &self.old) {
            (Some(new), _) => (&*ADD, new.clone()),
            (None, old) => (&*RETRACT, old.clone().unwrap_or_default()),
        };
        let attribute = Value::Keyword(after.attrs().keyword(self.attr));
        Ok(Value::vector([Value::Keyword(verb.clone()), reference, attribute, value, Value::from(self.tx)]))
    }
}
