//! sync.md 11.8, 22 (`normalize_test`).

use datascript::{Datom, Value};
use graph::rules::attrs::BLOCK_PARENT;

use crate::world::{
    Random, add, after, apply, at, block, eid, empty, kw, map, normalised, page, retract, retract_entity, sample,
    state, uuid, uuid_text, with,
};

/// Items without their transaction numbers.
fn bare(items: &[Value]) -> Vec<Value> {
    let parts = |item: &Value| item.as_seq().expect("an item").iter().take(4).cloned().collect::<Vec<_>>();
    items.iter().map(|item| Value::vector(parts(item))).collect()
}

#[test]
fn titles_are_retracted_and_replaced() {
    let db = sample();
    let report = with(&db, &[retract(at(2), "block/title", "Hello")]);
    assert_eq!(bare(&normalised(&report)), [retract(at(2), "block/title", "Hello")]);
    let report = with(&db, &[add(at(2), "block/title", "New")]);
    assert_eq!(bare(&normalised(&report)), [retract(at(2), "block/title", "Hello"), add(at(2), "block/title", "New")]);
}

#[test]
fn new_entities_are_known_by_the_text_of_their_uuid() {
    let report = with(&sample(), &[block(9, 2, 1, "new")]);
    let items = bare(&normalised(&report));
    let tempid = uuid_text(9);
    assert_eq!(items[0], add(tempid.as_str(), "block/uuid", uuid(9)));
    assert!(items.contains(&add(tempid.as_str(), "block/parent", at(2))));
    assert!(items.iter().all(|item| item.as_seq().expect("an item")[1] == Value::from(tempid.as_str())));
}

#[test]
fn entities_without_uuid_are_known_by_their_ident() {
    let ident = map(&[("db/ident", kw("logseq.kv/x")), ("kv/value", 1.into())]);
    let report = with(&empty(), &[ident, map(&[("block/title", "nameless".into())])]);
    let tempid = ":logseq.kv/x";
    assert_eq!(bare(&normalised(&report)), [add(tempid, "db/ident", kw("logseq.kv/x")), add(tempid, "kv/value", 1)]);
    let report = with(&report.db_after, &[add(kw("logseq.kv/x"), "kv/value", 2)]);
    let known = || kw("logseq.kv/x");
    assert_eq!(bare(&normalised(&report)), [retract(known(), "kv/value", 1), add(known(), "kv/value", 2)]);
}

#[test]
fn definitions_go_first() {
    let property = map(&[
        ("block/title", "P".into()),
        ("db/cardinality", kw("db.cardinality/one")),
        ("db/valueType", kw("db.type/ref")),
        ("db/ident", kw("user.property/p")),
    ]);
    let items = normalised(&with(&empty(), &[property]));
    let attrs: Vec<String> = items
        .iter()
        .map(|item| format!("{}", item.as_seq().expect("an item")[2].as_keyword().expect("an attribute")))
        .collect();
    assert_eq!(attrs, [":db/ident", ":db/valueType", ":db/cardinality", ":block/title"]);
}

#[test]
fn deleted_entities_become_one_item() {
    let report = with(&sample(), &[retract_entity(at(3)), add(at(5), "block/title", "x")]);
    // What pointed at block 3 went with it, and needs no item.
    assert!(report.tx_data.iter().any(|datom| datom.a == BLOCK_PARENT && Some(datom.e) == eid(&sample(), 4)));
    assert_eq!(
        bare(&normalised(&report)),
        [retract(at(5), "block/title", "Last"), add(at(5), "block/title", "x"), retract_entity(at(3))]
    );
}

#[test]
fn recreated_entities_keep_what_is_said_of_them() {
    let recreate = |title: &str| {
        vec![
            retract_entity(at(3)),
            add(-1, "block/uuid", uuid(3)),
            add(-1, "block/title", title),
            add(-1, "block/page", at(1)),
            add(-1, "block/parent", at(1)),
            add(-1, "block/order", "a0"),
            add(at(5), "block/title", "sibling"),
        ]
    };
    let db = sample();
    let items = normalised(&with(&db, &recreate("new")));
    assert_eq!(items[0], retract_entity(at(3)));
    assert!(bare(&items).contains(&add(uuid_text(3).as_str(), "block/title", "new")), "{items:?}");
    let mut with_child = recreate("new");
    with_child.insert(6, add(at(4), "block/parent", at(3)));
    let report = with(&db, &with_child);
    let items = normalised(&report);
    assert!(bare(&items).contains(&add(at(4), "block/parent", uuid_text(3).as_str())), "{items:?}");
    assert_eq!(state(&with(&db, &items).db_after), state(&report.db_after));
}

#[test]
fn nothing_that_is_gone_is_mentioned() {
    // The block that is added refers to one that is deleted later in the transaction.
    let report = with(&sample(), &[block(9, 4, 1, "new"), retract_entity(at(4))]);
    let items = normalised(&report);
    assert!(items.iter().filter(|item| item.as_seq().expect("an item").len() > 2).all(|item| {
        let parts = item.as_seq().expect("an item");
        parts[1] != at(4) && parts[3] != at(4)
    }));
    assert_eq!(items.last(), Some(&retract_entity(at(4))));
    // Created and deleted at once: nothing at all.
    assert_eq!(normalised(&with(&sample(), &[block(9, 4, 1, "new"), retract_entity(at(9))])), []);
}

/// D-15: the schema alone makes an attribute a reference.
#[test]
fn references_need_no_attribute_entity() {
    let items = bare(&normalised(&with(&sample(), &[add(at(5), "block/parent", at(2))])));
    assert_eq!(items, [retract(at(5), "block/parent", at(1)), add(at(5), "block/parent", at(2))]);
}

/// D-16: numbers of clients and of the server in one transaction.
#[test]
fn datoms_keep_their_order_whatever_their_numbers() {
    let db = sample();
    let e = eid(&db, 2).expect("block 2");
    let numbered =
        |item: Value| Value::vector(item.as_seq().expect("an item").iter().cloned().chain([Value::from(536_880_000)]));
    let report =
        with(&db, &[numbered(add(e, "block/title", "A")), add(e, "block/order", "b00"), add(e, "block/title", "B")]);
    let numbers: Vec<u32> = report.tx_data.iter().map(|datom: &Datom| datom.tx).collect();
    assert_eq!(numbers.iter().filter(|tx| **tx == 536_880_000).count(), 2);
    let items = normalised(&report);
    assert_eq!(state(&with(&db, &items).db_after), state(&report.db_after), "{items:?}");
    assert_eq!(items.len(), 6);
}

#[test]
fn delete_blocks_takes_what_the_server_has_below() {
    let db = sample();
    let report = apply(&db, "delete-blocks", &[retract_entity(at(2))]);
    for n in [2, 3, 4] {
        assert_eq!(eid(&report.db_after, n), None);
    }
    assert_eq!(bare(&normalised(&report)), [retract_entity(at(2)), retract_entity(at(3)), retract_entity(at(4))]);
}

#[test]
fn replaying_gives_the_same_blocks() {
    for seed in 0..300 {
        let mut random = Random(seed);
        let mut db = after(&empty(), &[&[page(1, "Page")]]);
        let mut copy = db.clone();
        for _ in 0..6 {
            let mut items = Vec::new();
            let mut live: Vec<u64> = (2..8).filter(|n| eid(&db, *n).is_some()).collect();
            for _ in 0..=random.below(4) {
                let n = 2 + random.below(6);
                match (random.below(3), live.contains(&n)) {
                    (_, false) => {
                        items.push(block(n, 1, 1, &format!("{}", random.below(100))));
                        live.push(n);
                    }
                    (0, true) => {
                        items.push(retract_entity(at(n)));
                        live.retain(|other| *other != n);
                    }
                    (1, true) => items.push(add(at(n), "block/title", format!("t{}", random.below(3)).as_str())),
                    _ => {
                        let parent = live[usize::try_from(random.below(live.len() as u64)).expect("an index")];
                        items.push(add(at(n), "block/parent", at(if parent == n { 1 } else { parent })));
                    }
                }
            }
            let report = with(&db, &items);
            let items = normalised(&report);
            copy = with(&copy, &items).db_after;
            db = report.db_after;
            assert_eq!(state(&copy), state(&db), "seed {seed}: {items:?}");
        }
    }
}
