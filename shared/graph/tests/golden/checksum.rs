//! `checksum.jsonl`: digests, full sums, and chains of updates with the normalised transactions they follow from.

use datascript::{Attrs, Db, Report, Value};
use golden_support::databases::{assert_same_items, bases, items, transit};
use golden_support::{LeftOut, Tally, count_steps, lines_of_kind};
use graph::rules::Facts;
use graph::rules::attrs::PRESET;
use graph::rules::checksum::blocks;
use graph::rules::checksum::{Changes, Checksum, MAX_REFERENCES, Update, follow, full, tuple_digest};
use graph::rules::normalise::normalise;
use serde_json::Value as Json;

const FILE: &str = "checksum.jsonl";
const KINDS: [&str; 3] = ["tuple", "base", "seq"];

/// Steps that the reference refused, and those that changed nothing: a transaction without effect does not happen
/// (datascript.md 10.2).
const REFUSED: &str = "refused";
const NO_EFFECT: &str = "no effect";
/// Steps whose normalised transaction is not recorded, or holds an entity id where ours refers or drops (D-15).
const NOT_RECORDED: &str = "no normalised transaction was recorded";
const ENTITY_IDS: &str = "entity ids in the normalised transaction";
/// The reference's order goes by hash from nine datoms on, and by transaction number, where ours does not (D-16). Such
/// transactions are compared as bags.
const OWN_ORDER: &str = "an order of its own";
#[rustfmt::skip]
const IN_OWN_ORDER: [&str; 56] = [
    "tiny-0 1 7 8", "tiny-1 1 7 8 9", "tiny-2 0 7", "tiny-3 0 2 7", "tiny-4 7 8 9", "tiny-5 1 3", "tiny-6 1 2",
    "tiny-10 3 7 8 9", "tiny-11 4 7 9", "tiny-12 0 4 6 8", "tiny-13 0", "tiny-14 0 4 8", "tiny-15 8",
    "tiny-16 1 4 6 8", "tiny-18 1 2 6 8 9", "tiny-21 1 2 4 6", "tiny-24 0 9", "tiny-26 1 3", "tiny-27 2 5 9",
    "tiny-28 1 5", "tiny-29 2 7 9", "tiny-31 0 1 8", "tiny-32 3 6", "tiny-33 4 8", "tiny-34 2 7", "tiny-35 9",
    "tiny-36 1 5 6 7", "tiny-38 1 3 5 7 9", "tiny-39 3 4 5 9", "tiny-e2ee-2 6 8", "tiny-e2ee-3 0 1 5 7 8",
    "tiny-e2ee-4 2 3 7 9", "tiny-e2ee-5 2 3 6 7", "tiny-e2ee-6 3 7 9", "tiny-e2ee-7 7", "tiny-e2ee-9 0 1 4 5 7",
    "tiny-e2ee-11 3 4 5 6 7", "tiny-e2ee-12 2 7 8 9", "tiny-e2ee-13 1 3 8", "tiny-e2ee-14 1 6",
    "tiny-e2ee-17 2 5 7 9", "tiny-e2ee-19 1 4 8 9", "small-0 0 2 6 8 10 13 16 24", "small-1 0 1 3 9 13 19 23 24",
    "small-5 1 4 6 9 13 15 17 19 24", "small-7 1 3 5 10 12 13 16 20", "small-9 11 12 15 20 21",
    "small-10 0 1 9 20 23 24", "small-11 1 4 12 15 19 24", "small-e2ee-1 1 4 5 7 9 12 13 14 17 18 19 20 24",
    "small-e2ee-2 0 1 5 10 11 15 17 23", "small-e2ee-3 1 2 5 6 7 9 10 12 16 17", "small-e2ee-4 0 1 2 3 14 17",
    "small-e2ee-5 15 16 21 23", "tag-entity-change 0", "recreate 0 1",
];

#[test]
fn digests_of_tuples() {
    let attrs = Attrs::new(PRESET);
    let lines = lines_of_kind(FILE, "tuple", &KINDS);
    let mut tally = Tally::default();
    for line in &lines {
        let uuid = Value::Uuid(line["uuid"].as_str().expect("a text").parse().expect("a uuid"));
        let attr =
            attrs.get(line["attr"].as_str().expect("a text").trim_start_matches(':')).expect("a known attribute");
        let value = transit(line, "value").filter(|value| !value.is_nil());
        assert_eq!(tuple_digest(&uuid, attr, value.as_ref()).to_string(), line["hex"].as_str().expect("hex"), "{line}");
        tally.check();
    }
    tally.assert(lines.len(), 30, &[]);
}

#[test]
fn full_sums_and_diagnostics() {
    let bases = bases(PRESET);
    let lines = lines_of_kind(FILE, "base", &KINDS);
    let (mut tally, mut shown_blocks) = (Tally::default(), Tally::default());
    for line in &lines {
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
            shown_blocks.check();
        }
        tally.check();
    }
    tally.assert(lines.len(), 7, &[]);
    let recorded = lines.iter().filter(|line| line["diagnostics"].is_string()).count();
    shown_blocks.assert(recorded, 3, &[]);
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
    let bases = bases(PRESET);
    let lines = lines_of_kind(FILE, "seq", &KINDS);
    let mut counts = Counts::default();
    for line in &lines {
        let id = line["id"].as_str().expect("an id");
        let mut db = bases[line["base"].as_str().expect("a base")].clone();
        let mut facts = Facts::default();
        let mut checksum = line["initial"].as_str().map(str::to_owned);
        for (step, number) in line["steps"].as_array().expect("steps").iter().zip(0..) {
            let name = format!("{id} {number}");
            let what = format!("step {number} of {id}");
            let report = datascript::with(&db, &items(step, "tx"));
            let ok = step["ok"].as_bool().unwrap_or_default();
            assert_eq!(report.is_ok(), ok, "{what}: {:?}", report.as_ref().err());
            let Ok(report) = report else {
                counts.sums.leave_out(REFUSED, name);
                continue;
            };
            if report.tx_data.is_empty() {
                counts.sums.leave_out(NO_EFFECT, name);
                continue;
            }
            checksum = check_step(&report, checksum.as_deref(), &mut facts, step, &name, &mut counts);
            counts.sums.check();
            db = report.db_after;
        }
    }
    let idle = [(REFUSED, LeftOut::Count(49)), (NO_EFFECT, LeftOut::Count(59))];
    counts.sums.assert(count_steps(&lines), 644, &idle);
    let items = [(NOT_RECORDED, LeftOut::Marked(&["e2ee-toggle 3"])), (ENTITY_IDS, LeftOut::Marked(&["bare-seq 1 2"]))];
    counts.items.assert(counts.sums.checked(), 641, &items);
    counts.orders.assert(counts.items.checked(), 418, &[(OWN_ORDER, LeftOut::Marked(&IN_OWN_ORDER))]);
}

/// Steps whose sums were compared; of these, whose items were; of these, whose order was.
#[derive(Default)]
struct Counts {
    sums: Tally,
    items: Tally,
    orders: Tally,
}

/// Compares the log's items and the checksum, from either form of the changes; returns the latter.
fn check_step(
    report: &Report,
    previous: Option<&str>,
    facts: &mut Facts,
    step: &Json,
    what: &str,
    counts: &mut Counts,
) -> Option<String> {
    let (before, after) = (&report.db_before, &report.db_after);
    let mut scope = facts.scope(&report.tx_data);
    let normalised = normalise(report, &mut scope).expect("a transaction that can be told").items;
    if step.get("normalized").is_none() {
        counts.items.leave_out(NOT_RECORDED, what);
    } else {
        let bare = |item: &Value| match item.as_seq() {
            Some([_, _, a, Value::Int(_), _]) => a.is_keyword("block/parent") || a.is_keyword("block/page"),
            _ => false,
        };
        let expected = items(step, "normalized");
        if expected.iter().any(bare) {
            counts.items.leave_out(ENTITY_IDS, what);
        } else {
            assert_same_items(&normalised, &expected, what);
            counts.items.check();
            let datoms = &report.tx_data;
            if datoms.len() <= 8 && datoms.iter().all(|datom| datom.tx == datoms[0].tx) {
                assert_eq!(normalised, expected, "order of {what}");
                counts.orders.check();
            } else {
                counts.orders.leave_out(OWN_ORDER, what);
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
