//! Transaction data without any sense: an answer, not a panic, and never a sum that is wrong.

use datascript::Value;
use graph::rules::{Facts, Op, chunk, deletion, prepare, sanitise, validate};

use crate::world::{Random, at, full, kw, sample, updated, uuid};

const OPS: [&str; 5] = ["delete-blocks", "delete-page", "fix", "rebase", "save-block"];
const VERBS: [&str; 6] =
    ["db/add", "db/retract", "db/retractEntity", "db.fn/retractEntity", "db/cas", "db.fn/retractAttribute"];
const ATTRS: [&str; 12] = [
    "block/uuid",
    "block/title",
    "block/parent",
    "block/page",
    "block/refs",
    "block/tags",
    "block/order",
    "db/ident",
    "db/valueType",
    "kv/value",
    "block.temp/x",
    "logseq.property.history/block",
];

fn pick(random: &mut Random, from: &[&str]) -> Value {
    let index = usize::try_from(random.below(from.len() as u64)).expect("an index");
    kw(from[index])
}

fn small(random: &mut Random) -> i32 {
    i32::try_from(random.below(1000)).expect("a small number") - 300
}

fn value(random: &mut Random, depth: u32) -> Value {
    match random.below(if depth == 0 { 12 } else { 16 }) {
        0 => Value::Nil,
        1 => random.below(2).eq(&0).into(),
        2 => small(random).into(),
        3 => Value::Float(f64::from(small(random)) / 7.0),
        4 => "((00000000-0000-0000-0000-000000000002))".into(),
        5 => "".into(),
        6 => uuid(random.below(8)),
        7 | 8 => at(random.below(8)),
        9 => kw("logseq.kv/graph-uuid"),
        10 => Value::Instant(5),
        11 => kw("db.type/ref"),
        12 => Value::List((0..random.below(3)).map(|_| value(random, depth - 1)).collect()),
        13 => Value::Set([value(random, depth - 1)].into()),
        14 => item(random, depth - 1),
        _ => Value::vector((0..random.below(4)).map(|_| value(random, depth - 1))),
    }
}

fn item(random: &mut Random, depth: u32) -> Value {
    match random.below(8) {
        0 => value(random, depth),
        1 => Value::Map((0..random.below(4)).map(|_| (pick(random, &ATTRS), value(random, depth))).collect()),
        2 => {
            let id = (kw("db/id"), value(random, 0));
            Value::Map([id, (pick(random, &ATTRS), value(random, depth))].into())
        }
        3 => Value::vector([pick(random, &VERBS), value(random, depth)]),
        _ => {
            let e = if random.below(3) == 0 { value(random, depth) } else { at(1 + random.below(5)) };
            Value::vector([pick(random, &VERBS), e, pick(random, &ATTRS), value(random, depth)])
        }
    }
}

#[test]
fn nonsense_is_answered() {
    let start = sample();
    let mut accepted = 0;
    for seed in 0..3000 {
        let mut random = Random(seed);
        let op = Some(Op::parse(OPS[usize::try_from(seed).expect("an index") % OPS.len()]));
        let items: Vec<Value> = (0..=random.below(5)).map(|_| item(&mut random, 3)).collect();
        let items = sanitise::sanitise(&start, op, items).expect("a readable database");
        chunk::chunks(&start, &items).expect("a readable database");
        let mut items = prepare::prepare(&start, op, items).expect("a readable database");
        items.extend(deletion::deletion_cleanup(&start, &items).expect("a readable database"));
        let Ok(report) = datascript::with(&start, &items) else { continue };
        if report.tx_data.is_empty() {
            continue;
        }
        accepted += 1;
        let mut facts = Facts::default();
        let mut scope = facts.scope(&report.tx_data);
        validate::validate(&report.db_before, &report.db_after, &report.tx_data, &mut scope).expect("not a DB graph");
        let checksum = updated(Some(&full(&start)), &report);
        assert_eq!(checksum.as_deref(), Some(full(&report.db_after).as_str()), "seed {seed}: {items:?}");
    }
    assert!(accepted > 100, "{accepted}");
}
