//! `:db/add` (datascript.md 9.3 rules 5 to 10, and 9.4).

use transit::Value;

use super::place::{Place, Tempid};
use super::run::{Operand, Run, Step, Stop, refuse};
use crate::attrs::Attr;
use crate::datom::{Datom, Eid, TxId};
use crate::db::eid_value;
use crate::error::{ErrorKind, TransactError};
use crate::index::{Index, Pattern};

impl<'a> Run<'a> {
    /// Adds a fact.
    ///
    /// Where a tempid or a name of the transaction is replaced, the explicit transaction id is lost, as it is for every
    /// attribute that was a reference before the transaction (datascript.md 9.1 and 9.3).
    pub(super) fn add(&mut self, e: Place<'a>, a: Attr, v: Operand<'a>, tx: Option<TxId>) -> Step<'a> {
        let flags = self.db.flags(a);
        let mut keeps_tx = !matches!(e, Place::Temp(_) | Place::Tx(_)) && !self.before.flags(a).is_ref();
        let e = self.name_tx(e);
        let mut v = match v {
            Operand::Value(value) if !flags.is_ref() => Ok(value.clone()),
            Operand::Value(value) => Err(Place::of(value)),
            Operand::Place(place) => Err(place),
        };
        if let Err(place) = v {
            keeps_tx &= !matches!(place, Place::Temp(_) | Place::Tx(_));
            v = Err(self.target(place)?);
        }
        if flags.is_identity()
            && let Err(place) = v
        {
            v = Ok(eid_value(self.strict(place)?));
        }
        let holder = match &v {
            Ok(value) if flags.is_identity() => Some(self.db.lookup(a, value)?),
            _ => None,
        };
        let e = match e {
            Place::Temp(name) => self.entity(name, holder.flatten())?,
            Place::Eid(e) => {
                if let Some(holder) = holder.flatten().filter(|holder| *holder != e) {
                    self.check_reached(e, holder)?;
                }
                e
            }
            other => self.strict(other)?,
        };
        let v = match v {
            Ok(value) => value,
            Err(place) => eid_value(self.strict(place)?),
        };
        self.assert_fact(e, a, v, tx.filter(|_| keeps_tx), holder)
    }

    /// The entity of a tempid in entity position: the holder of the identity that is being asserted, else what the tempid
    /// is known as, else a new one (rule 8).
    fn entity(&mut self, name: Tempid<'a>, holder: Option<Eid>) -> Step<'a, Eid> {
        let eid = match (holder, self.tempids.get(name)) {
            (Some(holder), Some(known)) if holder != known => {
                return Err(Stop::Restart { tempid: name, eid: holder });
            }
            (Some(eid), _) => {
                self.tempids.confirm(name);
                eid
            }
            (None, Some(eid)) => eid,
            (None, None) => self.next_eid()?,
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
        match self.tempids.unsettled(e) {
            Some(tempid) => Err(Stop::Restart { tempid, eid: holder }),
            None => {
                let message = format!("Conflicting upsert: {e} resolves to {holder}");
                Err(refuse(ErrorKind::TransactUpsert, message))
            }
        }
    }

    /// Asserts a fact whose parts are resolved (datascript.md 9.4). `holder`: who holds the value of a unique attribute,
    /// if that was looked up.
    pub(super) fn assert_fact(
        &mut self,
        e: Eid,
        a: Attr,
        v: Value,
        tx: Option<TxId>,
        holder: Option<Option<Eid>>,
    ) -> Step<'a> {
        let flags = self.db.flags(a);
        let tx = tx.unwrap_or(self.tx);
        let pattern = if flags.is_many() { Pattern::eav(e, a, &v) } else { Pattern::ea(e, a) };
        match self.db.first(Index::Eavt, &pattern)? {
            Some(old) if old.v == v => {
                self.redundant.push(e);
                return Ok(());
            }
            Some(old) => self.erase(&old, tx)?,
            None => {}
        }
        if flags.is_unique() {
            let holder = match holder {
                Some(holder) => holder,
                None => self.db.lookup(a, &v)?,
            };
            if let Some(holder) = holder {
                let keyword = self.db.attrs().keyword(a);
                let message = format!(
                    "Cannot add {keyword} to entity {e} because of unique constraint: entity {holder} has that value"
                );
                return Err(TransactError::new(ErrorKind::TransactUnique, message).attribute(keyword).into());
            }
        }
        self.insert(Datom::new(e, a, v, tx))
    }

    /// The value of a fact that no tempid can be part of.
    pub(super) fn plain_operand(&self, a: Attr, v: &'a Value) -> Step<'a, Value> {
        if self.db.flags(a).is_ref() { Ok(eid_value(self.strict(Place::of(v))?)) } else { Ok(v.clone()) }
    }
}
