//! Datoms as items with portable references (sync.md 11.8 step 4).

use datascript::{Attr, Datom, Db, Eid, Index, Pattern, TX0, Value};

use super::fate::{Fate, Fates};
use super::name::Name;
use super::{ADD, RETRACT};
use crate::rules::facts::Scope;
use crate::rules::{Error, Result};

/// Which of the two databases decides what an attribute is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It is the same in both, or a reference if it is one in either.
    Both,
    Before,
    After,
}

/// What comes of a datom.
pub(super) enum Told {
    Item(Value),
    /// Other items tell it already, or it is as it was.
    Nothing,
    /// It is about an entity that has no name.
    Untold,
}

/// What a datom refers to.
enum Target {
    /// It is a value.
    Nothing,
    Entity(Eid),
    /// Nothing, although its attribute is a reference.
    NoEntity,
}

/// Finds the names of entities, each once.
pub(super) struct Translator<'a, 's, 'f> {
    before: &'a Db,
    after: &'a Db,
    fates: &'a Fates,
    scope: &'s mut Scope<'f>,
    /// References to entities that the log's readers know at that point.
    known: keyed::Map<Eid, Option<Value>>,
    /// Tempids of new ones.
    tempids: keyed::Map<Eid, Option<Value>>,
}

impl<'a, 's, 'f> Translator<'a, 's, 'f> {
    pub(super) fn new(before: &'a Db, after: &'a Db, fates: &'a Fates, scope: &'s mut Scope<'f>) -> Self {
        Self { before, after, fates, scope, known: keyed::Map::default(), tempids: keyed::Map::default() }
    }

    /// The item of a datom.
    pub(super) fn fact(&mut self, datom: &Datom, meaning: Meaning) -> Result<Told> {
        let target = match self.target(datom, meaning)? {
            Target::Nothing => None,
            Target::Entity(target) => Some(target),
            Target::NoEntity => return self.no_reference(datom),
        };
        if let Some(target) = target
            && !datom.added
            && meaning == Meaning::Both
            && self.fates.is_retracted(target)
        {
            return Ok(Told::Nothing);
        }
        if let Some(target) = target
            && datom.added
            && self.fates.is_gone(target)
        {
            return self.refers_to_nobody(datom, target);
        }
        let Some(e) = self.reference(datom.e, datom.added)? else {
            return self.without_name(datom);
        };
        let v = match target {
            None => datom.v.clone(),
            Some(target) => match self.reference(target, datom.added)? {
                Some(v) => v,
                None => return self.refers_to_nobody(datom, target),
            },
        };
        let verb = if datom.added { &*ADD } else { &*RETRACT };
        let attribute = self.after.attrs().keyword(datom.a);
        Ok(Told::Item(Value::Vector(
            [Value::Keyword(verb.clone()), e, Value::Keyword(attribute), v, Value::from(datom.tx)].into(),
        )))
    }

    /// What a datom refers to.
    fn target(&mut self, datom: &Datom, meaning: Meaning) -> Result<Target> {
        let Some(number) = datascript::as_eid(&datom.v).filter(|number| *number > 0) else {
            let decisive = if meaning == Meaning::Before { self.before } else { self.after };
            return Ok(if decisive.flags(datom.a).is_ref() { Target::NoEntity } else { Target::Nothing });
        };
        let is_ref = match meaning {
            Meaning::Both => self.is_ref(datom.a)?,
            Meaning::Before => self.before.flags(datom.a).is_ref(),
            Meaning::After => self.after.flags(datom.a).is_ref(),
        };
        Ok(if is_ref { Target::Entity(number) } else { Target::Nothing })
    }

    /// A datom about an entity that cannot be named.
    fn without_name(&mut self, datom: &Datom) -> Result<Told> {
        let was_there = self.was_there(datom.e)?;
        if datom.added {
            if !is_fact(self.after, datom)? {
                return Ok(Told::Nothing);
            }
            if was_there && Name::of(self.after, datom.e)?.is_some() {
                // It has facts that were never sent to clients, as it had no name.
                return Err(Error::Nameless(datom.e));
            }
            return Ok(Told::Untold);
        }
        Ok(if was_there && !self.fates.is_part(datom.e) { Told::Untold } else { Told::Nothing })
    }

    /// A datom that refers to an entity that cannot be named.
    fn refers_to_nobody(&mut self, datom: &Datom, target: Eid) -> Result<Told> {
        if datom.added {
            return if is_fact(self.after, datom)? { Err(Error::NothingFound(target)) } else { Ok(Told::Nothing) };
        }
        if self.needs_no_retraction(datom)? { Ok(Told::Nothing) } else { Err(Error::NothingFound(target)) }
    }

    /// A datom whose value would be read as a reference and is none: it was added while the attribute was something else.
    fn no_reference(&self, datom: &Datom) -> Result<Told> {
        if datom.added {
            return Err(Error::Untold("a value of an attribute that becomes a reference"));
        }
        if self.needs_no_retraction(datom)? {
            Ok(Told::Nothing)
        } else {
            Err(Error::Untold("a value of a reference that is no entity"))
        }
    }

    /// Whether what a retraction says is told already: an addition tells by itself what it replaces.
    fn needs_no_retraction(&self, datom: &Datom) -> Result<bool> {
        let is_replaced = !self.after.flags(datom.a).is_many()
            && match self.after.first(Index::Eavt, &Pattern::ea(datom.e, datom.a))? {
                Some(current) => !is_fact(self.before, &current)?,
                None => false,
            };
        Ok(is_replaced || !is_fact(self.before, datom)?)
    }

    /// Whether there was an entity of that number, which is no question for those given out since.
    fn was_there(&self, eid: Eid) -> Result<bool> {
        Ok((eid <= self.before.max_eid() || eid >= TX0) && self.before.exists(eid)?)
    }

    /// What an entity is called: as the log's readers know it or, where something is added to a new one, as a tempid.
    pub(super) fn reference(&mut self, eid: Eid, added: bool) -> Result<Option<Value>> {
        match self.known(eid)? {
            None if added => self.tempid(eid),
            reference => Ok(reference),
        }
    }

    /// What the log's readers know an entity as: by its name before, or by the one that it was given first of all.
    pub(super) fn known(&mut self, eid: Eid) -> Result<Option<Value>> {
        if let Some(reference) = self.known.get(&eid) {
            return Ok(reference.clone());
        }
        let is_renamed = self.fates.get(eid) == Some(Fate::Renamed);
        let name = Name::of(if is_renamed { self.after } else { self.before }, eid)?;
        let reference = name.map(Name::reference);
        self.known.insert(eid, reference.clone());
        Ok(reference)
    }

    fn tempid(&mut self, eid: Eid) -> Result<Option<Value>> {
        if let Some(tempid) = self.tempids.get(&eid) {
            return Ok(tempid.clone());
        }
        // An entity that was there already is no new one in other copies either.
        let name = if self.was_there(eid)? { None } else { Name::of(self.after, eid)? };
        let tempid = name.map(|name| name.tempid());
        self.tempids.insert(eid, tempid.clone());
        Ok(tempid)
    }

    fn is_ref(&mut self, attr: Attr) -> Result<bool> {
        Ok(self.after.flags(attr).is_ref()
            || self.before.flags(attr).is_ref()
            || self.scope.after().attribute(self.after, attr)?.is_ref
            || self.scope.before().attribute(self.before, attr)?.is_ref)
    }
}

fn is_fact(db: &Db, datom: &Datom) -> Result<bool> {
    Ok(db.first(Index::Eavt, &Pattern::eav(datom.e, datom.a, &datom.v))?.is_some())
}
