//! Random transactions against a plain model of what they should leave behind.

use std::collections::BTreeSet;

use super::*;
use crate::replay::replay;
use crate::testing::Rng;
use crate::transact::with;

const ATTRS: [&str; 8] = ["name", "email", "nick", "aka", "idx", "boss", "friend", "part"];

fn random_item(rng: &mut Rng) -> Value {
    let number = |rng: &mut Rng, below: usize| i64::try_from(rng.below(below)).expect("small");
    let attr = ATTRS[rng.below(ATTRS.len())];
    let is_ref = matches!(attr, "boss" | "friend" | "part");
    let entity = match rng.below(6) {
        0 => Value::string(&format!("t{}", rng.below(4))),
        1 => Value::vector([Value::keyword("name"), Value::Int(number(rng, 6))]),
        _ => Value::Int(number(rng, 12) + 1),
    };
    let value = match rng.below(5) {
        0 if is_ref => Value::string(&format!("t{}", rng.below(4))),
        _ => Value::Int(number(rng, 6) + i64::from(is_ref)),
    };
    let op = |op: &str, rest: &[Value]| Value::vector([Value::keyword(op)].into_iter().chain(rest.iter().cloned()));
    match rng.below(12) {
        0..=5 => op("db/add", &[entity, Value::keyword(attr), value]),
        6 | 7 => op("db/retract", &[Value::Int(number(rng, 12) + 1), Value::keyword(attr), value]),
        8 => op("db.fn/retractAttribute", &[Value::Int(number(rng, 12) + 1), Value::keyword(attr)]),
        9 => op("db/retractEntity", &[Value::Int(number(rng, 12) + 1)]),
        10 => Value::Map([(Value::keyword("db/id"), entity), (Value::keyword(attr), value)].into()),
        _ => Value::Map([(Value::keyword("name"), Value::Int(number(rng, 6))), (Value::keyword(attr), value)].into()),
    }
}

#[test]
fn indexes_counters_and_report_agree() {
    for seed in 0..60 {
        let mut rng = Rng(seed);
        let mut db = empty();
        let mut replayed = empty();
        let mut model: BTreeSet<String> = BTreeSet::new();
        let (mut done, mut failed) = (0, 0);
        for _ in 0..60 {
            let items: Vec<Value> = (0..rng.below(6)).map(|_| random_item(&mut rng)).collect();
            let before = facts(&db);
            match with(&db, &items) {
                Err(error) => {
                    assert!(error.transact().is_some(), "{error}");
                    assert_eq!(facts(&db), before);
                    failed += 1;
                }
                Ok(report) => {
                    assert_eq!(facts(&db), before, "the value before stays");
                    assert_eq!(report.db_after.max_tx(), db.max_tx() + 1);
                    assert!(report.db_after.max_eid() >= db.max_eid());
                    for datom in &report.tx_data {
                        let fact = format!("{} {} {:?}", datom.e, datom.a.index(), datom.v);
                        let changed = if datom.added { model.insert(fact) } else { model.remove(&fact) };
                        // A reference of an entity to itself is reported as retracted twice.
                        let twice = !datom.added && datom.v == Value::from(datom.e);
                        assert!(changed || twice, "{datom:?} of {items:?}");
                    }
                    db = report.db_after;
                    // Not each time: reading a whole index makes it catch up.
                    if rng.below(20) == 0 {
                        check_indexes(&db);
                    }
                    check_single_values(&db);
                    replay(&mut replayed, &report.tx_data).expect("in memory");
                    done += 1;
                }
            }
        }
        check_indexes(&db);
        let held: BTreeSet<String> = db
            .datoms(Index::Eavt, &Pattern::ALL)
            .map(|datom| datom.expect("in memory"))
            .map(|datom| format!("{} {} {:?}", datom.e, datom.a.index(), datom.v))
            .collect();
        assert_eq!(held, model, "seed {seed}");
        let strip =
            |db: &Db| facts(db).iter().map(|fact| fact.rsplit_once(' ').map(|(f, _)| f.to_owned())).collect::<Vec<_>>();
        assert_eq!(strip(&db), strip(&replayed), "seed {seed}: replay leads to the same facts");
        assert!(done > 5 && failed > 5, "seed {seed}: {done} done, {failed} failed");
    }
}

fn check_single_values(db: &Db) {
    let datoms: Vec<Datom> = db.datoms(Index::Eavt, &Pattern::ALL).map(|datom| datom.expect("in memory")).collect();
    for pair in datoms.windows(2) {
        let same = pair[0].e == pair[1].e && pair[0].a == pair[1].a;
        assert!(!same || db.flags(pair[0].a).is_many(), "{pair:?}");
    }
}
