//! One pass over the items of a transaction.

use transit::{Keyword, Value};

use super::Report;
use super::fresh::Fresh;
use super::place::{Place, Tempid};
use super::prepare::{MapItem, Maps};
use super::tempids::Tempids;
use crate::attrs::Attr;
use crate::datom::{Datom, Eid, TX_MAX, TX0, TxId};
use crate::db::Db;
use crate::describe::describe;
use crate::error::{Error, ErrorKind, Result, TransactError};

/// Why a pass ended early.
pub(super) enum Stop<'a> {
    /// The transaction is refused.
    Refused(Error),
    /// The tempid, which has another id by now, denotes an existing entity: start over with that known.
    Restart { tempid: Tempid<'a>, eid: Eid },
    /// What was guessed of a tempid did not turn out to be so: start over without guesses.
    WrongGuess,
}

pub(super) type Step<'a, T = ()> = Result<T, Stop<'a>>;

impl From<Error> for Stop<'_> {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<TransactError> for Stop<'_> {
    fn from(error: TransactError) -> Self {
        Self::Refused(error.into())
    }
}

/// A refusal without reference or attribute.
pub(super) fn refuse<'a>(kind: ErrorKind, message: impl Into<String>) -> Stop<'a> {
    TransactError::new(kind, message).into()
}

/// Refuses an attribute that is no keyword.
pub(super) fn bad_attribute<'a>(a: &Value) -> Stop<'a> {
    refuse(ErrorKind::TransactSyntax, format!("Bad entity attribute {}, expected keyword", describe(a)))
}

/// Refuses nil as a value.
pub(super) fn nil_value<'a>(keyword: &Keyword) -> Stop<'a> {
    let message = format!("Cannot store nil as a value of {}", describe(&Value::Keyword(keyword.clone())));
    TransactError::new(ErrorKind::TransactSyntax, message).attribute(keyword.clone()).into()
}

/// What stands in the value position of an assertion.
#[derive(Clone, Copy)]
pub(super) enum Operand<'a> {
    /// A value as given.
    Value(&'a Value),
    /// The entity at the other end of a reverse or nested attribute.
    Place(Place<'a>),
}

/// Work that an item left behind; done before the next item.
pub(super) enum Work<'a> {
    Add { e: Place<'a>, a: Attr, v: Operand<'a> },
    Map { item: &'a MapItem<'a>, link: Link<'a> },
    RetractEntity(Eid),
}

/// How a nested map hangs together with the entity that it was found in.
#[derive(Clone, Copy)]
pub(super) struct Link<'a> {
    pub(super) attr: Attr,
    /// The entity around the nested map.
    pub(super) owner: Place<'a>,
    /// Whether the nested entity refers to the owner, rather than the owner to it.
    pub(super) from_nested: bool,
}

/// State of a pass.
pub(super) struct Run<'a> {
    pub(super) before: &'a Db,
    pub(super) db: Db,
    pub(super) maps: &'a Maps<'a>,
    /// Entities about which nothing is done.
    pub(super) except: &'a keyed::Set<Eid>,
    /// The current transaction id.
    pub(super) tx: TxId,
    pub(super) tx_data: Vec<Datom>,
    /// Entities of redundant assertions and of upserting map items.
    pub(super) redundant: Vec<Eid>,
    /// Entities retracted as a whole.
    pub(super) retracted: Vec<Eid>,
    pub(super) tempids: Tempids<'a>,
    pub(super) fresh: Fresh,
    /// Last in, first out.
    pub(super) queue: Vec<Work<'a>>,
}

impl<'a> Run<'a> {
    pub(super) fn new(before: &'a Db, maps: &'a Maps<'a>, tempids: Tempids<'a>, except: &'a keyed::Set<Eid>) -> Self {
        before.nodes.referrers().borrow_mut().begin(before.line, before.attrs().forgotten());
        Self {
            before,
            db: before.clone(),
            maps,
            except,
            tx: before.max_tx.saturating_add(1).min(TX_MAX),
            tx_data: Vec::with_capacity(8),
            redundant: Vec::new(),
            retracted: Vec::new(),
            tempids,
            fresh: Fresh::default(),
            queue: Vec::new(),
        }
    }

    /// Processes the items from left to right (datascript.md 9.2). What an item leaves in the queue are its own values, or
    /// parts of what it retracts, which are gone then: the queue empties.
    pub(super) fn items(&mut self, items: &'a [Value]) -> Step<'a> {
        let mut maps = self.maps.roots();
        for item in items {
            match item {
                Value::Nil => {}
                Value::Vector(fields) | Value::List(fields) => self.vector(fields)?,
                Value::Map(_) => {
                    if let Some(map) = maps.next() {
                        self.map(map, None)?;
                    }
                }
                Value::Tagged(tagged) if &*tagged.tag == "datascript/Datom" => self.datom(&tagged.rep)?,
                _ => return Err(refuse(ErrorKind::TransactSyntax, "Bad entity type, expected map or vector")),
            }
            while let Some(work) = self.queue.pop() {
                match work {
                    Work::Add { e, a, v } => self.add(e, a, v, None)?,
                    Work::Map { item, link } => self.map(item, Some(link))?,
                    Work::RetractEntity(e) => self.retract_entity(e)?,
                }
            }
        }
        if self.tempids.has_open_guess() { Err(Stop::WrongGuess) } else { Ok(()) }
    }

    /// The id for a new entity: the one after the greatest in use. The caller binds it.
    ///
    /// Should the stored counter have been too low, ids that are in use are passed over.
    pub(super) fn next_eid(&mut self) -> Step<'a, Eid> {
        let mut eid = self.db.max_eid.saturating_add(1);
        while self.tempids.is_kept(eid) || eid < TX0 && self.db.exists(eid)? {
            eid += 1;
        }
        if eid >= TX0 {
            return Err(refuse(ErrorKind::EntityId, "No entity id is left for a new entity"));
        }
        self.db.advance_max_eid(eid);
        self.fresh.begin(eid);
        Ok(eid)
    }

    /// Whether nothing is done about an entity.
    #[inline]
    pub(super) fn is_excepted(&self, e: Eid) -> bool {
        !self.except.is_empty() && self.except.contains(&e)
    }

    /// The attribute of a keyword, known to the interner from now on.
    pub(super) fn intern(&self, keyword: &Keyword) -> Step<'a, Attr> {
        let attrs = self.db.attrs();
        if attrs.are_too_many() {
            return Err(Error::TooManyNames.into());
        }
        Ok(attrs.intern(keyword))
    }

    /// Resolves a reference for which tempids were dealt with before; nothing found is an error.
    pub(super) fn strict(&self, place: Place<'a>) -> Step<'a, Eid> {
        Ok(match place {
            Place::Eid(eid) => eid,
            Place::Reference(value) => self.db.entid_strict(value)?,
            Place::Temp(name) | Place::Tx(name) => self.db.entid_strict(&name.value().unwrap_or_default())?,
        })
    }

    /// The same; nothing found is no error.
    pub(super) fn lenient(&self, place: Place<'a>) -> Step<'a, Option<Eid>> {
        Ok(match place {
            Place::Eid(eid) => Some(eid),
            Place::Reference(value) => self.db.entid(value)?,
            Place::Temp(name) | Place::Tx(name) => self.db.entid(&name.value().unwrap_or_default())?,
        })
    }

    /// Replaces a name of the transaction by its id.
    pub(super) fn name_tx(&mut self, place: Place<'a>) -> Place<'a> {
        match place {
            Place::Tx(name) => {
                self.tempids.reach(name, self.tx);
                Place::Eid(self.tx)
            }
            other => other,
        }
    }

    /// Resolves a tempid in value position, with a new id if it is not known yet.
    pub(super) fn target(&mut self, place: Place<'a>) -> Step<'a, Place<'a>> {
        Ok(match self.name_tx(place) {
            Place::Temp(name) => {
                let eid = if let Some(eid) = self.tempids.get(name) {
                    eid
                } else {
                    let eid = self.next_eid()?;
                    self.tempids.reach(name, eid);
                    eid
                };
                self.tempids.use_as_value(name, eid);
                Place::Eid(eid)
            }
            other => other,
        })
    }

    pub(super) fn into_tempids(self) -> Tempids<'a> {
        self.tempids
    }

    /// The report, once every item was processed (datascript.md 9.7, end).
    pub(super) fn finish(self, before: &Db) -> Result<Report> {
        self.check_value_tempids()?;
        let mut db_after = self.db;
        db_after.close()?;
        db_after.max_tx = self.tx;
        if !self.tx_data.is_empty() {
            db_after.line = db_after.nodes.next_value();
            db_after.nodes.referrers().borrow_mut().advance(db_after.line);
        }
        Ok(Report {
            db_before: before.clone(),
            db_after,
            tx_data: self.tx_data,
            tempids: self.tempids.report(self.tx),
            retracted: self.retracted,
        })
    }

    fn check_value_tempids(&self) -> Result<()> {
        let mut unused: keyed::Set<Eid> = self.tempids.used_as_value().map(|(eid, _)| eid).collect();
        if unused.is_empty() {
            return Ok(());
        }
        for datom in self.tx_data.iter().filter(|datom| datom.added) {
            unused.remove(&datom.e);
        }
        for eid in &self.redundant {
            unused.remove(eid);
        }
        if unused.is_empty() {
            return Ok(());
        }
        Err(TransactError::new(ErrorKind::TransactSyntax, "Tempids used only as value in transaction").into())
    }
}
