//! Every edit that a client may make reaches every other device: of any size, and told as what the server holds (D-43, D-62 to
//! D-66).

use database::Param;
use database::local::Sql;
use datascript::Value;
use serde_json::{Value as Json, json};

use super::client::{
    apply, assert_consistent, batch, block, entry, everything, facts, lookup, page, retract, title, uuid,
};
use super::support::{TestGraph, new_graph, pull_text};

fn add(e: impl Into<Json>, a: &str, v: impl Into<Json>) -> Json {
    json!(["~:db/add", e.into(), format!("~:{a}"), v.into()])
}

fn gone(n: usize, a: &str, of: usize) -> Json {
    json!(["~:db/retract", lookup(n), format!("~:{a}"), lookup(of)])
}

fn read(text: &str) -> Vec<Value> {
    transit::read_str(text).unwrap().as_seq().unwrap().to_vec()
}

/// Items of the last row of the log.
fn last_row(graph: &mut TestGraph) -> Vec<Value> {
    let t = graph.position().unwrap().t;
    let pull: Json = serde_json::from_str(&pull_text(graph, t - 1).unwrap()).unwrap();
    read(pull["txs"][0]["tx"].as_str().unwrap())
}

/// A part of an item.
fn part(item: &Value, at: usize) -> &Value {
    &item.as_seq().unwrap()[at]
}

fn refused(graph: &mut TestGraph, op: &str, items: &[Json]) -> String {
    let t = graph.position().unwrap().t;
    let heard = batch(graph, t, &[entry(op, None, items)]);
    assert_eq!(heard.reply["type"], "tx/reject", "{heard:?}");
    assert_eq!(heard.reply["reason"], "db transact failed");
    heard.reply["error-detail"].as_str().unwrap().to_owned()
}

/// Pages 1 and 2, so many blocks on the first, and validation from then on.
fn validated(blocks: usize) -> (TestGraph, std::rc::Rc<database::local_sqlite::Rusqlite>) {
    let stamps = |n: usize| [add(uuid(n), "block/created-at", 1), add(uuid(n), "block/updated-at", 1)];
    let (mut graph, sql) = new_graph();
    let pages: Vec<Json> = (1..3).flat_map(|n| [page(n), stamps(n).to_vec()].concat()).collect();
    apply(&mut graph, &[entry("create-page", None, &pages)]);
    let items: Vec<Json> = (10..10 + blocks).flat_map(|n| block(n, &lookup(1), &lookup(1))).collect();
    apply(&mut graph, &[entry("insert-blocks", None, &items)]);
    let kind = [add("kind", "db/ident", "~:logseq.kv/db-type"), add("kind", "kv/value", "db")];
    apply(&mut graph, &[entry("save-block", None, &kind)]);
    (graph, sql)
}

/// Orders of items that a client may choose: as they are, backwards, and dealt out in turns.
fn orders(items: &[Json]) -> Vec<Vec<Json>> {
    let dealt = (0..7).flat_map(|turn| items.iter().skip(turn).step_by(7).cloned()).collect();
    vec![items.to_vec(), items.iter().rev().cloned().collect(), dealt]
}

#[test]
fn many_blocks_are_moved_at_once() {
    for count in [300, 700] {
        let blocks = 10..10 + count;
        let from: Vec<Json> =
            blocks.clone().flat_map(|n| [gone(n, "block/parent", 1), gone(n, "block/page", 1)]).collect();
        let to: Vec<Json> = blocks
            .flat_map(|n| [add(lookup(n), "block/parent", lookup(2)), add(lookup(n), "block/page", lookup(2))])
            .collect();
        for items in orders(&[from.clone(), to.clone()].concat()).into_iter().take(1) {
            let (mut graph, sql) = validated(count);
            let before = graph.position().unwrap().t;
            let after = apply(&mut graph, &[entry("move-blocks", None, &items)]);
            assert_eq!(after - before, i64::try_from(items.len().div_ceil(500)).unwrap(), "each piece has a row");
            assert_consistent(&mut graph, &sql);
        }
        // Additions replace what was there; a retraction of the new value would be something else.
        for items in orders(&to) {
            let (mut graph, sql) = validated(count);
            apply(&mut graph, &[entry("move-blocks", None, &items)]);
            assert_consistent(&mut graph, &sql);
        }
    }
}

#[test]
fn large_pages_are_purged() {
    for op in ["recycle-delete-permanently", "delete-page", "delete-blocks", "fix"] {
        let items: Vec<Json> = (10..610).map(retract).chain([retract(1)]).collect();
        for items in orders(&items) {
            let (mut graph, sql) = validated(600);
            apply(&mut graph, &[entry(op, None, &items)]);
            assert_consistent(&mut graph, &sql);
            assert!(facts(graph.db().unwrap()).len() < 12, "{op}: page 2 and the setting are left");
        }
    }
}

#[test]
fn many_titles_are_changed() {
    let items: Vec<Json> = (10..210)
        .flat_map(|n| {
            let old = json!(["~:db/retract", lookup(n), "~:block/title", format!("Block {n}")]);
            [old, title(n, "new"), add(lookup(n), "block/updated-at", 2)]
        })
        .collect();
    let (mut graph, sql) = validated(200);
    apply(&mut graph, &[entry("save-block", None, &items)]);
    assert_consistent(&mut graph, &sql);
    let (first, last): (Vec<Json>, Vec<Json>) = items.into_iter().partition(|item| item[0] == "~:db/retract");
    let (mut graph, sql) = validated(200);
    apply(&mut graph, &[entry("save-block", None, &[first, last].concat())]);
    assert_consistent(&mut graph, &sql);
}

/// What is not valid in the end is refused whatever its size, and nothing of it stays.
#[test]
fn large_entries_are_judged_in_the_end() {
    let (mut graph, sql) = validated(300);
    let before = everything(&sql);
    let mut items: Vec<Json> = (10..310).flat_map(|n| [title(n, "x"), add(lookup(n), "block/updated-at", 2)]).collect();
    items.insert(100, json!(["~:db.fn/retractAttribute", lookup(20), "~:block/title"]));
    assert!(refused(&mut graph, "save-block", &items).starts_with("DB write failed with invalid data"));
    assert_eq!(everything(&sql), before);
    assert_consistent(&mut graph, &sql);
}

#[test]
fn titles_take_the_place_of_mentions_as_they_are() {
    for odd in ["plain", "$$x^2$$", "R$& more", "cost $'quoted", "tick $` back", "$1 and $<x>", "\\1 \\0 ${x} %s {{x}}"]
    {
        let (mut graph, sql) = new_graph();
        apply(&mut graph, &[entry("create-page", None, &page(1))]);
        let blocks = [2, 3].into_iter().flat_map(|n| block(n, &lookup(1), &lookup(1)));
        apply(&mut graph, &[entry("insert-blocks", None, &blocks.collect::<Vec<_>>())]);
        let mention = format!("see (({})) end", uuid(2));
        let items = [title(2, odd), title(3, &mention), add(lookup(3), "block/refs", lookup(2))];
        apply(&mut graph, &[entry("save-block", None, &items)]);
        apply(&mut graph, &[entry("delete-blocks", None, &[retract(2)])]);
        let shown = format!("see {odd} end");
        assert!(facts(graph.db().unwrap()).iter().any(|fact| fact.contains(&format!("{shown:?}"))), "{odd}");
        assert!(last_row(&mut graph).iter().any(|item| item.as_seq().unwrap().get(3) == Some(&shown.as_str().into())));
        assert_consistent(&mut graph, &sql);
    }
}

#[test]
fn an_entity_lives_on_under_another_uuid() {
    let (mut graph, sql) = new_graph();
    apply(&mut graph, &[entry("create-page", None, &page(1))]);
    apply(&mut graph, &[entry("insert-blocks", None, &block(2, &lookup(1), &lookup(1)))]);
    apply(&mut graph, &[entry("fix", None, &[add(lookup(1), "block/uuid", format!("~u{}", uuid(9)))])]);
    let told = last_row(&mut graph);
    assert_eq!(told.len(), 1);
    let expected = read(&add(lookup(1), "block/uuid", format!("~u{}", uuid(9))).to_string());
    assert_eq!(told[0].as_seq().unwrap()[..4], expected[..]);
    apply(&mut graph, &[entry("save-block", None, &[title(2, "edited"), title(9, "renamed")])]);
    assert_consistent(&mut graph, &sql);
}

#[test]
fn numbers_that_were_never_given_out_are_refused() {
    let (mut graph, sql) = new_graph();
    apply(&mut graph, &[entry("create-page", None, &page(1))]);
    let before = everything(&sql);
    let map = |id: Json| json!({ "~:db/id": id, "~:block/uuid": format!("~u{}", uuid(7)) });
    for number in [536_870_911_i64, 536_870_912, 2_147_483_647, 2_147_483_648, 9_007_199_254_740_993, 1_000_100] {
        for item in [
            add(number, "block/uuid", format!("~u{}", uuid(7))),
            json!(["~:db/retract", number, "~:block/title", "x"]),
            json!(["~:db/retractEntity", number]),
            json!(["~:db.fn/retractAttribute", number, "~:block/title"]),
            json!(["~:db.fn/cas", number, "~:block/title", null, "x"]),
            map(json!(number)),
            json!({ "~:block/uuid": format!("~u{}", uuid(8)), "~:block/refs": [map(json!(number))] }),
            json!({ "~:block/uuid": format!("~u{}", uuid(8)), "~:block/_refs": [number] }),
        ] {
            for op in ["save-block", "db-migrate", "rebase"] {
                assert_eq!(refused(&mut graph, op, std::slice::from_ref(&item)), "entity id out of range", "{item}");
            }
        }
        for item in [add(lookup(1), "block/refs", number), json!({ "~:db/id": lookup(1), "~:block/refs": [number] })] {
            refused(&mut graph, "save-block", &[item]);
        }
    }
    assert_eq!(
        refused(&mut graph, "save-block", &[add(lookup(1), "block/refs", 77)]),
        "nothing found for entity id 77"
    );
    assert_eq!(everything(&sql), before);
    // Numbers a little ahead are a client's own entities; what a reference leads to may come later in the entry.
    let items = [add(lookup(1), "block/refs", 500), add(500, "block/uuid", format!("~u{}", uuid(7)))];
    apply(&mut graph, &[entry("save-block", None, &items)]);
    apply(&mut graph, &[entry("insert-blocks", None, &block(8, &lookup(1), &lookup(1)))]);
    assert_consistent(&mut graph, &sql);
}

/// D-66: a client's file entities by local number, for example.
#[test]
fn what_nobody_can_name_is_neither_stored_nor_told() {
    let (mut graph, sql) = new_graph();
    apply(&mut graph, &[entry("create-page", None, &page(1))]);
    let before = everything(&sql);
    let nameless = [
        add("anonymous", "kv/value", 1),
        add(300, "file/path", "x"),
        json!({ "~:file/path": "y", "~:file/content": "z" }),
        json!(["~:db/retract", lookup(1), "~:block/uuid", format!("~u{}", uuid(1))]),
        add("~:db/current-tx", "kv/value", 1),
    ];
    for item in &nameless {
        let t = graph.position().unwrap().t;
        let heard = batch(&mut graph, t, &[entry("save-block", None, std::slice::from_ref(item))]);
        assert_eq!((&heard.reply["type"], &heard.others), (&json!("tx/batch/ok"), &None), "{item}");
        assert_eq!(everything(&sql), before, "{item}");
    }
    let facts_before = facts(graph.db().unwrap()).len();
    apply(&mut graph, &[entry("save-block", None, &[&nameless[..3], &[add(lookup(1), "block/order", "a0")]].concat())]);
    assert_eq!(facts(graph.db().unwrap()).len(), facts_before + 1);
    assert_eq!(last_row(&mut graph).len(), 1);
    assert_consistent(&mut graph, &sql);
}

/// D-64: only references to a deleted entity go with it, not texts that read like its uuid.
#[test]
fn texts_that_read_like_uuids_are_told() {
    let (mut graph, sql) = new_graph();
    apply(&mut graph, &[entry("create-page", None, &page(1))]);
    let blocks = [2, 3].into_iter().flat_map(|n| block(n, &lookup(1), &lookup(1)));
    apply(&mut graph, &[entry("insert-blocks", None, &blocks.collect::<Vec<_>>())]);
    let uuid_value = format!("~u{}", uuid(2));
    let items = [title(3, &uuid(2)), add(lookup(3), "kv/value", uuid_value), retract(2)];
    apply(&mut graph, &[entry("save-block", None, &items)]);
    let told = last_row(&mut graph);
    assert!(
        told.iter().any(|item| part(item, 0).is_keyword("db/add") && part(item, 3).as_str() == Some(&uuid(2))),
        "{told:?}"
    );
    assert_eq!(told.len(), 4, "{told:?}");
    assert_consistent(&mut graph, &sql);
}

/// The items of `logseq/chat` (sync.md 14): as DataScript has them, told in the log's form as ever.
#[test]
fn items_of_all_forms_are_told_alike() {
    let (mut graph, sql) = new_graph();
    apply(&mut graph, &[entry("create-page", None, &page(1))]);
    let pending = format!("pending/{}", uuid(2));
    let new = json!({
        "~:db/id": pending, "~:block/uuid": format!("~u{}", uuid(2)), "~:block/title": "new", "~:block/page": lookup(1),
        "~:block/parent": lookup(1), "~:block/order": "a0", "~:block/refs": [lookup(1)], "~:block/created-at": 1
    });
    apply(&mut graph, &[entry("insert-blocks", None, &[new, add(pending, "block/updated-at", 1)])]);
    let told = last_row(&mut graph);
    assert_eq!(told.len(), 8, "{told:?}");
    assert!(
        told.iter().all(|item| part(item, 1).as_str() == Some(&uuid(2)) && item.as_seq().unwrap().len() == 5),
        "{told:?}"
    );
    let items = [
        json!(["~:db.fn/cas", lookup(2), "~:block/title", "new", "cas"]),
        json!(["~:db.fn/cas", lookup(2), "~:block/collapsed?", null, true]),
        json!(["~:db.fn/retractAttribute", lookup(2), "~:block/refs"]),
        json!(["~:db/retract", lookup(2), "~:block/order", "a0"]),
    ];
    apply(&mut graph, &[entry("save-block", None, &items)]);
    let told: Vec<(String, String)> = last_row(&mut graph)
        .iter()
        .map(|item| [0, 2].map(|at| part(item, at).as_keyword().unwrap().as_str().to_owned()))
        .map(|[op, attr]| (op, attr))
        .collect();
    let expected = [
        ("db/retract", "block/title"),
        ("db/add", "block/title"),
        ("db/add", "block/collapsed?"),
        ("db/retract", "block/refs"),
        ("db/retract", "block/order"),
    ];
    assert_eq!(told, expected.map(|(op, attr)| (op.to_owned(), attr.to_owned())));
    assert!(
        refused(&mut graph, "save-block", &[json!(["~:db.fn/cas", lookup(2), "~:block/title", "new", "x"])])
            .starts_with(":db.fn/cas failed on")
    );
    assert_consistent(&mut graph, &sql);
}

/// Unpaired surrogates are one and the same character in rows, log and checksum.
#[test]
fn unpaired_surrogates_are_replaced_everywhere() {
    let (mut graph, sql) = new_graph();
    apply(&mut graph, &[entry("create-page", None, &page(1))]);
    let t = graph.position().unwrap().t;
    let tx = format!(r#"[["~:db/add",["~:block/uuid","~u{}"],"~:block/title","a\ud800b\udc00"]]"#, uuid(1));
    let heard = batch(&mut graph, t, &[json!({ "tx": tx, "outliner-op": "save-block" })]);
    assert_eq!(heard.reply["type"], "tx/batch/ok", "{heard:?}");
    let replaced = "a\u{fffd}b\u{fffd}";
    assert_eq!(part(&last_row(&mut graph)[1], 3).as_str(), Some(replaced));
    graph.checkpoint().unwrap();
    let mut count = 0;
    let query = "SELECT content FROM kvs WHERE content LIKE '%' || ? || '%'";
    sql.query(query, &[Param::Text(replaced)], &mut |_| {
        count += 1;
        Ok(std::ops::ControlFlow::Continue(()))
    })
    .unwrap();
    assert!(count > 0);
    assert_consistent(&mut graph, &sql);
}

/// A small entry may ask for much: all that is below a page goes with it.
#[test]
fn the_largest_pages_are_purged_by_one_item() {
    let (mut graph, sql) = new_graph();
    apply(&mut graph, &[entry("create-page", None, &page(1))]);
    for part in (10..50_010).collect::<Vec<_>>().chunks(10_000) {
        let items: Vec<Json> = part.iter().flat_map(|n| block(*n, &lookup(1), &lookup(1))).collect();
        apply(&mut graph, &[entry("insert-blocks", None, &items)]);
    }
    apply(&mut graph, &[entry("recycle-delete-permanently", None, &[retract(1)])]);
    assert_eq!(facts(graph.db().unwrap()), Vec::<String>::new());
    assert_consistent(&mut graph, &sql);
}

/// Items that define an attribute or change it, by its ident.
fn define(facts: &[(&str, &str)]) -> Vec<Json> {
    facts.iter().map(|(a, v)| add("~:user.property/p", a, format!("~:{v}"))).collect()
}

/// A graph with blocks 2 to 5 on page 1 and the attribute `:user.property/p`.
fn with_attribute(facts: &[(&str, &str)]) -> (TestGraph, std::rc::Rc<database::local_sqlite::Rusqlite>) {
    let (mut graph, sql) = new_graph();
    apply(&mut graph, &[entry("create-page", None, &page(1))]);
    let blocks = (2..6).flat_map(|n| block(n, &lookup(1), &lookup(1)));
    apply(&mut graph, &[entry("insert-blocks", None, &blocks.collect::<Vec<_>>())]);
    apply(&mut graph, &[entry("upsert-property", None, &[add("p", "db/ident", "~:user.property/p")])]);
    apply(&mut graph, &[entry("upsert-property", None, &define(facts))]);
    (graph, sql)
}

/// The values of `:user.property/p` that a database has, with their entities.
fn values(db: &datascript::Db) -> Vec<Value> {
    let attr = db.attr("user.property/p").unwrap();
    db.datoms(datascript::Index::Aevt, &datascript::Pattern::a(attr)).map(|fact| fact.unwrap().v).collect()
}

const P: &str = "user.property/p";
const ONE: (&str, &str) = ("db/cardinality", "db.cardinality/one");
const MANY: (&str, &str) = ("db/cardinality", "db.cardinality/many");
const REF: (&str, &str) = ("db/valueType", "db.type/ref");
const NO_REF: (&str, &str) = ("db/valueType", "db.type/string");

/// D-66: an attribute that had many values has one from now on; the next value replaces them all, and the log says so.
#[test]
fn all_values_of_an_attribute_that_has_one_now_are_replaced() {
    for references in [false, true] {
        let value = |n: usize| if references { lookup(n) } else { json!(n) };
        let (mut graph, sql) = with_attribute(if references { &[MANY, REF] } else { &[MANY] });
        let several: Vec<Json> = (2..5).map(|n| add(lookup(1), P, value(n))).collect();
        apply(&mut graph, &[entry("save-block", None, &several)]);
        apply(&mut graph, &[entry("upsert-property", None, &define(&[ONE]))]);
        assert_eq!(values(graph.db().unwrap()).len(), 3, "the definition alone replaces nothing");
        let before = graph.db().unwrap().clone();
        apply(&mut graph, &[entry("save-block", None, &[add(lookup(1), P, value(5))])]);
        let told = last_row(&mut graph);
        assert_eq!(told.len(), 4, "{told:?}");
        let copy = datascript::with(&before, &told).unwrap().db_after;
        assert_eq!(values(&copy), values(graph.db().unwrap()));
        assert_eq!(values(&copy).len(), 1);
        assert_consistent(&mut graph, &sql);
    }
}

/// D-66: values of an attribute that becomes a reference would mean other things in other copies.
#[test]
fn attributes_with_facts_become_no_references() {
    let untold = "the change cannot be told to others: an attribute with facts becomes a reference";
    for (was, is, value) in [(NO_REF, REF, json!(3)), (NO_REF, REF, json!("text"))] {
        let (mut graph, sql) = with_attribute(&[ONE, was]);
        apply(&mut graph, &[entry("save-block", None, &[add(lookup(2), P, value.clone())])]);
        let before = everything(&sql);
        for op in ["upsert-property", "db-migrate", "fix"] {
            assert_eq!(refused(&mut graph, op, &define(&[is])), untold, "{value}");
        }
        assert_eq!(everything(&sql), before);
        // Once they are gone, if only in the same entry, it may be anything.
        let items = [vec![json!(["~:db.fn/retractAttribute", lookup(2), format!("~:{P}")])], define(&[is])].concat();
        apply(&mut graph, &[entry("upsert-property", None, &items)]);
        assert_eq!(values(graph.db().unwrap()), []);
        assert_consistent(&mut graph, &sql);
    }
    // A property may go without them, as the reference has it.
    for gone in [vec![json!(["~:db/retractEntity", "~:user.property/p"])], define(&[NO_REF])] {
        let (mut graph, sql) = with_attribute(&[ONE, REF]);
        apply(&mut graph, &[entry("save-block", None, &[add(lookup(2), P, lookup(3))])]);
        apply(&mut graph, &[entry("delete-page", None, &gone)]);
        assert_eq!(values(graph.db().unwrap()).len(), 1);
        assert_consistent(&mut graph, &sql);
    }
    // Or with them.
    let (mut graph, sql) = with_attribute(&[MANY, REF]);
    apply(&mut graph, &[entry("save-block", None, &[add(lookup(2), P, lookup(3)), add(lookup(2), P, lookup(4))])]);
    let items = [
        json!(["~:db/retract", lookup(2), format!("~:{P}"), lookup(3)]),
        json!(["~:db/retract", lookup(2), format!("~:{P}"), lookup(4)]),
        json!(["~:db/retractEntity", "~:user.property/p"]),
    ];
    apply(&mut graph, &[entry("delete-page", None, &items)]);
    assert_eq!(values(graph.db().unwrap()), []);
    assert_consistent(&mut graph, &sql);
}
