//! A graph's current value and what of it is not stored yet (datascript.md 6, 7, 10).

mod flush;
mod open;
#[cfg(test)]
mod tests;

use std::fmt;
use std::rc::Rc;

use crate::attrs::Attrs;
use crate::datom::Datom;
use crate::db::Db;
use crate::nodes::Nodes;
use crate::row::{RootWriter, is_longer_than};
use crate::storage::{Addr, MAX_ROW_TEXT};
use crate::transact::Report;
use crate::tree::SHORT_KEY;

/// The connection to one graph: its current value, the transactions since the last flush, the address counter.
///
/// [`Conn::install`] makes a transaction's result current in memory; [`Conn::take_writes`] gives the rows to store for all
/// that was installed since. A caller that cannot store them drops the connection and opens the graph again.
///
/// Values older than the last flush must not be read any more: nodes that they would load are overwritten (DS-2).
pub struct Conn {
    nodes: Rc<Nodes>,
    db: Db,
    /// The transactions since the last flush, as they stand in the tail row; none once everything is to be flushed.
    tail: Vec<Vec<Datom>>,
    pending: Pending,
    /// The greatest address handed out for this graph.
    max_addr: Addr,
    root: RootWriter,
}

/// What the rows lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    /// Nothing.
    Nothing,
    /// The last transactions of the tail.
    Tail,
    /// Everything: the graph was never stored, or there is more than the tail may hold.
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
            let is_full = flush::is_too_long(&self.tail);
            self.pending = if is_full { Pending::All } else { Pending::Tail };
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
            .field("pending", &self.pending)
            .field("max_addr", &self.max_addr)
            .finish_non_exhaustive()
    }
}
