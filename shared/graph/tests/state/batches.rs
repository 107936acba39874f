//! Batches over a graph without validation: what is applied, refused, logged and told (sync.md 11, 22).

use database::local::Sql;
use serde_json::{Value as Json, json};

use super::client::{
    apply, assert_consistent, batch, block, entry, everything, facts, lookup, page, retract, send, title, uuid,
};
use super::support::{count, meta, new_graph, open, pull_text};

/// A page 1 with a block 2.
fn small() -> (super::support::TestGraph, std::rc::Rc<database::local_sqlite::Rusqlite>) {
    let (mut graph, sql) = new_graph();
    apply(&mut graph, &[entry("create-page", None, &page(1))]);
    apply(&mut graph, &[entry("insert-blocks", None, &block(2, &lookup(1), &lookup(1)))]);
    (graph, sql)
}

fn log(graph: &mut super::support::TestGraph, since: i64) -> Vec<Json> {
    let pull: Json = serde_json::from_str(&pull_text(graph, since).unwrap()).unwrap();
    pull["txs"].as_array().unwrap().clone()
}

fn items_of(row: &Json) -> Vec<Json> {
    let tx: Json = serde_json::from_str(row["tx"].as_str().unwrap()).unwrap();
    tx.as_array().unwrap().clone()
}

#[test]
fn the_counter_starts_at_zero_and_survives() {
    let (mut graph, sql) = new_graph();
    let hello = send(&mut graph, &json!({ "type": "hello", "client": "c" }));
    assert_eq!(hello.reply, json!({ "type": "hello", "t": 0 }));
    apply(&mut graph, &[entry("create-page", None, &page(1))]);
    apply(&mut graph, &[json!({ "tx": Json::from(block(2, &lookup(1), &lookup(1))).to_string() })]);
    assert_consistent(&mut graph, &sql);
    let rows = log(&mut open(&sql), 0);
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[0]["t"], &rows[0]["outliner-op"]), (&json!(1), &json!("create-page")));
    assert_eq!((&rows[1]["t"], &rows[1]["outliner-op"]), (&json!(2), &Json::Null));
    assert_eq!(log(&mut graph, 1).len(), 1);
    assert!(log(&mut graph, 2).is_empty());
    let hello = send(&mut graph, &json!({ "type": "hello", "client": "c" }));
    graph.checkpoint().unwrap();
    assert_eq!(hello.reply["checksum"].as_str(), meta(&sql, "checksum").as_deref());
}

#[test]
fn gates_in_their_order() {
    let (mut graph, sql) = small();
    let before = everything(&sql);
    let rename = [entry("save-block", None, &[title(2, "x")])];
    let answer = |graph: &mut _, t, entries: &[Json]| {
        let heard = batch(graph, t, entries);
        assert_eq!(heard.others, None);
        heard.reply
    };
    assert_eq!(answer(&mut graph, -1, &[]), json!({ "type": "tx/reject", "reason": "invalid t-before" }));
    assert_eq!(answer(&mut graph, 1, &rename), json!({ "type": "tx/reject", "reason": "stale", "t": 2 }));
    assert_eq!(answer(&mut graph, 3, &[]), json!({ "type": "tx/reject", "reason": "stale", "t": 2 }));
    assert_eq!(answer(&mut graph, 2, &[]), json!({ "type": "tx/reject", "reason": "empty tx data" }));
    assert_eq!(everything(&sql), before);
    sql.execute("INSERT OR REPLACE INTO sync_meta VALUES ('snapshot-uploading?', 'true')", &[]).unwrap();
    let mut graph = open(&sql);
    let reply = answer(&mut graph, 2, &rename);
    assert_eq!(reply, json!({ "type": "tx/reject", "reason": "snapshot upload in progress", "t": 2 }));
    assert_eq!(send(&mut graph, &json!({ "type": "hello", "client": "c" })).reply["t"], 2);
    assert_eq!(log(&mut graph, 0).len(), 2);
}

#[test]
fn a_missing_block_is_named() {
    let (mut graph, sql) = small();
    let (before, checksum) = (everything(&sql), graph.position().unwrap().checksum);
    let moved = json!(["~:db/add", lookup(2), "~:block/parent", lookup(77)]);
    for item in [title(77, "x"), moved] {
        let heard = batch(&mut graph, 2, &[entry("save-block", Some(900), &[item])]);
        assert_eq!(heard.reply["reason"], "db transact failed");
        assert_eq!(heard.reply["t"], 2);
        assert_eq!(heard.reply["failed-tx-id"], uuid(900));
        assert_eq!(heard.reply["missing-block-uuids"], json!([uuid(77)]));
        assert_eq!(heard.reply["checksum"].as_str(), checksum.as_deref());
        assert!(heard.reply["error-detail"].as_str().is_some_and(|detail| !detail.is_empty()));
        assert!(heard.reply.get("success-tx-ids").is_none() && heard.reply.get("data").is_none());
        assert_eq!(heard.others, None);
        assert_eq!(everything(&sql), before);
    }
    let malformed = json!(["~:db/add", ["~:block/uuid", "~unot-a-uuid"], "~:block/title", "x"]);
    let heard = batch(&mut graph, 2, &[entry("save-block", None, &[malformed])]);
    assert_eq!(heard.reply["missing-block-uuids"], json!(["not-a-uuid"]), "as the entry named it");
}

#[test]
fn entries_before_the_failing_one_stay() {
    let (mut graph, sql) = small();
    let entries = [
        entry("save-block", Some(901), &[title(2, "first")]),
        entry("save-block", None, &[title(2, "second")]),
        entry("save-block", Some(903), &[title(77, "bad")]),
        entry("save-block", Some(904), &[title(2, "never")]),
    ];
    let heard = batch(&mut graph, 2, &entries);
    assert_eq!(heard.reply["success-tx-ids"], json!([uuid(901)]));
    assert_eq!(heard.reply["failed-tx-id"], uuid(903));
    assert_eq!(heard.reply["t"], 4);
    assert_eq!(heard.others, Some(json!({ "type": "changed", "t": 4 })));
    assert_consistent(&mut graph, &sql);
    assert!(facts(graph.db().unwrap()).iter().any(|fact| fact.contains("second")));
}

#[test]
fn what_has_no_effect_is_acknowledged_in_silence() {
    let (mut graph, sql) = small();
    let before = everything(&sql);
    let entries = [
        entry("delete-blocks", Some(1), &[retract(77)]),
        entry("delete-page", None, &[retract(78)]),
        entry("rebase", None, &[]),
        entry("rebase", Some(2), &[title(77, "x")]),
        entry("fix", None, &[title(77, "x")]),
        entry("save-block", None, &[]),
    ];
    for entry in &entries {
        let heard = batch(&mut graph, 2, std::slice::from_ref(entry));
        assert_eq!(heard.reply["type"], "tx/batch/ok", "{entry}: {heard:?}");
        assert_eq!((&heard.reply["t"], heard.others), (&json!(2), None));
    }
    assert_eq!(everything(&sql), before);
    let heard =
        batch(&mut graph, 2, &[entries.to_vec(), vec![entry("save-block", None, &[title(2, "real")])]].concat());
    assert_eq!((&heard.reply["t"], heard.others), (&json!(3), Some(json!({ "type": "changed", "t": 3 }))));
    assert_eq!(count(&sql, "tx_log"), 3);
    let heard = batch(&mut graph, 3, &[entries[0].clone(), entry("save-block", Some(5), &[title(77, "x")])]);
    assert_eq!(heard.reply["success-tx-ids"], json!([uuid(1)]));
    let heard = batch(&mut graph, 3, &[entry("delete-blocks", Some(3), &[])]);
    assert_eq!(heard.reply["failed-tx-id"], uuid(3));
    assert_consistent(&mut graph, &sql);
}

#[test]
fn an_empty_normalised_transaction_is_logged() {
    let (mut graph, sql) = small();
    let sum = graph.position().unwrap().checksum;
    let comes_and_goes = [json!(["~:db/add", "x", "~:block/uuid", format!("~u{}", uuid(9))]), retract(9)];
    apply(&mut graph, &[entry("x", None, &comes_and_goes)]);
    assert_eq!(items_of(&log(&mut graph, 2)[0]), Vec::<Json>::new());
    assert_eq!(graph.position().unwrap().checksum, sum);
    assert_consistent(&mut graph, &sql);
}

#[test]
fn a_wrong_checksum_harms_nothing_else() {
    let (mut graph, sql) = small();
    graph.checkpoint().unwrap();
    sql.execute("UPDATE sync_meta SET value = 'ffffffffffffffff' WHERE key = 'checksum'", &[]).unwrap();
    let mut graph = open(&sql);
    let heard = batch(&mut graph, 2, &[entry("rebase", None, &[])]);
    assert_eq!(heard.reply["checksum"], "ffffffffffffffff");
    apply(&mut graph, &[entry("save-block", None, &[title(2, "x")])]);
    assert_ne!(graph.position().unwrap().checksum.as_deref(), Some("ffffffffffffffff"));
    assert_eq!(count(&sql, "tx_log"), 3);
    assert_eq!(facts(graph.db().unwrap()), facts(open(&sql).db().unwrap()));
}

#[test]
fn a_failing_write_stores_nothing_of_the_batch() {
    let (mut graph, sql) = small();
    let before = everything(&sql);
    sql.execute("CREATE TRIGGER refuse BEFORE INSERT ON tx_log BEGIN SELECT RAISE(ABORT, 'refused'); END", &[])
        .unwrap();
    let entries = [entry("save-block", Some(1), &[title(2, "a")]), entry("save-block", Some(2), &[title(2, "b")])];
    let heard = batch(&mut graph, 2, &entries);
    assert!(heard.failed);
    assert_eq!((&heard.reply["reason"], &heard.reply["t"]), (&json!("db transact failed"), &json!(2)));
    assert!(heard.reply.get("success-tx-ids").is_none());
    assert!(!heard.reply.to_string().contains("refused"), "no inner texts");
    assert_eq!(heard.others, None);
    assert_eq!(everything(&sql), before);
    sql.execute("DROP TRIGGER refuse", &[]).unwrap();
    assert_consistent(&mut graph, &sql);
    assert_eq!(batch(&mut graph, 2, &entries).reply["t"], 4);
    assert_consistent(&mut graph, &sql);
}

#[test]
fn deleting_takes_what_is_below_now() {
    let (mut graph, sql) = small();
    apply(&mut graph, &[entry("insert-blocks", None, &block(3, &lookup(2), &lookup(1)))]);
    apply(&mut graph, &[entry("insert-blocks", None, &block(4, &lookup(3), &lookup(1)))]);
    let items = [title(2, "redundant"), retract(2)];
    apply(&mut graph, &[entry("delete-blocks", None, &items)]);
    assert!(!facts(graph.db().unwrap()).iter().any(|fact| fact.contains("Block")));
    let heard = batch(&mut graph, 5, &[entry("insert-blocks", Some(9), &block(5, &lookup(2), &lookup(1)))]);
    assert_eq!(heard.reply["missing-block-uuids"], json!([uuid(2)]));
    assert_consistent(&mut graph, &sql);
}

/// Items of `n` blocks 1000… below page 1.
fn many(n: usize) -> Vec<Json> {
    (1000..1000 + n).flat_map(|i| block(i, &lookup(1), &lookup(1))).collect()
}

#[test]
fn large_entries_are_split() {
    let (mut graph, sql) = small();
    let t = apply(&mut graph, &[entry("insert-blocks", None, &many(72))]);
    let rows = log(&mut graph, 2);
    assert_eq!(rows.iter().map(|row| items_of(row).len()).collect::<Vec<_>>(), [497, 7]);
    assert!(rows.iter().all(|row| row["outliner-op"] == "insert-blocks"));
    assert_eq!(t, 4);
    assert_consistent(&mut graph, &sql);
}

#[test]
fn large_entries_are_complete() {
    let (mut graph, sql) = small();
    let items = many(1200);
    let t = apply(&mut graph, &[entry("insert-blocks", None, &items)]);
    let rows = log(&mut graph, 2);
    assert_eq!(rows.len(), usize::try_from(t).unwrap() - 2);
    assert!(rows.len() > 2 && rows.iter().all(|row| items_of(row).len() <= 500));
    assert_eq!(rows.iter().map(|row| items_of(row).len()).sum::<usize>(), items.len());
    assert_consistent(&mut graph, &sql);

    let delete: Vec<Json> = (1000..1520).map(retract).collect();
    apply(&mut graph, &[entry("delete-blocks", None, &delete)]);
    assert_eq!(facts(graph.db().unwrap()).iter().filter(|fact| fact.contains("block/title")).count(), 1200 - 520 + 2);
    assert_consistent(&mut graph, &sql);
    apply(&mut graph, &[entry("delete-blocks", None, &[retract(2), retract(1)])]);
    assert!(facts(graph.db().unwrap()).is_empty(), "descendants, in chunks");
    assert_consistent(&mut graph, &sql);
}

#[test]
fn large_entries_by_negative_tempids() {
    let (mut graph, sql) = small();
    let items: Vec<Json> = (0..300)
        .flat_map(|i| {
            let mut items = block(1000 + i, &lookup(1), &lookup(1));
            for item in &mut items {
                item[1] = json!(-1 - i64::try_from(i).unwrap());
            }
            items
        })
        .collect();
    apply(&mut graph, &[entry("insert-blocks", None, &items)]);
    assert_consistent(&mut graph, &sql);
}

#[test]
fn a_failing_large_entry_leaves_nothing() {
    for place in [3, 5000, 8300] {
        let (mut graph, sql) = small();
        apply(&mut graph, &[entry("save-block", None, &[title(2, "in the tail")])]);
        let before = everything(&sql);
        let mut items = many(1200);
        items.insert(place, title(77, "bad"));
        let heard = batch(&mut graph, 3, &[entry("insert-blocks", Some(8), &items)]);
        assert_eq!(heard.reply["missing-block-uuids"], json!([uuid(77)]), "at {place}");
        assert_eq!(heard.others, None);
        assert_eq!(everything(&sql), before);
        assert_consistent(&mut graph, &sql);
        // D-07b: the next small entry keeps those before.
        apply(&mut graph, &[entry("save-block", None, &[json!(["~:db/add", lookup(1), "~:block/title", "after"])])]);
        assert_consistent(&mut graph, &sql);
        let stored = facts(open(&sql).db().unwrap());
        assert!(stored.iter().any(|fact| fact.contains("in the tail")));
        assert!(stored.iter().any(|fact| fact.contains("after")));
    }
}

#[test]
fn very_large_entries() {
    let (mut graph, sql) = small();
    let items = many(2000);
    assert_eq!(items.len(), 14_000);
    let t = apply(&mut graph, &[entry("insert-blocks", None, &items)]);
    assert!(t > 3);
    assert_eq!(log(&mut graph, 2).len(), usize::try_from(t).unwrap() - 2);
    assert_consistent(&mut graph, &sql);
    // The same from clients that split: one row an entry, in one batch or in many.
    let parts: Vec<Json> = items.chunks(392).map(|part| entry("insert-blocks", None, part)).collect();
    let (mut batched, sql) = small();
    assert_eq!(apply(&mut batched, &parts), 2 + 36);
    assert_consistent(&mut batched, &sql);
    let (mut serial, sql) = small();
    for part in &parts {
        apply(&mut serial, std::slice::from_ref(part));
    }
    assert_eq!(serial.position().unwrap().t, 2 + 36);
    assert_consistent(&mut serial, &sql);
    assert_eq!(serial.position().unwrap(), batched.position().unwrap());
    assert_eq!(graph.position().unwrap().checksum, batched.position().unwrap().checksum);
}

#[test]
fn references_that_do_not_resolve() {
    let (mut graph, sql) = small();
    for attr in ["~:block/refs", "~:block/tags"] {
        let items = [page(3), vec![json!(["~:db/add", uuid(3), attr, lookup(77)])]].concat();
        let heard = batch(&mut graph, 2, &[entry("create-page", Some(1), &items)]);
        assert_eq!(heard.reply["missing-block-uuids"], json!([uuid(77)]), "{attr}");
    }
    // Where the schema knows of no reference, the lookup is a value like any other.
    let plain = json!(["~:db/add", lookup(2), "~:logseq.property/created-by-ref", lookup(77)]);
    apply(&mut graph, &[entry("save-block", None, &[plain])]);
    assert_consistent(&mut graph, &sql);
}

#[test]
fn migrations_are_not_split() {
    let (mut graph, sql) = small();
    assert_eq!(apply(&mut graph, &[entry("db-migrate", None, &many(200))]), 3);
    assert_consistent(&mut graph, &sql);
}

#[test]
fn what_cannot_be_stored_is_refused_before_anything_is_written() {
    let (mut graph, sql) = small();
    let before = everything(&sql);
    let huge = "x".repeat(2_000_001);
    let long = "y".repeat(1_100_000);
    let value = entry("save-block", Some(1), &[title(2, &huge)]);
    let row = entry("save-block", Some(1), &[title(2, &long), json!(["~:db/add", lookup(1), "~:block/title", long])]);
    for entry in [value, row] {
        let heard = batch(&mut graph, 2, &[entry]);
        assert_eq!(heard.reply["error-detail"], "entry too large to store");
        assert_eq!(everything(&sql), before);
    }
    // Large neighbours do not make a small edit fail.
    for n in 10..40 {
        let mut items = block(n, &lookup(1), &lookup(1));
        items[1][3] = "z".repeat(150_000).into();
        apply(&mut graph, &[entry("insert-blocks", None, &items)]);
    }
    apply(&mut graph, &[entry("save-block", None, &[title(20, "small")])]);
    assert_consistent(&mut graph, &sql);
}

#[test]
fn undecodable_entries_fail() {
    let (mut graph, sql) = small();
    let before = everything(&sql);
    let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
    for tx in [
        "",
        "[",
        "nonsense",
        "5",
        "\"text\"",
        "[[\"~:db/add\"",
        &deep,
        "[[\"~:db/nope\",1]]",
        "[[\"~:db/add\",1,2,3]]",
        r#"[["~#datascript/Datom",[1,"~:block/title","x",5,true]]]"#,
        r#"[["~#unknown",[1]]]"#,
    ] {
        let heard = batch(&mut graph, 2, &[json!({ "tx": tx, "outliner-op": "save-block", "tx-id": uuid(4) })]);
        assert_eq!(heard.reply["reason"], "db transact failed", "{tx}: {heard:?}");
        assert_eq!(heard.reply["failed-tx-id"], uuid(4));
    }
    assert_eq!(everything(&sql), before);
}

/// What everyone depends on is not an entry's to change, whatever its operation, and whatever its size.
#[test]
fn the_schema_is_guarded() {
    let (mut graph, sql) = small();
    let before = everything(&sql);
    let names = graph.db().unwrap().attrs().len();
    let long = format!("~:{}", "n".repeat(5000));
    let refusals = [
        (json!(["~:db/add", "x", "~:db/ident", "~:block/uuid"]), "built-in attribute :block/uuid cannot be redefined"),
        (json!(["~:db/add", "x", "~:db/ident", "text"]), ":db/ident must be a keyword"),
        (json!(["~:db/add", "x", "~:db/index", "~:true"]), ":db/index must be a boolean"),
        (json!(["~:db/add", "x", long, 1]), "attribute name too long"),
        (json!(["~:db/add", "x", "~:db/ident", long]), "attribute name too long"),
    ];
    for (item, detail) in refusals {
        for op in ["save-block", "db-migrate", "rebase", "fix"] {
            let mut large = many(100);
            large.push(item.clone());
            for items in [vec![item.clone()], large] {
                let heard = batch(&mut graph, 2, &[entry(op, Some(4), &items)]);
                assert_eq!(heard.reply["reason"], "db transact failed", "{op} {item}");
                assert_eq!(heard.reply["error-detail"], detail, "{op} {item}");
                assert_eq!(everything(&sql), before);
            }
        }
    }
    // Names that are too long are not even remembered.
    assert_eq!(graph.db().unwrap().attrs().len(), names);
    assert_consistent(&mut graph, &sql);
}

/// A block whose page has no uuid yet.
#[test]
fn pages_that_come_later_keep_the_checksum_right() {
    let (mut graph, sql) = small();
    let page = json!("~:user.class/page");
    let waits = [
        json!(["~:db/add", "page", "~:db/ident", page]),
        json!(["~:db/add", "x", "~:block/uuid", format!("~u{}", uuid(9))]),
        json!(["~:db/add", "x", "~:block/title", "waits"]),
        json!(["~:db/add", "x", "~:block/page", "page"]),
    ];
    apply(&mut graph, &[entry("insert-blocks", None, &waits)]);
    assert_consistent(&mut graph, &sql);
    let named = json!(["~:db/add", page, "~:block/uuid", format!("~u{}", uuid(10))]);
    apply(&mut graph, &[entry("save-block", None, &[named])]);
    assert_consistent(&mut graph, &sql);
    let nameless = json!(["~:db.fn/retractAttribute", page, "~:block/uuid"]);
    apply(&mut graph, &[entry("save-block", None, &[nameless])]);
    assert_consistent(&mut graph, &sql);
}

#[test]
fn retracting_and_recreating_keeps_the_checksum_right() {
    let (mut graph, sql) = small();
    for round in 0..250 {
        let n = 100 + round % 7;
        apply(&mut graph, &[entry("insert-blocks", None, &block(n, &lookup(2), &lookup(1)))]);
        apply(&mut graph, &[entry("delete-blocks", None, &[retract(n)])]);
        if round % 25 == 0 {
            graph = open(&sql);
        }
    }
    assert_eq!(graph.position().unwrap().t, 502);
    assert_consistent(&mut graph, &sql);
    graph.checkpoint().unwrap();
    // Garbage of the trees does not stay (datascript.md 6.4).
    assert!(count(&sql, "kvs") < 12, "{} rows", count(&sql, "kvs"));
}

#[test]
fn pulls_come_in_pieces() {
    let (mut graph, _) = small();
    for n in 0..12 {
        apply(&mut graph, &[entry("save-block", None, &[title(2, &format!("{n}{}", "x".repeat(300_000)))])]);
    }
    let mut pull = graph.pull(0).unwrap();
    let (mut text, mut pieces) = (String::new(), 0);
    while graph.pull_piece(&mut pull, &mut text).unwrap() {
        pieces += 1;
        // What happens meanwhile is not part of it.
        apply(&mut graph, &[entry("save-block", None, &[title(2, &format!("later {pieces}"))])]);
    }
    assert!(pieces > 3);
    let pull: Json = serde_json::from_str(&text).unwrap();
    assert_eq!((&pull["t"], pull["txs"].as_array().unwrap().len()), (&json!(14), 14));

    let mut pull = graph.pull(0).unwrap();
    graph.pull_piece(&mut pull, &mut text).unwrap();
    graph.reset().unwrap();
    assert!(matches!(graph.pull_piece(&mut pull, &mut text), Err(graph::Error::Replaced)));
}
