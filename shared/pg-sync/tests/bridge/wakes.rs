//! When observers are woken, with what, and what becomes of it (pg-sync.md 4.9).

use std::collections::{BTreeMap, BTreeSet};

use pg_sync::bridge::{Event, Mode, Outcome};
use pg_sync::change::Operation;
use pg_sync::options::{Options, Replica};
use pg_sync::wake::Wake;
use serde_json::{Value as Json, json};

use crate::rig::{Rig, answer, inserts, keys, message, options, places};

fn live(wake: Wake) -> Rig {
    Rig::live(options(), Mode::Live, wake)
}

/// One answer with these changes, up to date.
fn changes(rig: &mut Rig, tx: u64, messages: &[(&str, &str, Json)]) {
    let body: Vec<Json> = messages
        .iter()
        .zip(0_u64..)
        .map(|((operation, key, value), at)| message(operation, key, tx, at * 2, value))
        .collect();
    let offset = format!("{tx}_{}", messages.len() * 2);
    rig.answer(200, "h1", &offset, &Json::Array(body).to_string());
}

/// Fact 27 of pg-sync.md 3: observers by operation, each its own.
#[test]
fn observers_wait_for_operations() {
    let ops = |op: Operation| Wake { ops: Some(BTreeSet::from([op])), ..Wake::default() };
    let mut rig = live(ops(Operation::Insert));
    rig.subscribe("b", ops(Operation::Delete));
    changes(&mut rig, 5, &[("insert", "k1", json!({})), ("update", "k1", json!({})), ("delete", "k2", json!({}))]);
    let told = rig.told();
    let of = |id: &str| told.iter().filter(|body| body["subscription_id"] == id).collect::<Vec<_>>();
    assert_eq!((of("a").len(), keys(of("a")[0])), (1, vec!["k1".into()]));
    assert_eq!((of("b").len(), keys(of("b")[0])), (1, vec!["k2".into()]));
    assert_eq!(of("a")[0]["counts"], json!({"insert": 1, "update": 0, "delete": 0}));
    changes(&mut rig, 6, &[("update", "k1", json!({}))]);
    assert_eq!(rig.told(), Vec::<Json>::new());
}

#[test]
fn observers_wait_for_values() {
    let filter = BTreeMap::from([("status".to_owned(), Some("paid".to_owned())), ("error".to_owned(), None)]);
    let mut rig = live(Wake { filter, ..Wake::default() });
    for (tx, value, is_woken) in [
        (1, json!({"status": "paid", "error": null}), true),
        (2, json!({"status": "paid", "error": ""}), false),
        (3, json!({"status": "paid"}), false),
        (4, json!({"status": "open", "error": null}), false),
        (5, json!({"status": null, "error": null}), false),
    ] {
        changes(&mut rig, tx, &[("update", "k", value)]);
        assert_eq!(rig.told().len(), usize::from(is_woken), "{tx}");
    }
}

/// Fact 28 of pg-sync.md 3, and the rest of what a change tells.
#[test]
fn what_a_change_tells() {
    let mut rig = live(Wake::default());
    let mut body = message("update", "k", 5, 2, &json!({"id": "1", "n": "18446744073709551616", "x": null}));
    body["old_value"] = json!({"n": "1"});
    rig.answer(200, "h1", "5_2", &json!([body]).to_string());
    let told = rig.told();
    let expected = json!({"seq": 1, "operation": "update", "key": "k", "value": {"id": "1", "n": "18446744073709551616", "x": null},
        "old_value": {"n": "1"}, "tx": "5", "op": 2, "at": rig.now});
    assert_eq!(told[0]["changes"], json!([expected]));
    let expected = json!({"type": "pg_sync.change", "key": format!("pgsync:s:{}:a:1", crate::rig::START), "source_id": "s", "subscription_id": "a",
        "incarnation": crate::rig::START, "table": "orders", "after_seq": 0, "to_seq": 1, "counts": {"insert": 0, "update": 1, "delete": 0},
        "changes": told[0]["changes"], "more": false, "available_from": 1});
    assert_eq!(told[0], expected);
    // With the key and what has changed only, it says so.
    let mut rig = Rig::live(Options { replica: Replica::Default, ..options() }, Mode::Live, Wake::default());
    changes(&mut rig, 5, &[("update", "k", json!({"n": "1"})), ("insert", "l", json!({"n": "1"}))]);
    let told = rig.told();
    assert_eq!((&told[0]["changes"][0]["partial"], &told[0]["changes"][1]["partial"]), (&json!(true), &Json::Null));
}

/// One wake for each answer that holds a match, however many there are; the rest can be read.
#[test]
fn a_wake_tells_fifty_changes() {
    let mut rig = live(Wake::default());
    let many: Vec<(u64, u64)> = (0..120).map(|op| (5, op)).collect();
    rig.answer(200, "h1", "5_120", &inserts(&many));
    let told = rig.told();
    assert_eq!((told.len(), places(&told[0])), (1, many[..50].to_vec()));
    assert_eq!(
        (&told[0]["counts"]["insert"], &told[0]["more"], &told[0]["to_seq"]),
        (&json!(120), &json!(true), &json!(120))
    );
    // Large ones are fewer.
    let large = json!({"text": "x".repeat(20_000)});
    changes(
        &mut rig,
        6,
        &[
            ("insert", "1", large.clone()),
            ("insert", "2", large.clone()),
            ("insert", "3", large.clone()),
            ("insert", "4", large),
        ],
    );
    let told = rig.told();
    assert_eq!((keys(&told[0]).len(), &told[0]["more"]), (3, &json!(true)));
    assert!(told[0].to_string().len() < 70_000);
}

/// A value of more than 256 KiB is not kept, and does not stand in the way.
#[test]
fn large_values_are_left_out() {
    let mut rig = live(Wake::default());
    changes(&mut rig, 5, &[("insert", "k", json!({"text": "x".repeat(300_000)})), ("insert", "l", json!({"n": "1"}))]);
    let told = rig.told();
    let change = &told[0]["changes"][0];
    assert_eq!(
        (&change["truncated"], &change["value"]["truncated"], &change["value"]["key"]),
        (&json!(true), &json!(true), &json!("k"))
    );
    assert!(change["value"]["size"].as_u64().unwrap() > 300_000);
    assert_eq!(told[0]["changes"][1]["value"], json!({"n": "1"}));
}

/// What comes while a wake is on its way waits for the next: bytes that were sent stay what they are.
#[test]
fn a_wake_is_frozen_while_it_is_on_its_way() {
    let mut rig = live(Wake::default());
    rig.answer(200, "h1", "5_0", &inserts(&[(5, 0)]));
    let first = rig.sends();
    for tx in 6..9 {
        rig.answer(200, "h1", &format!("{tx}_0"), &inserts(&[(tx, 0)]));
    }
    assert_eq!(rig.sends(), []);
    rig.restart();
    assert_eq!(rig.sends(), first, "after a death the same bytes");
    let (id, key, _) = first[0].clone();
    rig.happens(Event::Sent { id: id.clone(), key: "another".into(), outcome: Outcome::Taken });
    assert_eq!(rig.sends(), [], "an answer to something else");
    rig.happens(Event::Sent { id, key, outcome: Outcome::Taken });
    let told = rig.told();
    assert_eq!((told.len(), places(&told[0])), (1, vec![(6, 0), (7, 0), (8, 0)]));
    assert_eq!((&told[0]["after_seq"], &told[0]["to_seq"]), (&json!(1), &json!(4)));
}

/// An observer that has less than was thought gets what it has not.
#[test]
fn an_observer_that_is_behind_is_told_from_there() {
    let mut rig = live(Wake::default());
    for tx in 1..=3 {
        rig.answer(200, "h1", &format!("{tx}_0"), &inserts(&[(tx, 0)]));
        rig.told();
    }
    rig.answer(200, "h1", "4_0", &inserts(&[(4, 0)]));
    let (id, key, _) = rig.sends().remove(0);
    rig.happens(Event::Sent { id, key, outcome: Outcome::Behind(1) });
    rig.pass(1_000);
    rig.happens(Event::Due);
    let told = rig.told();
    assert_eq!((&told[0]["after_seq"], places(&told[0])), (&json!(1), vec![(2, 0), (3, 0), (4, 0)]));
    assert_eq!(told[0]["counts"]["insert"], 3);
    // One that says so each time is asked less and less.
    rig.answer(200, "h1", "5_0", &inserts(&[(5, 0)]));
    let start = rig.now;
    for _ in 0..8 {
        rig.pass(400_000);
        rig.happens(Event::Due);
        let Some((id, key, _)) = rig.sends().pop() else { panic!() };
        rig.happens(Event::Sent { id, key, outcome: Outcome::Behind(0) });
        assert!(rig.sends().is_empty());
    }
    assert!(rig.now - start >= 8 * 1_000);
}

#[test]
fn an_observer_that_is_gone_is_forgotten() {
    let mut rig = live(Wake::default());
    rig.subscribe("b", Wake::default());
    rig.answer(200, "h1", "5_0", &inserts(&[(5, 0)]));
    for (id, key, _) in rig.sends() {
        let outcome = if id == "a" { Outcome::Gone } else { Outcome::Taken };
        rig.happens(Event::Sent { id, key, outcome });
    }
    assert_eq!(rig.bridge.observers().keys().collect::<Vec<_>>(), ["b"]);
    assert_eq!(rig.storage.observers.len(), 1);
}

#[test]
fn one_wake_and_then_the_end() {
    let mut rig = live(Wake { one_shot: true, ..Wake::default() });
    rig.answer(200, "h1", "5_0", &inserts(&[(5, 0)]));
    rig.answer(200, "h1", "6_0", &inserts(&[(6, 0)]));
    let told = rig.told();
    assert_eq!((told.len(), places(&told[0])), (2, vec![(5, 0)]));
    assert_eq!((&told[1]["type"], &told[1]["reason"]), (&json!("pg_sync.ended"), &json!("one_shot")));
    assert!(rig.bridge.observers().is_empty());
}

/// What waits when the time is over is told before the end.
#[test]
fn an_observation_expires() {
    let mut rig = live(Wake { expires_in_s: Some(60), debounce_ms: 3_600_000, ..Wake::default() });
    rig.answer(200, "h1", "5_0", &inserts(&[(5, 0)]));
    rig.restart();
    rig.pass(60_000);
    rig.happens(Event::Due);
    let told = rig.told();
    assert_eq!((told.len(), places(&told[0]), &told[1]["reason"]), (2, vec![(5, 0)], &json!("expired")));
}

/// A pause ends after it was quiet for so long, and after the longest wait in any case.
#[test]
fn pauses_before_a_wake() {
    let mut rig = live(Wake { debounce_ms: 1_000, ..Wake::default() });
    let start = rig.now;
    let mut woken = Vec::new();
    for tx in 1..=50_u64 {
        rig.answer(200, "h1", &format!("{tx}_0"), &inserts(&[(tx, 0)]));
        rig.pass(900);
        woken.extend(rig.told().iter().map(|wake| (rig.now - start, wake["counts"]["insert"].as_u64().unwrap())));
    }
    // The longest wait is 30 s where nothing else was asked for.
    assert_eq!(woken, [(30_600, 34)]);
    rig.pass(1_000);
    assert_eq!(rig.told()[0]["counts"]["insert"], 16);
}

/// Between the first change and its wake the process dies as often as it likes.
#[test]
fn a_pause_outlives_the_process() {
    let mut rig = live(Wake { debounce_ms: 60_000, ..Wake::default() });
    rig.answer(200, "h1", "1_0", &inserts(&[(1, 0)]));
    for _ in 0..5 {
        rig.pass(10_000);
        rig.restart();
        assert_eq!(rig.told(), Vec::<Json>::new());
    }
    rig.pass(9_999);
    assert_eq!(rig.told(), Vec::<Json>::new());
    rig.pass(1);
    rig.restart();
    assert_eq!(places(&rig.told()[0]), [(1, 0)]);
}

/// Thirty wakes an hour; then it is said once, and there is one wake an hour until the rate falls.
#[test]
fn wakes_are_throttled() {
    let mut rig = live(Wake::default());
    let mut types = Vec::new();
    let mut merged = Vec::new();
    let begin = rig.now;
    for minute in 1..=240_u64 {
        rig.answer(200, "h1", &format!("{minute}_0"), &inserts(&[(minute, 0)]));
        for pause in [0, 60_000] {
            rig.pass(pause);
            for body in rig.told() {
                types.push(body["type"].as_str().unwrap().to_owned());
                if body["throttled"] == true {
                    merged.push(((rig.now - begin) / 60_000, body["counts"]["insert"].as_u64().unwrap()));
                }
            }
        }
    }
    assert_eq!(types.iter().filter(|kind| *kind == "pg_sync.throttled").count(), 1);
    assert_eq!(types.len(), 30 + 1 + merged.len());
    assert_eq!(merged, [(90, 60), (150, 60), (210, 60)]);
    // It is quiet for an hour: the next wake comes at once.
    rig.pass(2 * 3_600_000);
    rig.told();
    rig.happens(Event::Retry);
    rig.connect();
    rig.answer(200, "h1", "999_0", &inserts(&[(999, 0)]));
    let told = rig.told();
    assert_eq!((told.len(), &told[0]["throttled"]), (1, &Json::Null));
}

/// The same subscription again changes nothing; another wake takes the place of the one before.
#[test]
fn subscribing_again() {
    let mut rig = live(Wake::default());
    let writes = rig.storage.writes;
    rig.subscribe("a", Wake::default());
    assert_eq!((rig.joined(), rig.storage.writes), (vec!["a".to_owned()], writes));
    rig.subscribe("a", Wake { ops: Some(BTreeSet::from([Operation::Delete])), ..Wake::default() });
    rig.answer(200, "h1", "5_0", &inserts(&[(5, 0)]));
    assert_eq!(rig.told(), Vec::<Json>::new());
}

/// What was there already is not told again: an answer that comes twice, or a part of it.
#[test]
fn repetitions_are_dropped() {
    let mut rig = live(Wake::default());
    rig.answered(answer(200, "h1", "5_2", &inserts(&[(5, 0), (5, 2)]), false));
    rig.answer(200, "h1", "5_4", &inserts(&[(5, 0), (5, 2), (5, 4)]));
    let told: Vec<_> = rig.told().iter().flat_map(places).collect();
    assert_eq!(told, [(5, 0), (5, 2), (5, 4)]);
    assert_eq!(rig.bridge.stored().repeated, 2);
}

/// Reports of gaps keep their place among wakes.
#[test]
fn order_is_kept_around_a_gap() {
    let mut rig = live(Wake { debounce_ms: 60_000, ..Wake::default() });
    rig.answer(200, "h1", "5_0", &inserts(&[(5, 0)]));
    rig.answer(409, "", "", "");
    rig.answer(200, "h2", "8_0", "[]");
    rig.answer(200, "h2", "9_0", &inserts(&[(9, 0)]));
    rig.pass(60_000);
    rig.happens(Event::Due);
    let told = rig.told();
    let types: Vec<_> = told.iter().map(|body| body["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["pg_sync.change", "pg_sync.gap", "pg_sync.change"]);
    assert_eq!((places(&told[0]), places(&told[2])), (vec![(5, 0)], vec![(9, 0)]));
}
