//! What entries cost: twice as much of anything costs about twice the steps, and what cannot be bounded that way is refused.

use graph::rules::checksum;
use protocol::limits::{WORK_STEPS, WORK_STEPS_PER_BYTE};
use serde_json::{Value as Json, json};

use super::client::{apply, assert_consistent, batch, block, entry, everything, lookup, page, retract, title, uuid};
use super::support::{TestGraph, new_graph};

fn steps_done(graph: &mut TestGraph) -> u64 {
    graph.db().unwrap().nodes().work().done()
}

/// A page and so many blocks on it, each under the one that `parent` names; 1 is the page, 2 the first block.
fn outline(count: usize, parent: impl Fn(usize) -> usize) -> Vec<Json> {
    let mut items = page(1);
    for n in 2..count + 2 {
        let reference = |n: usize| if n == 1 { json!(uuid(1)) } else { json!(uuid(n)) };
        items.extend(block(n, &reference(parent(n)), &reference(1)));
    }
    items
}

fn flat(count: usize) -> Vec<Json> {
    outline(count, |_| 1)
}

fn add(e: impl Into<Json>, a: &str, v: impl Into<Json>) -> Json {
    json!(["~:db/add", e.into(), format!("~:{a}"), v.into()])
}

/// The definition of a reference attribute with many values.
fn reference(name: &str) -> Vec<Json> {
    [
        ("db/ident", format!("~:{name}")),
        ("db/valueType", "~:db.type/ref".into()),
        ("db/cardinality", "~:db.cardinality/many".into()),
    ]
    .into_iter()
    .map(|(attr, value)| add(name, attr, value))
    .collect()
}

/// What there is before, in batches of one entry each, and the entries whose cost is measured.
type Case = fn(usize) -> (Vec<Vec<Json>>, Vec<Json>);

fn save(items: &[Json]) -> Json {
    entry("save-block", None, items)
}

fn each(count: usize, item: impl Fn(usize) -> Json) -> Vec<Json> {
    (2..count + 2).map(item).collect()
}

fn cases() -> Vec<(&'static str, Case)> {
    vec![
        ("new blocks", |n| (vec![], vec![save(&flat(n))])),
        ("a chain of blocks", |n| (vec![], vec![save(&outline(n, |block| block - 1))])),
        ("negative tempids", |n| {
            let items = each(n, |i| add(-i64::try_from(i).unwrap(), "block/uuid", format!("~u{}", uuid(i))));
            (vec![], vec![save(&items)])
        }),
        ("known blocks under tempids", |n| {
            let items = each(n, |i| add(format!("again {i}"), "block/uuid", format!("~u{}", uuid(i))));
            let titles = each(n, |i| add(format!("again {i}"), "block/title", "again"));
            (vec![flat(n)], vec![save(&[items, titles].concat())])
        }),
        ("titles before the uuid that tells who", |n| {
            let items = each(n, |i| add(format!("late {i}"), "block/title", "again"));
            let uuids = each(n, |i| add(format!("late {i}"), "block/uuid", format!("~u{}", uuid(i))));
            (vec![flat(n)], vec![save(&[items, uuids].concat())])
        }),
        ("one tempid in all items", |n| {
            let mut items = vec![add("x", "block/uuid", format!("~u{}", uuid(1)))];
            items.extend(each(n, |i| add("x", "block/refs", lookup(i))));
            (vec![flat(n)], vec![save(&items)])
        }),
        ("a tempid in the first and last item", |n| {
            let mut items = vec![add("x", "block/uuid", format!("~u{}", uuid(0)))];
            items.extend(flat(n));
            items.push(add("x", "block/title", "x"));
            (vec![], vec![save(&items)])
        }),
        ("maps", |n| {
            let items = each(n, |i| json!({ "~:block/uuid": format!("~u{}", uuid(i)), "~:block/title": "x" }));
            (vec![], vec![save(&items)])
        }),
        ("nested maps", |n| {
            let parts = each(n, |i| json!({ "~:block/uuid": format!("~u{}", uuid(i)), "~:block/title": "x" }));
            (vec![], vec![save(&[json!({ "~:block/uuid": format!("~u{}", uuid(1)), "~:block/refs": parts })])])
        }),
        ("maps in maps", |n| {
            let mut map = json!({ "~:block/uuid": format!("~u{}", uuid(1)), "~:block/title": "x" });
            for i in 2..2 + n / 12 {
                map = json!({ "~:block/uuid": format!("~u{}", uuid(i)), "~:block/parent": map });
            }
            (vec![], vec![save(&[map])])
        }),
        ("lookup refs", |n| (vec![flat(n)], vec![save(&each(n, |i| title(i, "new")))])),
        ("compare and set", |n| {
            let cas = |i: usize| json!(["~:db/cas", lookup(i), "~:block/title", format!("Block {i}"), "new"]);
            (vec![flat(n)], vec![save(&each(n, cas))])
        }),
        ("one fact again and again", |n| (vec![flat(1)], vec![save(&each(n, |i| title(2, &format!("{}", i % 2))))])),
        ("retractions", |n| {
            let items = each(n, |i| json!(["~:db/retract", lookup(i), "~:block/title", format!("Block {i}")]));
            (vec![flat(n)], vec![save(&items)])
        }),
        ("a whole attribute", |n| {
            let refs = each(n, |i| add(lookup(1), "block/refs", lookup(i)));
            (vec![flat(n), refs], vec![save(&[json!(["~:db.fn/retractAttribute", lookup(1), "~:block/refs"])])])
        }),
        ("unique values that others hold", |n| {
            let mut items = each(n, |i| add(format!("t{i}"), "block/uuid", format!("~u{}", uuid(100_000 + i))));
            items.extend(each(n, |i| json!(["~:db/retract", i, "~:block/uuid", format!("~u{}", uuid(i + 1))])));
            (vec![flat(n)], vec![save(&items)])
        }),
        ("retracted blocks", |n| (vec![flat(n)], vec![save(&each(n, retract))])),
        ("deleted blocks", |n| (vec![flat(n)], vec![entry("delete-blocks", None, &each(n, retract))])),
        ("the root of a chain", |n| {
            (vec![outline(n, |block| block - 1)], vec![entry("delete-blocks", None, &[retract(2)])])
        }),
        ("a page", |n| (vec![flat(n)], vec![entry("delete-page", None, &[retract(1)])])),
        ("a block that all others refer to", |n| {
            let refs = each(n, |i| add(lookup(i + 1), "block/refs", lookup(2)));
            (vec![flat(n + 1), refs], vec![entry("delete-blocks", None, &[retract(2)])])
        }),
        ("mentions of deleted blocks", |n| {
            let text = |i: usize| title(i, &format!("see (({}))", uuid(i + 1)));
            let refs = each(n, |i| add(lookup(i), "block/refs", lookup(i + 1)));
            let deleted: Vec<Json> = (2..n).filter(|i| i % 2 == 0).map(retract).collect();
            (vec![flat(n + 2), each(n, text), refs], vec![entry("delete-blocks", None, &deleted)])
        }),
        ("entities and reference attributes", |n| {
            let names: Vec<Json> = (0..n / 4).flat_map(|i| reference(&format!("user.property/p{i}"))).collect();
            let used = (0..n / 4).map(|i| add(lookup(1), &format!("user.property/p{i}"), lookup(2 + i))).collect();
            (vec![flat(n), names, used], vec![save(&each(n, retract))])
        }),
        ("entities, reference attributes and entries", |n| {
            let names: Vec<Json> = (0..n / 4).flat_map(|i| reference(&format!("user.property/p{i}"))).collect();
            let used = (0..n / 4).map(|i| add(lookup(1), &format!("user.property/p{i}"), lookup(2 + i))).collect();
            (vec![flat(n), names, used], each(n, |i| save(&[retract(i)])))
        }),
        ("definitions", |n| {
            (vec![], vec![save(&(0..n).flat_map(|i| reference(&format!("user.property/p{i}"))).collect::<Vec<_>>())])
        }),
        ("flips of a setting", |n| {
            let setting = vec![add("kv", "db/ident", "~:logseq.kv/graph-rtc-e2ee?"), add("kv", "kv/value", false)];
            let flip = |i: usize| save(&[add(json!("~:logseq.kv/graph-rtc-e2ee?"), "kv/value", i.is_multiple_of(2))]);
            (vec![flat(n), setting], each(n, flip))
        }),
        ("a tag that is a page's and is not", |n| {
            let tag =
                vec![add("tag", "db/ident", "~:user.class/x"), add("tag", "block/uuid", format!("~u{}", uuid(0)))];
            let tagged = each(n, |i| add(lookup(i), "block/tags", lookup(0)));
            let flip = |i: usize| {
                save(&[add(
                    lookup(0),
                    "db/ident",
                    if i.is_multiple_of(2) { "~:logseq.class/Page" } else { "~:user.class/x" },
                )])
            };
            (vec![flat(n), tag, tagged], each(8, flip))
        }),
        ("sets and maps as values", |n| {
            let items = each(n, |i| add(lookup(1), "kv/value", json!(["~#set", [i, { "~:a": i }]])));
            (vec![page(1)], vec![save(&items)])
        }),
        ("values that are no numbers", |n| {
            (vec![flat(n)], vec![save(&each(n, |i| add(lookup(i), "kv/value", "~zNaN")))])
        }),
    ]
}

/// Steps of the last entries.
fn measure(case: Case, n: usize) -> u64 {
    let (mut graph, sql) = new_graph();
    let (before, entries) = case(n);
    for items in before {
        apply(&mut graph, &[save(&items)]);
    }
    let begun = steps_done(&mut graph);
    apply(&mut graph, &entries);
    let steps = steps_done(&mut graph) - begun;
    assert_consistent(&mut graph, &sql);
    steps
}

#[test]
fn twice_as_much_takes_about_twice_the_steps() {
    for (what, case) in cases() {
        let (once, twice) = (measure(case, 600), measure(case, 1200));
        assert!(twice * 2 < once * 5, "{what}: {once} steps, then {twice}");
    }
}

/// What a delete needs that comes to nothing in the end, as its entry also speaks of something that is gone: such an entry
/// counts as done, and another one can ask for the same again.
#[test]
fn work_that_comes_to_nothing_ends() {
    let (mut graph, sql) = new_graph();
    apply(&mut graph, &[save(&flat(3000))]);
    let before = everything(&sql);
    let vain = entry("rebase", None, &[retract(1), title(999_999, "nobody's")]);
    let bytes = vain["tx"].as_str().unwrap().len() as u64;
    let t = graph.position().unwrap().t;
    let begun = steps_done(&mut graph);
    let heard = batch(&mut graph, t, &vec![vain; 1000]);
    assert_eq!(heard.reply["error-detail"], "entry needs too much work", "{heard:?}");
    let most = WORK_STEPS + 1000 * bytes * WORK_STEPS_PER_BYTE;
    let steps = steps_done(&mut graph) - begun;
    assert!(steps < most + most / 10, "{steps}");
    assert_eq!(everything(&sql), before, "nothing changed");
    // The next batch begins with a full allowance.
    apply(&mut graph, &[entry("delete-page", None, &[retract(1)])]);
    assert_consistent(&mut graph, &sql);
}

/// An entity that is dear to look at, touched by many small entries.
#[test]
fn small_entries_about_a_large_entity_are_bounded() {
    let (mut graph, sql) = new_graph();
    apply(&mut graph, &[save(&page(1))]);
    let blocks: Vec<Json> = (2..20_002).flat_map(|i| block(i, &lookup(1), &lookup(1))).collect();
    apply(&mut graph, &[save(&blocks)]);
    apply(&mut graph, &[save(&(0..20_000).map(|i| add(lookup(2), "block/refs", lookup(2 + i))).collect::<Vec<_>>())]);
    let touches: Vec<Json> = (0..5000).map(|i| entry("save-block", Some(i), &[title(2, &format!("{i}"))])).collect();
    let t = graph.position().unwrap().t;
    let begun = steps_done(&mut graph);
    let heard = batch(&mut graph, t, &touches);
    assert_eq!(heard.reply["error-detail"], "entry needs too much work");
    let done = heard.reply["success-tx-ids"].as_array().map_or(0, Vec::len);
    assert!((50..5000).contains(&done), "{done}");
    assert_eq!(heard.reply["failed-tx-id"], uuid(done));
    assert!(steps_done(&mut graph) - begun < 2 * WORK_STEPS);
    assert_consistent(&mut graph, &sql);
    apply(&mut graph, &touches[done..done + 50]);
    assert_consistent(&mut graph, &sql);
}

#[test]
fn large_entries_that_people_make_are_taken() {
    let (mut graph, sql) = new_graph();
    // A page is pasted, refers to itself all over, is moved about and deleted, at once or block by block.
    apply(&mut graph, &[save(&page(1))]);
    let blocks: Vec<Json> = (2..20_002).flat_map(|i| block(i, &lookup(1), &lookup(1))).collect();
    for pasted in blocks.chunks(70_000) {
        apply(&mut graph, &[save(pasted)]);
    }
    let refs: Vec<Json> = (3..5003).map(|i| add(lookup(i), "block/refs", lookup(2))).collect();
    apply(&mut graph, &[save(&refs)]);
    apply(&mut graph, &[save(&(3..303).map(|i| add(lookup(i), "block/parent", lookup(2))).collect::<Vec<_>>())]);
    apply(&mut graph, &[entry("delete-blocks", None, &[retract(2)])]);
    let blocks: Vec<Json> = (5000..15_000).map(retract).collect();
    apply(&mut graph, &[entry("delete-blocks", None, &blocks)]);
    apply(&mut graph, &[entry("delete-page", None, &[retract(1)])]);
    assert_consistent(&mut graph, &sql);
}

/// A setting that decides on all sums is flipped, refused entries among the flips: the sum is that of what was taken.
#[test]
fn a_checksum_that_is_made_anew_is_that_of_what_was_taken() {
    let (mut graph, sql) = new_graph();
    let setting = [add("kv", "db/ident", "~:logseq.kv/graph-rtc-e2ee?"), add("kv", "kv/value", false)];
    apply(&mut graph, &[save(&flat(20)), save(&setting)]);
    let flip = |value: bool| save(&[add(json!("~:logseq.kv/graph-rtc-e2ee?"), "kv/value", value)]);
    apply(&mut graph, &[flip(true), save(&[title(3, "a")]), flip(false), save(&[title(4, "b")]), flip(true)]);
    assert_consistent(&mut graph, &sql);
    let t = graph.position().unwrap().t;
    let bad = save(&[title(3, "c"), json!(["~:db/unknown", 1])]);
    let heard = batch(&mut graph, t, &[flip(false), save(&[title(5, "d")]), bad]);
    assert_eq!(heard.reply["type"], "tx/reject");
    let sum = checksum::full(graph.db().unwrap()).unwrap().to_string();
    assert_eq!(heard.reply["checksum"], sum);
    assert_consistent(&mut graph, &sql);
}

/// Names that would collide under hashes that everybody knows, and more of them than a graph may have: refused before they
/// cost anything.
#[test]
fn an_entry_with_more_names_than_a_graph_may_have_stops_early() {
    let (mut graph, sql) = new_graph();
    apply(&mut graph, &[save(&page(1))]);
    let before = everything(&sql);
    let map = |from: usize| -> Json {
        Json::Object((from..from + 100_000).map(|i| (format!("~:a/b{i}"), json!(1))).collect())
    };
    for items in [
        (0..150_000).map(|i| add(1, &format!("a/b{i}"), 1)).collect::<Vec<_>>(),
        vec![map(0)],
        vec![json!({ "~:block/refs": [map(0), map(100_000)] })],
        (0..100_000).map(|i| json!(["~:db/retract", 1, format!("~:a/b{i}"), 1])).collect(),
    ] {
        let t = graph.position().unwrap().t;
        let heard = batch(&mut graph, t, &[save(&items)]);
        assert_eq!(heard.reply["error-detail"], "too many attribute names");
        assert!(graph.db().unwrap().attrs().len() < 1000, "they are forgotten");
    }
    assert_eq!(everything(&sql), before);
}
