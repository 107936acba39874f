//! Rows as a whole: looked at when they come in, and once for those of earlier versions; damaged indexes are built again.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use datascript::verify::{Damage, Rebuild, Repaired, Verify, rebuild};
use datascript::{Addr, Attrs, StorageError, Writes};
use transit::Limits;

use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::rules;
use crate::store::{kvs, meta};
use database::local::{Sql, SqlError};

/// Leaves that are looked at in one go: some milliseconds.
pub(crate) const PIECE_LEAVES: usize = 256;

/// Leaves from which indexes are built again in one go: some milliseconds, some tens where the leaves are in no order.
const REBUILT_LEAVES: usize = 16;

/// What was found wrong with a graph's rows, for the log. It names no content.
#[derive(Debug)]
pub enum Notice {
    /// Damaged indexes were built again.
    Repaired(Repaired),
    /// A row cannot be used. What does not need it goes on.
    Unusable(datascript::Error),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repaired(Repaired { damage: Damage { facts, .. }, facts: count, left_out }) => {
                let indexes = if *facts { "all indexes" } else { "the index by value" };
                write!(f, "damaged rows: {indexes} built again, {count} facts, {left_out} left out that were retracted")
            }
            Self::Unusable(error) => write!(f, "damaged rows: {error}"),
        }
    }
}

impl<S: Sql + 'static> Graph<S> {
    /// What there is to log since the last call.
    pub fn take_notice(&mut self) -> Option<Notice> {
        self.notice.take()
    }

    /// Looks at all rows of a graph that an earlier version may have written, and repairs what can be repaired. Once for
    /// each graph; costs a read of all rows.
    pub(crate) fn verify_once(&mut self) -> Result<()> {
        if self.meta()?.verified {
            return Ok(());
        }
        let damage = match self.verify_stored() {
            Ok(damage) => damage,
            Err(error @ datascript::Error::Storage(_)) => return Err(error.into()),
            Err(error) => {
                self.notice = Some(Notice::Unusable(error));
                Damage::default()
            }
        };
        let (t, stored) = {
            let meta = self.meta()?;
            (meta.t, meta.checksum.clone())
        };
        let sql = Rc::clone(&self.sql);
        let mut repaired = None;
        let mut failed = None;
        let outcome = sql.transaction(&mut || {
            if damage.any() {
                repaired = Some(rebuild_indexes(&sql, damage)?);
                kvs::drop_saved(&*sql)?;
            }
            if damage.facts && stored.is_some() {
                match self.full_checksum() {
                    Ok(checksum) => meta::advance(&*sql, t, Some(&checksum))?,
                    Err(error) => {
                        failed = Some(error);
                        return Err(SqlError::Other("rolled back".into()));
                    }
                }
            }
            meta::set_verified(&*sql)
        });
        if let Some(failed) = failed {
            return Err(failed);
        }
        outcome?;
        if let Some(repaired) = repaired {
            self.notice = Some(Notice::Repaired(repaired));
            self.replaced();
        }
        self.meta = None;
        Ok(())
    }

    fn verify_stored(&self) -> Result<Damage, datascript::Error> {
        let rows = kvs::Kvs(Rc::clone(&self.sql));
        let greatest = kvs::greatest_addr(&*self.sql).map_err(|error| StorageError(error.to_string()))?;
        let Some(greatest) = greatest else { return Ok(Damage::default()) };
        let schema = rules::static_schema(Attrs::new(rules::attrs::PRESET));
        let mut verify =
            Verify::new(Rc::new(rows), schema, u64::try_from(greatest).unwrap_or(u64::MAX), Limits::STORED)?;
        while verify.step(PIECE_LEAVES)? {}
        Ok(verify.damage())
    }

    /// The checksum of the rows as they are now.
    pub(crate) fn full_checksum(&self) -> Result<String> {
        let conn = self.connect()?;
        Ok(rules::checksum::full(conn.db()).map_err(Error::from)?.to_string())
    }
}

/// Builds damaged indexes again; to be called within a transaction.
pub(crate) fn rebuild_indexes<S: Sql + 'static>(sql: &Rc<S>, damage: Damage) -> Result<Repaired, SqlError> {
    let rows = Rc::new(kvs::Kvs(Rc::clone(sql)));
    let greatest = as_addr(kvs::greatest_addr(&**sql)?);
    writing(&mut |writes| replace(&**sql, writes), |write| {
        rebuild(rows, Attrs::new(rules::attrs::PRESET), greatest, damage, write)
    })
}

/// Writes rows over what their addresses held, and deletes others.
pub(crate) fn replace(sql: &impl Sql, writes: &Writes) -> Result<(), SqlError> {
    kvs::put(sql, &writes.rows)?;
    kvs::delete(sql, &writes.deleted)
}

/// Damaged indexes of an upload that are built again before it ends, while others have their turn. What is built is kept with
/// the rows of the upload, beyond their addresses.
pub(crate) struct Repair(Rebuild);

impl Repair {
    pub(crate) fn new<S: Sql + 'static>(rows: kvs::Uploaded<S>, damage: Damage) -> Result<Self, SqlError> {
        let greatest = as_addr(rows.greatest_addr()?);
        Rebuild::new(Rc::new(rows), Attrs::new(rules::attrs::PRESET), greatest, damage).map(Self).map_err(failed)
    }

    /// Builds some more. False: all was built.
    pub(crate) fn step(&mut self, sql: &impl Sql) -> Result<bool, SqlError> {
        let mut stage = |writes: &Writes| {
            sql.transaction(&mut || {
                kvs::stage(sql, &writes.rows)?;
                kvs::unstage(sql, &writes.deleted)
            })
        };
        writing(&mut stage, |write| self.0.step(REBUILT_LEAVES, write))
    }

    /// What is to be written over the rows of the upload, once all was built.
    pub(crate) fn finish(self) -> (Writes, Repaired) {
        self.0.finish()
    }
}

fn as_addr(addr: Option<i64>) -> Addr {
    addr.and_then(|addr| Addr::try_from(addr).ok()).unwrap_or(0)
}

/// Runs `body`, which writes rows through a callback. Where a write fails, the result is the database's own error.
fn writing<T>(
    put: &mut dyn FnMut(&Writes) -> Result<(), SqlError>,
    body: impl FnOnce(&mut dyn FnMut(Writes) -> datascript::Result<()>) -> datascript::Result<T>,
) -> Result<T, SqlError> {
    let refused = RefCell::new(None);
    let mut write = |writes: Writes| {
        put(&writes).map_err(|error| {
            let text = error.to_string();
            refused.replace(Some(error));
            StorageError(text).into()
        })
    };
    body(&mut write).map_err(|error| refused.take().unwrap_or_else(|| failed(error)))
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function for map_err")]
fn failed(error: datascript::Error) -> SqlError {
    SqlError::Other(error.to_string())
}
