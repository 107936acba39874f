//! What has to be written, and when (datascript.md 6.1, 6.2).

use super::{Conn, Pending, Policy, journal};
use crate::datom::Datom;
use crate::error::Result;
use crate::index::Index;
use crate::row::{RootFields, encode_tail};
use crate::storage::{ROOT_ADDR, Row, TAIL_ADDR, Writes};
use crate::tree::Store;

/// Datoms that the tail may hold; one more, and everything is flushed.
const MAX_TAIL_DATOMS: usize = 32;
/// Transactions that it, or one row of a journal, may hold; only empty ones can be as many.
const MAX_TAIL_TRANSACTIONS: usize = 1024;
/// Bytes of the tail row; beyond it the nodes, which can be split, are written instead.
const MAX_TAIL_TEXT: usize = 1_000_000;

/// Whether transactions are too many for the place where they wait, which may take so many datoms.
fn is_too_long(transactions: &[Vec<Datom>], datoms: usize) -> bool {
    transactions.len() > MAX_TAIL_TRANSACTIONS || transactions.iter().map(Vec::len).sum::<usize>() > datoms
}

impl Conn {
    /// Whether all nodes have to be stored because of what was installed.
    pub(super) fn is_full(&self) -> bool {
        match self.policy {
            // Rows of a journal cannot move to the tail.
            Policy::Tail => self.journal.rows > 0 || is_too_long(&self.tail, MAX_TAIL_DATOMS),
            Policy::Journal(datoms) => is_too_long(&self.tail, datoms.saturating_sub(self.journal.datoms)),
        }
    }

    /// Whether anything has to be stored that was installed since the last call.
    pub fn has_writes(&self) -> bool {
        self.pending != Pending::Nothing && self.nodes.is_stored()
    }

    /// Hands on the rows to store for everything installed since the last call, in parts of about a megabyte; nothing if
    /// nothing was. All of them or none have to be stored.
    ///
    /// While the tail holds at most 32 datoms, that is the tail row alone; beyond, and always where there is a journal, all
    /// dirty nodes, the root row and an empty tail: a checkpoint, also of what only the journal holds. The nodes count as clean from here on: if the rows cannot be stored, or after an error, the connection
    /// has to be dropped. While parts are stored only nodes are read that none of them holds.
    pub fn write_out(&mut self, sink: &mut dyn FnMut(Writes) -> Result<()>) -> Result<()> {
        let has_writes = self.has_writes() || self.journal.rows > 0;
        let pending = std::mem::replace(&mut self.pending, Pending::Nothing);
        if !self.nodes.is_stored() {
            self.tail.clear();
        }
        if !has_writes {
            return Ok(());
        }
        if pending == Pending::Tail
            && self.policy == Policy::Tail
            && let Some(content) = encode_tail(&self.tail, self.nodes.attrs(), MAX_TAIL_TEXT)
        {
            let row = Row { addr: TAIL_ADDR, content, addresses: None };
            return sink(Writes { rows: vec![row], deleted: Vec::new() });
        }
        self.flush(sink)
    }

    /// [`Conn::write_out`] all at once.
    pub fn take_writes(&mut self) -> Result<Writes> {
        let mut all = Writes::default();
        self.write_out(&mut |mut part| {
            all.rows.append(&mut part.rows);
            all.deleted.append(&mut part.deleted);
            Ok(())
        })?;
        Ok(all)
    }

    fn flush(&mut self, sink: &mut dyn FnMut(Writes) -> Result<()>) -> Result<()> {
        self.tail.clear();
        let db = &mut self.db;
        let mut store = Store::new(&self.nodes, self.max_addr, sink);
        for (tree, index) in db.settled()?.into_iter().zip([Index::Eavt, Index::Aevt, Index::Avet]) {
            store.tree(tree, index)?;
        }
        let stored = store.finish();
        self.nodes.none_waits();
        self.journal = journal::Size::default();
        self.max_addr = stored.counter;
        let content = self.root.encode(&RootFields {
            schema: &db.schema,
            max_eid: db.max_eid,
            max_tx: db.max_tx,
            max_addr: self.max_addr,
            trees: [
                ("eavt", "eavt-metadata", db.tree(Index::Eavt)?),
                ("aevt", "aevt-metadata", db.tree(Index::Aevt)?),
                ("avet", "avet-metadata", db.tree(Index::Avet)?),
            ],
        });
        let mut rest = stored.rest;
        rest.rows.push(Row { addr: ROOT_ADDR, content, addresses: None });
        rest.rows.push(Row { addr: TAIL_ADDR, content: "[]".to_owned(), addresses: None });
        sink(rest)
    }
}
