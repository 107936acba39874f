//! Transactions: from items to a new database value (datascript.md 9).

mod add;
mod ahead;
mod apply;
mod cas;
mod fresh;
mod item;
mod map;
mod place;
mod prepare;
mod retract;
mod run;
mod tempids;
#[cfg(test)]
mod tests;

use transit::Value;

use crate::datom::{Datom, Eid};
use crate::db::Db;
use crate::error::{ErrorKind, Result, TransactError};
use run::{Run, Stop};
use tempids::Tempids;

/// What a transaction did.
#[derive(Clone, Debug)]
pub struct Report {
    /// The value that the transaction was applied to.
    pub db_before: Db,
    /// The value that it made.
    pub db_after: Db,
    /// Every assertion and retraction, in the order in which they happened (datascript.md 9.9).
    pub tx_data: Vec<Datom>,
    /// What each tempid became, the name `:db/current-tx` included.
    pub tempids: Vec<(Value, Eid)>,
    /// Entities that were retracted as a whole, with every reference to them, in the order in which it happened.
    pub retracted: Vec<Eid>,
}

/// After so many new starts the tempids that are left are looked up in one go.
const PATIENCE: usize = 8;

/// Bound on the work of a transaction that starts over again and again: new starts times items and nested maps. Within a batch its work bounds
/// them earlier ([`Work`](crate::Work)).
const MAX_REPEATED_ITEMS: usize = 1_000_000;

/// Applies transaction items to a database value, which stays as it is. Whatever is refused is an
/// [`Error::Transact`](crate::Error::Transact), and then nothing happened at all.
pub fn with(db: &Db, items: &[Value]) -> Result<Report> {
    with_except(db, items, &keyed::Set::default())
}

/// The same, but that nothing is done that the items say of some entities: their facts stay as they are, as if no item
/// were about them. New entities get the ids that they get without the exception, so that one transaction can tell which to
/// leave out of the next.
#[expect(clippy::implicit_hasher, reason = "sets over what clients choose are hashed with the secret")]
pub fn with_except(db: &Db, items: &[Value], except: &keyed::Set<Eid>) -> Result<Report> {
    // Each new start settles one tempid, or takes back all guesses, once; see the bound on them.
    let maps = prepare::maps(db, items);
    let mut tempids = Tempids::default();
    let mut certain = None;
    let mut starts = 0;
    loop {
        let mut run = Run::new(db, &maps, tempids, except);
        let stop = match run.items(items) {
            Ok(()) => return run.finish(db),
            Err(stop) => stop,
        };
        starts += 1;
        if starts * (items.len() + maps.len()) > MAX_REPEATED_ITEMS {
            return Err(too_many_starts());
        }
        tempids = run.into_tempids();
        match stop {
            Stop::Refused(error) => return Err(error),
            Stop::Restart { tempid, eid } if !tempids.is_guess(tempid) => tempids.settle(tempid, eid)?,
            Stop::Restart { .. } | Stop::WrongGuess => tempids = certain.take().unwrap_or_default(),
        }
        if starts == PATIENCE {
            certain = Some(tempids.clone());
            ahead::guess(db, items, &maps, &mut tempids)?;
        }
    }
}

/// The same for a value that should be the list of items: a vector, a list or nil.
pub fn with_value(db: &Db, items: &Value) -> Result<Report> {
    match items {
        Value::Nil => with(db, &[]),
        Value::Vector(items) | Value::List(items) => with(db, items),
        _ => {
            let message = "Bad transaction data, expected sequential collection";
            Err(TransactError::new(ErrorKind::TransactSyntax, message).into())
        }
    }
}

fn too_many_starts() -> crate::Error {
    TransactError::new(ErrorKind::TransactUpsert, "Too many tempids denote entities that are found late").into()
}
