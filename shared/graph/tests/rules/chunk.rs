//! sync.md 11.10.

use datascript::Value;
use graph::rules::Op;
use graph::rules::chunk::{chunks, is_large};

use crate::world::{add, at, map, retract_entity, sample};

fn sizes(items: &[Value]) -> Vec<usize> {
    let ranges = chunks(&sample(), items).expect("a readable database");
    assert_eq!(ranges.iter().flat_map(Clone::clone).collect::<Vec<_>>(), (0..items.len()).collect::<Vec<_>>());
    ranges.iter().map(ExactSizeIterator::len).collect()
}

fn single(n: usize) -> Vec<Value> {
    (0..n).map(|_| add(at(2), "block/title", "x")).collect()
}

#[test]
fn large_entries() {
    assert!(!is_large(None, &single(499)));
    assert!(is_large(None, &single(500)));
    assert!(is_large(Some(Op::DeleteBlocks), &single(500)));
    assert!(!is_large(Some(Op::DbMigrate), &single(5000)));
}

#[test]
fn items_without_tempids_fill_chunks() {
    assert_eq!(sizes(&single(500)), [500]);
    assert_eq!(sizes(&single(1200)), [500, 500, 200]);
    assert!(sizes(&[]).is_empty());
}

#[test]
fn items_of_one_tempid_stay_together() {
    let mut items = single(497);
    items.extend((0..7).map(|_| add("t", "block/title", "x")));
    assert_eq!(sizes(&items), [497, 7]);
    // What lies between them, too; and where they overlap.
    let mut items = single(400);
    items.push(add("a", "block/title", "x"));
    items.extend(single(50));
    items.push(add(-1, "block/parent", "a"));
    items.extend(single(60));
    items.push(map(&[("db/id", (-1).into())]));
    items.extend(single(300));
    assert_eq!(sizes(&items), [400, 413]);
}

#[test]
fn a_span_may_be_larger_than_a_chunk() {
    let mut items = single(10);
    items.push(add("a", "block/title", "x"));
    items.extend(single(700));
    items.push(add(at(2), "block/parent", "a"));
    items.extend(single(10));
    assert_eq!(sizes(&items), [10, 702, 10]);
}

#[test]
fn texts_are_tempids_in_places_of_entities_only() {
    let mut items = vec![add(at(2), "block/title", "t")];
    items.extend(single(600));
    items.push(add("t", "block/order", "t"));
    items.push(retract_entity("u"));
    assert_eq!(sizes(&items), [500, 103]);
}
