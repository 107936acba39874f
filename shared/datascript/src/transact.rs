//! Transactions: from items to a new database value (datascript.md 9).

mod add;
mod apply;
mod cas;
mod item;
mod map;
mod place;
mod prepare;
mod retract;
mod run;
mod tempids;

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
}

/// How often a transaction may start over before the tempids that are left are looked for in one go.
const PATIENT_RESTARTS: u32 = 8;

/// Applies transaction items to a database value, which stays as it is. Whatever is refused is an
/// [`Error::Transact`](crate::Error::Transact), and then nothing happened at all.
pub fn with(db: &Db, items: &[Value]) -> Result<Report> {
    let maps = prepare::maps(db, items);
    let mut tempids = Tempids::default();
    let mut restarts = 0;
    loop {
        let mut run = Run::new(db, &maps, tempids);
        match run.items(items) {
            Ok(()) => return run.finish(db),
            Err(Stop::Refused(error)) => return Err(error),
            Err(Stop::Restart { tempid, eid }) => {
                restarts += 1;
                if restarts > PATIENT_RESTARTS {
                    return Err(too_many_restarts());
                }
                tempids = run.into_tempids();
                tempids.settle(tempid, eid)?;
            }
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

fn too_many_restarts() -> crate::Error {
    TransactError::new(ErrorKind::TransactUpsert, "Too many tempids resolve to entities found later").into()
}
