//! `:db/add` (datascript.md 9.3 rules 5 to 10, and 9.4).

use transit::Value;

use super::place::{Place, Tempid};
use super::run::{Operand, Run, Step, Stop, refuse};
use crate::attrs::Attr;
use crate::datom::{Datom, Eid, TxId};
use crate::db::{Db, eid_value};
use crate::error::{ErrorKind, Result, TransactError};
use crate::index::{Index, Pattern};
use crate::value;
use crate::work::DESCENT;

/// Who holds the value of a unique attribute.
#[derive(Clone, Copy)]
pub(super) enum Holder {
    /// Not looked up.
    Unknown,
    Nobody,
    Entity(Eid),
}

/// What an entity has under an attribute that may have one value, compared with a value.
enum Current {
    Nothing,
    /// Another value is the first one.
    Other(Datom),
    /// This one and no other.
    Same,
    /// This one is the first, and there may be others.
    SameFirst,
}

/// The value of an assertion, as far as it is resolved.
enum Object<'a> {
    Value(Value),
    Entity(Place<'a>),
}

impl<'a> Run<'a> {
    /// Adds a fact.
    ///
    /// Where a tempid or a name of the transaction is replaced, the explicit transaction id is lost, as it is for every
    /// attribute that was a reference before the transaction (datascript.md 9.1 and 9.3).
    pub(super) fn add(&mut self, e: Place<'a>, a: Attr, v: Operand<'a>, tx: Option<TxId>) -> Step<'a> {
        let flags = self.db.flags(a);
        let mut keeps_tx = !e.is_name() && !self.before.flags(a).is_ref();
        let e = self.name_tx(e);
        let v = match v {
            Operand::Value(value) if !flags.is_ref() => Object::Value(value.clone()),
            Operand::Value(value) => Object::Entity(Place::of(value)),
            Operand::Place(place) => Object::Entity(place),
        };
        let mut v = match v {
            Object::Entity(place) => {
                keeps_tx &= !place.is_name();
                Object::Entity(self.target(place)?)
            }
            value @ Object::Value(_) => value,
        };
        let mut holder = Holder::Unknown;
        if flags.is_identity() {
            let value = self.object(v)?;
            holder = self.holder_of(a, &value)?;
            v = Object::Value(value);
        }
        let e = match (e, holder) {
            (Place::Temp(name), holder) => self.entity(name, holder)?,
            (Place::Eid(e), Holder::Entity(holder)) if holder != e => {
                self.check_reached(e, holder)?;
                e
            }
            (other, _) => self.strict(other)?,
        };
        let v = self.object(v)?;
        self.assert_fact(e, a, v, tx.filter(|_| keeps_tx), holder)
    }

    fn object(&self, object: Object<'a>) -> Step<'a, Value> {
        match object {
            Object::Value(value) => Ok(value),
            Object::Entity(place) => Ok(eid_value(self.strict(place)?)),
        }
    }

    fn holder_of(&self, a: Attr, v: &Value) -> Step<'a, Holder> {
        Ok(self.db.lookup(a, v)?.map_or(Holder::Nobody, Holder::Entity))
    }

    /// The entity of a tempid in entity position: the holder of the identity that is being asserted, else what the tempid
    /// is known as, else a new one (rule 8).
    fn entity(&mut self, name: Tempid<'a>, holder: Holder) -> Step<'a, Eid> {
        let eid = match (holder, self.tempids.get(name)) {
            (Holder::Entity(holder), Some(known)) if holder != known => {
                return Err(Stop::Restart { tempid: name, eid: holder });
            }
            (Holder::Entity(holder), _) => {
                self.tempids.confirm(name);
                holder
            }
            (_, Some(known)) => known,
            (_, None) => self.next_eid()?,
        };
        self.tempids.reach(name, eid);
        self.db.advance_max_eid(eid);
        Ok(eid)
    }

    /// Another entity holds the identity asserted for `e`: if a tempid led to `e`, that tempid denotes the holder (rule 9).
    pub(super) fn check_reached(&self, e: Eid, holder: Eid) -> Step<'a> {
        if !self.tempids.is_reached(e) {
            return Ok(());
        }
        if let Some(tempid) = self.tempids.unsettled(e) {
            return Err(Stop::Restart { tempid, eid: holder });
        }
        Err(refuse(ErrorKind::TransactUpsert, format!("Conflicting upsert: {e} resolves to {holder}")))
    }

    /// Asserts a fact whose parts are resolved (datascript.md 9.4).
    pub(super) fn assert_fact(&mut self, e: Eid, a: Attr, v: Value, tx: Option<TxId>, holder: Holder) -> Step<'a> {
        if self.is_excepted(e) {
            self.redundant.push(e);
            return Ok(());
        }
        let flags = self.db.flags(a);
        let tx = tx.unwrap_or(self.tx);
        if !self.fresh.is_first(e, a) && self.make_room(e, a, &v, tx)? {
            self.redundant.push(e);
            return Ok(());
        }
        if flags.is_unique() {
            let holder = if let Holder::Unknown = holder { self.holder_of(a, &v)? } else { holder };
            if let Holder::Entity(holder) = holder {
                let keyword = self.db.attrs().keyword(a);
                let message = format!(
                    "Cannot add {keyword} to entity {e} because of unique constraint: entity {holder} has that value"
                );
                return Err(TransactError::new(ErrorKind::TransactUnique, message).attribute(keyword).into());
            }
        }
        self.insert(Datom::new(e, a, v, tx))
    }

    /// Whether the fact is there already. If the attribute may have one value, all other ones go: it may have several, if it
    /// had many once, and others who are told what went and what came would keep others of them (datascript.md 9.4).
    fn make_room(&mut self, e: Eid, a: Attr, v: &Value, tx: TxId) -> Step<'a, bool> {
        if self.db.flags(a).is_many() {
            return Ok(self.db.with_first(Index::Eavt, &Pattern::eav(e, a, v), |_| ())?.is_some());
        }
        // Every turn removes a fact of the entity.
        loop {
            match self.db.current(e, a, v)? {
                Current::Nothing => return Ok(false),
                Current::Other(old) => self.erase(&old, tx)?,
                Current::Same => return Ok(true),
                Current::SameFirst => break,
            }
        }
        let others: Vec<Datom> = self.db.datoms(Index::Eavt, &Pattern::ea(e, a)).skip(1).collect::<Result<_>>()?;
        for old in others {
            self.erase(&old, tx)?;
        }
        Ok(true)
    }

    /// The value of a fact that no tempid can be part of.
    pub(super) fn plain_operand(&self, a: Attr, v: &'a Value) -> Step<'a, Value> {
        if self.db.flags(a).is_ref() { Ok(eid_value(self.strict(Place::of(v))?)) } else { Ok(v.clone()) }
    }
}

impl Db {
    /// One descent: the fact after the first one mostly stands beside it.
    fn current(&self, e: Eid, a: Attr, v: &Value) -> Result<Current> {
        self.nodes.work().step(DESCENT)?;
        let found = self.eavt.with_first_two(&self.nodes, Index::Eavt, &Pattern::ea(e, a), |first, next| {
            if !value::same(&first.v, v) {
                Current::Other(first.clone())
            } else if next.is_some_and(|next| (next.e, next.a) != (e, a)) {
                Current::Same
            } else {
                Current::SameFirst
            }
        })?;
        Ok(found.unwrap_or(Current::Nothing))
    }
}
