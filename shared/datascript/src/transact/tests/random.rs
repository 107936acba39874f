//! Random transactions against a plain model of what they should leave behind. The seed is fixed; a failure is made as small
//! as it can be.

use std::cell::Cell;
use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{RngSeed, TestRunner};

use super::*;
use crate::replay::replay;
use crate::transact::with;

const ATTRS: [&str; 8] = ["name", "email", "nick", "aka", "idx", "boss", "friend", "part"];

fn item() -> impl Strategy<Value = Value> {
    let tempid = || (0..4).prop_map(|n| Value::string(&format!("t{n}")));
    let eid = || (1..13_i64).prop_map(Value::Int);
    let lookup = (0..6_i64).prop_map(|n| Value::vector([Value::keyword("name"), Value::Int(n)]));
    let entity = prop_oneof![1 => tempid(), 1 => lookup, 4 => eid()];
    let attr_and_value = select(ATTRS.to_vec()).prop_flat_map(move |attr| {
        let is_ref = matches!(attr, "boss" | "friend" | "part");
        let number = (0..6_i64).prop_map(move |n| Value::Int(n + i64::from(is_ref)));
        let value = if is_ref { prop_oneof![1 => tempid(), 4 => number].boxed() } else { number.boxed() };
        (Just(Value::keyword(attr)), value)
    });
    (0..12, entity, eid(), attr_and_value, 0..6_i64).prop_map(|(kind, entity, eid, (attr, value), name)| {
        let op = |op: &str, rest: &[Value]| Value::vector([Value::keyword(op)].into_iter().chain(rest.iter().cloned()));
        match kind {
            0..=5 => op("db/add", &[entity, attr, value]),
            6 | 7 => op("db/retract", &[eid, attr, value]),
            8 => op("db.fn/retractAttribute", &[eid, attr]),
            9 => op("db/retractEntity", &[eid]),
            10 => Value::Map([(Value::keyword("db/id"), entity), (attr, value)].into()),
            _ => Value::Map([(Value::keyword("name"), Value::Int(name)), (attr, value)].into()),
        }
    })
}

#[test]
fn indexes_counters_and_report_agree() {
    let config =
        ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::with_cases(60) };
    let (done, failed) = (Cell::new(0), Cell::new(0));
    let outcome = TestRunner::new(config).run(&vec(vec(item(), 0..6), 60), |transactions| {
        let mut db = empty();
        let mut replayed = empty();
        let mut model: BTreeSet<String> = BTreeSet::new();
        for (step, items) in transactions.iter().enumerate() {
            let before = facts(&db);
            match with(&db, items) {
                Err(error) => {
                    assert!(error.transact().is_some(), "{error}");
                    assert_eq!(facts(&db), before);
                    failed.set(failed.get() + 1);
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
                    if step % 20 == 7 {
                        check_indexes(&db);
                    }
                    check_single_values(&db);
                    replay(&mut replayed, &report.tx_data).expect("in memory");
                    done.set(done.get() + 1);
                }
            }
        }
        check_indexes(&db);
        let held: BTreeSet<String> = db
            .datoms(Index::Eavt, &Pattern::ALL)
            .map(|datom| datom.expect("in memory"))
            .map(|datom| format!("{} {} {:?}", datom.e, datom.a.index(), datom.v))
            .collect();
        assert_eq!(held, model);
        let strip =
            |db: &Db| facts(db).iter().map(|fact| fact.rsplit_once(' ').map(|(f, _)| f.to_owned())).collect::<Vec<_>>();
        assert_eq!(strip(&db), strip(&replayed), "replay leads to the same facts");
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    let (done, failed) = (done.get(), failed.get());
    assert!(done > 600 && failed > 600, "{done} done, {failed} failed");
}

fn check_single_values(db: &Db) {
    let datoms: Vec<Datom> = db.datoms(Index::Eavt, &Pattern::ALL).map(|datom| datom.expect("in memory")).collect();
    for pair in datoms.windows(2) {
        let same = pair[0].e == pair[1].e && pair[0].a == pair[1].a;
        assert!(!same || db.flags(pair[0].a).is_many(), "{pair:?}");
    }
}
