//! Rows written and read back.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::{Conn, MAX_JOURNAL_DATOMS, MAX_JOURNAL_ROWS, Unstored, datom_too_large};
use crate::attrs::{Attr, Attrs};
use crate::datom::{Datom, TX0};
use crate::db::Db;
use crate::error::Error;
use crate::index::{Index, Pattern};
use crate::nodes::Nodes;
use crate::schema::Schema;
use crate::storage::{ADDR_BASE, ROOT_ADDR, Row, Storage, TAIL_ADDR};
use crate::testing::{MemoryStore, Rng, check, same};
use crate::{Value, with};

const INDEXES: [Index; 3] = [Index::Eavt, Index::Aevt, Index::Avet];
const PRESET: [&str; 6] = ["db/ident", "title", "name", "tags", "order", "page"];

fn schema(attrs: &Rc<Attrs>) -> Schema {
    let text = r#"["^ ","~:title",["^ ","~:db/index",true],"~:tags",["^ ","~:db/cardinality","~:db.cardinality/many",
        "~:db/index",true],"~:order",["^ ","~:db/index",true],"~:page",["^ ","~:db/valueType","~:db.type/ref"]]"#;
    Schema::from_value(Rc::clone(attrs), &transit::read_str(text).unwrap())
}

fn open_with(store: &Rc<MemoryStore>, budget: usize) -> Conn {
    let attrs = Attrs::new(&PRESET);
    let schema = schema(&attrs);
    let storage: Rc<dyn Storage> = Rc::<MemoryStore>::clone(store);
    let greatest = store.0.borrow().keys().next_back().copied().unwrap_or_default();
    Conn::open(Rc::new(Nodes::new(Some(storage), attrs, budget)), schema, greatest).unwrap()
}

fn open(store: &Rc<MemoryStore>) -> Conn {
    open_with(store, Nodes::DEFAULT_BUDGET)
}

fn created() -> (Rc<MemoryStore>, Conn) {
    let store = Rc::default();
    let mut conn = open(&store);
    store.apply(conn.take_writes().unwrap());
    (store, conn)
}

fn add(e: i64, a: &str, v: Value) -> Value {
    Value::vector([Value::keyword("db/add"), Value::Int(e), Value::keyword(a), v])
}

fn transact(conn: &mut Conn, items: &[Value]) {
    let report = with(conn.db(), items).unwrap();
    // An opened graph does not know of transactions without datoms.
    if !report.tx_data.is_empty() {
        conn.install(report);
    }
}

fn all(db: &Db, index: Index) -> Vec<Datom> {
    db.datoms(index, &Pattern::ALL).scanning().collect::<Result<_, _>>().unwrap()
}

fn assert_equal(a: &Db, b: &Db) {
    for index in INDEXES {
        let (a, b) = (all(a, index), all(b, index));
        assert_eq!(a.len(), b.len());
        assert!(a.iter().zip(&b).all(|(a, b)| same(a, b)));
    }
    assert_eq!((a.max_eid(), a.max_tx(), a.count()), (b.max_eid(), b.max_tx(), b.count()));
    assert_eq!(a.schema().to_value(), b.schema().to_value());
}

/// Exactly the rows of the root, the tail and the nodes below the roots are stored, none too long; the trees are sound.
fn assert_rows(store: &MemoryStore, conn: &Conn, min_fill: usize) {
    let mut reachable = BTreeSet::from([ROOT_ADDR, TAIL_ADDR]);
    for index in INDEXES {
        let tree = conn.db().tree(index).unwrap();
        for addr in check(tree, conn.nodes(), index, min_fill) {
            assert!(reachable.insert(addr), "two nodes at {addr}");
        }
    }
    let rows = store.0.borrow();
    assert!(rows.keys().eq(&reachable), "stored: {:?}, reachable: {reachable:?}", rows.keys());
    assert!(rows.values().all(|row| row.content.len() <= 2_000_000));
}

fn random_items(rng: &mut Rng, entities: u32) -> Vec<Value> {
    let count = 1 + rng.below(12);
    (0..count)
        .map(|_| {
            let e = i64::from(rng.small(entities)) + 1;
            let a = PRESET[1 + rng.below(5)];
            let v = if a == "page" { Value::Int(i64::from(rng.small(entities)) + 1) } else { rng.value(60) };
            match rng.below(10) {
                0..7 => add(e, a, v),
                7 => Value::vector([Value::keyword("db/retract"), Value::Int(e), Value::keyword(a)]),
                _ => Value::vector([Value::keyword("db/retractEntity"), Value::Int(e)]),
            }
        })
        .collect()
}

#[test]
fn rows_open_to_the_same_value_whatever_happened() {
    for seed in 0..6 {
        let mut rng = Rng(seed);
        let (store, mut conn) = created();
        // Many entities, then fewer and fewer: trees grow and shrink.
        for step in 0..400_u32 {
            let entities = if step < 200 { 300 } else { 400_u32.saturating_sub(step) + 3 };
            for _ in 0..=rng.below(3) {
                let items = random_items(&mut rng, entities);
                transact(&mut conn, &items);
            }
            if step >= 200 {
                let items: Vec<Value> = (0..3)
                    .map(|_| {
                        Value::vector([Value::keyword("db/retractEntity"), Value::Int(i64::from(rng.small(300)) + 1)])
                    })
                    .collect();
                transact(&mut conn, &items);
            }
            store.apply(conn.take_writes().unwrap());
            assert!(conn.take_writes().unwrap().is_empty());
            if step % 20 == 0 {
                let budget = [1, 20_000, usize::MAX][rng.below(3)];
                let reopened = open_with(&store, budget);
                assert_equal(&reopened.db().clone(), conn.db());
                if rng.below(2) == 0 {
                    conn = reopened;
                }
            }
            if conn.tail().is_empty() {
                assert_rows(&store, &conn, 1);
            }
        }
    }
}

/// The rows of a checkpoint and those of the journal since then open to the same value, whatever happened and in whatever
/// state the connection is dropped.
#[test]
fn rows_and_journal_open_to_the_same_value_whatever_happened() {
    for seed in 0..6 {
        let mut rng = Rng(seed);
        let limit = [10, 60, MAX_JOURNAL_DATOMS][rng.below(3)];
        let (store, conn) = created();
        let mut conn = conn.journaled(limit);
        let mut journal: Vec<String> = Vec::new();
        let (mut rows, mut checkpoints) = (0, 0);
        for step in 0..400_u32 {
            let entities = if step < 200 { 300 } else { 400_u32.saturating_sub(step) + 3 };
            for _ in 0..=rng.below(3) {
                let items = random_items(&mut rng, entities);
                transact(&mut conn, &items);
            }
            match conn.next_unstored() {
                Unstored::Journal(text) => {
                    rows += 1;
                    journal.push(text);
                }
                Unstored::Rows => {
                    checkpoints += 1;
                    store.apply(conn.take_writes().unwrap());
                    journal.clear();
                }
                Unstored::Nothing => {}
            }
            assert_eq!(conn.next_unstored(), Unstored::Nothing);
            if step % 50 == 49 {
                store.apply(conn.take_writes().unwrap());
                journal.clear();
                assert_rows(&store, &conn, 1);
                assert!(conn.take_writes().unwrap().is_empty(), "nothing is left");
            }
            if step % 20 == 0 {
                let mut reopened = open_with(&store, [1, 20_000, usize::MAX][rng.below(3)]).journaled(limit);
                for text in &journal {
                    reopened.replay_journal(text.clone()).unwrap();
                }
                assert_equal(reopened.db(), conn.db());
                if rng.below(2) == 0 {
                    conn = reopened;
                }
            }
        }
        assert!(rows + checkpoints > 350, "{rows} rows, {checkpoints} checkpoints");
        assert!(checkpoints > 0 || limit > 60);
    }
}

#[test]
fn a_journal_takes_as_much_as_it_may() {
    let (store, conn) = created();
    let mut conn = conn.journaled(MAX_JOURNAL_DATOMS);
    let mut rows = 0;
    loop {
        transact(&mut conn, &[add(rows % 40 + 1, "name", Value::Int(rows))]);
        match conn.next_unstored() {
            Unstored::Journal(_) => rows += 1,
            other => break assert_eq!(other, Unstored::Rows),
        }
    }
    assert_eq!(usize::try_from(rows), Ok(MAX_JOURNAL_ROWS));
    store.apply(conn.take_writes().unwrap());
    // What would be written out for nothing is not.
    let long = Value::String("x".repeat(600_000).into());
    transact(&mut conn, &[add(1, "title", long)]);
    assert_eq!(conn.next_unstored(), Unstored::Rows);
    store.apply(conn.take_writes().unwrap());
    assert_equal(open(&store).db(), conn.db());
}

/// Many leaves of long texts: few datoms keep much memory.
#[test]
fn nodes_that_wait_are_bounded_in_memory() {
    let (store, mut conn) = created();
    for i in 1..=1_500 {
        transact(&mut conn, &[add(i, "title", Value::string(&format!("{i:05}{}", "x".repeat(9_000))))]);
    }
    store.apply(conn.take_writes().unwrap());
    let mut conn = open(&store).journaled(MAX_JOURNAL_DATOMS);
    let mut edits = 0;
    while edits < 500 {
        transact(&mut conn, &[add(1 + edits * 37 % 1_500, "name", Value::Int(edits))]);
        edits += 1;
        if conn.next_unstored() == Unstored::Rows {
            break;
        }
    }
    assert!((5..120).contains(&edits), "{edits} edits");
    assert!(conn.nodes().cached_bytes() <= Nodes::DEFAULT_BUDGET / 2);
    store.apply(conn.take_writes().unwrap());
    assert_equal(open(&store).db(), conn.db());
}

#[test]
fn few_datoms_write_the_tail_alone() {
    let (store, mut conn) = created();
    for i in 1..=32 {
        transact(&mut conn, &[add(i, "name", Value::Int(i))]);
        let writes = conn.take_writes().unwrap();
        assert_eq!(writes.rows.iter().map(|row| row.addr).collect::<Vec<_>>(), [TAIL_ADDR]);
        store.apply(writes);
    }
    assert_equal(open(&store).db(), conn.db());
    transact(&mut conn, &[add(33, "name", Value::Int(1))]);
    let writes = conn.take_writes().unwrap();
    let last: Vec<_> = writes.rows.iter().rev().take(2).map(|row| row.addr).collect();
    assert_eq!(last, [TAIL_ADDR, ROOT_ADDR]);
    store.apply(writes);
    assert_equal(open(&store).db(), conn.db());
}

#[test]
fn a_long_tail_row_is_not_written() {
    let (store, mut conn) = created();
    for i in 1..=3 {
        transact(&mut conn, &[add(i, "name", Value::String("x".repeat(600_000).into()))]);
        store.apply(conn.take_writes().unwrap());
    }
    let rows = store.0.borrow();
    assert!(rows.values().all(|row| row.content.len() <= 1_000_000 || row.addresses.is_some()));
    drop(rows);
    assert_equal(open(&store).db(), conn.db());
}

#[test]
fn large_values_split_nodes_and_stay_editable() {
    // Distinct values; equal ones; with characters that take six bytes each in text.
    let title = |kind: usize, size: usize, i: i64| match kind {
        0 => format!("{i:04}{}", "x".repeat(size)),
        1 => format!("{}{i:04}", "x".repeat(size)),
        _ => "\u{1}".repeat(size / 6),
    };
    let cases = [
        (0, 64_000, 33),
        (0, 900_000, 34),
        (0, 1_900_000, 5),
        (1, 900_000, 5),
        (1, 1_900_000, 7),
        (2, 64_000, 33),
        (2, 900_000, 5),
    ];
    for (kind, size, count) in cases {
        let (store, mut conn) = created();
        for i in 1..=count {
            transact(
                &mut conn,
                &[add(i, "title", Value::String(title(kind, size, i).into())), add(i, "order", Value::Int(i))],
            );
        }
        store.apply(conn.take_writes().unwrap());
        assert_rows(&store, &conn, 1);
        let mut conn = open_with(&store, 1);
        // A small edit beside large neighbours, then removals until the trees have collapsed.
        transact(&mut conn, &[add(7, "title", "short".into()), add(40, "title", "new".into())]);
        store.apply(conn.take_writes().unwrap());
        assert_equal(open(&store).db(), conn.db());
        for i in (1..=40_u32).step_by(2).chain((2..=40).step_by(2)) {
            transact(&mut conn, &[Value::vector([Value::keyword("db/retractEntity"), Value::Int(i.into())])]);
            if i % 8 < 2 {
                // More than the tail takes, so that each is a flush.
                let filler: Vec<Value> =
                    (1..=40).map(|e| add(1000 + e, "name", Value::Int(i64::from(i) * 100 + e))).collect();
                transact(&mut conn, &filler);
            }
            store.apply(conn.take_writes().unwrap());
            assert!(store.0.borrow().values().all(|row| row.content.len() <= 2_000_000), "{kind} {size}");
        }
        assert_equal(open(&store).db(), conn.db());
        assert_eq!(conn.db().count(), 40);
    }
}

#[test]
fn texts_that_begin_alike_are_stored_whatever_their_length() {
    let a = |count: usize| "a".repeat(count);
    let cases: [Vec<String>; 6] = [
        vec![a(1_900_000), a(850_000) + "b", "\u{FFFF}".to_owned()],
        vec!["\u{10000}".repeat(240_000), "\u{10000}".repeat(200_000) + "\u{E000}", "\u{E000}".repeat(400_000)],
        vec![a(1_900_000), a(1_900_000) + "b", a(850_000) + "b"],
        vec![a(850_000) + "b", a(850_000) + "c", a(880_000), a(1_950_000), a(1_950_000) + "x", a(1_950_001) + "x"],
        vec!["\u{FFFF}".repeat(600_000), "\u{FFFF}".repeat(600_001), "\u{FFFF}".repeat(300_000), a(1_900_000)],
        (0..8).map(|i| format!("{}{i}{}", a(890_000 + i * 2000), a(1_000_000))).collect(),
    ];
    for titles in cases {
        let (store, mut conn) = created();
        for (e, title) in (1..).zip(&titles) {
            transact(&mut conn, &[add(e, "title", Value::string(title)), add(e, "name", Value::string(title))]);
            store.apply(conn.take_writes().unwrap());
        }
        // An opaque value as long as the texts stands behind all of them.
        let opaque = transit::Scalar { tag: 'r', rep: a(1_900_000).into() };
        transact(&mut conn, &[add(900, "title", Value::Scalar(opaque.into())), add(901, "title", "z".into())]);
        store.apply(conn.take_writes().unwrap());
        assert!(store.0.borrow().values().all(|row| row.content.len() <= 2_000_000));
        assert_equal(open(&store).db(), conn.db());
        let mut conn = open_with(&store, 1);
        for (e, title) in (1..).zip(&titles) {
            let value = Value::string(title);
            assert_eq!(conn.db().value(e, Attr::new(1)).unwrap().as_ref(), Some(&value));
            assert_eq!(conn.db().lookup(Attr::new(1), &value).unwrap(), Some(e), "{e} is found by its title");
            let e = i64::from(e);
            let filler: Vec<Value> = (1..=40).map(|i| add(1000 + 100 * e + i, "name", Value::Int(i))).collect();
            transact(&mut conn, &filler);
            transact(&mut conn, &[Value::vector([Value::keyword("db/retractEntity"), Value::Int(e)])]);
            store.apply(conn.take_writes().unwrap());
        }
        assert_equal(open(&store).db(), conn.db());
    }
}

#[test]
fn a_datom_beyond_a_row_is_too_large() {
    let attrs = Attrs::new(&PRESET);
    let datom = |text: String| Datom::new(1, Attr::new(1), Value::String(text.into()), TX0);
    assert!(!datom_too_large(&datom("x".repeat(1_974_800)), &attrs));
    assert!(datom_too_large(&datom("x".repeat(2_000_000)), &attrs));
    assert!(datom_too_large(&datom("\u{1}".repeat(340_000)), &attrs));
    assert!(!datom_too_large(&datom("\u{1}".repeat(329_000)), &attrs));
}

#[test]
fn transaction_ids_never_go_back() {
    let (store, mut conn) = created();
    transact(&mut conn, &[add(1, "name", Value::Int(1))]);
    transact(
        &mut conn,
        &[Value::vector([
            Value::keyword("db/add"),
            Value::Int(2),
            Value::keyword("name"),
            Value::Int(2),
            Value::Int(i64::from(TX0)),
        ])],
    );
    store.apply(conn.take_writes().unwrap());
    assert_eq!(open(&store).db().max_tx(), conn.db().max_tx());
}

#[test]
fn a_tail_that_does_not_fit_still_opens() {
    let (store, _) = created();
    let tail = r#"[[[1,"~:name",1,-536870913],[1,"~:title","a",536870913]],[],[[1,"~:title","b",536870914],
        [1,"^1","b",-536870914],[2,"^1","c",7],[2,"~:db/ident","~:x",-7]]]"#;
    store.0.borrow_mut().insert(TAIL_ADDR, Row { addr: TAIL_ADDR, content: tail.to_owned(), addresses: None });
    let conn = open(&store);
    assert_eq!(conn.db().count(), 1);
    assert_eq!(conn.db().max_tx(), TX0 + 2);
}

#[test]
fn addresses_are_counted_for_each_graph() {
    let (first, _) = created();
    let (second, _) = created();
    assert!(first.0.borrow().contains_key(&(ADDR_BASE + 1)) && second.0.borrow().contains_key(&(ADDR_BASE + 1)));
    // A greater address that no root mentions, left by another writer, is not given out again.
    let stray = Row { addr: 3_000_000, content: String::new(), addresses: None };
    first.0.borrow_mut().insert(stray.addr, stray);
    let mut conn = open(&first);
    let items: Vec<Value> = (1..=40).map(|i| add(i, "name", Value::Int(i))).collect();
    transact(&mut conn, &items);
    let writes = conn.take_writes().unwrap();
    assert!(writes.rows.iter().all(|row| row.addr < ADDR_BASE + 4 || row.addr > 3_000_000));
}

#[test]
fn the_cache_keeps_to_its_budget_and_bulk_reads_leave_it_alone() {
    let (store, mut conn) = created();
    for i in 0..200_i64 {
        let items: Vec<Value> =
            (1..=40).map(|j| add(40 * i + j, "title", Value::string(&format!("title {i} {j}")))).collect();
        transact(&mut conn, &items);
        store.apply(conn.take_writes().unwrap());
    }
    let budget = 300_000;
    let conn = open_with(&store, budget);
    assert_eq!(all(conn.db(), Index::Avet).len(), 8000);
    assert_eq!(conn.nodes().cached_bytes(), 0);
    let mut rng = Rng(1);
    for _ in 0..5000 {
        let e = rng.small(8000) + 1;
        assert!(conn.db().value(e, Attr::new(1)).unwrap().is_some());
        assert!(conn.nodes().cached_bytes() <= budget);
    }
    assert!(conn.nodes().cached_bytes() > budget / 2);
}

/// A store of one tree of three levels whose rows can be damaged.
fn damaged(damage: impl Fn(&MemoryStore)) -> Result<usize, Error> {
    let (store, mut conn) = created();
    for i in 0..40_i64 {
        let items: Vec<Value> = (1..=40).map(|j| add(40 * i + j, "name", Value::Int(j))).collect();
        transact(&mut conn, &items);
    }
    store.apply(conn.take_writes().unwrap());
    damage(&store);
    let attrs = Attrs::new(&PRESET);
    let schema = schema(&attrs);
    let storage: Rc<dyn Storage> = Rc::<MemoryStore>::clone(&store);
    let conn = Conn::open(Rc::new(Nodes::new(Some(storage), attrs, usize::MAX)), schema, 0)?;
    let mut datoms = 0;
    for index in INDEXES {
        for datom in conn.db().datoms(index, &Pattern::ALL) {
            datom?;
            datoms += 1;
            assert!(datoms < 100_000, "an iteration that does not end");
        }
    }
    Ok(datoms)
}

fn edit(store: &MemoryStore, of: impl Fn(&mut Row) -> bool) {
    let mut rows = store.0.borrow_mut();
    assert!(rows.values_mut().filter(|row| row.addr > TAIL_ADDR).any(of), "nothing to damage");
}

#[test]
fn damaged_rows_are_typed_errors() {
    assert_eq!(damaged(|_| ()).unwrap(), 40 * 40 * 2);
    let corrupt = |damage: &dyn Fn(&MemoryStore)| {
        assert!(matches!(damaged(damage), Err(Error::Corrupt { .. })));
    };
    // A missing leaf, garbage in one, a leaf for an inner node and the other way round.
    corrupt(&|store| {
        let leaf = store.0.borrow().values().find(|row| row.addr > 1 && row.addresses.is_none()).map(|row| row.addr);
        store.0.borrow_mut().remove(&leaf.unwrap());
    });
    corrupt(&|store| edit(store, |row| row.addresses.is_none() && std::mem::take(&mut row.content).len() > 99));
    corrupt(&|store| edit(store, |row| row.addresses.take().is_some()));
    corrupt(&|store| {
        edit(store, |row| row.addresses.is_none() && row.addresses.insert("[1000001]".to_owned()).len() > 1);
    });
    // Every inner node's children become the node itself: a circle.
    corrupt(&|store| {
        for row in store.0.borrow_mut().values_mut() {
            if let Some(addresses) = &mut row.addresses {
                let count = addresses.split(',').count();
                *addresses = format!("[{}]", vec![row.addr.to_string(); count].join(","));
            }
        }
    });
    // All inner nodes share their children.
    corrupt(&|store| {
        let mut rows = store.0.borrow_mut();
        let inner: Vec<String> =
            rows.values().filter(|row| row.addresses.is_some()).map(|row| row.addr.to_string()).collect();
        for row in rows.values_mut() {
            if let Some(addresses) = &mut row.addresses {
                let count = addresses.split(',').count();
                *addresses = format!("[{}]", inner.iter().cycle().take(count).cloned().collect::<Vec<_>>().join(","));
            }
        }
    });
    for (field, value) in [
        ("\"~:eavt\",", "\"~:eavt\",1,\"~:y\","),
        ("\"~:eavt\",", "\"~:eavt\",\"x\",\"~:y\","),
        ("\"~:max-tx\",", "\"~:max-tx\",-"),
        ("\"~:shift\",", "\"~:shift\",99,\"~:y\","),
        ("\"~:schema\"", "\"~:scheme\""),
        ("[\"^ \"", "["),
    ] {
        corrupt(&|store| {
            let mut rows = store.0.borrow_mut();
            let root = rows.get_mut(&ROOT_ADDR).unwrap();
            assert!(root.content.contains(field), "{field}: {}", root.content);
            root.content = root.content.replacen(field, value, 1);
        });
    }
    corrupt(&|store| {
        store.0.borrow_mut().get_mut(&TAIL_ADDR).unwrap().content = "[[1]]".to_owned();
    });
}
