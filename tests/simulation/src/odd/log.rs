//! The log of a batch, replayed over what was there before it.

use std::collections::BTreeMap;

use datascript::{Db, Keyword, Row, Value, as_eid};
use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::{Value as Json, json};

use super::facts::{Fact, Facts};
use super::failure::{Failure, Kind, OrFail, Outcome};
use crate::base;
use crate::server::apply;

/// The logged transactions can be applied to a copy of what was there before, and give the facts that are there now.
pub(crate) fn replays(rows: Vec<Row>, logged: &[String], after: &Facts, db: &Db) -> Outcome {
    let mut copy = base::open_rows(rows).or_fail(Kind::Log)?;
    let before = copy.clone();
    for tx in logged {
        apply(&mut copy, tx).map_err(|error| Failure::new(Kind::Log, format!("{error}: {tx}")))?;
    }
    let replayed = named(&Facts::read(&copy).or_fail(Kind::Log)?, &copy, &before);
    let live = named(after, db, &before);
    let only = |ours: &FxHashSet<String>, theirs: &FxHashSet<String>| {
        let mut only: Vec<String> = ours.difference(theirs).cloned().collect();
        only.sort_unstable();
        only.truncate(3);
        only
    };
    let (here, there) = (only(&live, &replayed), only(&replayed, &live));
    if here.is_empty() && there.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Kind::Log, format!("only in the graph {here:?}, only by the log {there:?}: {logged:?}")))
}

/// The names of entities: their uuid, else their ident.
fn names(facts: &Facts) -> FxHashMap<u32, String> {
    let mut names = FxHashMap::default();
    for fact in &facts.eavt {
        if fact.a == "block/uuid" {
            names.insert(fact.e, transit::write_string(&fact.v));
        } else if fact.a == "db/ident" {
            names.entry(fact.e).or_insert_with(|| transit::write_string(&fact.v));
        }
    }
    names
}

fn is_ref(db: &Db, fact: &Fact) -> bool {
    db.attr(fact.a.as_str()).is_some_and(|attr| db.flags(attr).is_ref())
}

/// A value without the difference between lists and vectors: equal ones are one value (datascript.md 3.1).
fn plain(value: &Value) -> Value {
    match value {
        Value::Vector(items) | Value::List(items) => Value::vector(items.iter().map(plain)),
        Value::Set(items) => Value::Set(items.iter().map(plain).collect()),
        Value::Map(entries) => Value::Map(entries.iter().map(|(key, value)| (plain(key), plain(value))).collect()),
        other => other.clone(),
    }
}

/// Facts with names instead of entity numbers; entities without names were there before, under the same number. Facts
/// under an attribute that was a reference `before` and is none any more are left out: they hold a number that differs
/// from copy to copy.
fn named(facts: &Facts, db: &Db, before: &Db) -> FxHashSet<String> {
    let names = names(facts);
    let name = |e: u32| names.get(&e).cloned().unwrap_or_else(|| e.to_string());
    let tell = |fact: &Fact| {
        let value = match as_eid(&fact.v) {
            Some(target) if is_ref(db, fact) => name(target),
            _ => transit::write_string(&plain(&fact.v)),
        };
        format!("{} {} {value}", name(fact.e), fact.a)
    };
    facts.eavt.iter().filter(|fact| is_ref(db, fact) || !is_ref(before, fact)).map(tell).collect()
}

/// The longest question for npm datascript, in facts and log texts: small graphs find as many defects.
const MOST_FACTS: usize = 150;
const MOST_BYTES: usize = 100_000;

/// Attributes and values of the items of the log that tell of one fact.
fn told(logged: &[String]) -> Outcome<Vec<(Keyword, Value)>> {
    let mut told = Vec::new();
    for tx in logged {
        let items = transit::read_str(tx).or_fail(Kind::Log)?;
        for item in items.as_seq().unwrap_or_default() {
            if let Some([_, _, Value::Keyword(a), v, ..]) = item.as_seq() {
                told.push((a.clone(), v.clone()));
            }
        }
    }
    Ok(told)
}

/// The same as a question for npm datascript. None if the schema changes, which npm datascript cannot do, or if the
/// question is too long.
pub(crate) fn question(
    rows: Vec<Row>,
    before: &Facts,
    after: &Facts,
    db: &Db,
    logged: &[String],
) -> Outcome<Option<Json>> {
    if before.eavt.len().max(after.eavt.len()) > MOST_FACTS
        || logged.iter().map(String::len).sum::<usize>() > MOST_BYTES
    {
        return Ok(None);
    }
    let copy = base::open_rows(rows).or_fail(Kind::Log)?;
    let told = told(logged)?;
    let mut schema = BTreeMap::new();
    // Attributes that come and go within the batch count too.
    for a in before.eavt.iter().chain(&after.eavt).map(|fact| &fact.a).chain(told.iter().map(|(a, _)| a)) {
        let flags = |db: &Db| {
            let flags = db.attr(a.as_str()).map(|attr| db.flags(attr)).unwrap_or_default();
            [flags.is_ref(), flags.is_many(), flags.is_component(), flags.is_identity(), flags.is_unique()]
        };
        if flags(&copy) != flags(db) {
            return Ok(None);
        }
        schema.insert(a.to_string(), flags(db));
    }
    // The schema may change more than once, and be the same in the end.
    let defines = |(a, v): &(Keyword, Value)| match a.as_str() {
        "db/valueType" | "db/cardinality" | "db/unique" | "db/isComponent" => true,
        "db/ident" => v.as_keyword().is_some_and(|ident| schema.contains_key(&ident.to_string())),
        _ => false,
    };
    if told.iter().any(defines) {
        return Ok(None);
    }
    // Facts from before their attribute was unique are not in AVET, where npm datascript would have them all.
    let is_unique = |fact: &&Fact| schema.get(&fact.a.to_string()).is_some_and(|flags| flags.ends_with(&[true]));
    if before.eavt.iter().filter(is_unique).count() != before.avet.iter().filter(is_unique).count() {
        return Ok(None);
    }
    let list = |facts: &Facts| {
        let datom = |fact: &Fact| {
            Value::vector([Value::from(fact.e), Value::Keyword(fact.a.clone()), fact.v.clone(), Value::from(fact.tx)])
        };
        transit::write_string(&Value::vector(facts.eavt.iter().map(datom)))
    };
    Ok(Some(json!({ "schema": schema, "before": list(before), "after": list(after), "log": logged })))
}
