//! Retractions (datascript.md 9.3 rules 11 to 13, and 9.8).

use transit::Value;

use super::place::Place;
use super::run::{Run, Step, Work, bad_attribute};
use crate::attrs::Attr;
use crate::datom::{Datom, Eid};
use crate::db::{as_eid, eid_value};
use crate::error::Result;
use crate::index::{Index, Pattern};

/// What a retraction names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// One fact, if it has a value.
    Value,
    /// All facts of the entity and attribute.
    Attribute,
}

impl<'a> Run<'a> {
    /// `[:db/retract e a v]`, or without a value; an entity that is not found makes it a no-op.
    pub(super) fn retract(&mut self, e: Place<'a>, a: &'a Value, v: &'a Value, scope: Scope) -> Step<'a> {
        let e = self.name_tx(e);
        // A name that is not known yet may stand in nodes that were not loaded.
        let attr = a.as_keyword().map(|keyword| self.intern(keyword)).transpose()?;
        let flags = attr.map(|attr| self.db.flags(attr)).unwrap_or_default();
        let target = if flags.is_ref() { Some(self.target(Place::of(v))?) } else { None };
        if flags.is_identity()
            && let (Place::Eid(e), Some(attr), false) = (e, attr, v.is_nil())
        {
            let v = match target {
                Some(target) => eid_value(self.strict(target)?),
                None => v.clone(),
            };
            if let Some(holder) = self.db.lookup(attr, &v)?.filter(|holder| *holder != e) {
                self.check_reached(e, holder)?;
            }
        }
        let Some(e) = self.lenient(e)?.filter(|e| !self.is_excepted(*e)) else { return Ok(()) };
        if scope == Scope::Attribute || v.is_nil() {
            let attr = attr.ok_or_else(|| bad_attribute(a))?;
            let datoms = self.collect(Index::Eavt, &Pattern::ea(e, attr))?;
            return self.erase_all(&datoms);
        }
        let v = match target {
            Some(target) => eid_value(self.strict(target)?),
            None => v.clone(),
        };
        let attr = attr.ok_or_else(|| bad_attribute(a))?;
        match self.db.first(Index::Eavt, &Pattern::eav(e, attr, &v))? {
            Some(found) => self.erase(&found, self.tx),
            None => Ok(()),
        }
    }

    /// Retracts everything about an entity and every reference to it, then its components likewise.
    pub(super) fn retract_entity(&mut self, e: Eid) -> Step<'a> {
        if self.is_excepted(e) {
            return Ok(());
        }
        self.retracted.push(e);
        let own = self.collect(Index::Eavt, &Pattern::e(e))?;
        let referrers = self.referrers(e)?;
        self.erase_all(&own)?;
        for datom in &referrers {
            if datom.e == e {
                // A reference to itself went with the entity's own facts; the reference reports it twice.
                self.tx_data.push(datom.retracted(self.tx));
            } else {
                self.erase(datom, self.tx)?;
            }
        }
        Ok(())
    }

    /// The references to an entity, by the order of the reference attributes. What it takes is bounded by these attributes,
    /// once, and by their references, not by the product of attributes and retracted entities (see [`Referrers`]).
    ///
    /// [`Referrers`]: crate::referrers::Referrers
    fn referrers(&mut self, e: Eid) -> Result<Vec<Datom>> {
        self.db.avet.settle(&self.db.nodes)?;
        let db = &self.db;
        let mut memory = db.nodes.referrers().borrow_mut();
        let refs = db.schema.shared_refs();
        if memory.follow(refs) {
            db.nodes.work().step(refs.len() as u64 / 8)?;
        }
        let value = eid_value(e);
        let mut attrs: Vec<(usize, Attr)> = memory.known(e).collect();
        let mut learned = Vec::new();
        let mut at = 0;
        while let Some(asked) = memory.asked().get(at).copied() {
            if db.with_first(Index::Avet, &Pattern::av(asked.attr, &value), |_| ())?.is_some() {
                attrs.push((asked.place, asked.attr));
            } else if let Some(most) = memory.miss(at)
                && let Some(targets) = self.targets(asked.attr, most)?
            {
                learned.push((asked.place, asked.attr, targets));
            }
            at += 1;
        }
        memory.learn(&learned);
        attrs.sort_unstable_by_key(|(place, _)| *place);
        let mut referrers = Vec::new();
        for (_, attr) in attrs {
            for datom in db.datoms(Index::Avet, &Pattern::av(attr, &value)) {
                referrers.push(datom?);
            }
        }
        Ok(referrers)
    }

    /// What an attribute refers to, now or before the transaction, which may still be refused. None: there is more than that.
    fn targets(&self, attr: Attr, most: usize) -> Result<Option<Vec<Eid>>> {
        let mut targets = Vec::new();
        for db in [self.before, &self.db] {
            let mut slice = db.datoms(Index::Avet, &Pattern::a(attr)).scanning();
            let mut count = 0;
            while let Some(datom) = slice.next_ref()? {
                count += 1;
                if count > most {
                    return Ok(None);
                }
                targets.extend(as_eid(&datom.v));
            }
        }
        Ok(Some(targets))
    }

    fn erase_all(&mut self, datoms: &[Datom]) -> Step<'a> {
        let start = self.queue.len();
        for datom in datoms {
            if self.db.flags(datom.a).is_component()
                && let Some(part) = as_eid(&datom.v)
            {
                self.queue.push(Work::RetractEntity(part));
            }
            self.erase(datom, self.tx)?;
        }
        if let Some(added) = self.queue.get_mut(start..) {
            added.reverse();
        }
        Ok(())
    }

    fn collect(&self, index: Index, pattern: &Pattern<'_>) -> Result<Vec<Datom>> {
        self.db.datoms(index, pattern).collect()
    }
}
