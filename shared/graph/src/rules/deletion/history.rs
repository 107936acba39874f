//! Rows of property history: entities that remember the value a property had.

use datascript::{Db, Eid, Value};

use crate::rules::item::{Fact, Item, Verb, get, resolve};
use crate::rules::sanitise::retract_entity;
use crate::rules::value_set::dedup;
use crate::rules::{Result, attrs, entity};

const REFERENCES: [&str; 3] =
    ["logseq.property.history/block", "logseq.property.history/property", "logseq.property.history/ref-value"];
const SCALAR_VALUE: &str = "logseq.property.history/scalar-value";

/// Whether a fact takes a reference from a history row, as far as its attribute tells.
pub(super) fn loses_reference(fact: Fact<'_>) -> bool {
    fact.verb == Verb::Retract && is_reference(fact.a)
}

/// Whether an entity is a history row.
pub(super) fn is_row(db: &Db, eid: Eid) -> Result<bool> {
    for attr in [attrs::HISTORY_BLOCK, attrs::HISTORY_PROPERTY, attrs::HISTORY_REF_VALUE] {
        if entity::target(db, eid, attr)?.is_some() {
            return Ok(true);
        }
    }
    Ok(db.value(eid, attrs::HISTORY_SCALAR_VALUE)?.is_some())
}

/// Retractions of history rows that this very entry creates for something it deletes. Looks at each item twice at most.
pub(super) fn retract_new_rows(db: &Db, items: &[Value], deleted: &[Eid]) -> Result<Vec<Value>> {
    let mut retractions = Vec::new();
    let mut rows = NewRows::default();
    let mut losing = keyed::Set::default();
    let mut deleted_set: Option<keyed::Set<Eid>> = None;
    for item in items {
        match Item::of(item) {
            Item::Map(entries) => {
                let references: Vec<&Value> = REFERENCES.iter().filter_map(|key| get(entries, key)).collect();
                let is_row = references.iter().any(|value| value.is_truthy()) || get(entries, SCALAR_VALUE).is_some();
                let deleted = deleted_set.get_or_insert_with(|| deleted.iter().copied().collect());
                if is_row
                    && let Some(uuid) = get(entries, "block/uuid").filter(|uuid| uuid.is_truthy())
                    && refers_to(db, &references, deleted)?
                {
                    let lookup = Value::vector([Value::keyword("block/uuid"), uuid.clone()]);
                    retractions.push(Value::vector([Value::keyword("db/retractEntity"), lookup]));
                }
            }
            Item::Fact(fact) => {
                rows.note(fact);
                if loses_reference(fact)
                    && let Some(eid) = fact.e.as_int()
                {
                    losing.insert(eid);
                }
            }
            _ => {}
        }
    }
    if !rows.facts.is_empty() {
        let deleted = deleted_set.get_or_insert_with(|| deleted.iter().copied().collect());
        rows.retractions(db, items, deleted, &losing, &mut retractions)?;
        dedup(&mut retractions);
    }
    Ok(retractions)
}

/// Entities, given by number, that get attributes of a history row.
#[derive(Default)]
struct NewRows<'a> {
    facts: Vec<(i64, &'a Value, &'a Value)>,
}

impl<'a> NewRows<'a> {
    fn note(&mut self, fact: Fact<'a>) {
        if fact.verb == Verb::Add
            && let Some(eid) = fact.e.as_int()
            && (is_reference(fact.a) || fact.a.is_keyword(SCALAR_VALUE))
        {
            self.facts.push((eid, fact.a, fact.v));
        }
    }

    fn retractions(
        mut self,
        db: &Db,
        items: &[Value],
        deleted: &keyed::Set<Eid>,
        losing: &keyed::Set<i64>,
        retractions: &mut Vec<Value>,
    ) -> Result<()> {
        let with_uuid: keyed::Set<i64> = items
            .iter()
            .filter_map(|item| match Item::of(item) {
                Item::Fact(fact) if fact.verb == Verb::Add && fact.a.is_keyword("block/uuid") && fact.v.is_truthy() => {
                    fact.e.as_int()
                }
                _ => None,
            })
            .collect();
        self.facts.sort_by_key(|(eid, ..)| *eid);
        for row in self.facts.chunk_by(|a, b| a.0 == b.0) {
            let Some((eid, ..)) = row.first().filter(|(eid, ..)| with_uuid.contains(eid)) else {
                continue;
            };
            let references: Vec<&Value> = row.iter().filter(|(_, a, _)| is_reference(a)).map(|(_, _, v)| *v).collect();
            if losing.contains(eid) || refers_to(db, &references, deleted)? {
                retractions.push(match Eid::try_from(*eid) {
                    Ok(eid) => retract_entity(eid),
                    // A numeric tempid: the transactor refuses it here, as the reference implementation does.
                    Err(_) => Value::vector([Value::keyword("db/retractEntity"), Value::Int(*eid)]),
                });
            }
        }
        Ok(())
    }
}

fn is_reference(attr: &Value) -> bool {
    matches!(attr, Value::Keyword(attr) if REFERENCES.contains(&attr.as_str()))
}

fn refers_to(db: &Db, references: &[&Value], deleted: &keyed::Set<Eid>) -> Result<bool> {
    for reference in references {
        let eid = match reference {
            Value::Int(number) => Eid::try_from(*number).ok(),
            Value::Vector(_) => resolve(db, reference)?,
            _ => None,
        };
        if eid.is_some_and(|eid| deleted.contains(&eid)) {
            return Ok(true);
        }
    }
    Ok(false)
}
