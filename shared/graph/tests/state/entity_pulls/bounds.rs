//! Where the answer ends, and what is refused.

use database::local::Sql as _;
use datascript::Value;
use graph::{EntityAnswer, GraphName};
use protocol::ResetReason;
use serde_json::{Value as Json, json};

use super::{TOO_MUCH, changes, data, graph_of, named, names, naming, pull, u, uuid_value};
use crate::client::{apply, entry, lookup, title, uuid};

#[test]
fn cursors_are_judged_before_anything_is_read() {
    let bad = || "no transit".to_owned();
    let (mut graph, sql) = graph_of(&[], &[bad(), bad(), bad()]);
    let mut answer = |since| pull(&mut graph, since).0;
    assert_eq!(answer(4).answer, EntityAnswer::Reset(ResetReason::CursorAhead));
    assert_eq!(answer(1 << 53).answer, EntityAnswer::Reset(ResetReason::CursorAhead));
    assert_eq!(answer(3).answer, EntityAnswer::Changes, "nothing is new");
    let unreadable = answer(2);
    assert_eq!(unreadable.answer, TOO_MUCH, "a row that cannot be read will never be");
    assert!(unreadable.failure.is_some());
    sql.execute("DELETE FROM tx_log WHERE t = 2", &[]).unwrap();
    let expired = EntityAnswer::Reset(ResetReason::CursorExpired);
    for since in [0, 1] {
        let pulled = answer(since);
        assert_eq!((pulled.answer, pulled.failure.is_some()), (expired, false), "{since}");
    }
    sql.execute("DELETE FROM tx_log WHERE t = 3", &[]).unwrap();
    assert_eq!(answer(2).answer, expired, "the last one is missing");
    sql.execute("INSERT INTO tx_log VALUES (4, '[]', 0, NULL)", &[]).unwrap();
    assert_eq!(answer(3).answer, expired, "one too many");
    sql.execute("INSERT INTO tx_log VALUES (2, '[]', 0, NULL)", &[]).unwrap();
    assert_eq!(answer(1).answer, expired, "as many as there should be, and not those");
}

#[test]
fn without_a_schema_version_only_the_snapshot_helps() {
    let (mut graph, _) = graph_of(&[(1, "block/uuid", uuid_value(1))], &[naming(1)]);
    let mut answer = |since| graph.entity_pull(since, GraphName("g"), None, &mut |_| {}).unwrap().answer;
    assert_eq!(answer(0), TOO_MUCH);
    assert_eq!(answer(1), TOO_MUCH);
    assert_eq!(answer(2), EntityAnswer::Reset(ResetReason::CursorAhead));
}

#[test]
fn nothing_is_told_while_an_upload_runs() {
    let (mut graph, sql) = graph_of(&[(1, "block/uuid", uuid_value(1))], &[naming(1)]);
    sql.execute("INSERT INTO sync_meta VALUES ('snapshot-uploading?', 'true')", &[]).unwrap();
    for since in [0, 1, 2] {
        assert_eq!(pull(&mut graph, since).0.answer, EntityAnswer::NotReady);
    }
}

#[test]
fn a_long_range_is_refused_unread() {
    let row = || "no transit".to_owned();
    let log: Vec<String> = (0..10_001).map(|_| row()).collect();
    let (mut graph, _) = graph_of(&[], &log);
    let (pulled, text) = pull(&mut graph, 0);
    assert_eq!((pulled.answer, pulled.failure.is_some(), text.len()), (TOO_MUCH, false, 0));
    let log: Vec<String> = (0..10_000).map(|n| naming(n % 7)).collect();
    let (mut graph, _) = graph_of(&[], &log);
    assert_eq!(names(&changes(&mut graph, 0)).1.len(), 7);
}

#[test]
fn many_bytes_are_refused_unread() {
    let row = |bytes: usize| "x".repeat(bytes);
    let log: Vec<String> = (0..32).map(|_| row(1 << 20)).chain([row(1)]).collect();
    let (mut graph, _) = graph_of(&[], &log);
    let pulled = pull(&mut graph, 0).0;
    assert_eq!((pulled.answer, pulled.failure.is_some()), (TOO_MUCH, false));
    let pulled = pull(&mut graph, 1).0;
    assert!(pulled.failure.is_some(), "within the bound it is read");
}

#[test]
fn entities_are_counted() {
    let items = |from: usize, to: usize| {
        let items: Vec<Json> = (from..to).map(|n| json!(["~:db/retractEntity", lookup(n)])).collect();
        json!(items).to_string()
    };
    let (mut graph, _) = graph_of(&[], &[items(0, 12_000), items(8_000, 20_000)]);
    assert_eq!(names(&changes(&mut graph, 0)).1.len(), 20_000);
    let (mut graph, _) = graph_of(&[], &[items(0, 12_000), items(8_000, 20_001)]);
    assert_eq!(pull(&mut graph, 0).0.answer, TOO_MUCH);
    // New ones by tempid.
    let tempids = |to: usize| {
        let add = |n| json!(["~:db/add", uuid(n), "~:block/uuid", format!("~u{}", uuid(n)), 5]);
        json!((0..to).map(add).collect::<Vec<_>>()).to_string()
    };
    assert_eq!(names(&changes(&mut graph_of(&[], &[tempids(20_000)]).0, 0)).1.len(), 20_000);
    assert_eq!(pull(&mut graph_of(&[], &[tempids(20_001)]).0, 0).0.answer, TOO_MUCH);
}

#[test]
fn the_message_is_as_long_as_it_may_be_and_no_longer() {
    const LIMIT: usize = 16 << 20;
    let graph = |last: usize| {
        // Quotes take four bytes in Transit in JSON.
        let title = |n: usize| match n {
            0 => Value::from("\"".repeat(last)),
            n => Value::from("x".repeat(1_800_000 + n)),
        };
        let facts: Vec<(u32, &str, Value)> = (0..9_u32)
            .flat_map(|n| {
                let at = n as usize;
                [(n + 1, "block/uuid", uuid_value(at)), (n + 1, "block/title", title(at))]
            })
            .collect();
        let items: Vec<Json> = (0..9).map(|n| json!(["~:db/add", lookup(n), "~:block/title", "x", 5])).collect();
        graph_of(&facts, &[json!(items).to_string()]).0
    };
    let short = pull(&mut graph(0), 0).1.len();
    let fits = (LIMIT - short) / 4;
    let (pulled, text) = pull(&mut graph(fits), 0);
    assert_eq!(pulled.answer, EntityAnswer::Changes);
    assert!(text.len() <= LIMIT && text.len() + 4 > LIMIT, "{}", text.len());
    assert_eq!(data(&text).get("upserts").unwrap().as_seq().unwrap().len(), 9);
    assert_eq!(pull(&mut graph(fits + 1), 0).0.answer, TOO_MUCH);
}

#[test]
fn what_is_left_out_costs_no_end_of_work() {
    let mut facts = vec![(1, "block/uuid", uuid_value(1))];
    facts.extend((0..700_000).map(|n| (1, "block/refs", Value::from(100_000_000 + n))));
    facts.push((2, "block/uuid", uuid_value(2)));
    let (mut graph, _) = graph_of(&facts, &[naming(1), naming(2)]);
    assert_eq!(pull(&mut graph, 0).0.answer, TOO_MUCH);
    // The next one has an allowance of its own, and so has a batch.
    assert_eq!(names(&changes(&mut graph, 1)).0, [u(2)]);
    apply(&mut graph, &[entry("save-block", None, &[title(2, "later")])]);
}

#[test]
fn names_take_bounded_memory() {
    // Long tempids of one entity, tempids of nothing, and one long number of lookup refs.
    let long = "x".repeat(1_000_000);
    let rows: Vec<String> =
        (0..20).map(|n| json!([["~:db/add", format!("{n}{long}"), "~:block/title", "", 5]]).to_string()).collect();
    assert_eq!(pull(&mut graph_of(&[], &rows).0, 0).0.answer, TOO_MUCH);
    let many: Vec<Json> = (0..300_000).map(|n| json!(["~:db/add", n, "~:a", 0])).collect();
    assert_eq!(pull(&mut graph_of(&[], &[json!(many).to_string()]).0, 0).0.answer, TOO_MUCH);
    // The same ones again and again take nothing.
    let rows: Vec<String> = (0..20)
        .map(|_| {
            json!([["~:db/add", long, "~:block/title", "", 5], ["~:db/add", long, "~:file/path", long, 5]]).to_string()
        })
        .collect();
    assert_eq!(names(&changes(&mut graph_of(&[], &rows[..8]).0, 0)).1.len(), 1);
}

#[test]
fn a_name_of_an_odd_kind_finds_nothing() {
    let odd = [json!(null), json!(1), json!("text"), json!([1]), json!(["^ ", "~:a", 1]), json!(["~:block/uuid", 1])];
    for value in odd {
        let (upserts, deleted) = named(&[json!([["~:db/retractEntity", ["~:block/uuid", value]]])]);
        assert_eq!((upserts.len(), deleted.len()), (0, 1), "{value}");
    }
}
