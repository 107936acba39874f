//! What the checksum is made of (sync.md 5.3).

use std::cell::Cell;
use std::rc::Rc;

use graph::{Graph, Options};
use protocol::limits;
use serde_json::{Value as Json, json};

use super::client::{apply, block, entry, lookup, page, uuid};
use super::support::{NOW, TestGraph, new_graph};

fn pieces(graph: &mut TestGraph) -> Vec<String> {
    let mut diagnostics = graph.diagnostics().unwrap();
    let mut pieces = Vec::new();
    let mut piece = String::new();
    while graph.diagnostics_piece(&mut diagnostics, &mut piece).unwrap() {
        pieces.push(std::mem::take(&mut piece));
    }
    pieces
}

fn whole(graph: &mut TestGraph) -> Json {
    serde_json::from_str(&pieces(graph).concat()).unwrap()
}

#[test]
fn every_block_that_counts() {
    let (mut graph, _) = new_graph();
    let empty = json!({
        "checksum": "0000000000000000", "e2ee?": false,
        "attrs": ["name", "order", "page", "parent", "title", "uuid"], "blocks": [],
    });
    assert_eq!(whole(&mut graph), empty);
    apply(&mut graph, &[entry("create-page", None, &page(1))]);
    apply(&mut graph, &[entry("insert-blocks", None, &block(2, &lookup(1), &lookup(1)))]);
    let shown = whole(&mut graph);
    assert_eq!(shown["checksum"].as_str(), graph.position().unwrap().checksum.as_deref());
    let expected = json!([
        { "uuid": uuid(1), "parent": null, "page": null, "order": null, "title": "Page 1", "name": "page 1" },
        { "uuid": uuid(2), "parent": uuid(1), "page": uuid(1), "order": "a000002V", "title": "Block 2", "name": null },
    ]);
    assert_eq!(shown["blocks"], expected);
}

#[test]
fn encrypted_graphs_keep_their_texts() {
    let (mut graph, _) = new_graph();
    let flag = [
        json!(["~:db/add", "flag", "~:db/ident", "~:logseq.kv/graph-rtc-e2ee?"]),
        json!(["~:db/add", "flag", "~:kv/value", true]),
    ];
    apply(&mut graph, &[entry("x", None, &flag), entry("create-page", None, &page(1))]);
    let shown = whole(&mut graph);
    assert_eq!((&shown["e2ee?"], &shown["attrs"]), (&json!(true), &json!(["order", "page", "parent", "uuid"])));
    assert_eq!(shown["blocks"], json!([{ "uuid": uuid(1), "parent": null, "page": null, "order": null }]));
}

#[test]
fn long_ones_come_in_pieces() {
    let (mut graph, _) = new_graph();
    apply(&mut graph, &[entry("create-page", None, &page(1))]);
    for n in 0..30 {
        let mut items = block(10 + n, &lookup(1), &lookup(1));
        items[1][3] = "t".repeat(300_000).into();
        apply(&mut graph, &[entry("insert-blocks", None, &items)]);
    }
    assert!(pieces(&mut graph).len() > 1);
    let shown = whole(&mut graph);
    assert_eq!(shown["blocks"].as_array().unwrap().len(), 31);
    assert_eq!(shown["checksum"].as_str(), graph.position().unwrap().checksum.as_deref());
}

/// Steps of work that each piece took.
fn steps(graph: &mut TestGraph) -> Vec<u64> {
    let mut diagnostics = graph.diagnostics().unwrap();
    let (mut steps, mut out) = (Vec::new(), String::new());
    loop {
        let begun = graph.db().unwrap().nodes().work().done();
        if !graph.diagnostics_piece(&mut diagnostics, &mut out).unwrap() {
            return steps;
        }
        assert!(!std::mem::take(&mut out).is_empty());
        steps.push(graph.db().unwrap().nodes().work().done() - begun);
    }
}

#[test]
fn a_piece_is_a_part_of_the_work() {
    let (mut graph, _) = new_graph();
    apply(&mut graph, &[entry("create-page", None, &page(1))]);
    for part in 0..4 {
        let first = 10 + 1_000 * part;
        let items: Vec<Json> = (first..first + 1_000).flat_map(|n| block(n, &lookup(1), &lookup(1))).collect();
        apply(&mut graph, &[entry("insert-blocks", None, &items)]);
    }
    let steps = steps(&mut graph);
    assert!(steps.len() > 2, "{steps:?}");
    assert!(steps.iter().all(|steps| *steps < 60_000), "{steps:?}");
    let shown = whole(&mut graph);
    assert_eq!(shown["blocks"].as_array().unwrap().len(), 4_001);
    assert_eq!(shown["checksum"].as_str(), graph.position().unwrap().checksum.as_deref());
}

#[test]
fn entities_that_do_not_count_come_in_pieces_too() {
    let (mut graph, _) = new_graph();
    let items: Vec<Json> =
        (10..16_000).map(|n| json!(["~:db/add", n, "~:block/uuid", format!("~u{}", uuid(n))])).collect();
    apply(&mut graph, &[entry("x", None, &items)]);
    assert!(steps(&mut graph).len() > 2);
    assert_eq!(whole(&mut graph)["blocks"], json!([]));
}

#[test]
fn one_at_a_time() {
    let (_, sql) = new_graph();
    let clock = Rc::new(Cell::new(NOW));
    let now = Rc::clone(&clock);
    let mut graph = Graph::new(sql, move || now.get(), Options::DEFAULT);
    apply(&mut graph, &[entry("create-page", None, &page(1))]);
    let mut first = graph.diagnostics().unwrap();
    let refused = graph.diagnostics();
    assert!(matches!(refused, Err(graph::Error::TooManyExports)), "{refused:?}");
    let mut out = String::new();
    while graph.diagnostics_piece(&mut first, &mut out).unwrap() {}
    // The first has ended, but was not dropped.
    let second = graph.diagnostics().unwrap();
    assert!(!graph.diagnostics_piece(&mut first, &mut out).unwrap(), "it has ended, whoever has begun");
    drop(second);
    let mut stalled = graph.diagnostics().unwrap();
    clock.set(clock.get() + limits::EXPORT_IDLE_MS + 1);
    let mut third = graph.diagnostics().unwrap();
    let outcome = graph.diagnostics_piece(&mut stalled, &mut out);
    assert!(matches!(outcome, Err(graph::Error::Stalled)), "{outcome:?}");
    assert!(graph.diagnostics_piece(&mut third, &mut out).unwrap());
}
