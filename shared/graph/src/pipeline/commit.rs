//! Writing a batch: everything it did, in one storage transaction (sync.md 11.9, datascript.md 13.4).

use std::cell::Cell;
use std::rc::Rc;

use datascript::Unstored;

use super::entry::Pending;
use crate::WritePolicy;
use crate::error::{Error, Result};
use crate::faults::{self, Point};
use crate::graph::Graph;
use crate::store::journal::{self, JournalRow};
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
        self.counted = None;
        let (t, checksum) = (pending.t, pending.checksum.as_deref());
        let mut journaled = self.meta()?.journaled;
        let is_journaled = self.options.writes == WritePolicy::Journal || !journaled.is_checkpointed();
        let sql = Rc::clone(&self.sql);
        let (open, exports) = self.open_with_exports()?;
        let unstored = open.conn.next_unstored();
        let fault = Cell::new(None);
        let outcome = sql.transaction(&mut || {
            match &unstored {
                Unstored::Nothing => {}
                Unstored::Journal(txs) => {
                    journal::append(&*sql, &JournalRow { seq: journaled.last + 1, t, checksum, txs })?;
                }
                // One part after another, so that they are not in memory together.
                Unstored::Rows => {
                    kvs::write_out(&sql, &mut open.conn, &mut |writes| exports.save_before(&*sql, writes))?;
                }
            }
            if let Err(reached) = faults::reach(Point::CommitInsideStorage) {
                fault.set(Some(reached));
                return Err(SqlError::Other("fault".into()));
            }
            log::append(&*sql, &pending.log)?;
            match &unstored {
                Unstored::Journal(_) => Ok(()),
                Unstored::Rows if is_journaled => journal::checkpoint(&*sql, journaled.last, t, checksum),
                _ if pending.log.is_empty() => Ok(()),
                _ => meta::advance(&*sql, t, checksum),
            }
        });
        if let Some(reached) = fault.take() {
            return Err(reached);
        }
        outcome.map_err(Error::from)?;
        match unstored {
            Unstored::Journal(_) => journaled.last += 1,
            Unstored::Rows => journaled.checkpoint = journaled.last,
            Unstored::Nothing => {}
        }
        let meta = self.meta()?;
        meta.t = t;
        meta.checksum.clone_from(&pending.checksum);
        meta.journaled = journaled;
        faults::reach(Point::CommitAfterStorage)
    }
}
