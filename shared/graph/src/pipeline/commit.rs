//! Writing a batch: everything it did, in one storage transaction (sync.md 11.9, datascript.md 13.4).

use std::cell::Cell;
use std::rc::Rc;

use super::entry::Pending;
use crate::error::{Error, Result};
use crate::faults::{self, Point};
use crate::graph::Graph;
use crate::store::{kvs, log, meta};
use database::local::{Sql, SqlError};

impl<S: Sql + 'static> Graph<S> {
    /// Stores what the connection and the pending log hold. After an error the caller forgets both.
    pub(super) fn commit(&mut self, pending: &Pending) -> Result<()> {
        if !self.open()?.conn.has_writes() && pending.log.is_empty() {
            return Ok(());
        }
        faults::reach(Point::CommitBeforeStorage)?;
        self.settle_exports()?;
        let sql = Rc::clone(&self.sql);
        let (open, exports) = self.open_with_exports()?;
        let fault = Cell::new(None);
        let outcome = sql.transaction(&mut || {
            // One part after another, so that they are not in memory together.
            kvs::write_out(&sql, &mut open.conn, &mut |writes| {
                let rows = writes.rows.iter().map(|row| row.addr);
                exports.save(&*sql, rows.chain(writes.deleted.iter().copied()).map(i64::from))
            })?;
            if let Err(reached) = faults::reach(Point::CommitInsideStorage) {
                fault.set(Some(reached));
                return Err(SqlError::Other("fault".into()));
            }
            if pending.log.is_empty() {
                return Ok(());
            }
            log::append(&*sql, &pending.log)?;
            meta::advance(&*sql, pending.t, pending.checksum.as_deref())
        });
        if let Some(reached) = fault.take() {
            return Err(reached);
        }
        outcome.map_err(Error::from)?;
        let meta = self.meta()?;
        meta.t = pending.t;
        meta.checksum.clone_from(&pending.checksum);
        faults::reach(Point::CommitAfterStorage)
    }
}
