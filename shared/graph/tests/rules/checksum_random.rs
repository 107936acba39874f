//! The checksum carried on from transaction to transaction is the one of the whole database, whatever happens: random
//! transactions over everything that it depends on, by fixed seeds (sync.md 12.5).

use std::rc::Rc;

use datascript::{Attrs, Datom, Db, Nodes, Report, Schema, Value};
use graph::rules::attrs::{BLOCK_PAGE, BLOCK_UUID, PRESET};
use graph::rules::{Facts, checksum, schema_guard};

use crate::world::{Random, add, after, at, block, carried, empty, full, kw, map, page, retract_entity, sample, uuid};
use crate::{validate, world};

/// Transactions of one run.
const STEPS: u64 = 24;

fn read(text: &str) -> Value {
    transit::read_str(text).expect("transit")
}

fn vector(items: impl IntoIterator<Item = Value>) -> Value {
    Value::vector(items)
}

/// An integer below a bound, from a lower one.
fn between(random: &mut Random, low: i32, high: i32) -> i32 {
    low + i32::try_from(random.below(u64::try_from(high - low).expect("a range"))).expect("a small number")
}

/// One of some things.
fn pick<T: Clone>(random: &mut Random, things: &[T]) -> T {
    things[usize::try_from(random.below(things.len() as u64)).expect("a small number")].clone()
}

/// What stands for an entity: those that are there, those that may come, those beyond all others, those of transactions.
fn entity(random: &mut Random) -> Value {
    match random.below(12) {
        0..4 => between(random, 1, 10).into(),
        4..8 => at(1 + random.below(6)),
        8 => pick(random, &["x".into(), "y".into(), Value::from(-1)]),
        9 => pick(random, &[999_999, 536_870_911, 536_870_913, 2_147_483_647].map(Value::from)),
        10 => kw(pick(random, &CLASSES)),
        _ => between(random, 1_000, 1_003).into(),
    }
}

const CLASSES: [&str; 5] =
    ["logseq.class/Page", "logseq.class/Journal", "logseq.class/Tag", "logseq.class/Property", "user.class/other"];

/// Texts of values that are equal by pairs, and not written alike.
const LOOKALIKES: [&str; 4] = [r#"["~#list",[1]]"#, "[1]", r#"["^ ","~:a",[1]]"#, r#"["^ ","~:a",["~#list",[1]]]"#];

/// A value that no client that keeps to the rules would store.
fn odd(random: &mut Random) -> Value {
    if random.below(2) == 0 {
        return read(pick(random, &LOOKALIKES));
    }
    let texts = [
        r#"["~#set",[1,2]]"#,
        r#"["~#set",[2,1]]"#,
        r#"["~#'","~zNaN"]"#,
        r#"["~#'","~unot-a-uuid"]"#,
        r#"["~#'",5]"#,
        r#"["~#'",1.5]"#,
        r#"["~#'",true]"#,
        r#"["~#'","~:k"]"#,
    ];
    read(pick(random, &texts))
}

/// An attribute that the checksum depends on, or one that makes an entity be there, and a value for it.
fn attribute(random: &mut Random) -> (&'static str, Value) {
    match random.below(16) {
        0 | 1 if random.below(4) > 0 => ("block/uuid", uuid(1 + random.below(6))),
        0 | 1 => ("block/uuid", odd(random)),
        2 | 3 => ("block/parent", entity(random)),
        4..7 => ("block/page", entity(random)),
        7 | 8 => ("block/tags", entity(random)),
        9 => ("block/name", if random.below(3) > 0 { "name".into() } else { odd(random) }),
        10 => ("block/title", if random.below(3) > 0 { "title".into() } else { odd(random) }),
        11 => ("block/order", if random.below(2) > 0 { "a0".into() } else { odd(random) }),
        12 => ("logseq.property/built-in?", random.below(2).eq(&0).into()),
        13 => ("db/ident", kw(pick(random, &CLASSES))),
        14 => ("unheard/of", between(random, 0, 3).into()),
        _ if random.below(4) > 0 => ("block/updated-at", 1.into()),
        _ => pick(
            random,
            &[
                ("db/ident", kw("block/page")),
                ("db/ident", kw("logseq.kv/graph-rtc-e2ee?")),
                ("kv/value", true.into()),
                ("kv/value", false.into()),
                ("db/cardinality", kw("db.cardinality/many")),
                ("db/cardinality", kw("db.cardinality/one")),
                ("db/valueType", kw("db.type/ref")),
                ("db/index", true.into()),
                ("db/unique", kw("db.unique/identity")),
            ],
        ),
    }
}

fn item(random: &mut Random) -> Value {
    let e = entity(random);
    let (a, v) = attribute(random);
    match random.below(12) {
        0 => retract_entity(e),
        1 => vector([kw("db.fn/retractAttribute"), e, kw(a)]),
        2 => vector([kw("db/retract"), e, kw(a), v]),
        3 => vector([kw("db/retract"), e, kw(a)]),
        4 => map(&[("db/id", e), (a, v)]),
        5 => {
            let n = 1 + random.below(8);
            block(n, 1 + random.below(6), 1 + random.below(3), "block")
        }
        6 => pick(random, &[page(7, "Seven"), page(8, "Eight")]),
        7 => map(&[("db/ident", kw("logseq.kv/graph-rtc-e2ee?")), ("kv/value", random.below(2).eq(&0).into())]),
        _ => add(e, a, v),
    }
}

fn items(random: &mut Random) -> Vec<Value> {
    let count = if random.below(16) == 0 { 20 } else { 1 + random.below(3) };
    let mut items: Vec<Value> = (0..count).map(|_| item(random)).collect();
    if random.below(6) == 0 {
        // A value gives way to one that may be its equal, which a plain add would leave where it is.
        let (e, a) = (entity(random), pick(random, &["block/order", "block/title", "block/name", "block/uuid"]));
        items.push(vector([kw("db.fn/retractAttribute"), e.clone(), kw(a)]));
        items.push(add(e, a, pick(random, &LOOKALIKES.map(read))));
    }
    items
}

/// Applies random transactions; returns how many were taken.
fn run(db: &Db, seed: u64, judge: impl Fn(&Report) -> bool) -> u64 {
    let mut random = Random(seed);
    let mut db = db.clone();
    let mut sum = full(&db);
    let mut facts = Facts::default();
    // Several transactions at once, as the pieces of a large entry are.
    let (mut since, mut since_sum, mut pieces): (Db, String, Vec<Datom>) = (db.clone(), sum.clone(), Vec::new());
    let mut taken = 0;
    for step in 0..STEPS {
        let items = items(&mut random);
        let Ok(report) = datascript::with(&db, &items) else { continue };
        let mut follow = |previous: &str, before: &Db, datoms: &[Datom]| {
            let mut scope = facts.scope(datoms);
            let changes = checksum::Changes::Datoms(datoms);
            carried(Some(previous), before, &report.db_after, changes, &mut scope).expect("one was there before")
        };
        let next = follow(&sum, &db, &report.tx_data);
        assert_eq!(next, full(&report.db_after), "seed {seed}, step {step}: {items:?}");
        if schema_guard::check_facts(&report.db_after, &report.tx_data).is_err()
            || schema_guard::check(&db, &report.db_after, &report.tx_data).is_err()
            || !judge(&report)
        {
            continue;
        }
        pieces.extend(report.tx_data.iter().cloned());
        if random.below(3) == 0 {
            let at_once = follow(&since_sum, &since, &pieces);
            assert_eq!(at_once, next, "seed {seed}, up to step {step}, at once");
            (since, since_sum) = (report.db_after.clone(), next.clone());
            pieces.clear();
        }
        (db, sum) = (report.db_after, next);
        taken += 1;
    }
    taken
}

fn runs(db: &Db, seeds: std::ops::Range<u64>, judge: impl Fn(&Report) -> bool + Copy) {
    let steps = (seeds.end - seeds.start) * STEPS;
    let taken: u64 = seeds.map(|seed| run(db, seed, judge)).sum();
    assert!(taken * 10 > steps, "{taken} of {steps} transactions are not enough to say anything");
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
    runs(&tangled(&empty()), 0..1_000, |_| true);
    runs(&sample(), 1_000..1_500, |_| true);
}

#[test]
fn valid_transactions() {
    let graph = validate::graph();
    let graph = after(&graph, &[&[world::add(at(2), "block/title", "two")]]);
    let taken: u64 = (0..150).map(|seed| run(&graph, seed, |report| validate::verdict(report).is_ok())).sum();
    assert!(taken > 100, "{taken} valid transactions are not enough to say anything");
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
    for (schema, seed) in schemas.iter().zip((0..).step_by(1_000)) {
        runs(&odd_schema(schema), seed..seed + 200, |_| true);
    }
}

/// What no transaction can make: uuids held by several entities, by one several times, references that lead nowhere.
#[test]
fn uploaded_databases() {
    for seed in 0..200 {
        let mut random = Random(seed);
        let base = tangled(&empty());
        let mut datoms: Vec<Datom> =
            base.datoms(datascript::Index::Eavt, &datascript::Pattern::ALL).collect::<Result<_, _>>().expect("datoms");
        for _ in 0..8 {
            let e = pick(&mut random, &[1, 2, 3, 4, 1_000, 1_001]);
            let tx = 536_870_913 + u32::try_from(random.below(2)).expect("a small number");
            let datom = match random.below(2) {
                0 => Datom::new(e, BLOCK_UUID, uuid(1 + random.below(6)), tx),
                _ => Datom::new(e, BLOCK_PAGE, between(&mut random, 1_000, 1_003).into(), tx),
            };
            if !datoms.iter().any(|other| *other == datom && other.tx == datom.tx) {
                datoms.push(datom);
            }
        }
        run(&Db::from_datoms(Rc::clone(base.nodes()), base.schema().clone(), datoms), seed, |_| true);
    }
}
