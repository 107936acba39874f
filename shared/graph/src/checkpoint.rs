//! Checkpoints: nodes catch up with the journal (datascript.md 13.5, D-39).

use std::cell::Cell;
use std::rc::Rc;

use crate::error::{Error, Result};
use crate::faults::{self, Point};
use crate::graph::Graph;
use crate::store::{discard, journal, kvs};
use database::local::{Sql, SqlError};

/// How the transactions of a batch are made durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WritePolicy {
    /// By one row of a journal; nodes are written at checkpoints (D-39).
    #[default]
    Journal,
    /// By the tail row, which holds 32 datoms, and by all changed nodes once it is full (datascript.md 6.1).
    Tail,
}

impl<S: Sql + 'static> Graph<S> {
    /// The number of the last batch that waits in the journal, as far as is known in memory: where there is one,
    /// [`Graph::checkpoint`] is to be called once the graph is idle. Reads nothing.
    pub fn waits_for_checkpoint(&self) -> Option<i64> {
        let meta = self.meta.as_ref()?;
        (!meta.uploading && !meta.journaled.is_checkpointed()).then_some(meta.journaled.last)
    }

    /// Whether rows of a graph that was replaced, or of an upload that was given up, wait to be deleted by [`Graph::sweep`].
    pub fn waits_for_sweep(&mut self) -> Result<bool> {
        if let Some(known) = self.discarded {
            return Ok(known);
        }
        self.ensure_tables()?;
        let any = discard::any(&*self.sql)?;
        self.discarded = Some(any);
        Ok(any)
    }

    /// Deletes about a megabyte of the rows that nothing refers to any more (sync.md D-40). False: none are left, or a
    /// table without rows cannot be dropped yet and goes with a later call.
    pub fn sweep(&mut self) -> Result<bool> {
        if !self.waits_for_sweep()? {
            return Ok(false);
        }
        let more = discard::sweep(&*self.sql)?;
        // At the end it is asked again: a table may have to wait.
        self.discarded = more.then_some(true);
        faults::reach(Point::SweepBetweenSteps)?;
        Ok(more)
    }

    /// Writes the nodes of all that only the journal holds, so that the rows alone are the graph. Does nothing where the rows
    /// are, while an upload closes the graph, and to a graph that was deleted.
    ///
    /// # Errors
    /// Nothing was written: the journal still holds what it held.
    pub fn checkpoint(&mut self) -> Result<()> {
        if self.is_deleted()? {
            return Ok(());
        }
        let meta = self.meta()?;
        if meta.uploading || meta.journaled.is_checkpointed() {
            return Ok(());
        }
        let outcome = self.write_checkpoint();
        if outcome.is_err() {
            // What the connection has given away as written is not.
            self.forget();
        }
        outcome
    }

    fn write_checkpoint(&mut self) -> Result<()> {
        faults::reach(Point::CheckpointBeforeStorage)?;
        let meta = self.meta()?;
        let (last, t, checksum) = (meta.journaled.last, meta.t, meta.checksum.clone());
        self.settle_exports()?;
        self.counted = None;
        let sql = Rc::clone(&self.sql);
        let (open, exports) = self.open_with_exports()?;
        let fault = Cell::new(None);
        let outcome = sql.transaction(&mut || {
            kvs::write_out(&sql, &mut open.conn, &mut |writes| exports.save_before(&*sql, writes))?;
            if let Err(reached) = faults::reach(Point::CheckpointInsideStorage) {
                fault.set(Some(reached));
                return Err(SqlError::Other("fault".into()));
            }
            journal::checkpoint(&*sql, last, t, checksum.as_deref())
        });
        if let Some(reached) = fault.take() {
            return Err(reached);
        }
        outcome.map_err(Error::from)?;
        self.meta()?.journaled.checkpoint = last;
        faults::reach(Point::CheckpointAfterStorage)
    }
}
