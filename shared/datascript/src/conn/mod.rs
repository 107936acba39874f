//! A graph's current value and what of it is not stored yet (datascript.md 6, 7, 10).

mod flush;
mod journal;
mod open;
#[cfg(test)]
mod tests;

use std::fmt;
use std::rc::Rc;

use crate::attrs::Attrs;
use crate::datom::{Datom, TxId};
use crate::db::Db;
use crate::nodes::Nodes;
use crate::row::{RootWriter, is_longer_than};
use crate::storage::{Addr, MAX_ROW_TEXT};
use crate::transact::Report;
use crate::tree::SHORT_KEY;

pub use journal::{MAX_JOURNAL_DATOMS, MAX_JOURNAL_ROWS, Unstored};

/// The connection to one graph: its current value, the transactions since the last flush, the address counter.
///
/// [`Conn::install`] makes a transaction's result current in memory; [`Conn::take_writes`] gives the rows to store for all
/// that was installed since. A caller that cannot store them drops the connection and opens the graph again.
///
/// A connection that is [journaled](Conn::journaled) is asked with [`Conn::next_unstored`] instead: most of the time one row of
/// a journal makes transactions durable, and their nodes are written at checkpoints.
///
/// Values older than the last flush must not be read any more: nodes that they would load are overwritten (DS-2).
pub struct Conn {
    nodes: Rc<Nodes>,
    db: Db,
    policy: Policy,
    /// The transactions since the last flush, as they stand in the tail row, or those that no journal has yet; none once
    /// everything is to be flushed.
    tail: Vec<Vec<Datom>>,
    /// What the journal holds since the last flush.
    journal: journal::Size,
    /// The id that the last transaction of the tail and the journal had when it was made, or that of the root row: where the
    /// next one goes on that is applied again.
    live_tx: TxId,
    pending: Pending,
    /// The greatest address handed out for this graph.
    max_addr: Addr,
    root: RootWriter,
}

/// Where transactions wait until their nodes are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    /// In the tail row, 32 datoms at most (6.1).
    Tail,
    /// In a journal that may hold so many datoms (13.5).
    Journal(usize),
}

/// What the rows lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    /// Nothing.
    Nothing,
    /// The last transactions of the tail.
    Tail,
    /// Everything: the graph was never stored, or there is more than the tail or the journal may hold.
    All,
}

impl Conn {
    /// The current value.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Where the graph's nodes come from.
    pub fn nodes(&self) -> &Rc<Nodes> {
        &self.nodes
    }

    /// The transactions since the last flush, unless there are too many for a tail.
    pub fn tail(&self) -> &[Vec<Datom>] {
        &self.tail
    }

    /// Makes the result of a transaction on [`Conn::db`] the current value and appends its datoms, even if there are none,
    /// to the tail.
    pub fn install(&mut self, report: Report) {
        self.db = report.db_after;
        if self.pending != Pending::All {
            self.tail.push(report.tx_data);
            self.pending = if self.is_full() { Pending::All } else { Pending::Tail };
        }
        if self.pending == Pending::All {
            // A long batch would keep all its datoms here once more.
            self.tail = Vec::new();
        }
    }
}

/// Whether a datom cannot be stored for its size: a leaf of it alone, or an inner node with it between two children, would
/// be longer than 2,000,000 bytes (datascript.md 13.4).
pub fn datom_too_large(datom: &Datom, attrs: &Attrs) -> bool {
    is_longer_than(datom, attrs, MAX_ROW_TEXT - SHORT_KEY)
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn")
            .field("db", &self.db)
            .field("tail", &self.tail.len())
            .field("journal", &self.journal)
            .field("pending", &self.pending)
            .field("max_addr", &self.max_addr)
            .finish_non_exhaustive()
    }
}
