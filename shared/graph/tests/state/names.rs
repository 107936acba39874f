//! Attribute names: many at once, more than a graph may have, and their order while nodes load.

use graph::rules::attrs::BLOCK_TITLE;
use serde_json::{Value as Json, json};

use super::client::{apply, assert_consistent, batch, block, entry, everything, facts, lookup, page, title};
use super::support::{TestGraph, frame, new_graph, open, rows_of, upload};

/// So many names may one graph have (sync.md 7.5).
const LIMIT: usize = 65_536;

/// One fact under each of these names, on entity 1.
fn names(range: std::ops::Range<usize>) -> Vec<Json> {
    range.map(|i| json!(["~:db/add", 1, format!("~:a/b{i}"), 1])).collect()
}

fn titles(graph: &mut TestGraph) -> usize {
    let db = graph.db().unwrap();
    db.datoms(datascript::Index::Aevt, &datascript::Pattern::a(BLOCK_TITLE)).count()
}

fn refused(graph: &mut TestGraph, entries: &[Json]) -> Json {
    let t = graph.position().unwrap().t;
    let heard = batch(graph, t, entries);
    assert!(!heard.failed, "{heard:?}");
    assert_eq!(heard.reply["type"], "tx/reject", "{heard:?}");
    heard.reply
}

#[test]
fn a_batch_with_very_many_names_keeps_what_came_before_them() {
    let (mut graph, sql) = new_graph();
    apply(&mut graph, &[entry("create-page", None, &page(1))]);
    let entries = [
        entry("create-page", None, &page(2)),
        entry("save-block", None, &names(0..50_001)),
        entry("create-page", None, &page(3)),
    ];
    apply(&mut graph, &entries);
    assert_eq!(titles(&mut graph), 3);
    assert_eq!(titles(&mut open(&sql)), 3);
    assert_consistent(&mut graph, &sql);
}

#[test]
fn a_refused_entry_with_very_many_names_costs_the_next_batch_nothing() {
    let (mut graph, sql) = new_graph();
    apply(&mut graph, &[entry("create-page", None, &page(1))]);
    for round in 0..3 {
        let mut bad = names(round * 50_001..(round + 1) * 50_001);
        bad.push(json!(["~:db/unknown", 1]));
        let good = entry("create-page", Some(round), &page(10 + round));
        let reply = refused(&mut graph, &[good, entry("save-block", None, &bad)]);
        assert_eq!(reply["success-tx-ids"].as_array().map(Vec::len), Some(1));
        let one_name = json!(["~:db/add", lookup(1), format!("~:user.property/p{round}"), "x"]);
        apply(&mut graph, &[entry("save-block", None, &[title(1, &format!("round {round}")), one_name])]);
        assert_consistent(&mut graph, &sql);
    }
    assert_eq!(titles(&mut open(&sql)), 4);
}

#[test]
fn names_beyond_the_limit_are_refused_and_others_go_on() {
    let (mut graph, sql) = new_graph();
    apply(&mut graph, &[entry("create-page", None, &page(1))]);
    apply(&mut graph, &[entry("save-block", None, &names(0..60_000))]);
    let before = everything(&sql);
    for reopened in [false, true] {
        if reopened {
            graph = open(&sql);
        }
        let reply = refused(&mut graph, &[entry("save-block", None, &names(60_000..70_000))]);
        assert_eq!(reply["error-detail"], "too many attribute names");
        assert_eq!(everything(&sql), before, "nothing changed");
    }
    // Up to the limit there is room: the page's three names count too.
    apply(&mut graph, &[entry("save-block", None, &names(60_000..LIMIT - 3))]);
    let reply = refused(&mut graph, &[entry("save-block", None, &names(LIMIT..LIMIT + 1))]);
    assert_eq!(reply["error-detail"], "too many attribute names");
    apply(&mut graph, &[entry("save-block", None, &[title(1, "known names go on")])]);
    apply(&mut graph, &[entry("save-block", None, &[json!(["~:db/add", 1, "~:a/b77", 2])])]);
    assert_consistent(&mut graph, &sql);
}

#[test]
fn names_that_come_and_go_are_no_names_of_the_graph() {
    let (mut graph, sql) = new_graph();
    apply(&mut graph, &[entry("create-page", None, &page(1))]);
    for round in 0..5 {
        let range = round * 30_000..(round + 1) * 30_000;
        let gone = range.clone().map(|i| json!(["~:db/retract", 1, format!("~:a/b{i}"), 1]));
        apply(
            &mut graph,
            &[entry("save-block", None, &names(range.clone())), entry("save-block", None, &gone.collect::<Vec<_>>())],
        );
        apply(&mut graph, &[entry("create-page", None, &page(10 + round))]);
    }
    assert_consistent(&mut graph, &sql);
    assert_eq!(titles(&mut open(&sql)), 6);
}

#[test]
fn a_graph_of_sixty_thousand_names_without_schema_is_read_and_edited() {
    let (mut graph, sql) = new_graph();
    apply(&mut graph, &[entry("create-page", None, &page(1))]);
    apply(&mut graph, &[entry("save-block", None, &names(0..60_000))]);
    let (mut copy, copied) = new_graph();
    upload(&mut copy, ("true", "true", ""), false, &[&frame(&rows_of(&sql))]).unwrap();
    for round in 0..3 {
        let mut copy = open(&copied);
        let known = facts(copy.db().unwrap()).len();
        assert!(known > 60_000);
        let t = copy.position().unwrap().t;
        let entries = [
            entry("create-page", None, &page(20 + round)),
            entry("save-block", None, &[json!(["~:db/add", lookup(1), format!("~:new/name{round}"), 1])]),
        ];
        let heard = batch(&mut copy, t, &entries);
        assert_eq!(heard.reply["type"], "tx/batch/ok", "{heard:?}");
        assert_eq!(facts(copy.db().unwrap()).len(), known + 4);
        assert_eq!(facts(open(&copied).db().unwrap()).len(), known + 4);
    }
}

#[test]
fn a_fact_is_retracted_under_a_name_that_no_loaded_node_has() {
    let (mut graph, sql) = new_graph();
    apply(&mut graph, &[entry("create-page", None, &page(1))]);
    apply(&mut graph, &[entry("save-block", None, &names(0..2000))]);
    for i in [0, 700, 1999] {
        for op in ["~:db/retract", "~:db.fn/retractAttribute"] {
            let mut graph = open(&sql);
            let known = facts(graph.db().unwrap()).len();
            let mut graph = open(&sql);
            let value = if op == "~:db/retract" { json!(1) } else { Json::Null };
            let again = json!(["~:db/add", 1, format!("~:a/b{i}"), 1]);
            apply(&mut graph, &[entry("save-block", None, &[json!([op, 1, format!("~:a/b{i}"), value])])]);
            assert_eq!(facts(graph.db().unwrap()).len(), known - 1, "{op} {i}");
            assert_consistent(&mut graph, &sql);
            apply(&mut graph, &[entry("save-block", None, &[again])]);
        }
    }
}

/// Names that come in while nodes load, in an order that leaves no room between the known ones.
#[test]
fn facts_are_found_while_new_names_come_in() {
    let (mut graph, sql) = new_graph();
    apply(&mut graph, &[entry("create-page", None, &page(1))]);
    let blocks: Vec<Json> = (2..40).flat_map(|n| block(n, &lookup(1), &lookup(1))).collect();
    apply(&mut graph, &[entry("insert-blocks", None, &blocks)]);
    let name = |round: usize, i: usize| format!("~:user.property/p{:04}-{i:03}", 9_999 - round);
    for round in 0..12 {
        // A graph that was just opened knows few of its names.
        graph = open(&sql);
        let n = 2 + round % 38;
        let mut items: Vec<Json> =
            (0..70).map(|i| json!(["~:db/add", lookup(n), name(round, i), format!("value {i}")])).collect();
        items.push(title(n, &format!("title of round {round}")));
        if round > 0 {
            let earlier = 2 + (round - 1) % 38;
            items.extend(
                (0..70)
                    .step_by(2)
                    .map(|i| json!(["~:db/retract", lookup(earlier), name(round - 1, i), format!("value {i}")])),
            );
            items.extend(
                (1..70).step_by(2).map(|i| json!(["~:db/add", lookup(earlier), name(round - 1, i), "replaced"])),
            );
        }
        apply(&mut graph, &[entry("save-block", None, &items)]);
        assert_consistent(&mut graph, &sql);
    }
    let mut stored = open(&sql);
    let db = stored.db().unwrap();
    for index in [datascript::Index::Eavt, datascript::Index::Aevt] {
        let datoms: Vec<_> = db.datoms(index, &datascript::Pattern::ALL).map(Result::unwrap).collect();
        let ranks = db.attrs().ranks();
        assert!(datoms.is_sorted_by(|a, b| index.compare(a, b, &ranks).is_lt()), "{index:?}");
    }
    let values = facts(db);
    assert_eq!(values.iter().filter(|fact| fact.contains("user.property")).count(), 11 * 35 + 70);
}
