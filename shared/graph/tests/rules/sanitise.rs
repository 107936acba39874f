//! sync.md 11.4, 22 (`tx_sanitize_test`).

use datascript::{Db, Value};
use graph::rules::sanitise::sanitise;
use graph::rules::{Op, attrs};

use crate::world::{add, after, at, block, eid, kw, map, retract, retract_entity, sample, uuid};

fn clean(db: &Db, op: Option<&str>, items: &[Value]) -> Vec<Value> {
    sanitise(db, op.map(Op::parse), items.to_vec()).expect("a readable database")
}

#[test]
fn attributes_that_are_not_synchronised_go() {
    let db = sample();
    let attrs = [
        "block/path-refs",
        "block/pre-block?",
        "logseq.property.embedding/hnsw-label",
        "logseq.property.embedding/hnsw-label-updated-at",
        "logseq.property.view/gallery-card-size",
        "logseq.property.view/gallery-card-width",
        "logseq.property.view/gallery-card-height",
        "logseq.property.view/sort-groups-by-property",
        "logseq.property.view/sort-groups-desc?",
        "logseq.property.table/sorting",
        "logseq.property.asset/last-visit-page",
    ];
    let kept = [
        add(at(2), "block/title", "x"),
        map(&[("block/uuid", uuid(2)), ("block/title", "y".into())]),
        // An item stays, even if nothing is left of it.
        map(&[("db/id", at(2))]),
        map(&[]),
        // Only vectors of four and more elements are looked at, and no maps inside values.
        Value::vector([kw("db/retract"), at(2), kw("block/path-refs")]),
        Value::vector([kw("db.fn/retractAttribute"), at(2), kw("logseq.property.table/sorting")]),
        map(&[("block/refs", map(&[("block/uuid", uuid(3)), ("block/path-refs", 1.into())]))]),
        add(at(2), "logseq.property.view/group-by-property", "g"),
    ];
    let mut items = kept.to_vec();
    items[1] = map(&[("block/uuid", uuid(2)), ("block/path-refs", 1.into()), ("block/title", "y".into())]);
    items[2] = map(&[("logseq.property.table/sorting", 1.into()), ("db/id", at(2))]);
    items[3] = map(&attrs.map(|attr| (attr, 1.into())));
    for attr in attrs {
        items.push(add(at(2), attr, 1));
        items.push(retract(at(2), attr, 1));
        items.push(Value::vector([kw("db.fn/cas"), at(2), kw(attr), 1.into(), 2.into()]));
        items.push(Value::vector([kw("db/add"), at(2), kw(attr), 1.into(), 536_870_913.into()]));
    }
    assert_eq!(clean(&db, None, &items), kept);
}

#[test]
fn key_value_entities_of_each_copy_go() {
    let stored = map(&[("db/ident", kw("logseq.kv/graph-uuid")), ("kv/value", "x".into())]);
    let db = after(&sample(), &[&[stored]]);
    let stored = db.ident("logseq.kv/graph-uuid").expect("a readable database").expect("stored");
    let kept = [
        add(kw("logseq.kv/db-type"), "kv/value", "db"),
        // A map without an id is not looked at.
        map(&[("db/ident", kw("logseq.kv/graph-uuid")), ("kv/value", "y".into())]),
    ];
    let mut items = vec![
        add(kw("logseq.kv/graph-uuid"), "kv/value", "y"),
        add(stored, "kv/value", "y"),
        add(kw("logseq.kv/graph-last-gc-at"), "kv/value", 1),
        retract_entity(kw("logseq.kv/graph-backup-folder")),
        retract_entity(stored),
        add("tmp", "db/ident", kw("logseq.kv/local-graph-uuid")),
        add("tmp", "kv/value", "z"),
        map(&[("db/id", (-7).into()), ("db/ident", kw("logseq.kv/graph-local-tx"))]),
        add(-7, "kv/value", 3),
        map(&[("db/id", (-7).into()), ("kv/value", 3.into())]),
    ];
    items.extend(kept.clone());
    assert_eq!(clean(&db, None, &items), kept);
}

#[test]
fn stale_retractions_go_for_some_operations() {
    let db = sample();
    let items =
        [retract_entity(at(99)), retract_entity(kw("nobody")), retract_entity(12345), add(at(5), "block/title", "x")];
    for op in ["fix", "delete-blocks", "delete-page"] {
        assert_eq!(clean(&db, Some(op), &items), items[3..], "{op}");
    }
    for op in [None, Some("rebase"), Some("save-block")] {
        assert_eq!(clean(&db, op, &items), items, "{op:?}");
    }
}

#[test]
fn deletions_drop_writes_to_what_they_delete() {
    let db = sample();
    let two = eid(&db, 2).expect("block 2");
    let items = [
        retract_entity(at(2)),
        add(two, "block/title", "x"),
        retract(at(2), "block/order", "a2"),
        add(at(99), "block/title", "y"),
        add(at(5), "block/title", "z"),
        retract_entity(at(3)),
        retract_entity(at(4)),
    ];
    let kept = [&items[..1], &items[3..]].concat();
    assert_eq!(clean(&db, Some("delete-blocks"), &items), kept);
    assert_eq!(clean(&db, Some("save-block"), &items), items);
}

#[test]
fn retracts_of_a_value_that_is_added_go() {
    let db = sample();
    let items = [
        retract(at(2), "block/title", "same"),
        add(at(2), "block/title", "same"),
        retract(at(2), "block/title", "old"),
        retract(at(2), "block/order", "same"),
        add(at(2), "block/order", "same"),
        retract(at(1), "block/name", "n"),
    ];
    assert_eq!(clean(&db, None, &items), items[1..]);
}

#[test]
fn descendants_go_with_what_is_retracted() {
    let value = map(&[
        ("block/uuid", uuid(40)),
        ("block/parent", at(4)),
        ("logseq.property/created-from-property", 1.into()),
        ("block/collapsed?", true.into()),
    ]);
    let db = after(&sample(), &[&[value]]);
    let below: Vec<Value> = [3, 4, 40].iter().map(|n| retract_entity(eid(&db, *n).expect("a block"))).collect();
    let items = [retract_entity(at(2))];
    for op in [None, Some("save-block"), Some("delete-blocks")] {
        assert_eq!(clean(&db, op, &items), [&items[..], &below[..]].concat(), "{op:?}");
    }
    // Those that the entry moves or writes stay, unless it is a deletion.
    let items = [retract_entity(at(2)), add(at(3), "block/parent", at(1)), map(&[("block/uuid", uuid(4))])];
    assert_eq!(clean(&db, None, &items), [&items[..], &below[2..]].concat());
    assert_eq!(clean(&db, Some("delete-page"), &items), [&items[..], &below[..]].concat());
}

#[test]
fn parent_cycles_end() {
    let db = after(&sample(), &[&[add(at(2), "block/parent", at(4))]]);
    let [three, four] = [3, 4].map(|n| retract_entity(eid(&db, n).expect("a block")));
    assert_eq!(clean(&db, None, &[retract_entity(at(2))]), [retract_entity(at(2)), three, four]);
}

#[test]
fn malformed_items_pass_for_the_transactor() {
    let db = sample();
    let items = [
        Value::Nil,
        Value::from(5),
        Value::from("text"),
        Value::vector([]),
        Value::vector([kw("db/add")]),
        Value::List([kw("db/add"), at(2), kw("block/path-refs"), 1.into()].into()),
        Value::vector([kw("db/retractEntity"), at(2), 1.into()]),
        retract_entity("tempid"),
        add(Value::Nil, "block/title", Value::Nil),
        Value::vector([kw("db/add"), Value::vector([kw("nope"), 1.into()]), kw("a"), 1.into()]),
    ];
    assert_eq!(clean(&db, Some("fix"), &items[..7]), items[..7]);
    assert_eq!(clean(&db, None, &items), items);
    assert!(db.value(eid(&db, 2).expect("block 2"), attrs::BLOCK_UUID).is_ok());
    assert_eq!(clean(&db, None, &[block(3, 1, 1, "x")]).len(), 1);
}
