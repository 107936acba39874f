//! What becomes of the entries of a batch (sync.md 11 and the reference's test facts).

use conformance::{Server, Socket, TestGraph, tx};
use serde_json::{Value, json};

super::cases![
    partial_failure_keeps_what_came_before,
    a_missing_reference_names_the_block,
    undecodable_entries_are_rejected,
    ignored_attributes_and_key_values_are_dropped,
    stale_deletes_are_acknowledged_without_effect,
    an_empty_delete_fails,
    an_empty_rebase_is_a_no_op,
    rebase_and_fix_tolerate_missing_blocks_only,
    deleting_a_block_takes_its_descendants,
    invalid_data_is_rejected_and_changes_nothing,
    a_page_cannot_sit_below_a_block,
    large_entries_are_logged_in_chunks,
    a_failing_large_entry_leaves_nothing,
    a_large_delete_is_complete,
    equal_orders_and_cycles_are_accepted,
    migrations_skip_validation,
    an_entry_too_large_to_store_is_rejected,
    a_huge_block_does_not_hurt_its_neighbours,
    deep_nesting_is_rejected,
    checksum_follows_every_advance,
    explicit_transaction_numbers_out_of_range_are_replaced,
];

/// A graph with one page, at t 1.
struct Fixture {
    graph: TestGraph,
    page: String,
}

impl Fixture {
    fn new(server: &Server) -> Self {
        let graph = TestGraph::initial(&server.person("owner"));
        let page = tx::id();
        let answer = graph.batch(0, &[tx::entry(&tx::page(&page, &format!("Page {page}")), "create-page", &tx::id())]);
        assert_eq!(answer.json()["type"], "tx/batch/ok", "{}", answer.json());
        Self { graph, page }
    }

    fn send(&self, entries: &[Value]) -> Value {
        self.graph.batch(self.graph.t(), entries).status(200).json()
    }

    #[track_caller]
    fn ok(&self, items: &[Value], op: &str) -> Value {
        let answer = self.send(&[tx::entry(items, op, &tx::id())]);
        assert_eq!(answer["type"], "tx/batch/ok", "{answer}");
        answer
    }

    #[track_caller]
    fn rejected(&self, items: &[Value], op: &str) -> Value {
        let before = self.state();
        let id = tx::id();
        let answer = self.send(&[tx::entry(items, op, &id)]);
        assert_eq!(
            (&answer["type"], &answer["reason"]),
            (&json!("tx/reject"), &json!("db transact failed")),
            "{answer}"
        );
        assert_eq!(answer["failed-tx-id"], id.as_str());
        assert!(answer["error-detail"].as_str().is_some_and(|text| !text.is_empty()));
        assert_eq!(self.state(), before, "a rejected entry changes nothing");
        answer
    }

    /// State that a refused entry must not change: counter, checksum, log and blocks.
    fn state(&self) -> (Value, Value) {
        (self.graph.pull(), self.blocks())
    }

    fn blocks(&self) -> Value {
        self.graph.owner.get(&self.graph.path("/checksum/diagnostics")).status(200).json()
    }

    fn has(&self, id: &str) -> bool {
        self.blocks()["blocks"].as_array().unwrap().iter().any(|b| b["uuid"] == id)
    }

    #[track_caller]
    fn block(&self, parent: &str, order: &str, title: &str) -> String {
        let id = tx::id();
        self.ok(&tx::new_block(&id, &self.page, parent, order, title), "insert-blocks");
        id
    }
}

fn partial_failure_keeps_what_came_before(server: &Server) {
    let f = Fixture::new(server);
    let mut watcher = Socket::open(&f.graph.owner, &f.graph.id);
    let (good, bad, never) = (tx::id(), tx::id(), tx::id());
    let (kept, lost) = (tx::id(), tx::id());
    let answer = f.send(&[
        tx::entry(&tx::new_block(&kept, &f.page, &f.page, "a0", "kept"), "insert-blocks", &good),
        tx::entry(&tx::new_block(&tx::id(), &f.page, &tx::id(), "a1", "orphan"), "insert-blocks", &bad),
        tx::entry(&tx::new_block(&lost, &f.page, &f.page, "a2", "untried"), "insert-blocks", &never),
    ]);
    assert_eq!(
        (&answer["type"], &answer["reason"], &answer["t"]),
        (&json!("tx/reject"), &json!("db transact failed"), &json!(2))
    );
    assert_eq!((&answer["success-tx-ids"], &answer["failed-tx-id"]), (&json!([good]), &json!(bad)));
    assert!(answer.get("data").is_none());
    assert_eq!(answer["checksum"], f.graph.pull()["checksum"]);
    assert!(f.has(&kept) && !f.has(&lost));
    assert_eq!(watcher.drain(), [json!({ "type": "changed", "t": 2 })], "exactly one broadcast");
}

fn a_missing_reference_names_the_block(server: &Server) {
    let f = Fixture::new(server);
    let mut watcher = Socket::open(&f.graph.owner, &f.graph.id);
    let (gone, other) = (tx::id(), tx::id());
    let items = [tx::add(tx::block(&gone), "block/title", "x"), tx::add(tx::block(&other), "block/title", "y")];
    let answer = f.rejected(&items, "save-block");
    assert_eq!(answer["missing-block-uuids"], json!([gone]), "the first that could not be resolved");
    assert!(answer.get("success-tx-ids").is_none());
    let moved = [tx::add(tx::block(&other), "block/parent", tx::block(&f.page))];
    assert_eq!(f.rejected(&moved, "move-blocks")["missing-block-uuids"], json!([other]));
    assert_eq!(watcher.drain(), [] as [Value; 0]);
}

fn undecodable_entries_are_rejected(server: &Server) {
    let f = Fixture::new(server);
    let before = f.state();
    for text in
        ["", "[", "not transit", "[[\"^9\"]]", "{\"~#x\":", "5", "\"~:a\"", "[[\"~:db/frobnicate\",1,\"~:a\",1]]"]
    {
        let answer = f.send(&[json!({ "tx": text, "tx-id": tx::id(), "outliner-op": "save-block" })]);
        assert_eq!(
            (&answer["type"], &answer["reason"]),
            (&json!("tx/reject"), &json!("db transact failed")),
            "{text}: {answer}"
        );
        assert_eq!(f.state(), before, "{text}");
    }
}

fn ignored_attributes_and_key_values_are_dropped(server: &Server) {
    let f = Fixture::new(server);
    let block = f.block(&f.page, "a0", "text");
    let t = f.graph.t();
    let only_ignored = [
        tx::add(tx::block(&block), "block/path-refs", tx::block(&f.page)),
        tx::add(tx::block(&block), "block/pre-block?", true),
        tx::add(tx::block(&block), "logseq.property.embedding/hnsw-label", 5),
        tx::add("kv", "db/ident", "~:logseq.kv/local-graph-uuid"),
        tx::add("kv", "kv/value", "x"),
        json!(["^ ", "~:db/id", -1, "~:db/ident", "~:logseq.kv/graph-last-gc-at"]),
        tx::add(-1, "kv/value", 5),
    ];
    assert_eq!(f.ok(&only_ignored, "save-block")["t"], t, "nothing was left to apply");
    let mixed = [only_ignored.as_slice(), &[tx::add(tx::block(&block), "block/title", "new")]].concat();
    assert_eq!(f.ok(&mixed, "save-block")["t"], t + 1);
    let logged = f.graph.owner.get(&f.graph.path(&format!("/pull?since={t}"))).json()["txs"][0]["tx"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(logged.contains("block/title") && !logged.contains("kv") && !logged.contains("hnsw"), "{logged}");
}

fn stale_deletes_are_acknowledged_without_effect(server: &Server) {
    let f = Fixture::new(server);
    let mut watcher = Socket::open(&f.graph.owner, &f.graph.id);
    let before = f.state();
    for op in ["delete-blocks", "delete-page"] {
        let answer = f.ok(&[tx::retract_entity(tx::block(&tx::id()))], op);
        assert_eq!(answer["t"], 1);
    }
    assert_eq!(f.state(), before);
    assert_eq!(watcher.drain(), [] as [Value; 0]);
    let (stale, bad) = (tx::id(), tx::id());
    let answer = f.send(&[
        tx::entry(&[tx::retract_entity(tx::block(&tx::id()))], "delete-blocks", &stale),
        tx::entry(&[tx::add(tx::block(&tx::id()), "block/title", "x")], "save-block", &bad),
    ]);
    assert_eq!((&answer["success-tx-ids"], &answer["failed-tx-id"]), (&json!([stale]), &json!(bad)));
}

fn an_empty_delete_fails(server: &Server) {
    let f = Fixture::new(server);
    f.rejected(&[], "delete-blocks");
    f.rejected(&[], "delete-page");
}

fn an_empty_rebase_is_a_no_op(server: &Server) {
    let f = Fixture::new(server);
    let mut watcher = Socket::open(&f.graph.owner, &f.graph.id);
    assert_eq!(f.ok(&[], "rebase")["t"], 1);
    assert_eq!(f.ok(&[], "fix")["t"], 1);
    assert_eq!(watcher.drain(), [] as [Value; 0]);
    let answer = f.send(&[
        tx::entry(&[], "rebase", &tx::id()),
        tx::entry(&tx::new_block(&tx::id(), &f.page, &f.page, "a0", "real"), "insert-blocks", &tx::id()),
    ]);
    assert_eq!(answer["t"], 2);
    assert_eq!(watcher.drain(), [json!({ "type": "changed", "t": 2 })]);
    assert_eq!(f.graph.pull()["txs"].as_array().unwrap().len(), 2);
}

fn rebase_and_fix_tolerate_missing_blocks_only(server: &Server) {
    let f = Fixture::new(server);
    let missing = [tx::add(tx::block(&tx::id()), "block/title", "x")];
    for op in ["rebase", "fix"] {
        assert_eq!(f.ok(&missing, op)["t"], 1);
        f.rejected(&[tx::add(tx::block(&f.page), "block/title", Value::Null)], op);
    }
    f.rejected(&missing, "save-block");
}

fn deleting_a_block_takes_its_descendants(server: &Server) {
    let f = Fixture::new(server);
    let top = f.block(&f.page, "a0", "top");
    let middle = f.block(&top, "a0", "middle");
    let leaf = f.block(&middle, "a0", "leaf");
    let beside = f.block(&f.page, "a1", "beside");
    f.ok(&[tx::retract_entity(tx::block(&top)), tx::add(tx::block(&top), "block/title", "late")], "delete-blocks");
    assert!(![&top, &middle, &leaf].iter().any(|id| f.has(id)) && f.has(&beside));
    let orphan = tx::new_block(&tx::id(), &f.page, &leaf, "a0", "orphan");
    assert_eq!(f.rejected(&orphan, "insert-blocks")["missing-block-uuids"], json!([leaf]));
    // A descendant is deleted with its ancestor, whatever the operation's name.
    let other = f.block(&beside, "a0", "child");
    f.ok(&[tx::retract_entity(tx::block(&beside))], "save-block");
    assert!(!f.has(&other));
}

fn invalid_data_is_rejected_and_changes_nothing(server: &Server) {
    let f = Fixture::new(server);
    let block = f.block(&f.page, "a0", "text");
    let at = |attribute: &str, value: Value| [tx::add(tx::block(&block), attribute, value)];
    f.rejected(&at("block/title", json!(5)), "save-block");
    f.rejected(&at("block/created-at", json!("yesterday")), "save-block");
    f.rejected(&at("block/collapsed?", json!("yes")), "save-block");
    f.rejected(&at("logseq.property/status", json!("done")), "set-block-property");
    f.rejected(&[tx::retract(tx::block(&block), "block/page", tx::block(&f.page))], "save-block");
    f.rejected(&[tx::add(tx::id(), "block/uuid", format!("~u{}", tx::id()))], "insert-blocks");
    f.rejected(&[tx::add(tx::block(&f.page), "block/tags", "~:logseq.class/Tag")], "save-block");
    f.rejected(&[tx::add(tx::block(&f.page), "block/uuid", format!("~u{block}"))], "save-block");
}

fn a_page_cannot_sit_below_a_block(server: &Server) {
    let f = Fixture::new(server);
    let block = f.block(&f.page, "a0", "text");
    f.rejected(&[tx::add(tx::block(&f.page), "block/parent", tx::block(&block))], "move-blocks");
}

fn large_entries_are_logged_in_chunks(server: &Server) {
    let f = Fixture::new(server);
    let mut watcher = Socket::open(&f.graph.owner, &f.graph.id);
    let items: Vec<Value> = (0..300)
        .flat_map(|i| tx::new_block(&tx::id(), &f.page, &f.page, &format!("a0{i:03}V"), &format!("block {i}")))
        .collect();
    let t = f.ok(&items, "insert-blocks")["t"].as_i64().unwrap();
    assert!(t > 2, "more than one chunk: t {t}");
    let pull = f.graph.pull();
    assert_eq!(pull["txs"].as_array().unwrap().len(), usize::try_from(t).unwrap());
    assert_eq!(f.blocks()["blocks"].as_array().unwrap().iter().filter(|b| b["page"] == f.page.as_str()).count(), 300);
    assert_eq!(f.blocks()["checksum"], pull["checksum"]);
    assert_eq!(watcher.drain(), [json!({ "type": "changed", "t": t })]);
    for row in &pull["txs"].as_array().unwrap()[1..] {
        let logged: Vec<Value> = serde_json::from_str(row["tx"].as_str().unwrap()).unwrap();
        assert!(logged.len() <= 500, "{} items", logged.len());
    }
}

fn a_failing_large_entry_leaves_nothing(server: &Server) {
    let f = Fixture::new(server);
    let small = f.block(&f.page, "a0", "small, still in the tail");
    for broken_at in [0, 299] {
        let items: Vec<Value> = (0..300)
            .flat_map(|i| {
                let parent = if i == broken_at { tx::id() } else { f.page.clone() };
                tx::new_block(&tx::id(), &f.page, &parent, &format!("a1{i:03}V"), "bulk")
            })
            .collect();
        f.rejected(&items, "insert-blocks");
    }
    let after = f.block(&f.page, "a2", "after");
    assert!(f.has(&small) && f.has(&after));
    let stored: String = f.graph.rows().into_iter().map(|(_, content, _)| content).collect();
    assert!(stored.contains(&small) && stored.contains(&after), "snapshots carry both");
}

fn a_large_delete_is_complete(server: &Server) {
    let f = Fixture::new(server);
    let top = f.block(&f.page, "a0", "top");
    let ids: Vec<String> = (0..520).map(|_| tx::id()).collect();
    for part in ids.chunks(65) {
        let items: Vec<Value> = part
            .iter()
            .enumerate()
            .flat_map(|(i, id)| tx::new_block(id, &f.page, &top, &format!("a0{i:03}V"), "child"))
            .collect();
        f.ok(&items, "insert-blocks");
    }
    let items: Vec<Value> = std::iter::once(&top).chain(&ids).map(|id| tx::retract_entity(tx::block(id))).collect();
    f.ok(&items, "delete-blocks");
    assert_eq!(f.blocks()["blocks"].as_array().unwrap().iter().filter(|b| b["page"] == f.page.as_str()).count(), 0);
    assert_eq!(f.blocks()["checksum"], f.graph.pull()["checksum"]);
}

fn equal_orders_and_cycles_are_accepted(server: &Server) {
    let f = Fixture::new(server);
    let (a, b) = (f.block(&f.page, "a0", "a"), f.block(&f.page, "a0", "b"));
    f.ok(
        &[tx::add(tx::block(&a), "block/parent", tx::block(&b)), tx::add(tx::block(&b), "block/parent", tx::block(&a))],
        "move-blocks",
    );
    // Walking the cycle must end.
    f.ok(&[tx::retract_entity(tx::block(&a))], "delete-blocks");
    assert!(!f.has(&a) && !f.has(&b));
}

fn migrations_skip_validation(server: &Server) {
    let f = Fixture::new(server);
    let odd = [tx::add(tx::id(), "block/uuid", format!("~u{}", tx::id()))];
    f.rejected(&odd, "save-block");
    assert_eq!(f.ok(&odd, "db-migrate")["t"], 2);
}

fn an_entry_too_large_to_store_is_rejected(server: &Server) {
    let f = Fixture::new(server);
    let items = tx::new_block(&tx::id(), &f.page, &f.page, "a0", &"x".repeat(2_000_001));
    let answer = f.rejected(&items, "insert-blocks");
    assert_eq!(answer["error-detail"], "entry too large to store");
    f.block(&f.page, "a0", "the graph is alive");
}

fn a_huge_block_does_not_hurt_its_neighbours(server: &Server) {
    let f = Fixture::new(server);
    let mut ids = Vec::new();
    for i in 0..6 {
        ids.push(f.block(&f.page, &format!("a{i}"), &format!("{i}{}", "y".repeat(600_000))));
    }
    for id in &ids {
        f.ok(&[tx::add(tx::block(id), "block/updated-at", 1_755_000_009_999_i64)], "save-block");
    }
    f.ok(&[tx::add(tx::block(&ids[0]), "block/title", "small again")], "save-block");
    assert!(f.graph.rows().iter().all(|(_, content, _)| content.len() <= 2_000_000));
    assert_eq!(f.blocks()["checksum"], f.graph.pull()["checksum"]);
}

fn deep_nesting_is_rejected(server: &Server) {
    let f = Fixture::new(server);
    let before = f.state();
    for depth in [300, 100_000] {
        let deep = format!("[[\"~:db/add\",\"x\",\"~:kv/value\",{}1{}]]", "[".repeat(depth), "]".repeat(depth));
        let answer = f.send(&[json!({ "tx": deep, "outliner-op": "save-block" })]);
        assert_eq!(answer["reason"], "db transact failed");
        assert_eq!(f.state(), before);
    }
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(f.graph.owner.send("POST", &f.graph.path("/tx/batch"), &[], Some(nested.as_bytes())).status, 400);
}

fn checksum_follows_every_advance(server: &Server) {
    let f = Fixture::new(server);
    let mut blocks = Vec::new();
    for i in 0..12 {
        let parent = if i % 3 == 0 { f.page.clone() } else { blocks.last().cloned().unwrap_or_else(|| f.page.clone()) };
        blocks.push(f.block(&parent, &format!("a{i}"), &format!("block {i}")));
        let title = tx::add(tx::block(&blocks[i / 2]), "block/title", format!("edited {i}"));
        let done = f.ok(&[title], "save-block");
        let fresh = f.blocks();
        assert_eq!(done["checksum"], fresh["checksum"]);
    }
    let unrelated = f.ok(&[tx::add(tx::block(&blocks[0]), "block/updated-at", 1_755_000_001_234_i64)], "save-block");
    assert_eq!(unrelated["checksum"], f.blocks()["checksum"]);
}

fn explicit_transaction_numbers_out_of_range_are_replaced(server: &Server) {
    let f = Fixture::new(server);
    let block = f.block(&f.page, "a0", "one");
    for number in [json!(5), json!(-536_870_920), json!(4_294_967_296_i64), json!(1.5), json!("x")] {
        let items = [json!(["~:db/add", tx::block(&block), "~:block/title", format!("title {number}"), number])];
        f.ok(&items, "save-block");
        let found = f.blocks();
        let row = found["blocks"].as_array().unwrap().iter().find(|b| b["uuid"] == block.as_str()).unwrap().clone();
        assert_eq!(row["title"], format!("title {number}"), "one value, the new one");
    }
}
