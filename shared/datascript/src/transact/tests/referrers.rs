//! Retracting entities, whatever is remembered of what refers to them.

use std::collections::BTreeSet;

use super::*;
use crate::testing::Rng;

const ATTRS: u32 = 40;
const ENTITIES: u32 = 60;

/// A database value, and the facts that it should have: entity, attribute, target.
#[derive(Clone)]
struct Known {
    db: Db,
    facts: BTreeSet<(u32, u32, u32)>,
}

fn start() -> Known {
    let attrs = Attrs::new(&[]);
    let entry =
        |i| format!(r#""~:r{i}",["^ ","~:db/valueType","~:db.type/ref","~:db/cardinality","~:db.cardinality/many"]"#);
    let entries: Vec<String> = (0..ATTRS).map(entry).collect();
    let schema = Schema::from_value(Rc::clone(&attrs), &read(&format!(r#"["^ ",{}]"#, entries.join(","))));
    Known { db: Db::empty(Nodes::in_memory(attrs), schema), facts: BTreeSet::new() }
}

fn add(e: u32, a: u32, v: u32) -> Value {
    Value::vector([Value::keyword("db/add"), Value::from(e), Value::keyword(&format!("r{a}")), Value::from(v)])
}

fn retract(e: u32) -> Value {
    Value::vector([Value::keyword("db/retractEntity"), Value::from(e)])
}

/// Random items and what they make of the facts. Few attributes have most of the references.
fn items(rng: &mut Rng, facts: &mut BTreeSet<(u32, u32, u32)>) -> Vec<Value> {
    let mut items = Vec::new();
    for _ in 0..rng.below(60) {
        let (e, v) = (rng.small(ENTITIES) + 1, rng.small(ENTITIES) + 1);
        if rng.below(3) == 0 {
            let most = if rng.below(2) == 0 { ATTRS } else { 3 };
            let a = rng.small(most);
            facts.insert((e, a, v));
            items.push(add(e, a, v));
        } else {
            facts.retain(|fact| fact.0 != e && fact.2 != e);
            items.push(retract(e));
        }
    }
    items
}

fn facts_of(db: &Db) -> BTreeSet<(u32, u32, u32)> {
    let number = |datom: &Datom| db.attrs().keyword(datom.a).as_str()[1..].parse().unwrap();
    let all = db.datoms(Index::Eavt, &Pattern::ALL).map(|datom| datom.unwrap());
    all.map(|datom| (datom.e, number(&datom), crate::as_eid(&datom.v).unwrap())).collect()
}

/// Values go on from each other, from older ones, and after refused transactions.
#[test]
fn no_reference_to_a_retracted_entity_is_left() {
    for seed in 0..30 {
        let mut rng = Rng(seed);
        let mut values = vec![start()];
        for _ in 0..60 {
            let back = if rng.below(5) == 0 { rng.below(values.len()) } else { 0 };
            let mut next = values[values.len() - 1 - back].clone();
            let mut items = items(&mut rng, &mut next.facts);
            if rng.below(6) == 0 {
                items.push(Value::vector([Value::keyword("db/unknown"), Value::from(1)]));
                assert!(with(&next.db, &items).is_err());
                continue;
            }
            next.db = with(&next.db, &items).unwrap().db_after;
            assert_eq!(facts_of(&next.db), next.facts, "seed {seed}");
            check_indexes(&next.db);
            values.push(next);
            if values.len() > 4 {
                values.remove(0);
            }
        }
    }
}

/// The order of what is reported does not depend on what is remembered.
#[test]
fn references_are_reported_by_attribute() {
    let db = start().db;
    let refs = [(7, 5), (3, 9), (39, 2), (0, 4)].map(|(a, e)| add(e, a, 1));
    let db = with(&db, &refs).unwrap().db_after;
    let expected = ["-4 r0 1 2", "-9 r3 1 2", "-5 r7 1 2", "-2 r39 1 2"];
    assert_eq!(effects(&with(&db, &[retract(1)]).unwrap()), expected);
    let mut items: Vec<Value> = (10..50).map(retract).collect();
    items.push(retract(1));
    assert_eq!(effects(&with(&db, &items).unwrap()), expected);
}

/// Entities times attributes is what it does not cost.
#[test]
fn many_retractions_with_many_attributes_take_few_steps() {
    let steps = |entities: u32, attrs: u32| {
        let known = Attrs::new(&[]);
        let entry = |i| format!(r#""~:r{i}",["^ ","~:db/valueType","~:db.type/ref"]"#);
        let entries: Vec<String> = (0..attrs).map(entry).collect();
        let schema = Schema::from_value(Rc::clone(&known), &read(&format!(r#"["^ ",{}]"#, entries.join(","))));
        let db = Db::empty(Nodes::in_memory(known), schema);
        let facts: Vec<Value> = (0..entities.max(attrs)).map(|i| add(i % entities + 1, i % attrs, i % 7 + 1)).collect();
        let db = with(&db, &facts).unwrap().db_after;
        let begun = db.nodes().work().done();
        with(&db, &(1..=entities).map(retract).collect::<Vec<_>>()).unwrap();
        db.nodes().work().done() - begun
    };
    let (once, twice) = (steps(500, 500), steps(1000, 1000));
    assert!(twice * 2 < once * 5, "{once} steps, then {twice}");
}
