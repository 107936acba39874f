//! sync.md 12, 22 (`checksum_test`), 23.

use datascript::{Db, Value};

use crate::world::{
    Random, add, after, apply, at, block, eid, empty, from_datoms, full, kw, map, page, retract, retract_entity,
    sample, state, updated, uuid, uuid_text, with,
};

/// A graph with the end-to-end encryption flag.
fn e2ee(db: &Db, flag: bool) -> Db {
    let item = map(&[("db/ident", kw("logseq.kv/graph-rtc-e2ee?")), ("kv/value", flag.into())]);
    after(db, &[&[item]])
}

/// Applies transactions one after another; the update must agree with the full sum after each. Returns the last sum.
fn follow(db: &Db, transactions: &[Vec<Value>]) -> (Db, String) {
    let mut db = db.clone();
    let mut checksum = full(&db);
    for items in transactions {
        let report = with(&db, items);
        checksum = updated(Some(&checksum), &report).expect("a checksum");
        assert_eq!(checksum, full(&report.db_after), "{items:?}");
        db = report.db_after;
    }
    (db, checksum)
}

#[test]
fn sums_of_the_specification() {
    assert_eq!(full(&empty()), "0000000000000000");
    let block = map(&[
        ("block/uuid", uuid(2)),
        ("block/title", "Hello".into()),
        ("block/parent", at(1)),
        ("block/page", at(1)),
        ("block/order", "a0".into()),
    ]);
    let db = after(&empty(), &[&[page(1, "Page A")], &[block]]);
    assert_eq!(full(&db), "788720f94f985491");
    assert_eq!(full(&e2ee(&db, true)), "6611326f2fdd0d37");
    assert_eq!(full(&e2ee(&db, false)), "788720f94f985491");
}

#[test]
fn what_does_not_count_changes_nothing() {
    let db = sample();
    let (_, checksum) = follow(
        &db,
        &[
            vec![add(at(4), "block/updated-at", 1_773_661_308_002_f64)],
            vec![add(at(4), "logseq.property/created-by-ref", 99)],
            vec![map(&[("block/uuid", uuid(50)), ("block/title", "neither page nor block".into())])],
            vec![map(&[
                ("block/uuid", uuid(51)),
                ("block/name", "b".into()),
                ("logseq.property/built-in?", true.into()),
            ])],
        ],
    );
    assert_eq!(checksum, full(&db));
}

#[test]
fn updates_follow_mixed_changes() {
    let db = sample();
    let (db, checksum) = follow(
        &db,
        &[
            vec![add(at(2), "block/title", "Hello!"), add(at(1), "block/name", "page b")],
            vec![add(at(4), "block/parent", at(2)), add(at(4), "block/order", "Zz")],
            vec![block(6, 4, 1, "New")],
            vec![retract(at(2), "block/title", "Hello!")],
            vec![retract_entity(at(3))],
            vec![add(at(2), "block/title", "x"), add(at(2), "block/title", "y"), add(at(2), "block/title", "x")],
            vec![add(at(2), "block/order", 5)],
        ],
    );
    assert_eq!(updated(None, &with(&db, &[add(at(2), "block/title", "z")])).expect("a checksum").len(), 16);
    assert_ne!(checksum, full(&sample()));
}

#[test]
fn a_missing_or_malformed_checksum_is_made_anew() {
    let db = sample();
    let report = with(&db, &[add(at(2), "block/title", "New")]);
    let expected = Some(full(&report.db_after));
    for previous in [None, Some(""), Some("788720f94f98549"), Some("788720f94f98549g")] {
        assert_eq!(updated(previous, &report), expected);
    }
    assert_eq!(updated(Some(&full(&db).to_uppercase()), &report), expected);
    // A wrong one stays wrong by the same amount; none is made where nothing changed.
    assert_ne!(updated(Some("0000000000000000"), &report), expected);
    assert_eq!(updated(Some("nonsense"), &with(&db, &[])).as_deref(), Some("nonsense"));
    assert_eq!(updated(None, &with(&db, &[])), None);
}

#[test]
fn encrypted_graphs_leave_out_titles_and_names() {
    let db = e2ee(&sample(), true);
    let (_, checksum) =
        follow(&db, &[vec![add(at(2), "block/title", "cipher")], vec![add(at(1), "block/name", "cipher")]]);
    assert_eq!(checksum, full(&db));
    follow(
        &db,
        &[
            vec![add(at(2), "block/title", "cipher"), add(kw("logseq.kv/graph-rtc-e2ee?"), "kv/value", false)],
            vec![add(at(2), "block/title", "plain")],
            vec![retract_entity(kw("logseq.kv/graph-rtc-e2ee?")), add(at(5), "block/title", "plain")],
        ],
    );
}

#[test]
fn referenced_entities_change_or_go() {
    let db = sample();
    let (_, checksum) = follow(&db, &[vec![retract_entity(at(3))]]);
    assert_ne!(checksum, full(&db));
    // The parent's, the page's uuid.
    follow(&db, &[vec![add(at(3), "block/uuid", uuid(33))], vec![add(at(1), "block/uuid", uuid(11))]]);
    // A parent that does not count itself: no page, no name.
    let bare = map(&[("block/uuid", uuid(60)), ("block/title", "bare".into())]);
    let db = after(&db, &[&[bare], &[block(61, 60, 1, "below")]]);
    follow(&db, &[vec![add(at(60), "block/uuid", uuid(62))], vec![retract_entity(at(62))]]);
    follow(&db, &[vec![retract(at(60), "block/uuid", uuid(60))], vec![add(at(61), "block/order", "b00")]]);
}

#[test]
fn blocks_are_deleted_and_come_back() {
    let db = sample();
    let tempid = uuid_text(4);
    let again = vec![
        add(tempid.as_str(), "block/uuid", uuid(4)),
        add(tempid.as_str(), "block/title", "Child"),
        add(tempid.as_str(), "block/parent", at(3)),
        add(tempid.as_str(), "block/page", at(1)),
        add(tempid.as_str(), "block/order", "a4"),
    ];
    let (_, checksum) = follow(&db, &[vec![retract_entity(at(4))], again.clone()]);
    assert_eq!(checksum, full(&db));
    let at_once: Vec<Value> = [vec![retract_entity(at(4))], again].concat();
    assert_eq!(follow(&db, &[at_once]).1, full(&db));
    // A whole tree, undo, and once more.
    let delete = vec![retract_entity(at(2)), retract_entity(at(3)), retract_entity(at(4))];
    let undo = vec![block(2, 1, 1, "Hello")];
    let (db, _) = follow(&db, &[delete.clone(), undo, vec![block(3, 2, 1, "Parent")], vec![block(4, 3, 1, "Child")]]);
    assert_eq!(full(&db), full(&sample()));
    follow(&db, &[delete]);
}

#[test]
fn what_comes_and_goes_within_a_transaction_leaves_nothing() {
    let db = sample();
    let title = eid(&db, 2).expect("block 2");
    let (_, checksum) = follow(
        &db,
        &[vec![
            add(-1, "block/uuid", uuid(70)),
            add(-1, "block/title", "short"),
            add(-1, "block/page", at(1)),
            retract_entity(at(70)),
        ]],
    );
    assert_eq!(checksum, full(&db));
    follow(
        &db,
        &[
            vec![add(title, "block/title", "a"), retract(title, "block/title", "a"), add(title, "block/title", "a")],
            vec![
                add(-1, "block/uuid", uuid(71)),
                add(-1, "block/page", at(1)),
                add(-1, "block/title", "x"),
                add(-1, "block/title", "y"),
            ],
        ],
    );
}

#[test]
fn partition_and_order_do_not_matter() {
    let db = sample();
    let changes = [
        add(at(2), "block/title", "one"),
        add(at(4), "block/parent", at(5)),
        retract_entity(at(3)),
        add(at(5), "block/order", "b00"),
    ];
    let expected = follow(&db, &[changes.to_vec()]).1;
    let one_by_one: Vec<Vec<Value>> = changes.iter().map(|item| vec![item.clone()]).collect();
    assert_eq!(follow(&db, &one_by_one).1, expected);
    let mut reversed = changes.to_vec();
    reversed.reverse();
    assert_eq!(follow(&db, &[reversed]).1, expected);
}

/// Bulk-loaded databases may hold what no transaction can make: two entities with one uuid.
#[test]
fn shared_uuids_count_as_often_as_they_are_held() {
    use datascript::{Datom, Index, Pattern};
    let db = sample();
    let mut datoms: Vec<Datom> =
        db.datoms(Index::Eavt, &Pattern::ALL).collect::<Result<_, _>>().expect("a readable database");
    let (two, twin) = (eid(&db, 2).expect("block 2"), 1000);
    let copies: Vec<Datom> =
        datoms.iter().filter(|datom| datom.e == two).map(|datom| Datom { e: twin, ..datom.clone() }).collect();
    datoms.extend(copies);
    // And one entity with two uuids.
    let five = eid(&db, 5).expect("block 5");
    datoms.push(Datom::new(five, graph::rules::attrs::BLOCK_UUID, uuid(55), 536_870_913));
    let twins = Db::from_datoms(std::rc::Rc::clone(db.nodes()), db.schema().clone(), datoms);
    assert_ne!(full(&twins), full(&db));
    follow(
        &twins,
        &[
            vec![add(twin, "block/title", "other")],
            vec![add(two, "block/title", "other")],
            vec![retract(twin, "block/uuid", uuid(2)), add(twin, "block/title", "no more")],
        ],
    );
    follow(&twins, &[vec![retract_entity(two)], vec![retract_entity(twin)]]);
}

#[test]
fn five_hundred_random_steps() {
    for seed in 0..4 {
        let mut random = Random(seed);
        let mut db = sample();
        let mut checksum = full(&db);
        for step in 0..125 {
            let n = 2 + random.below(8);
            let (parent, other) = (1 + random.below(9), 1 + random.below(9));
            let parent = if eid(&db, parent).is_some() && parent != n { parent } else { 1 };
            let items = match (random.below(6), eid(&db, n).is_some()) {
                (_, false) => vec![block(n, parent, 1, &format!("step {step}"))],
                (0, _) => vec![retract_entity(at(n))],
                (1, _) => vec![retract_entity(at(n)), block(n, 1, 1, "again")],
                (2, _) if n != parent => vec![add(at(n), "block/parent", at(parent))],
                (3, _) if eid(&db, other).is_none() => vec![add(at(n), "block/uuid", uuid(other))],
                _ => vec![add(at(n), "block/title", format!("step {step}").as_str())],
            };
            let Ok(report) = datascript::with(&db, &items) else { continue };
            checksum = updated(Some(&checksum), &report).expect("a checksum");
            assert_eq!(checksum, full(&report.db_after), "seed {seed}, step {step}: {items:?}");
            db = report.db_after;
        }
    }
}

#[test]
fn entries_of_clients_keep_the_sum() {
    let db = sample();
    let report = apply(&db, "delete-blocks", &[retract_entity(at(2))]);
    let checksum = updated(Some(&full(&db)), &report).expect("a checksum");
    assert_eq!(checksum, full(&report.db_after));
    assert!(state(&report.db_after).iter().all(|fact| !fact.contains("Hello") && !fact.contains("Child")));
}

/// Block 1 whose page is the entity 100, of which nothing is known.
fn waiting() -> Db {
    after(&empty(), &[&[map(&[("block/uuid", uuid(1)), ("block/title", "waits".into()), ("block/page", 100.into())])]])
}

/// A block counts from the moment that its page is there, whatever is known of the page.
#[test]
fn pages_come_into_being_later_and_go() {
    let comes = [
        vec![add(100, "block/updated-at", 1)],
        vec![add(100, "block/uuid", uuid(9))],
        vec![add(100, "db/ident", kw("user.class/x"))],
    ];
    for items in comes {
        let (db, sum) = follow(&waiting(), &[items]);
        assert_ne!(sum, "0000000000000000");
        // It goes, and the reference stays: single facts are retracted, not the entity.
        let attributes = ["block/updated-at", "block/uuid", "db/ident"];
        let goes = attributes.map(|a| Value::vector([kw("db.fn/retractAttribute"), 100.into(), kw(a)]));
        let (_, sum) = follow(&db, &[goes.to_vec()]);
        assert_eq!(sum, "0000000000000000");
    }
}

/// What carries a tag becomes a page when the tag gets one of four idents, and stops being one when the tag loses it.
#[test]
fn tags_become_classes_of_pages_later() {
    let tagged = map(&[("block/uuid", uuid(1)), ("block/title", "x".into()), ("block/tags", 100.into())]);
    let db = after(&empty(), &[&[tagged]]);
    for class in ["Page", "Journal", "Tag", "Property"] {
        let ident = kw(&format!("logseq.class/{class}"));
        let (_, sum) = follow(
            &db,
            &[
                vec![add(100, "db/ident", ident.clone())],
                vec![add(100, "db/ident", kw("user.class/x"))],
                vec![add(100, "db/ident", ident.clone()), add(100, "block/uuid", uuid(2))],
            ],
        );
        assert_ne!(sum, "0000000000000000", "{class}");
        let (_, sum) = follow(&db, &[vec![add(100, "db/ident", ident.clone())], vec![retract(100, "db/ident", ident)]]);
        assert_eq!(sum, "0000000000000000", "{class}");
    }
    let (_, sum) = follow(&db, &[vec![add(100, "db/ident", kw("logseq.class/Asset"))]]);
    assert_eq!(sum, "0000000000000000");
}

/// Vectors equal lists, and the digest knows them apart.
#[test]
fn equal_values_with_texts_of_their_own() {
    let list = || Value::List([Value::Int(1)].into());
    for a in ["block/order", "block/title"] {
        let db = after(&sample(), &[&[add(at(2), a, Value::vector([Value::Int(1)]))]]);
        let (_, sum) = follow(&db, &[vec![Value::vector([kw("db/retract"), at(2), kw(a)]), add(at(2), a, list())]]);
        assert_ne!(sum, full(&db), "{a}");
    }
    // The same for the uuid of a page, which is told by its blocks.
    let db = after(&waiting(), &[&[add(100, "block/uuid", Value::vector([Value::Int(1)]))]]);
    let replace = vec![Value::vector([kw("db/retract"), 100.into(), kw("block/uuid")]), add(100, "block/uuid", list())];
    let (_, sum) = follow(&db, &[replace]);
    assert_ne!(sum, full(&db));
}

/// The sum counts an entity once for each of its uuids.
#[test]
fn entities_with_several_uuids_count_as_often() {
    use datascript::{Datom, Index, Pattern};
    use graph::rules::attrs::{BLOCK_NAME, BLOCK_UUID};
    use graph::rules::checksum::tuple_digest;
    let db = after(&empty(), &[&[map(&[("block/uuid", uuid(1)), ("block/name", "n".into())])]]);
    let mut datoms: Vec<Datom> =
        db.datoms(Index::Eavt, &Pattern::ALL).collect::<Result<_, _>>().expect("a readable database");
    datoms.push(Datom::new(1, BLOCK_UUID, uuid(2), 536_870_913));
    let db = Db::from_datoms(std::rc::Rc::clone(db.nodes()), db.schema().clone(), datoms);
    let (db, sum) = follow(&db, &[vec![add(1, "block/name", "other")]]);
    let mut expected = [0_u32; 2];
    for (attr, value) in [(BLOCK_UUID, uuid(1)), (BLOCK_UUID, uuid(2)), (BLOCK_NAME, "other".into())] {
        let digest = tuple_digest(&uuid(1), attr, Some(&value));
        for _ in 0..2 {
            expected = [expected[0].wrapping_add(digest.0), expected[1].wrapping_add(digest.1)];
        }
    }
    assert_eq!(sum, format!("{:08x}{:08x}", expected[0], expected[1]));
    follow(&db, &[vec![retract(1, "block/uuid", uuid(1))], vec![add(1, "block/name", "once")]]);
}

/// Without the reference type in the schema nothing tells who refers to a page.
#[test]
fn schemas_without_references() {
    let bare = datascript::Schema::from_value(std::rc::Rc::clone(empty().schema().attrs()), &map(&[]));
    let db = Db::empty(std::rc::Rc::clone(empty().nodes()), bare);
    let block = map(&[("block/uuid", uuid(1)), ("block/page", 100.into())]);
    let db = after(&db, &[&[block]]);
    let comes = vec![add(100, "block/title", "there")];
    // The schema changes in the moment in which the page comes.
    let defined = vec![
        add(100, "block/title", "there"),
        add(101, "db/ident", kw("block/page")),
        add(101, "db/valueType", kw("db.type/ref")),
    ];
    for items in [comes, defined] {
        let report = with(&db, &items);
        // Nor could the log name entities by uuids that are not looked up.
        let sum = from_datoms(Some(&full(&db)), &report);
        assert_eq!(sum, Some(full(&report.db_after)), "{items:?}");
        assert_ne!(sum, Some(full(&db)));
    }
}

/// More references than are followed one by one, and just as many.
#[test]
fn pages_of_very_many_blocks() {
    use datascript::Datom;
    use graph::rules::attrs::{BLOCK_PAGE, BLOCK_UUID};
    for blocks in [1 << 16, (1 << 16) + 1] {
        let db = empty();
        let datoms = (1..=blocks).flat_map(|e| {
            let tx = 536_870_913;
            [Datom::new(e, BLOCK_UUID, uuid(e.into()), tx), Datom::new(e, BLOCK_PAGE, 100_000.into(), tx)]
        });
        let db = Db::from_datoms(std::rc::Rc::clone(db.nodes()), db.schema().clone(), datoms.collect());
        let (_, sum) = follow(&db, &[vec![add(100_000, "block/updated-at", 1)]]);
        assert_ne!(sum, "0000000000000000");
    }
}
