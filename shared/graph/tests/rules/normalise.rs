//! sync.md 11.8, 22 (`normalize_test`).

use datascript::{Datom, Db, Index, Pattern, Value};
use graph::rules::attrs::{BLOCK_PARENT, DB_IDENT};

use crate::world::{
    Random, add, after, apply, at, block, eid, empty, kw, map, normalised, page, retract, retract_entity, sample,
    state, try_normalised, uuid, uuid_text, with,
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

/// What the log tells leads from the one database to the other (D-66).
fn tells(db: &Db, items: &[Value]) -> Vec<Value> {
    let report = with(db, items);
    let log = try_normalised(&report).expect("a transaction that can be told");
    assert!(log.untold.is_empty(), "{:?}", log.untold);
    let copy = datascript::with(db, &log.items).unwrap_or_else(|error| panic!("{error}: {:?}", log.items)).db_after;
    assert_eq!(state(&copy), state(&report.db_after), "{:?}", log.items);
    assert_eq!(idents(&copy), idents(&report.db_after), "{:?}", log.items);
    log.items
}

/// What is said of entities with idents.
fn idents(db: &Db) -> Vec<String> {
    let holders = db.datoms(Index::Avet, &Pattern::a(DB_IDENT)).map(|holder| holder.expect("a datom"));
    let fact = |ident: &Value, datom: &Datom| format!("{ident:?} {} {:?}", db.attrs().keyword(datom.a), datom.v);
    holders
        .flat_map(|holder| {
            let facts = db.datoms(Index::Eavt, &Pattern::e(holder.e)).map(|datom| datom.expect("a datom"));
            facts
                .filter(|datom| !db.flags(datom.a).is_ref())
                .map(move |datom| fact(&holder.v, &datom))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// D-63: nothing but a new uuid is one add of it under the old one.
#[test]
fn entities_live_on_under_other_uuids() {
    let db = sample();
    assert_eq!(bare(&tells(&db, &[add(at(3), "block/uuid", uuid(9))])), [add(at(3), "block/uuid", uuid(9))]);
    // Whatever else is said of it, of its children, and by others.
    let mut items = vec![
        add(at(3), "block/title", "moved"),
        add(at(3), "block/uuid", uuid(9)),
        add(at(4), "block/title", "child"),
        add(at(5), "block/parent", at(9)),
        add(at(9), "block/refs", at(5)),
        block(7, 9, 1, "new"),
    ];
    tells(&db, &items);
    items.push(retract_entity(at(5)));
    tells(&db, &items);
}

#[test]
fn names_are_handed_on() {
    let db = sample();
    let (two, three, five) = (eid(&db, 2).unwrap(), eid(&db, 3).unwrap(), eid(&db, 5).unwrap());
    // From one to the next; the last one gets a new one.
    let chain = [add(two, "block/uuid", uuid(9)), add(three, "block/uuid", uuid(2)), add(five, "block/uuid", uuid(3))];
    tells(&db, &chain);
    // To one whose own is nobody's now, while its holder goes; and to a new entity.
    tells(&db, &[retract_entity(three), add(five, "block/uuid", uuid(3)), add(five, "block/title", "heir")]);
    tells(&db, &[add(three, "block/uuid", uuid(9)), block(3, 2, 1, "another"), add(at(4), "block/parent", at(3))]);
    // In a circle there is no first one.
    let circle = [add(two, "block/uuid", uuid(9)), add(three, "block/uuid", uuid(2)), add(two, "block/uuid", uuid(3))];
    let refusal = try_normalised(&with(&db, &circle)).expect_err("a circle");
    assert_eq!(refusal.to_string(), "the change cannot be told to others: names go around in a circle");
}

#[test]
fn idents_come_and_go() {
    let ident = |name: &str| map(&[("db/ident", kw(name)), ("kv/value", 1.into())]);
    let both = map(&[("db/ident", kw("odd/c")), ("block/uuid", uuid(8)), ("block/title", "c".into())]);
    let db = after(&sample(), &[&[ident("odd/a"), ident("odd/b"), both]]);
    let a = db.ident("odd/a").unwrap().unwrap();
    // Another ident, with more said about it under either.
    tells(&db, &[add(kw("odd/a"), "db/ident", kw("odd/z")), add(a, "kv/value", 2), add(at(2), "block/refs", a)]);
    // A uuid in place of the ident, and the other way round.
    tells(
        &db,
        &[
            add(a, "block/uuid", uuid(9)),
            retract(a, "db/ident", kw("odd/a")),
            add(at(2), "block/refs", a),
            add(a, "kv/value", 3),
        ],
    );
    tells(&db, &[retract(at(8), "block/uuid", uuid(8)), add(kw("odd/c"), "block/title", "by its ident")]);
    tells(&db, &[retract(at(8), "db/ident", kw("odd/c")), add(at(8), "block/title", "by its uuid")]);
    // An ident that another entity gets, whose own one a third gets.
    tells(
        &db,
        &[
            add(a, "db/ident", kw("odd/z")),
            add(kw("odd/b"), "db/ident", kw("odd/a")),
            add(at(8), "db/ident", kw("odd/b")),
        ],
    );
    // Retracted as a whole: by its ident, where it has no uuid.
    assert_eq!(tells(&db, &[retract_entity(a)]), [retract_entity(kw("odd/a"))]);
}

#[test]
fn what_cannot_be_told_is_named() {
    let db = sample();
    let untold = |items: &[Value]| try_normalised(&with(&db, items)).expect("a log").untold.len();
    assert!(untold(&[add("t", "kv/value", 1)]) > 0);
    assert!(untold(&[retract(at(2), "block/uuid", uuid(2))]) > 0);
    assert_eq!(untold(&[add(at(2), "block/title", "x")]), 0);
    let refusal = |items: &[Value]| try_normalised(&with(&db, items)).expect_err("a refusal").to_string();
    assert_eq!(refusal(&[add(at(2), "block/refs", 77)]), "nothing found for entity id 77");
    let three = eid(&db, 3).unwrap();
    let nothing = format!("nothing found for entity id {three}");
    assert_eq!(refusal(&[retract_entity(three), add(at(2), "block/refs", three)]), nothing);
    // Fact by fact, while block 4 stays below it.
    let gone = ["uuid", "title", "parent", "page", "order", "created-at", "updated-at"];
    let retract_attribute =
        |a: &str| Value::vector([kw("db.fn/retractAttribute"), three.into(), kw(&format!("block/{a}"))]);
    assert_eq!(refusal(&gone.map(retract_attribute)), nothing);
}

/// What an older version, or an upload, left under an attribute that is a reference: no copy could retract it (D-66).
#[test]
fn values_of_references_that_are_no_entities_are_not_told() {
    let define = map(&[("db/ident", kw("odd/p")), ("db/cardinality", kw("db.cardinality/one"))]);
    let db =
        after(&sample(), &[&[define], &[add(at(2), "odd/p", "text"), add(at(4), "odd/p", Value::Int(5_000_000_000))]]);
    let db = after(&db, &[&[add(kw("odd/p"), "db/valueType", kw("db.type/ref"))]]);
    for n in [2, 4] {
        let attribute = Value::vector([kw("db.fn/retractAttribute"), at(n), kw("odd/p")]);
        assert_eq!(
            try_normalised(&with(&db, &[attribute])).expect_err("a refusal").to_string(),
            "the change cannot be told to others: a value of a reference that is no entity"
        );
        // An addition tells by itself what it replaces, and an entity takes its facts with it.
        assert_eq!(bare(&tells(&db, &[add(at(n), "odd/p", at(3))])), [add(at(n), "odd/p", at(3))]);
        tells(&db, &[retract_entity(at(n))]);
    }
}
