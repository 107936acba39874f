//! `checksum.jsonl`: digests, full sums, and chains of updates with the normalised transactions they follow from.

use datascript::{Attrs, Db, Report, Value};
use graph::rules::Facts;
use graph::rules::attrs::PRESET;
use graph::rules::checksum::blocks;
use graph::rules::checksum::{Changes, Checksum, MAX_REFERENCES, Update, follow, full, tuple_digest};
use graph::rules::normalise::normalise;
use serde_json::Value as Json;

use crate::support::{lines, transit};
use crate::vectors::{assert_same_items, bases, items};

#[test]
fn digests_of_tuples() {
    let attrs = Attrs::new(PRESET);
    let mut checked = 0;
    for line in lines("checksum.jsonl").iter().filter(|line| line["kind"] == "tuple") {
        let uuid = Value::Uuid(line["uuid"].as_str().expect("a text").parse().expect("a uuid"));
        let attr =
            attrs.get(line["attr"].as_str().expect("a text").trim_start_matches(':')).expect("a known attribute");
        let value = transit(line, "value").filter(|value| !value.is_nil());
        assert_eq!(tuple_digest(&uuid, attr, value.as_ref()).to_string(), line["hex"].as_str().expect("hex"), "{line}");
        checked += 1;
    }
    assert!(checked > 0, "no vectors");
}

#[test]
fn full_sums_and_diagnostics() {
    let bases = bases();
    let mut checked = 0;
    for line in lines("checksum.jsonl").iter().filter(|line| line["kind"] == "base") {
        let db = &bases[line["base"].as_str().expect("a base")];
        let is_e2ee = blocks::is_e2ee(db).expect("a readable database");
        let mut shown = Checksum::default();
        blocks::visit(db, is_e2ee, None, |visited| {
            shown = shown.plus(visited.sum, 1);
            true
        })
        .expect("a readable database");
        for checksum in [full(db).expect("a readable database"), shown] {
            assert_eq!(checksum.to_string(), line["checksum"].as_str().expect("a checksum"), "{}", line["id"]);
        }
        assert_eq!(Some(is_e2ee), line["e2ee"].as_bool(), "{}", line["id"]);
        if let Some(expected) = transit(line, "diagnostics") {
            check_diagnostics(db, &expected);
        }
        checked += 1;
    }
    assert!(checked > 0, "no vectors");
}

fn check_diagnostics(db: &Db, expected: &Value) {
    let is_e2ee = blocks::is_e2ee(db).expect("a readable database");
    let names: Vec<&str> = expected
        .get("attrs")
        .and_then(Value::as_seq)
        .expect("attrs")
        .iter()
        .map(|a| a.as_keyword().expect("one").name())
        .collect();
    assert_eq!(blocks::attr_names(is_e2ee), names);
    let mut expected = expected.get("blocks").and_then(Value::as_seq).expect("blocks").iter();
    blocks::visit(db, is_e2ee, None, |visited| {
        let Some(block) = &visited.block else { return true };
        let expected = expected.next().expect("a block");
        let mut text = String::new();
        block.write_json(&mut text);
        let json: Json = serde_json::from_str(&text).expect("JSON");
        let entries = expected.as_map().expect("a map");
        assert_eq!(json.as_object().expect("an object").len(), entries.len(), "{text}");
        for (key, value) in entries {
            let text = match value {
                Value::Nil => Json::Null,
                Value::Uuid(uuid) => uuid.to_string().into(),
                Value::String(text) => text.as_ref().into(),
                other => panic!("unexpected {other:?}"),
            };
            assert_eq!(json[key.as_keyword().expect("a keyword").name()], text);
        }
        true
    })
    .expect("a readable database");
    assert!(expected.next().is_none());
}

#[test]
fn updates_agree_with_full_sums() {
    let bases = bases();
    let mut checked = 0;
    for line in lines("checksum.jsonl").iter().filter(|line| line["kind"] == "seq") {
        let what = line["id"].as_str().expect("an id");
        let mut db = bases[line["base"].as_str().expect("a base")].clone();
        let mut facts = Facts::default();
        let mut checksum = line["initial"].as_str().map(str::to_owned);
        for (step, number) in line["steps"].as_array().expect("steps").iter().zip(0..) {
            let what = format!("step {number} of {what}");
            let report = datascript::with(&db, &items(step, "tx"));
            let ok = step["ok"].as_bool().unwrap_or_default();
            assert_eq!(report.is_ok(), ok, "{what}: {:?}", report.as_ref().err());
            // A transaction without effect does not happen (datascript.md 10.2).
            let Some(report) = report.ok().filter(|report| !report.tx_data.is_empty()) else { continue };
            checksum = check_step(&report, checksum.as_deref(), &mut facts, step, &what);
            db = report.db_after;
        }
        checked += 1;
    }
    assert!(checked > 0, "no vectors");
}

/// Compares the log's items and the checksum, from either form of the changes; returns the latter.
fn check_step(report: &Report, previous: Option<&str>, facts: &mut Facts, step: &Json, what: &str) -> Option<String> {
    let (before, after) = (&report.db_before, &report.db_after);
    let mut scope = facts.scope(&report.tx_data);
    let normalised = normalise(report, &mut scope).expect("a transaction that can be told").items;
    if step.get("normalized").is_some() {
        let bare = |item: &Value| match item.as_seq() {
            Some([_, _, a, Value::Int(_), _]) => a.is_keyword("block/parent") || a.is_keyword("block/page"),
            _ => false,
        };
        let expected = items(step, "normalized");
        // D-15: where the reference shows an entity id, ours refers or drops.
        if !expected.iter().any(bare) {
            assert_same_items(&normalised, &expected, what);
            // The reference's order goes by hash from nine datoms on, and by transaction number, where ours does not (D-16).
            let datoms = &report.tx_data;
            if datoms.len() <= 8 && datoms.iter().all(|datom| datom.tx == datoms[0].tx) {
                assert_eq!(normalised, expected, "order of {what}");
            }
        }
    }
    let mut update = |changes| {
        let mut references = MAX_REFERENCES;
        match follow(previous, before, after, changes, &mut scope, &mut references).expect("readable databases") {
            Update::None => previous.map(str::to_owned),
            Update::Sum(sum) => Some(sum.to_string()),
            Update::Anew => Some(full(after).expect("a readable database").to_string()),
        }
    };
    let checksum = update(Changes::Items(&normalised));
    if !normalised.is_empty() {
        assert_eq!(update(Changes::Datoms(&report.tx_data)), checksum, "{what}");
    }
    if let Some(expected) = step["incremental"].as_str() {
        assert_eq!(checksum.as_deref(), Some(expected), "{what}");
    }
    if let Some(expected) = step["full"].as_str() {
        assert_eq!(full(after).expect("a readable database").to_string(), expected, "{what}");
    }
    checksum
}
