//! What the checksum is made of (sync.md 5.3).

use serde_json::{Value as Json, json};

use super::client::{apply, block, entry, lookup, page, uuid};
use super::support::{TestGraph, new_graph};

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
