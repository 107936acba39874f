//! Attributes that a transaction makes, unmakes or changes, and their facts.
//!
//! The log's readers see definitions before all facts, whatever the order was: so facts that go are told before the
//! definitions, as what the attribute was, and facts that come after them, as what it is.

use datascript::{Attr, Datom, Db, Index, Pattern, Value};

use super::fate::{Fate, Fates};
use crate::rules::value_set::OwnedKey;
use crate::rules::{Error, Result, attrs};

/// The attributes that a transaction defines.
#[derive(Default)]
pub(super) struct Redefined {
    attrs: keyed::Set<Attr>,
    /// Those whose entities are retracted in the end.
    unmade: keyed::Set<Attr>,
    /// Some of what it says of them is told among the other facts.
    late: bool,
    /// Values that were added under attributes that became unique.
    unique: keyed::Set<(Attr, OwnedKey)>,
}

const fn defines(attr: Attr) -> bool {
    matches!(
        attr,
        attrs::DB_IDENT | attrs::DB_VALUE_TYPE | attrs::DB_CARDINALITY | attrs::DB_UNIQUE | attrs::DB_IS_COMPONENT
    )
}

/// Whether facts with an attribute stay. Those that do not are among the datoms of the transaction, which bounds the loop.
fn keeps_facts(before: &Db, after: &Db, attr: Attr) -> Result<bool> {
    let mut facts = before.datoms(Index::Aevt, &Pattern::a(attr));
    while let Some(fact) = facts.next_ref()? {
        if after.with_first(Index::Eavt, &Pattern::eav(fact.e, fact.a, &fact.v), |_| ())?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Redefined {
    /// Looks at the entities of attributes that the datoms are about: a few look-ups for each, and for each fact that goes
    /// under one that becomes a reference.
    ///
    /// # Errors
    ///
    /// [`Error::Untold`] is a refusal.
    pub(super) fn of(before: &Db, after: &Db, datoms: &[&Datom], fates: &Fates) -> Result<Self> {
        let mut redefined = Self::default();
        if !datoms.iter().any(|datom| defines(datom.a)) {
            return Ok(redefined);
        }
        let mut note = |ident: Option<Value>| -> Option<Attr> {
            let attr = after.attr(ident?.as_keyword()?.as_str())?;
            redefined.attrs.insert(attr).then_some(attr)
        };
        let mut noted = Vec::new();
        for datom in datoms.iter().filter(|datom| defines(datom.a)) {
            redefined.late |= matches!(datom.a, attrs::DB_UNIQUE | attrs::DB_IS_COMPONENT);
            if datom.a == attrs::DB_IDENT {
                noted.extend(note(Some(datom.v.clone())));
            }
            let ident = before.value(datom.e, attrs::DB_IDENT)?;
            if fates.get(datom.e) == Some(Fate::Retracted { early: false })
                && let Some(attr) =
                    ident.as_ref().and_then(Value::as_keyword).and_then(|ident| after.attr(ident.as_str()))
            {
                redefined.unmade.insert(attr);
            }
            noted.extend(note(ident));
            noted.extend(note(after.value(datom.e, attrs::DB_IDENT)?));
        }
        for attr in noted {
            let (was, is) = (before.flags(attr), after.flags(attr));
            // The other way round is no harm: what were references are numbers from then on, the same in every copy that
            // has the facts.
            if is.is_ref() && !was.is_ref() && keeps_facts(before, after, attr)? {
                return Err(Error::Untold("an attribute with facts becomes a reference"));
            }
            let changes_hold = (is.is_ref() && !was.is_ref()) || is.is_component() != was.is_component();
            if changes_hold && fates.any_gone() && before.first(Index::Aevt, &Pattern::a(attr))?.is_some() {
                return Err(Error::Untold("an attribute becomes a reference while entities go"));
            }
        }
        Ok(redefined)
    }

    pub(super) fn contains(&self, attr: Attr) -> bool {
        !self.attrs.is_empty() && self.attrs.contains(&attr)
    }

    /// Whether facts that come have to wait for the end.
    pub(super) fn is_late(&self) -> bool {
        self.late
    }

    /// Whether what the attribute was ends with the retraction of its entity, which is told last.
    pub(super) fn is_unmade(&self, attr: Attr) -> bool {
        self.unmade.contains(&attr)
    }

    /// Judges a fact that comes, whose attribute is in the transaction.
    ///
    /// # Errors
    ///
    /// [`Error::Untold`], where readers would not take it as it is, is a refusal.
    pub(super) fn check_added(&mut self, before: &Db, after: &Db, datom: &Datom) -> Result<()> {
        let (was, is) = (before.flags(datom.a), after.flags(datom.a));
        if !is.is_many() && after.datoms(Index::Eavt, &Pattern::ea(datom.e, datom.a)).nth(1).transpose()?.is_some() {
            return Err(Error::Untold("several values of an attribute that has one from now on"));
        }
        let becomes_unique = is.is_unique() && !was.is_unique();
        if becomes_unique
            && (!self.unique.insert((datom.a, OwnedKey(datom.v.clone())))
                || before.first(Index::Aevt, &Pattern::a(datom.a))?.is_some())
        {
            return Err(Error::Untold("values of an attribute that becomes unique"));
        }
        Ok(())
    }

    /// Judges a fact that goes: it is told before entities get their new names.
    ///
    /// # Errors
    ///
    /// [`Error::Untold`] is a refusal.
    pub(super) fn check_removed(datom: &Datom, fates: &Fates) -> Result<()> {
        let target = datascript::as_eid(&datom.v);
        let is_renamed = |eid| fates.get(eid) == Some(Fate::Renamed);
        if is_renamed(datom.e) || target.is_some_and(is_renamed) {
            return Err(Error::Untold("an attribute and an entity change together"));
        }
        Ok(())
    }
}
