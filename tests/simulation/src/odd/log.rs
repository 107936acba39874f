//! The log of a batch, replayed over the rows from before it.

use datascript::{Db, Row, as_eid};
use rustc_hash::{FxHashMap, FxHashSet};

use super::facts::{Fact, Facts};
use super::failure::{Failure, Kind, OrFail, Outcome};
use crate::base;
use crate::server::apply;

/// A logged transaction can be applied to a copy of what was there before, and gives the facts that are there now.
///
/// Looked at are single transactions about entities that have names and keep them: about others the log cannot speak
/// (sync.md 11.8), and between several transactions an entity may have been without a name.
pub(crate) fn replays(rows: Vec<Row>, logged: &[String], before: &Facts, after: &Facts, db: &Db) -> Outcome {
    let [tx] = logged else { return Ok(()) };
    if !have_names(before, after, db) {
        return Ok(());
    }
    let mut copy = base::open_rows(rows).or_fail(Kind::Log)?;
    if after.eavt.iter().any(|fact| is_ref(db, fact) != is_ref(&copy, fact)) {
        // Values became references, or the other way: nothing tells which of them is meant.
        return Ok(());
    }
    apply(&mut copy, tx).map_err(|error| Failure::new(Kind::Log, format!("{error}: {tx}")))?;
    let replayed = named(&Facts::read(&copy).or_fail(Kind::Log)?, &copy);
    let live = named(after, db);
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
    Err(Failure::new(Kind::Log, format!("only in the graph {here:?}, only by the log {there:?}: {tx}")))
}

type Names = FxHashMap<u32, String>;

/// What entities are called: their uuid, else their ident.
fn names(facts: &Facts) -> Names {
    let mut names = Names::default();
    for fact in &facts.eavt {
        if fact.a == "block/uuid"
            && let Some(uuid) = fact.v.as_uuid()
        {
            names.insert(fact.e, uuid.to_string());
        } else if fact.a == "db/ident" && fact.v.as_keyword().is_some() {
            names.entry(fact.e).or_insert_with(|| transit::write_string(&fact.v));
        }
    }
    names
}

fn is_ref(db: &Db, fact: &Fact) -> bool {
    db.attr(fact.a.as_str()).is_some_and(|attr| db.flags(attr).is_ref())
}

fn is_many(db: &Db, fact: &Fact) -> bool {
    db.attr(fact.a.as_str()).is_some_and(|attr| db.flags(attr).is_many())
}

/// Facts by names instead of numbers; those of and about nameless entities are left out.
fn named(facts: &Facts, db: &Db) -> FxHashSet<String> {
    let names = names(facts);
    let tell = |fact: &Fact| {
        let entity = names.get(&fact.e)?;
        let value = match as_eid(&fact.v) {
            Some(target) if is_ref(db, fact) => names.get(&target)?.clone(),
            _ => transit::write_string(&fact.v),
        };
        Some(format!("{entity} {} {value}", fact.a))
    };
    facts.eavt.iter().filter_map(tell).collect()
}

/// Whether all that came or went is about entities that have one name before and after, or came or went as a whole; and
/// nothing that stayed refers to an entity that only now has its name.
fn have_names(before: &Facts, after: &Facts, db: &Db) -> bool {
    let (old_names, new_names) = (names(before), names(after));
    let entities = |facts: &Facts| facts.eavt.iter().map(|fact| fact.e).collect::<FxHashSet<u32>>();
    let (old_entities, new_entities) = (entities(before), entities(after));
    let keeps_name = |e: u32| match (old_entities.contains(&e), new_entities.contains(&e)) {
        (true, true) => old_names.get(&e).is_some_and(|name| new_names.get(&e) == Some(name)),
        (false, true) => new_names.contains_key(&e),
        (true, false) => old_names.contains_key(&e),
        (false, false) => false,
    };
    let ids = |facts: &Facts| facts.eavt.iter().map(|fact| fact.id).collect::<FxHashSet<u64>>();
    let (old_ids, new_ids) = (ids(before), ids(after));
    let tellable = |fact: &Fact| {
        let target = as_eid(&fact.v).filter(|_| is_ref(db, fact));
        let looks_like_name = match &fact.v {
            datascript::Value::Uuid(_) => fact.a != "block/uuid",
            datascript::Value::String(text) => text.parse::<uuid::Uuid>().is_ok(),
            value => value.as_seq().is_some_and(|items| items.len() == 2),
        };
        let refers = !is_ref(db, fact) || target.is_some();
        refers && keeps_name(fact.e) && target.is_none_or(keeps_name) && !looks_like_name
    };
    let went = || before.eavt.iter().filter(|fact| !new_ids.contains(&fact.id));
    let came = || after.eavt.iter().filter(|fact| !old_ids.contains(&fact.id));
    // One of several values that an attribute was left with: which one another value replaces, the log cannot say.
    let changed: FxHashSet<u64> = went().chain(came()).map(|fact| fact.ea).collect();
    let is_left = |pair: &[Fact]| match pair {
        [a, b] => a.ea == b.ea && changed.contains(&a.ea) && !is_many(db, a),
        _ => false,
    };
    let left = before.eavt.windows(2).chain(after.eavt.windows(2)).any(is_left);
    // A reference to nobody may lead to the next entity that the replay makes.
    let named_now = |fact: &Fact| {
        let target = as_eid(&fact.v).filter(|_| is_ref(db, fact));
        target.is_some_and(|target| old_names.get(&target) != new_names.get(&target) || !old_entities.contains(&target))
    };
    let stayed = before.eavt.iter().filter(|fact| new_ids.contains(&fact.id));
    !left && went().all(tellable) && came().all(tellable) && !{ stayed }.any(named_now)
}
