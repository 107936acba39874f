//! One item of transaction data, as the rules look at it (sync.md 11.4).

use datascript::{Db, E_MAX, Eid, Error, Value};

use super::Result;

/// What an item is. Only vectors count, not lists, and only these shapes; the transactor judges all others.
#[derive(Clone, Copy)]
pub(crate) enum Item<'a> {
    /// A map form.
    Map(&'a [(Value, Value)]),
    /// `[:db/retractEntity e]`, of exactly two elements.
    RetractEntity(&'a Value),
    /// An add, retract or compare-and-set of at least four elements.
    Fact(Fact<'a>),
    /// Anything else.
    Other,
}

/// `[op e a v …]`
#[derive(Clone, Copy)]
pub(crate) struct Fact<'a> {
    pub(crate) verb: Verb,
    pub(crate) e: &'a Value,
    pub(crate) a: &'a Value,
    pub(crate) v: &'a Value,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Add,
    Retract,
    Cas,
}

impl<'a> Item<'a> {
    pub(crate) fn of(item: &'a Value) -> Self {
        match item {
            Value::Map(entries) => Self::Map(entries),
            Value::Vector(parts) => match &**parts {
                [Value::Keyword(op), e] if is_retract_entity(op.as_str()) => Self::RetractEntity(e),
                [Value::Keyword(op), e, a, v, ..] => match op.as_str() {
                    "db/add" => Self::Fact(Fact { verb: Verb::Add, e, a, v }),
                    "db/retract" => Self::Fact(Fact { verb: Verb::Retract, e, a, v }),
                    "db/cas" | "db.fn/cas" => Self::Fact(Fact { verb: Verb::Cas, e, a, v }),
                    _ => Self::Other,
                },
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

/// The target of a vector that retracts an entity, whatever its length: what the clean-up of sync.md 11.5 goes by.
pub(crate) fn retracted(item: &Value) -> Option<&Value> {
    match item.as_vector()? {
        [Value::Keyword(op), e, ..] if is_retract_entity(op.as_str()) => Some(e),
        _ => None,
    }
}

pub(crate) fn is_retract_entity(op: &str) -> bool {
    matches!(op, "db/retractEntity" | "db.fn/retractEntity")
}

/// The value under a keyword key of a map form.
pub(crate) fn get<'a>(entries: &'a [(Value, Value)], key: &str) -> Option<&'a Value> {
    entries.iter().find(|(k, _)| k.is_keyword(key)).map(|(_, value)| value)
}

/// The entity that a reference denotes in a database, if it has any datom (sync.md 11.4). Malformed references denote
/// nothing; only storage can fail.
pub(crate) fn resolve(db: &Db, reference: &Value) -> Result<Option<Eid>> {
    match reference {
        Value::Int(number) => match Eid::try_from(*number) {
            Ok(eid) if eid > 0 && eid <= E_MAX => Ok(db.exists(eid)?.then_some(eid)),
            _ => Ok(None),
        },
        Value::Vector(_) | Value::List(_) | Value::Keyword(_) => match db.entid(reference) {
            Ok(eid) => Ok(eid),
            Err(Error::Transact(_)) => Ok(None),
            Err(error) => Err(error.into()),
        },
        _ => Ok(None),
    }
}

/// Resolves references in the order of an entry's items, where neighbours mostly mention the same entity.
pub(crate) struct Resolver<'d> {
    db: &'d Db,
    last: Option<(Value, Option<Eid>)>,
}

impl<'d> Resolver<'d> {
    pub(crate) fn new(db: &'d Db) -> Self {
        Self { db, last: None }
    }

    pub(crate) fn resolve(&mut self, reference: &Value) -> Result<Option<Eid>> {
        if !matches!(reference, Value::Int(_) | Value::Vector(_) | Value::List(_) | Value::Keyword(_)) {
            return Ok(None);
        }
        match &self.last {
            Some((last, eid)) if last == reference => Ok(*eid),
            _ => {
                let eid = resolve(self.db, reference)?;
                self.last = Some((reference.clone(), eid));
                Ok(eid)
            }
        }
    }
}

/// `Vec::retain` with a test that may fail; after an error nothing more is removed.
pub(crate) fn try_retain(items: &mut Vec<Value>, mut test: impl FnMut(&Value) -> Result<bool>) -> Result<()> {
    let mut outcome = Ok(());
    items.retain(|item| {
        if outcome.is_err() {
            return true;
        }
        test(item).unwrap_or_else(|error| {
            outcome = Err(error);
            true
        })
    });
    outcome
}
