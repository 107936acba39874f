//! `transact.jsonl`: plain transactions over the databases of `bases.jsonl`.

use std::collections::HashMap;

use datascript::{Datom, Db, Error, Index, Pattern, Report, Value, with_value};
use golden_support::databases::{assert_state, bases, datoms, number, transit};
use golden_support::{Ghosts, LeftOut, Tally, count_steps, lines};
use serde_json::Value as Json;

/// What the reference does in these steps is not to be matched (README of the vectors, `quirk`).
const QUIRK: &str = "marked as a quirk";
/// The order of `tx_data` depends on hashes; as a bag it is compared (README of the vectors, `hash_order`).
const HASH_ORDER: &str = "order depends on hashes";
/// Later steps of a case build on what a quirk stored.
const AFTER_QUIRK: &str = "after a quirk";

#[test]
fn transactions_do_what_the_reference_did() {
    let bases = bases(&[]);
    let cases = lines("transact.jsonl");
    let (mut tally, mut order) = (Tally::default(), Tally::default());
    for case in &cases {
        let id = case["id"].as_str().expect("an id");
        let mut db = bases[case["base"].as_str().expect("a base")].clone();
        let mut ghosts = Ghosts::default();
        let mut spoilt = false;
        for (at, step) in case["steps"].as_array().expect("steps").iter().enumerate() {
            if spoilt || step.get("quirk").is_some() {
                tally.leave_out(if spoilt { AFTER_QUIRK } else { QUIRK }, format!("{id} {at}"));
                spoilt |= step["ok"] == true;
                continue;
            }
            let what = format!("{id} step {at}");
            let result = with_value(&db, &transit(step, "tx").expect("items"));
            if step["ok"].as_bool() == Some(true) {
                let report = result.unwrap_or_else(|error| panic!("{what}: {error}"));
                ghosts.note(Ghosts::possible(&db), &report.db_after);
                check(&db, &report, &ghosts, step, &what);
                if step.get("hash_order").is_some() {
                    order.leave_out(HASH_ORDER, format!("{id} {at}"));
                } else {
                    order.check();
                }
                db = report.db_after;
            } else {
                let error = result.err().unwrap_or_else(|| panic!("{what}: no error; expected {}", step["error"]));
                check_error(&error, &step["error"], &what);
            }
            tally.check();
        }
    }
    let marked = LeftOut::Marked(&[
        "plain-7 0",
        "plain-17 0",
        "plain-19 0",
        "plain-20 0",
        "plain-154 0",
        "plain-244 2",
        "plain-246 0",
        "plain-247 0",
        "plain-248 0",
        "schema-20 0",
    ]);
    let after = LeftOut::Marked(&["plain-246 1", "plain-248 1"]);
    tally.assert(count_steps(&cases), 1033, &[(QUIRK, marked), (AFTER_QUIRK, after)]);
    order.assert(order.seen(), 636, &[(HASH_ORDER, LeftOut::Count(274))]);
}

fn check_error(error: &Error, expected: &Json, what: &str) {
    let Some(kind) = expected["error"].as_str() else { return };
    let error = error.transact().unwrap_or_else(|| panic!("{what}: {error}"));
    assert_eq!(error.kind.keyword(), kind, "{what}: {error}; expected {expected}");
    if let Some(entity_id) = transit(expected, "entity_id") {
        assert_eq!(error.entity_id.as_ref(), Some(&entity_id), "{what}");
    }
}

fn check(before: &Db, report: &Report, ghosts: &Ghosts, step: &Json, what: &str) {
    let expected = datoms(before.attrs(), &transit(step, "tx_data").expect("tx-data"));
    let db = &report.db_after;
    if step.get("hash_order").is_some() {
        let ids = new_ids(before, step, report);
        let mut actual: Vec<String> = report.tx_data.iter().map(|datom| show(before, datom, &ids)).collect();
        let mut expected: Vec<String> = expected.iter().map(|datom| show(before, datom, &HashMap::new())).collect();
        actual.sort();
        expected.sort();
        assert_eq!(actual, expected, "tx-data of {what}");
    } else {
        let none = HashMap::new();
        let show_all = |datoms: &[Datom]| datoms.iter().map(|datom| show(before, datom, &none)).collect::<Vec<_>>();
        assert_eq!(show_all(&report.tx_data), show_all(&expected), "tx-data of {what}: {}", step["tx"]);
        let expected = transit(step, "tempids").expect("tempids");
        let actual = Value::Map(report.tempids.iter().map(|(name, eid)| (name.clone(), Value::from(*eid))).collect());
        assert_eq!(actual, expected, "tempids of {what}");
    }
    assert_eq!(db.count() as u64, number(step, "count"), "count of {what}");
    if let Some(expected) = transit(step, "datoms") {
        let expected = datoms(before.attrs(), &expected);
        let none = HashMap::new();
        let expected: Vec<_> = expected.iter().map(|datom| show(db, datom, &none)).collect();
        let actual = db.datoms(Index::Eavt, &Pattern::default());
        let actual: Vec<_> = actual.map(|datom| show(db, &datom.expect("in memory"), &none)).collect();
        assert_eq!(actual, expected, "EAVT of {what}: {}", step["tx"]);
    }
    assert_state(db, ghosts, step, what);
    check_schema(before, db, step, what);
}

/// Which id the reference gave to the entity that has another one here: by the tempids, the rest in order of appearance.
fn new_ids(before: &Db, step: &Json, report: &Report) -> HashMap<u32, u32> {
    let expected = transit(step, "tempids").expect("tempids");
    let expected = expected.as_map().expect("a map");
    let mut ids = HashMap::new();
    for (name, eid) in &report.tempids {
        let theirs = expected.iter().find(|(known, _)| known == name).and_then(|(_, eid)| eid.as_int());
        if let Some(theirs) = theirs.filter(|_| *eid > before.max_eid()) {
            ids.insert(*eid, u32::try_from(theirs).expect("an id"));
        }
    }
    ids
}

fn show(db: &Db, datom: &Datom, ids: &HashMap<u32, u32>) -> String {
    let map = |eid: u32| ids.get(&eid).copied().unwrap_or(eid);
    let v = match &datom.v {
        Value::Int(v) if db.flags(datom.a).is_ref() => Value::from(map(u32::try_from(*v).expect("an id"))),
        v => v.clone(),
    };
    let v = transit::write_string(&v);
    format!("{} {} {v} {} {}", map(datom.e), db.attrs().keyword(datom.a), datom.tx, datom.added)
}

fn check_schema(before: &Db, after: &Db, step: &Json, what: &str) {
    let (old, new) = (before.schema().to_value(), after.schema().to_value());
    let (old, new) = (old.as_map().expect("a map"), new.as_map().expect("a map"));
    let find = |map: &[(Value, Value)], key: &Value| map.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone());
    let set = new.iter().filter(|(key, entry)| find(old, key).as_ref() != Some(entry)).cloned();
    let deleted = old.iter().map(|(key, _)| key).filter(|key| find(new, key).is_none()).cloned();
    let diff = Value::Map(
        [(Value::keyword("set"), Value::Map(set.collect())), (Value::keyword("del"), Value::Set(deleted.collect()))]
            .into(),
    );
    match transit(step, "schema_diff") {
        None => {
            let nothing = diff.get("set").and_then(Value::as_map).is_some_and(<[_]>::is_empty)
                && diff.get("del").and_then(Value::as_set).is_some_and(<[_]>::is_empty);
            assert!(nothing, "schema of {what} changed: {diff:?}");
        }
        Some(expected) => {
            let deleted = |diff: &Value| match diff.get("del") {
                Some(Value::Vector(keys) | Value::List(keys) | Value::Set(keys)) => Value::Set(keys.clone()),
                other => panic!("{other:?}"),
            };
            assert_eq!(diff.get("set"), expected.get("set"), "schema of {what}");
            assert_eq!(deleted(&diff), deleted(&expected), "schema of {what}");
        }
    }
}
