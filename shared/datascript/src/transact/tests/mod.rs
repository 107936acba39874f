//! Rules of datascript.md 9, one by one.

mod items;
mod maps;
mod random;
mod referrers;
mod schema;
mod tempids;

use std::rc::Rc;

use transit::Value;

use super::{Report, with, with_value};
use crate::attrs::Attrs;
use crate::datom::{Datom, TX0};
use crate::db::Db;
use crate::error::{ErrorKind, TransactError};
use crate::index::{Index, Pattern};
use crate::nodes::Nodes;
use crate::schema::Schema;

const SCHEMA: &str = r#"["^ ",
    "~:name",   ["^ ", "~:db/unique", "~:db.unique/identity"],
    "~:email",  ["^ ", "~:db/unique", "~:db.unique/value"],
    "~:nick",   ["^ ", "~:db/unique", "~:db.unique/identity", "~:db/cardinality", "~:db.cardinality/many"],
    "~:aka",    ["^ ", "~:db/cardinality", "~:db.cardinality/many"],
    "~:idx",    ["^ ", "~:db/index", true],
    "~:boss",   ["^ ", "~:db/valueType", "~:db.type/ref"],
    "~:friend", ["^ ", "~:db/valueType", "~:db.type/ref", "~:db/cardinality", "~:db.cardinality/many"],
    "~:owner",  ["^ ", "~:db/valueType", "~:db.type/ref", "~:db/unique", "~:db.unique/identity"],
    "~:part",   ["^ ", "~:db/valueType", "~:db.type/ref", "~:db/isComponent", true,
                 "~:db/cardinality", "~:db.cardinality/many"]]"#;

fn read(text: &str) -> Value {
    transit::read_str(text).expect("the test's Transit is good")
}

fn empty() -> Db {
    let attrs = Attrs::new(&[]);
    let schema = Schema::from_value(Rc::clone(&attrs), &read(SCHEMA));
    Db::empty(Nodes::in_memory(attrs), schema)
}

/// The people of most tests: 1 Ivan, 2 Petr, whose boss is Ivan.
fn people() -> Db {
    tx(
        &empty(),
        r#"[["~:db/add",1,"~:name","Ivan"],["~:db/add",1,"~:aka","I"],["~:db/add",1,"~:aka","Vanya"],
            ["~:db/add",2,"~:name","Petr"],["~:db/add",2,"~:age",37],["~:db/add",2,"~:boss",1]]"#,
    )
    .db_after
}

fn tx(db: &Db, items: &str) -> Report {
    let report = with_value(db, &read(items)).unwrap_or_else(|error| panic!("{items}: {error}"));
    check_indexes(&report.db_after);
    report
}

fn refused(db: &Db, items: &str) -> TransactError {
    match with_value(db, &read(items)) {
        Err(error) => error.transact().expect("a refusal").clone(),
        Ok(report) => panic!("{items}: {:?}", report.tx_data),
    }
}

fn kind(db: &Db, items: &str) -> ErrorKind {
    refused(db, items).kind
}

fn show(db: &Db, datom: &Datom) -> String {
    let sign = if datom.added { '+' } else { '-' };
    let tx = i64::from(datom.tx) - i64::from(TX0);
    let value = transit::write_string(&Value::vector([datom.v.clone()]));
    let value = value.trim_start_matches('[').trim_end_matches(']');
    format!("{sign}{} {} {value} {tx}", datom.e, db.attrs().keyword(datom.a).as_str())
}

/// What a transaction did, one text a datom: sign, entity, attribute, value, transaction less the first one.
fn effects(report: &Report) -> Vec<String> {
    report.tx_data.iter().map(|datom| show(&report.db_after, datom)).collect()
}

fn facts(db: &Db) -> Vec<String> {
    db.datoms(Index::Eavt, &Pattern::ALL).map(|datom| show(db, &datom.expect("in memory"))).collect()
}

fn tempid(report: &Report, name: &str) -> u32 {
    report.tempids.iter().find(|(known, _)| *known == read(name)).map(|(_, eid)| *eid).expect("the tempid is known")
}

/// AEVT holds what EAVT holds; so does AVET, as far as attributes are indexed.
fn check_indexes(db: &Db) {
    let all = |index| -> Vec<Datom> {
        let datoms: Vec<Datom> =
            db.datoms(index, &Pattern::ALL).collect::<Result<_, _>>().expect("everything is in memory");
        let ranks = db.attrs().ranks();
        assert!(datoms.is_sorted_by(|a, b| index.compare(a, b, &ranks).is_lt()), "{index:?} is sorted");
        datoms
    };
    let by_entity = |mut datoms: Vec<Datom>| {
        let ranks = db.attrs().ranks();
        datoms.sort_by(|a, b| Index::Eavt.compare(a, b, &ranks));
        datoms.iter().map(|datom| show(db, datom)).collect::<Vec<_>>()
    };
    let eavt = all(Index::Eavt);
    assert_eq!(eavt.len(), db.count());
    assert!(eavt.iter().all(|datom| datom.e >= TX0 || datom.e <= db.max_eid()));
    assert_eq!(by_entity(eavt.clone()), by_entity(all(Index::Aevt)));
    let indexed = |datom: &Datom| db.flags(datom.a).is_indexed();
    assert_eq!(
        by_entity(eavt.into_iter().filter(indexed).collect()),
        by_entity(all(Index::Avet).into_iter().filter(indexed).collect())
    );
}
