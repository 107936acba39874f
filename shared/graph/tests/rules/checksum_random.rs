//! The checksum carried on from transaction to transaction is the one of the whole database, whatever happens: random
//! transactions over everything that it depends on (sync.md 12.5). The seeds are fixed; a failure is made as small as it
//! can be.

use std::cell::Cell;
use std::rc::Rc;

use datascript::{Attrs, Datom, Db, Nodes, Report, Schema, Value};
use graph::rules::attrs::{BLOCK_PAGE, BLOCK_UUID, PRESET};
use graph::rules::{Facts, checksum, schema_guard};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{RngSeed, TestRunner};

use crate::validate;
use crate::world::{add, after, at, block, carried, empty, full, kw, map, page, retract, retract_entity, sample, uuid};

/// One of the items of a vector.
fn one_of(vector: &str) -> impl Strategy<Value = Value> {
    select(transit::read_str(vector).expect("transit").as_seq().expect("a vector").to_vec())
}

/// What stands for an entity: those that are there, those that may come, those beyond all others, those of transactions.
fn entity() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => (1..10).prop_map(|e: i32| e.into()),
        4 => (1..7_u64).prop_map(at),
        2 => one_of(r#"["x","y",-1,999999,536870911,536870913,2147483647]"#),
        1 => class(),
        1 => (1_000..1_003).prop_map(|e: i32| e.into()),
    ]
}

fn class() -> impl Strategy<Value = Value> {
    let names = ["Page", "Journal", "Tag", "Property"].map(|name| kw(&format!("logseq.class/{name}")));
    select([names.as_slice(), &[kw("user.class/other")]].concat())
}

/// Values that are equal by pairs, and not written alike.
fn lookalike() -> impl Strategy<Value = Value> {
    one_of(r#"[["~#list",[1]],[1],["^ ","~:a",[1]],["^ ","~:a",["~#list",[1]]]]"#)
}

/// A value that no client that keeps to the rules would store.
fn odd() -> impl Strategy<Value = Value> {
    let others = r#"[["~#set",[1,2]],["~#set",[2,1]],"~zNaN","~unot-a-uuid",5,1.5,true,"~:k"]"#;
    prop_oneof![lookalike(), one_of(others)]
}

/// An attribute that the checksum depends on, or one that makes an entity be there, and a value for it.
fn attribute() -> impl Strategy<Value = (&'static str, Value)> {
    let rare = vec![
        ("db/ident", kw("block/page")),
        ("db/ident", kw("logseq.kv/graph-rtc-e2ee?")),
        ("kv/value", true.into()),
        ("kv/value", false.into()),
        ("db/cardinality", kw("db.cardinality/many")),
        ("db/cardinality", kw("db.cardinality/one")),
        ("db/valueType", kw("db.type/ref")),
        ("db/index", true.into()),
        ("db/unique", kw("db.unique/identity")),
    ];
    let text = |text: &str| Just(Value::from(text));
    prop_oneof![
        8 => (Just("block/uuid"), prop_oneof![3 => (1..7_u64).prop_map(uuid), 1 => odd()]),
        8 => (Just("block/parent"), entity()),
        12 => (Just("block/page"), entity()),
        8 => (Just("block/tags"), entity()),
        4 => (Just("block/name"), prop_oneof![2 => text("name"), 1 => odd()]),
        4 => (Just("block/title"), prop_oneof![2 => text("title"), 1 => odd()]),
        4 => (Just("block/order"), prop_oneof![text("a0"), odd()]),
        4 => (Just("logseq.property/built-in?"), any::<bool>().prop_map(Value::from)),
        4 => (Just("db/ident"), class()),
        4 => (Just("unheard/of"), (0..3).prop_map(|n: i32| n.into())),
        3 => (Just("block/updated-at"), Just(1.into())),
        1 => select(rare),
    ]
}

fn item() -> impl Strategy<Value = Value> {
    let plain = (0..9, entity(), attribute()).prop_map(|(op, e, (a, v))| match op {
        0..4 => add(e, a, v),
        4 => retract_entity(e),
        5 => Value::vector([kw("db.fn/retractAttribute"), e, kw(a)]),
        6 => retract(e, a, v),
        7 => Value::vector([kw("db/retract"), e, kw(a)]),
        _ => map(&[("db/id", e), (a, v)]),
    });
    let encrypted = |is: bool| map(&[("db/ident", kw("logseq.kv/graph-rtc-e2ee?")), ("kv/value", is.into())]);
    prop_oneof![
        9 => plain,
        1 => (1..9_u64, 1..7_u64, 1..4_u64).prop_map(|(n, parent, page)| block(n, parent, page, "block")),
        1 => select(vec![page(7, "Seven"), page(8, "Eight")]),
        1 => any::<bool>().prop_map(encrypted),
    ]
}

/// A transaction, and whether those since the last such one are then looked at all at once.
type Step = (Vec<Value>, bool);

fn step() -> impl Strategy<Value = Step> {
    let items = prop_oneof![15 => vec(item(), 1..4), 1 => vec(item(), 20)];
    // A value gives way to one that may be its equal, which a plain add would leave where it is.
    let names = vec!["block/order", "block/title", "block/name", "block/uuid"];
    let given_way = (entity(), select(names), lookalike())
        .prop_map(|(e, a, v)| [Value::vector([kw("db.fn/retractAttribute"), e.clone(), kw(a)]), add(e, a, v)]);
    let items = (items, option::weighted(1.0 / 6.0, given_way))
        .prop_map(|(items, last)| items.into_iter().chain(last.into_iter().flatten()).collect());
    (items, proptest::bool::weighted(1.0 / 3.0))
}

/// 24 transactions on average.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 0..=48)
}

/// Applies transactions; returns how many were taken.
fn run(db: &Db, steps: &[Step], judge: impl Fn(&Report) -> bool) -> usize {
    let mut db = db.clone();
    let mut sum = full(&db);
    let mut facts = Facts::default();
    // Several transactions at once, as the pieces of a large entry are.
    let (mut since, mut since_sum, mut pieces): (Db, String, Vec<Datom>) = (db.clone(), sum.clone(), Vec::new());
    let mut taken = 0;
    for (step, (items, at_once)) in steps.iter().enumerate() {
        let Ok(report) = datascript::with(&db, items) else { continue };
        let mut follow = |previous: &str, before: &Db, datoms: &[Datom]| {
            let mut scope = facts.scope(datoms);
            let changes = checksum::Changes::Datoms(datoms);
            carried(Some(previous), before, &report.db_after, changes, &mut scope).expect("one was there before")
        };
        let next = follow(&sum, &db, &report.tx_data);
        assert_eq!(next, full(&report.db_after), "step {step}: {items:?}");
        if schema_guard::check_facts(&report.db_after, &report.tx_data).is_err()
            || schema_guard::check(&db, &report.db_after, &report.tx_data).is_err()
            || !judge(&report)
        {
            continue;
        }
        pieces.extend(report.tx_data.iter().cloned());
        if *at_once {
            assert_eq!(follow(&since_sum, &since, &pieces), next, "up to step {step}, at once");
            (since, since_sum) = (report.db_after.clone(), next.clone());
            pieces.clear();
        }
        (db, sum) = (report.db_after, next);
        taken += 1;
    }
    taken
}

fn for_all<S: Strategy>(seed: u64, cases: u32, strategy: &S, test: impl Fn(S::Value)) {
    let config = ProptestConfig {
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    };
    let outcome = TestRunner::new(config).run(strategy, |value| {
        test(value);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

/// Random runs from one database on. Of so many transactions, more than one must be taken on average.
fn runs(seed: u64, cases: u32, db: &Db, of: usize, judge: impl Fn(&Report) -> bool) {
    let (seen, taken) = (Cell::new(0), Cell::new(0));
    for_all(seed, cases, &steps(), |steps| {
        seen.set(seen.get() + steps.len());
        taken.set(taken.get() + run(db, &steps, &judge));
    });
    let (seen, taken) = (seen.get(), taken.get());
    assert!(taken * of > seen, "{taken} of {seen} transactions are not enough to say anything");
}

/// An attribute, and the whole of what its schema says.
type Definition<'a> = (&'a str, &'a [(&'a str, Value)]);

/// The static schema with some attributes changed.
fn odd_schema(changes: &[Definition<'_>]) -> Db {
    let attrs = Attrs::new(PRESET);
    let Value::Map(entries) = graph::rules::static_schema(Rc::clone(&attrs)).to_value() else { panic!("a map") };
    let entries = entries.iter().map(|(name, facts)| {
        let change = changes.iter().find(|(changed, _)| name.is_keyword(changed));
        (name.clone(), change.map_or_else(|| facts.clone(), |(_, facts)| map(facts)))
    });
    let schema = Schema::from_value(Rc::clone(&attrs), &Value::Map(entries.collect()));
    Db::empty(Rc::new(Nodes::new(None, attrs, usize::MAX)), schema)
}

/// A database with pages by name, by tag, and by nothing but being there, with dangling and odd references.
fn tangled(db: &Db) -> Db {
    let class = |n: i32, ident: &str| map(&[("db/id", n.into()), ("db/ident", kw(ident))]);
    after(
        db,
        &[
            &[class(100, "logseq.class/Page"), class(101, "user.class/other")],
            &[
                page(1, "One"),
                map(&[("block/uuid", uuid(2)), ("block/title", "Two".into()), ("block/tags", 100.into())]),
            ],
            &[map(&[("db/id", 1_000.into()), ("block/uuid", uuid(3)), ("block/page", 1_001.into())])],
            &[map(&[("block/uuid", uuid(4)), ("block/page", 1_000.into()), ("block/parent", 1_002.into())])],
            &[map(&[("block/uuid", uuid(5)), ("block/tags", 1_002.into())])],
        ],
    )
}

#[test]
fn any_transactions() {
    runs(1, 1_000, &tangled(&empty()), 10, |_| true);
    runs(2, 500, &sample(), 10, |_| true);
}

#[test]
fn valid_transactions() {
    let graph = after(&validate::graph(), &[&[add(at(2), "block/title", "two")]]);
    runs(1, 150, &graph, 36, |report| validate::verdict(report).is_ok());
}

#[test]
fn odd_schemas() {
    let many = || ("db/cardinality", kw("db.cardinality/many"));
    let reference = || ("db/valueType", kw("db.type/ref"));
    let index = || ("db/index", Value::Bool(true));
    let identity = || ("db/unique", kw("db.unique/identity"));
    let schemas: [&[Definition<'_>]; 6] = [
        &[("block/page", &[]), ("block/parent", &[]), ("block/tags", &[many()])],
        &[("block/page", &[index()]), ("block/parent", &[index(), many()])],
        &[("block/page", &[many(), reference()]), ("block/tags", &[reference()])],
        &[("block/uuid", &[many(), identity()]), ("block/order", &[many()]), ("block/title", &[many(), index()])],
        &[("block/uuid", &[index()])],
        &[("block/uuid", &[many()]), ("db/ident", &[many()])],
    ];
    for (schema, seed) in schemas.iter().zip(1..) {
        runs(seed, 200, &odd_schema(schema), 10, |_| true);
    }
}

/// What no transaction can make: uuids held by several entities, by one several times, references that lead nowhere.
#[test]
fn uploaded_databases() {
    let base = tangled(&empty());
    let pattern = datascript::Pattern::ALL;
    let there: Vec<Datom> = base.datoms(datascript::Index::Eavt, &pattern).collect::<Result<_, _>>().expect("datoms");
    let fact = prop_oneof![
        (Just(BLOCK_UUID), (1..7_u64).prop_map(uuid)),
        (Just(BLOCK_PAGE), (1_000..1_003).prop_map(|e: i32| e.into())),
    ];
    let datom = (select(vec![1, 2, 3, 4, 1_000, 1_001]), fact, 536_870_913..536_870_915_u32)
        .prop_map(|(e, (a, v), tx)| Datom::new(e, a, v, tx));
    for_all(1, 200, &(vec(datom, 0..=16), steps()), |(more, steps)| {
        let mut datoms = there.clone();
        for datom in more {
            if !datoms.iter().any(|other| *other == datom && other.tx == datom.tx) {
                datoms.push(datom);
            }
        }
        run(&Db::from_datoms(Rc::clone(base.nodes()), base.schema().clone(), datoms), &steps, |_| true);
    });
}
