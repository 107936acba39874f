//! How far a graph can go, and that it goes on afterwards.

use graph::rules::attrs::BLOCK_TITLE;
use protocol::limits::BATCH_LOG_BYTES;
use serde_json::{Value as Json, json};

use super::client::{apply, assert_consistent, batch, entry, everything, facts, lookup, page, title};
use super::support::{TestGraph, frame, new_graph, open, rows_of, upload};

fn refused(graph: &mut TestGraph, items: &[Json]) -> String {
    let t = graph.position().unwrap().t;
    let heard = batch(graph, t, &[entry("save-block", None, items)]);
    assert!(!heard.failed, "{heard:?}");
    assert_eq!(heard.reply["reason"], "db transact failed", "{heard:?}");
    heard.reply["error-detail"].as_str().unwrap().to_owned()
}

#[test]
fn the_schema_grows_as_far_as_its_row_and_the_graph_goes_on() {
    let (mut graph, sql) = new_graph();
    apply(&mut graph, &[entry("create-page", None, &page(1))]);
    let tags = |from: usize, to: usize| -> Vec<Json> {
        (from..to)
            .map(|i| {
                json!(["~:db/add", format!("tag{i}"), "~:db/ident", format!("~:user.class/reading-list-{i:05}Ab")])
            })
            .collect()
    };
    apply(&mut graph, &[entry("create-tags", None, &tags(0, 28_000))]);
    let mut count = 28_000;
    let detail = loop {
        let t = graph.position().unwrap().t;
        let heard = batch(&mut graph, t, &[entry("create-tags", None, &tags(count, count + 100))]);
        if heard.reply["type"] != "tx/batch/ok" {
            break heard.reply["error-detail"].clone();
        }
        count += 100;
    };
    assert_eq!(detail, "entry too large to store");
    assert!(count < 29_000, "{count}");
    let before = facts(graph.db().unwrap()).len();
    let blocks: Vec<Json> = (0..40).map(|i| json!(["~:db/add", 1 + i, "~:block/title", format!("{i}")])).collect();
    apply(&mut graph, &[entry("save-block", None, &blocks)]);
    assert_eq!(facts(graph.db().unwrap()).len(), before + 39, "one title was there");
    assert_consistent(&mut graph, &sql);
    graph.checkpoint().unwrap();
    assert!(rows_of(&sql).iter().all(|row| row.1.len() <= 2_000_000));
    let (mut copy, copied) = new_graph();
    upload(&mut copy, ("true", "true", ""), false, &[&frame(&rows_of(&sql))]).unwrap();
    assert_eq!(facts(copy.db().unwrap()), facts(graph.db().unwrap()));
    apply(&mut copy, &[entry("save-block", None, &[title(1, "in the copy")])]);
    assert_eq!(facts(copy.db().unwrap()), facts(open(&copied).db().unwrap()));
}

#[test]
fn what_an_entry_does_to_the_schema_is_judged_before_anything_is_stored() {
    let (mut graph, sql) = new_graph();
    apply(&mut graph, &[entry("create-page", None, &page(1))]);
    let before = everything(&sql);
    let long = "a".repeat(750_000);
    for (items, detail) in [
        (json!([["~:db/add", 1, "~:db/ident", long]]), ":db/ident must be a keyword"),
        (json!([["~:db/add", 1, "~:db/ident", format!("~:{long}")]]), "attribute name too long"),
        (json!([["~:db/add", 1, format!("~:{long}"), 1]]), "attribute name too long"),
        (json!([["~:db/add", 1, "~:db/index", vec![0; 999_880]]]), ":db/index must be a boolean"),
        (json!([["~:db/add", 1, "~:db/ident", 7]]), ":db/ident must be a keyword"),
    ] {
        assert_eq!(refused(&mut graph, items.as_array().unwrap()), detail);
        assert_eq!(everything(&sql), before);
    }
    apply(&mut graph, &[entry("save-block", None, &[title(1, "goes on")])]);
    assert_consistent(&mut graph, &sql);
}

/// Each of the entries is short, and its log row long: the name of the entity stands there in full.
#[test]
fn the_log_of_a_batch_has_a_limit() {
    let (mut graph, sql) = new_graph();
    let name = "u".repeat(650_000);
    apply(&mut graph, &[entry("save-block", None, &[json!(["~:db/add", "p", "~:block/uuid", name])])]);
    let facts: Vec<Json> =
        (0..300).map(|n| entry("save-block", Some(n), &[json!(["~:db/add", 1, format!("~:user/n{n}"), n])])).collect();
    let heard = batch(&mut graph, 1, &facts);
    assert_eq!(heard.reply["error-detail"], "batch too large to store");
    let taken = heard.reply["success-tx-ids"].as_array().unwrap().len();
    assert_eq!(taken, BATCH_LOG_BYTES / 650_070, "those before it stand");
    assert_eq!(heard.reply["t"], 1 + taken);
    assert_consistent(&mut graph, &sql);
    let t = graph.position().unwrap().t;
    let heard = batch(&mut graph, t, facts.get(taken..).unwrap());
    assert_eq!(heard.reply["type"], "tx/batch/ok", "and the rest can be sent again: {heard:?}");
}

#[test]
fn long_titles_that_begin_alike_do_not_jam_a_graph() {
    let a = |count: usize| "a".repeat(count);
    let (mut graph, sql) = new_graph();
    let titles = [a(1_900_000), a(1_900_000) + "b", a(850_000) + "b", "c".to_owned()];
    for (n, long) in titles.iter().enumerate() {
        let mut items = page(n);
        items[2][3] = json!(long);
        apply(&mut graph, &[entry("create-page", None, &items)]);
    }
    for round in 0..3 {
        // More facts than the tail takes: each is a flush.
        let facts: Vec<Json> = (0..40).map(|i| json!(["~:db/add", lookup(3), format!("~:n/{round}-{i}"), i])).collect();
        apply(&mut graph, &[entry("save-block", None, &facts)]);
        assert_consistent(&mut graph, &sql);
    }
    let mut stored = open(&sql);
    let db = stored.db().unwrap();
    for long in &titles {
        assert!(db.lookup(BLOCK_TITLE, &long.as_str().into()).unwrap().is_some(), "{} bytes", long.len());
    }
}

#[test]
fn a_property_whose_cardinality_becomes_one_keeps_the_next_value() {
    let (mut graph, sql) = new_graph();
    let property = "~:user.property/p";
    let cardinality =
        |kind: &str| json!(["~:db/add", property, "~:db/cardinality", format!("~:db.cardinality/{kind}")]);
    let value = |v: i64| json!(["~:db/add", lookup(1), property, v]);
    let define = [
        json!(["~:db/add", "p", "~:db/ident", property]),
        json!(["~:db/add", "p", "~:db/cardinality", "~:db.cardinality/many"]),
    ];
    apply(&mut graph, &[entry("create-page", None, &page(1)), entry("upsert-property", None, &define)]);
    apply(&mut graph, &[entry("save-block", None, &[value(1), value(2), value(3)])]);
    apply(&mut graph, &[entry("upsert-property", None, &[cardinality("one")])]);
    apply(&mut graph, &[entry("save-block", None, &[value(9)])]);
    let live = facts(graph.db().unwrap());
    assert_eq!(live.iter().filter(|fact| fact.contains(":user.property/p Int")).count(), 1, "{live:?}");
    assert_eq!(facts(open(&sql).db().unwrap()), live);
}

#[test]
fn values_without_an_order_of_their_own_leave_no_ghosts() {
    let (mut graph, sql) = new_graph();
    apply(&mut graph, &[entry("create-page", None, &(1..20).flat_map(page).collect::<Vec<_>>())]);
    // Under one index: NaN among numbers, and lists, vectors and maps, which were before each other in a circle.
    let odd = [
        json!(5),
        json!("~zNaN"),
        json!(7),
        json!("~zINF"),
        json!(["~#list", [1, 2, 3]]),
        json!([1]),
        json!(["^ ", "~:a", 1]),
        json!(["~#list", []]),
        json!("~:k"),
        json!([]),
        json!(["~#set", [1, "~zNaN"]]),
        json!(["~zNaN"]),
        json!(1.5),
    ];
    for round in 0..odd.len() {
        let set: Vec<Json> = (0..odd.len())
            .map(|e| json!(["~:db/add", lookup(1 + e), "~:block/order", odd[(e + round) % odd.len()]]))
            .collect();
        apply(&mut graph, &[entry("save-block", None, &set)]);
        assert_consistent(&mut graph, &sql);
        let db = graph.db().unwrap();
        let order = db.attr("block/order").unwrap();
        for index in [datascript::Index::Avet, datascript::Index::Aevt] {
            assert_eq!(db.datoms(index, &datascript::Pattern::a(order)).count(), odd.len(), "round {round}, {index:?}");
        }
    }
}
