//! `sanitize.jsonl`: what is taken from an entry and added to it; order keys.

use datascript::{Db, Index, Pattern, Value};
use golden_support::databases::{assert_same_items, bases, items};
use golden_support::{LeftOut, Tally, lines, lines_of_kind};
use graph::rules::attrs::{BLOCK_REFS, PRESET};
use graph::rules::deletion::deletion_cleanup;
use graph::rules::order_key::{between, n_between};
use graph::rules::prepare::prepare;
use graph::rules::sanitise::sanitise;
use graph::rules::{Op, order_key};
use serde_json::Value as Json;

const FILE: &str = "sanitize.jsonl";
const KINDS: [&str; 3] = ["sanitize", "order", "order-chain"];

/// The reference writes a retraction for each pair of a referrer and a deleted block; ours only those that have an effect.
const IDLE: &str = "retractions without effect";

#[test]
fn entries_become_what_the_reference_makes_of_them() {
    let bases = bases(PRESET);
    let lines = lines_of_kind(FILE, "sanitize", &KINDS);
    let (mut tally, mut clean_up) = (Tally::default(), Tally::default());
    for line in &lines {
        let what = line["id"].as_str().expect("an id");
        let db = &bases[line["base"].as_str().expect("a base")];
        let op = line["op"].as_str().map(Op::parse);
        let sanitised = sanitise(db, op, items(line, "tx")).expect("a readable database");
        if line.get("error").is_some() {
            let added = deletion_cleanup(db, &sanitised).expect("a readable database");
            assert!(datascript::with(db, &[sanitised, added].concat()).is_err(), "{what}");
        } else {
            assert_eq!(sanitised, items(line, "sanitized"), "{what}");
            let expanded = prepare(db, op, sanitised).expect("a readable database");
            assert_eq!(expanded, items(line, "expanded"), "{what}");
            let cleanup = deletion_cleanup(db, &expanded).expect("a readable database");
            let mut expected = items(line, "cleanup");
            let recorded = expected.len();
            expected.retain(|item| !is_idle_retract(db, item));
            assert_same_items(&cleanup, &expected, what);
            if expected.len() == recorded {
                clean_up.check();
            } else {
                clean_up.leave_out(IDLE, what);
            }
        }
        tally.check();
    }
    tally.assert(lines.len(), 111, &[]);
    let good = lines.iter().filter(|line| line.get("error").is_none()).count();
    clean_up.assert(good, 111, &[(IDLE, LeftOut::Marked(&[]))]);
}

/// The cases of later versions (`september.jsonl`).
#[test]
fn later_entries_become_what_the_reference_makes_of_them() {
    let bases = bases(PRESET);
    let lines = september("sanitize/");
    let mut tally = Tally::default();
    for line in &lines {
        let case = line["case"].as_str().expect("a name");
        let (given, expected) = (&line["given"], &line["expected"]);
        let db = &bases[given["base"].as_str().expect("a base")];
        let op = given["op"].as_str().map(Op::parse);
        let sanitised = sanitise(db, op, items(given, "tx")).expect("a readable database");
        assert_eq!(sanitised, items(expected, "sanitized"), "{case}");
        tally.check();
    }
    tally.assert(lines.len(), 6, &[]);
}

/// The cases of `september.jsonl` whose names begin so. No case may begin otherwise than the tests know.
pub(crate) fn september(prefix: &str) -> Vec<Json> {
    let mut lines = lines("september.jsonl");
    for line in &lines {
        let case = line["case"].as_str().expect("a name");
        assert!(case.starts_with("sanitize/") || case.starts_with("entity-pull/"), "nobody checks {case}");
    }
    lines.retain(|line| line["case"].as_str().expect("a name").starts_with(prefix));
    lines
}

/// A retraction of a reference that does not exist.
fn is_idle_retract(db: &Db, item: &Value) -> bool {
    match item.as_seq() {
        Some([op, Value::Int(e), attr, v]) if op.is_keyword("db/retract") && attr.is_keyword("block/refs") => {
            let e = u32::try_from(*e).expect("an id");
            db.first(Index::Eavt, &Pattern::eav(e, BLOCK_REFS, v)).expect("a readable database").is_none()
        }
        _ => false,
    }
}

#[test]
fn order_keys() {
    let lines = lines_of_kind(FILE, "order", &KINDS);
    let mut tally = Tally::default();
    for line in &lines {
        let (a, b) = (line["a"].as_str(), line["b"].as_str());
        match line["key"].as_str() {
            Some(key) => assert_eq!(between(a, b).expect("a key"), key, "{line}"),
            None => assert!(between(a, b).is_err(), "{line}"),
        }
        match line.get("n5") {
            Some(keys) => assert_eq!(n_between(a, b, 5).expect("keys"), texts(keys), "{line}"),
            None => assert!(n_between(a, b, 5).is_err(), "{line}"),
        }
        tally.check();
    }
    tally.assert(lines.len(), 23, &[]);
}

#[test]
fn order_chains() {
    let lines = lines_of_kind(FILE, "order-chain", &KINDS);
    let mut tally = Tally::default();
    for line in &lines {
        let mut last = None;
        for expected in texts(&line["append"]) {
            let key = between(last.as_deref(), None).expect("a key");
            assert_eq!(key, expected);
            last = Some(key);
        }
        let mut first = None;
        for expected in texts(&line["prepend"]) {
            let key = between(None, first.as_deref()).expect("a key");
            assert_eq!(key, expected);
            first = Some(key);
        }
        let mut upper = "a1".to_owned();
        for expected in texts(&line["bisect"]) {
            upper = between(Some("a0"), Some(&upper)).expect("a key");
            assert_eq!(upper, expected);
            assert!(order_key::is_valid(&upper));
        }
        tally.check();
    }
    tally.assert(lines.len(), 1, &[]);
}

fn texts(json: &Json) -> Vec<String> {
    json.as_array().expect("a list").iter().map(|key| key.as_str().expect("a text").to_owned()).collect()
}
