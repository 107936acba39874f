//! What must be true of the facts after a batch, derived from its accepted items alone.

use datascript::{Db, Flags, Value};
use rustc_hash::{FxHashMap, FxHashSet};

use super::facts::{self, Facts, shown};
use super::failure::{Kind, Outcome, check};
use super::mentions::{Mention, Said};
use super::order::same;

/// What the accepted entries of a batch said, put together.
#[derive(Default)]
struct Sum {
    /// The last fact added, by entity and attribute; removed when a later item may have taken it away.
    added: FxHashMap<u64, (u32, String, Value)>,
    pairs: FxHashSet<u64>,
    attrs: FxHashSet<String>,
    /// Nothing is known: anything may have changed.
    anything: bool,
    /// Entities may have been without a name for a while, and their facts were dropped then.
    renames: bool,
}

/// Checks that acknowledged facts are there.
pub(crate) fn added(before: &Facts, after: &Facts, said: &[Said], db: &Db) -> Outcome {
    Sum::by(said, db).check_added(before, after, db)
}

/// Checks that facts that no item mentions are unchanged.
pub(crate) fn rest(before: &Facts, after: &Facts, said: &[Said], db: &Db) -> Outcome {
    let sum = Sum::by(said, db);
    if sum.anything { Ok(()) } else { sum.check_rest(before, after) }
}

impl Sum {
    fn by(said: &[Said], db: &Db) -> Self {
        let mut sum = Self::default();
        for said in said {
            sum.take(said, db);
        }
        sum
    }

    fn take(&mut self, said: &Said, db: &Db) {
        let wild = |mention: &Mention| match mention {
            Mention::Entity(_) | Mention::Unknown => true,
            // Components are retracted with their owner.
            Mention::Pair { a, .. } | Mention::Attr(a) | Mention::Add { a, .. } => {
                flags(db, a).contains(Flags::COMPONENT)
            }
        };
        self.renames |= said.renames;
        if said.mentions.iter().any(wild) {
            self.anything = true;
            self.added.clear();
        }
        for mention in &said.mentions {
            match mention {
                Mention::Add { e, a, v } => {
                    let ea = facts::ea(*e, a);
                    self.pairs.insert(ea);
                    self.added.remove(&ea);
                    if !said.may_be_dropped && !self.anything {
                        self.added.insert(ea, (*e, a.clone(), v.clone()));
                    }
                }
                Mention::Pair { e, a } => {
                    let ea = facts::ea(*e, a);
                    self.pairs.insert(ea);
                    self.added.remove(&ea);
                }
                Mention::Attr(a) => {
                    self.added.retain(|_, (_, attr, _)| attr != a);
                    self.attrs.insert(a.clone());
                }
                Mention::Entity(_) | Mention::Unknown => {}
            }
        }
    }

    fn check_added(&self, before: &Facts, after: &Facts, db: &Db) -> Outcome {
        if self.renames {
            return Ok(());
        }
        let (had, have) = (named(before), named(after));
        let mut there: FxHashMap<u64, Vec<&Value>> = FxHashMap::default();
        for fact in &after.eavt {
            if self.added.contains_key(&fact.ea) {
                there.entry(fact.ea).or_default().push(&fact.v);
            }
        }
        for (ea, (e, a, v)) in &self.added {
            // Facts of entities without a name are not kept (D-66).
            if !had.contains(e) || !have.contains(e) {
                continue;
            }
            // What a reference refers to was resolved.
            if flags(db, a).is_ref() && v.as_int().is_none_or(|number| number <= 0) {
                continue;
            }
            let found = there.get(ea).is_some_and(|values| values.iter().any(|known| same(known, v)));
            check!(found, Kind::Lost, "[{e} {a} {}] was acknowledged and is not there", shown(v));
        }
        Ok(())
    }

    fn check_rest(&self, before: &Facts, after: &Facts) -> Outcome {
        let ids = |facts: &Facts| facts.eavt.iter().map(|fact| fact.eav).collect::<FxHashSet<u64>>();
        for (name, facts, others) in [("went", before, ids(after)), ("came", after, ids(before))] {
            for fact in &facts.eavt {
                check!(
                    others.contains(&fact.eav) || self.pairs.contains(&fact.ea) || self.attrs.contains(fact.a.as_str()),
                    Kind::Frame,
                    "{fact} {name}, of which nothing was said"
                );
            }
        }
        Ok(())
    }
}

/// Entities that have a name.
fn named(facts: &Facts) -> FxHashSet<u32> {
    let names = facts.eavt.iter().filter(|fact| fact.a == "block/uuid" || fact.a == "db/ident");
    names.map(|fact| fact.e).collect()
}

fn flags(db: &Db, attr: &str) -> Flags {
    db.attr(attr).map(|attr| db.flags(attr)).unwrap_or_default()
}
