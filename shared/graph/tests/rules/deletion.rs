//! sync.md 11.5 d–e.

use datascript::{Db, Value};
use graph::rules::deletion::deletion_cleanup;

use crate::world::{
    add, after, apply, at, block, eid, kw, map, normalised, retract, retract_entity, sample, state, uuid, uuid_text,
    with,
};

/// The attributes that matter here, as references.
fn with_references(db: &Db) -> Db {
    let reference = |ident: &str| {
        map(&[
            ("db/ident", kw(ident)),
            ("db/valueType", kw("db.type/ref")),
            ("db/cardinality", kw("db.cardinality/one")),
        ])
    };
    let idents = [
        "logseq.property.history/block",
        "logseq.property.history/property",
        "logseq.property.history/ref-value",
        "logseq.property.reaction/target",
        "logseq.property/view-for",
    ];
    after(db, &[&idents.map(reference)])
}

fn row(n: u64, attr: &str, target: u64) -> Value {
    map(&[("block/uuid", uuid(n)), (attr, at(target))])
}

fn cleanup(db: &Db, items: &[Value]) -> Vec<Value> {
    deletion_cleanup(db, items).expect("a readable database")
}

fn title(db: &Db, n: u64) -> Option<Value> {
    db.value(eid(db, n)?, graph::rules::attrs::BLOCK_TITLE).expect("a readable database")
}

#[test]
fn entries_without_deletions_need_nothing() {
    let db = with_references(&sample());
    assert_eq!(cleanup(&db, &[add(at(2), "block/title", "x"), block(9, 2, 1, "y")]), []);
    assert_eq!(cleanup(&db, &[retract_entity(at(99))]), []);
    assert_eq!(cleanup(&db, &[retract_entity(at(4))]), []);
}

#[test]
fn mentions_become_titles() {
    let (u2, u4) = (uuid_text(2), uuid_text(4));
    let text = format!("a (({u2})) [[{u4}]] {{{{embed (({u2})) }}}} (({}))", uuid_text(5));
    let referrer = block(7, 1, 1, &text);
    let db = after(&sample(), &[&[referrer], &[add(at(7), "block/refs", at(2)), add(at(7), "block/refs", at(4))]]);
    let report = apply(&db, "delete-blocks", &[retract_entity(at(2))]);
    let expected = format!("a Hello Child Hello (({}))", uuid_text(5));
    assert_eq!(title(&report.db_after, 7), Some(expected.as_str().into()));
    let e = eid(&report.db_after, 7).expect("block 7");
    assert_eq!(report.db_after.values(e, graph::rules::attrs::BLOCK_REFS).expect("a readable database").len(), 0);
    // A referrer that is deleted as well is not rewritten.
    let items = cleanup(&db, &[retract_entity(at(4)), retract_entity(at(7))]);
    assert_eq!(items, [retract(e, "block/refs", eid(&db, 4).expect("block 4"))]);
}

/// D-43: what JavaScript's `replace` makes something else of.
#[test]
fn titles_are_put_in_literally() {
    let mention = |n| format!("<(({0}))|[[{0}]]>", uuid_text(n));
    for deleted in [
        "$$",
        "$&",
        "$1",
        "$`",
        "$'",
        "$",
        "$$$",
        "$$$$",
        "$0",
        "$10",
        "$<name>",
        "a$$b$&c$1d$`e$'f",
        "\\$&",
        "100 $",
        "$\u{1F600}",
    ] {
        let db = after(
            &sample(),
            &[
                &[
                    add(at(5), "block/title", deleted),
                    add(at(2), "block/title", format!("in (({}))", uuid_text(5)).as_str()),
                ],
                &[block(7, 1, 1, &mention(5)), block(8, 1, 1, &mention(2))],
                &[add(at(7), "block/refs", at(5)), add(at(8), "block/refs", at(2))],
            ],
        );
        let report = apply(&db, "delete-blocks", &[retract_entity(at(2)), retract_entity(at(5))]);
        let once = format!("<{deleted}|{deleted}>");
        assert_eq!(title(&report.db_after, 7), Some(once.as_str().into()), "{deleted}");
        let inside = format!("<in {deleted}|in {deleted}>");
        assert_eq!(title(&report.db_after, 8), Some(inside.as_str().into()), "{deleted}, in a title in a text");
    }
}

#[test]
fn titles_of_titles_and_assets() {
    let mention = |n| format!("(({}))", uuid_text(n));
    // 2 mentions 5, and 5 mentions 2: the title that is put in first is completed by the ones after it.
    let db = after(
        &sample(),
        &[
            &[add(at(2), "block/title", format!("two {}", mention(5)).as_str())],
            &[add(at(5), "block/title", format!("five {}", mention(2)).as_str())],
            &[block(7, 1, 1, &format!("{} {}", mention(2), mention(5)))],
            &[add(at(7), "block/refs", at(2))],
            &[block(8, 1, 1, "picture"), add(at(7), "block/refs", at(5))],
        ],
    );
    let report = apply(&db, "delete-blocks", &[retract_entity(at(2)), retract_entity(at(5))]);
    let expected = format!("two five {} five {}", mention(2), mention(2));
    assert_eq!(title(&report.db_after, 7), Some(expected.as_str().into()));
    let db = after(
        &db,
        &[
            &[add(at(8), "logseq.property.asset/type", "png")],
            &[add(at(7), "block/title", format!("<{}>", mention(8)).as_str()), add(at(7), "block/refs", at(8))],
        ],
    );
    let report = apply(&db, "delete-blocks", &[retract_entity(at(8))]);
    assert_eq!(title(&report.db_after, 7), Some("<>".into()));
}

#[test]
fn texts_do_not_grow_without_bound() {
    let mention = |n| format!("(({}))", uuid_text(n));
    let count = 40;
    let mut db = sample();
    // Each title mentions the next one twice.
    for n in 100..100 + count {
        let next = mention(n + 1);
        db = after(&db, &[&[block(n, 1, 1, &format!("{next}{next}"))]]);
    }
    db = after(&db, &[&[block(7, 1, 1, &mention(100))]]);
    for n in 100..100 + count {
        db = after(&db, &[&[add(at(7), "block/refs", at(n))]]);
    }
    let items: Vec<Value> = (100..100 + count).map(|n| retract_entity(at(n))).collect();
    assert!(matches!(deletion_cleanup(&db, &items), Err(graph::rules::Error::TooLarge)));
}

#[test]
fn texts_that_change_together_have_a_bound() {
    let long = "x".repeat(100_000);
    let mut db = after(&sample(), &[&[add(at(2), "block/title", long.as_str())]]);
    let mention = format!("(({}))", uuid_text(2));
    for n in 100..130 {
        db = after(&db, &[&[block(n, 1, 1, &mention)], &[add(at(n), "block/refs", at(2))]]);
        let cleanup = deletion_cleanup(&db, &[retract_entity(at(2))]);
        // Thirty are too many; texts that mention nothing may be any number.
        assert_eq!(cleanup.is_ok(), n < 120, "{n}");
        assert!(deletion_cleanup(&db, &[retract_entity(at(4))]).is_ok());
    }
}

#[test]
fn views_reactions_and_history_go() {
    let db = after(
        &with_references(&sample()),
        &[
            &[row(20, "logseq.property/view-for", 1), row(21, "logseq.property.reaction/target", 4)],
            &[row(22, "logseq.property.history/block", 4), row(23, "logseq.property.history/property", 4)],
            &[row(24, "logseq.property.history/ref-value", 22), row(25, "logseq.property.reaction/target", 24)],
        ],
    );
    let id = |n| retract_entity(eid(&db, n).expect("an entity"));
    assert_eq!(cleanup(&db, &[retract_entity(at(1))]), [id(20)]);
    // What goes takes along what depends on it.
    assert_eq!(cleanup(&db, &[retract_entity(at(4))]), [id(22), id(23), id(21), id(24), id(25)]);
    let report = apply(&db, "delete-blocks", &[retract_entity(at(4))]);
    for n in [21, 22, 23, 24, 25] {
        assert_eq!(eid(&report.db_after, n), None);
    }
    // The log says so, and another copy follows.
    let items = normalised(&report);
    assert!(items.contains(&retract_entity(at(22))), "{items:?}");
    assert_eq!(state(&with(&db, &items).db_after), state(&report.db_after));
}

#[test]
fn a_history_row_that_loses_a_reference_goes() {
    let db = after(&with_references(&sample()), &[&[row(22, "logseq.property.history/block", 4)]]);
    let report = apply(&db, "delete-blocks", &[retract(at(22), "logseq.property.history/block", at(4))]);
    assert_eq!(eid(&report.db_after, 22), None);
    // Anything else that it loses does not matter.
    let report = apply(&db, "save-block", &[retract(at(22), "block/title", "x")]);
    assert!(eid(&report.db_after, 22).is_some());
}

#[test]
fn history_rows_made_for_what_is_deleted_go() {
    let db = with_references(&sample());
    let four = eid(&db, 4).expect("block 4");
    let by_map = row(30, "logseq.property.history/block", 4);
    let items = [by_map, retract_entity(four)];
    assert_eq!(cleanup(&db, &items), [retract_entity(at(30))]);
    let items = [
        add(900, "block/uuid", uuid(31)),
        add(900, "logseq.property.history/block", four),
        row(32, "logseq.property.history/block", 5),
        retract_entity(four),
    ];
    assert_eq!(cleanup(&db, &items), [retract_entity(900)]);
    assert!(eid(&with(&db, &[&items[..], &cleanup(&db, &items)[..]].concat()).db_after, 31).is_none());
}

#[test]
fn delete_blocks_goes_by_the_subtree_as_it_is() {
    let db = sample();
    let report = apply(&db, "delete-blocks", &[retract_entity(at(3)), retract_entity(at(3)), retract_entity(at(2))]);
    let left: Vec<u64> = (1..=5).filter(|n| eid(&report.db_after, *n).is_some()).collect();
    assert_eq!(left, [1, 5]);
    // Pages are no plain blocks: the blocks below them go by the sanitiser's rule, as for any entry.
    let report = apply(&db, "delete-blocks", &[retract_entity(at(1))]);
    assert!((1..=5).all(|n| eid(&report.db_after, n).is_none()));
}
