//! Which entity each tempid stands for.
//!
//! A transaction may have as many tempids as items. Whatever is asked of them for an item takes constant time; what looks
//! at all of them happens once a pass, which has looked at all items already.

use transit::Value;

use super::place::Tempid;
use crate::datom::{Eid, TxId};
use crate::describe::describe;
use crate::error::{ErrorKind, Result, TransactError};

/// Up to this many tempids are searched one by one; more go into a hash table.
const FEW: usize = 8;

/// The tempids of one transaction, over all of its passes (datascript.md 9.7).
#[derive(Clone, Default)]
pub(super) struct Tempids<'a> {
    known: Vec<Known<'a>>,
    /// Index into `known`; kept only while there are more than a few. Names are the client's own.
    by_name: keyed::Map<Tempid<'a>, usize>,
    /// How many tempids lead to an entity in this pass; kept only while there are more than a few.
    reached: keyed::Map<Eid, u32>,
    /// Ids that an earlier pass gave to tempids: a new tempid must not get one of them.
    kept: keyed::Set<Eid>,
}

/// Whether the entity of a tempid was looked up ahead of its item's turn.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Guess {
    #[default]
    None,
    /// It was; this pass did not come to an item that bears it out so far.
    Open,
    /// It was, and rightly.
    Confirmed,
}

#[derive(Clone)]
struct Known<'a> {
    name: Tempid<'a>,
    eid: Eid,
    /// Found by an earlier pass to denote an entity that exists.
    settled: bool,
    /// Used in entity position in this pass.
    reached: bool,
    /// Used as a value in this pass.
    used_as_value: bool,
    guess: Guess,
}

impl<'a> Tempids<'a> {
    fn find(&self, name: Tempid<'a>) -> Option<usize> {
        if self.by_name.is_empty() {
            self.known.iter().position(|known| known.name == name)
        } else {
            self.by_name.get(&name).copied()
        }
    }

    /// The entity that a tempid stands for.
    pub(super) fn get(&self, name: Tempid<'a>) -> Option<Eid> {
        self.find(name).and_then(|at| self.known.get(at)).map(|known| known.eid)
    }

    fn entry(&mut self, name: Tempid<'a>, eid: Eid) -> Option<&mut Known<'a>> {
        let at = self.find(name).unwrap_or_else(|| {
            let at = self.known.len();
            self.known.push(Known {
                name,
                eid,
                settled: false,
                reached: false,
                used_as_value: false,
                guess: Guess::None,
            });
            if at == FEW {
                self.by_name = self.known.iter().enumerate().map(|(at, known)| (known.name, at)).collect();
                for known in self.known.iter().filter(|known| known.reached) {
                    *self.reached.entry(known.eid).or_default() += 1;
                }
            } else if at > FEW {
                self.by_name.insert(name, at);
            }
            at
        });
        let known = self.known.get_mut(at)?;
        if known.reached && known.eid != eid {
            leave(&mut self.reached, known.eid);
            known.reached = false;
        }
        known.eid = eid;
        Some(known)
    }

    /// Notes that a tempid in entity position stands for `eid`.
    pub(super) fn reach(&mut self, name: Tempid<'a>, eid: Eid) {
        let Some(known) = self.entry(name, eid) else { return };
        if !std::mem::replace(&mut known.reached, true) && !self.by_name.is_empty() {
            *self.reached.entry(eid).or_default() += 1;
        }
    }

    /// Notes that a tempid was used as a value.
    pub(super) fn use_as_value(&mut self, name: Tempid<'a>, eid: Eid) {
        if let Some(known) = self.entry(name, eid) {
            known.used_as_value = true;
        }
    }

    /// Whether an earlier pass gave the id to a tempid.
    pub(super) fn is_kept(&self, eid: Eid) -> bool {
        !self.kept.is_empty() && self.kept.contains(&eid)
    }

    /// Whether this pass reached the entity through a tempid.
    pub(super) fn is_reached(&self, eid: Eid) -> bool {
        if self.by_name.is_empty() {
            self.known.iter().any(|known| known.reached && known.eid == eid)
        } else {
            self.reached.contains_key(&eid)
        }
    }

    /// The first tempid through which this pass reached the entity and that no earlier pass settled. Looks at all tempids,
    /// but a pass calls this at most once, as it ends then either way.
    pub(super) fn unsettled(&self, eid: Eid) -> Option<Tempid<'a>> {
        self.known.iter().find(|known| known.reached && known.eid == eid && !known.settled).map(|known| known.name)
    }

    /// Prepares the next pass: ids found so far are kept, and `name` denotes `eid` from the start. An error if it was
    /// settled before. Looks at all tempids, once a pass.
    pub(super) fn settle(&mut self, name: Tempid<'a>, eid: Eid) -> Result<()> {
        self.reached.clear();
        for known in &mut self.known {
            known.reached = false;
            known.used_as_value = false;
            if known.guess == Guess::Confirmed {
                known.guess = Guess::Open;
            }
        }
        if let Some(known) = self.find(name).and_then(|at| self.known.get(at)).filter(|known| known.settled) {
            let name = name.value().unwrap_or_default();
            let message = format!("Conflicting upsert: {} resolves both to {eid} and {}", describe(&name), known.eid);
            return Err(TransactError::new(ErrorKind::TransactUpsert, message).into());
        }
        if let Some(known) = self.entry(name, eid) {
            known.settled = true;
        }
        self.kept = self.known.iter().map(|known| known.eid).collect();
        Ok(())
    }

    /// Takes `eid` for the entity of `name` before its item's turn. An item must confirm it.
    pub(super) fn guess(&mut self, name: Tempid<'a>, eid: Eid) {
        let is_certain = self.find(name).and_then(|at| self.known.get(at)).is_some_and(|known| known.settled);
        if is_certain || self.is_guess(name) {
            return;
        }
        if let Some(known) = self.entry(name, eid) {
            known.guess = Guess::Open;
        }
    }

    /// Whether the entity of `name` is a guess.
    pub(super) fn is_guess(&self, name: Tempid<'a>) -> bool {
        self.find(name).and_then(|at| self.known.get(at)).is_some_and(|known| known.guess != Guess::None)
    }

    /// An identity of `name` turned out to be held by the entity it stands for.
    pub(super) fn confirm(&mut self, name: Tempid<'a>) {
        if let Some(known) = self.find(name).and_then(|at| self.known.get_mut(at))
            && known.guess == Guess::Open
        {
            known.guess = Guess::Confirmed;
        }
    }

    /// Whether a guess is not confirmed. Looks at all tempids, at the end of a pass.
    pub(super) fn has_open_guess(&self) -> bool {
        self.known.iter().any(|known| known.guess == Guess::Open)
    }

    /// Ids that tempids in value position stand for.
    pub(super) fn used_as_value(&self) -> impl Iterator<Item = (Eid, Tempid<'a>)> + '_ {
        self.known.iter().filter(|known| known.used_as_value).map(|known| (known.eid, known.name))
    }

    /// Tempids and their entities for the report.
    pub(super) fn report(&self, tx: TxId) -> Vec<(Value, Eid)> {
        let named = self.known.iter().filter(|known| known.name != Tempid::CurrentTx);
        let mut report: Vec<_> = named.filter_map(|known| Some((known.name.value()?, known.eid))).collect();
        report.push((Value::keyword("db/current-tx"), tx));
        report
    }
}

/// One tempid fewer leads to the entity.
fn leave(reached: &mut keyed::Map<Eid, u32>, eid: Eid) {
    if let Some(count) = reached.get_mut(&eid) {
        *count -= 1;
        if *count == 0 {
            reached.remove(&eid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    /// Whatever is done, the tables say what a look at all tempids would; and more than a few have tables.
    #[test]
    fn what_is_reached_is_known_without_looking_at_all() {
        let names: Vec<String> = (0..60).map(|i| format!("t{i}")).collect();
        for seed in 0..40 {
            let mut rng = Rng(seed);
            let mut tempids = Tempids::default();
            for _ in 0..400 {
                let name = Tempid::Text(&names[rng.below(names.len())]);
                let eid = rng.small(20) + 1;
                match rng.below(40) {
                    0 => {
                        let before = tempids.clone();
                        if tempids.settle(name, eid).is_err() {
                            tempids = before;
                        }
                    }
                    1..4 => tempids.use_as_value(name, tempids.get(name).unwrap_or(eid)),
                    4 => tempids.guess(name, eid),
                    _ => tempids.reach(name, eid),
                }
                for eid in 1..=20 {
                    let is_reached = tempids.known.iter().any(|known| known.reached && known.eid == eid);
                    assert_eq!(tempids.is_reached(eid), is_reached, "seed {seed}");
                }
                assert!(tempids.known.len() <= FEW || tempids.by_name.len() == tempids.known.len());
            }
        }
    }
}
