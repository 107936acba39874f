//! What a journal holds between two checkpoints (datascript.md 13.5): transactions whose nodes are not stored yet.

use super::{Conn, Pending, Policy};
use crate::error::Result;
use crate::row::{decode_tail, encode_tail};
use crate::storage::{Row, TAIL_ADDR};
use transit::Limits;

/// Rows that a journal holds at most since the last checkpoint: a caller may keep them in a ring of so many places.
pub const MAX_JOURNAL_ROWS: usize = 512;

/// Datoms that it should hold at most. All of them are applied again when the graph is opened after a crash, each in three
/// trees.
pub const MAX_JOURNAL_DATOMS: usize = 4096;

/// Bytes that it may hold.
const MAX_JOURNAL_TEXT: usize = 512 << 10;

/// Memory of the nodes that wait to be stored, in bytes.
const MAX_WAITING_NODES: usize = 6 << 20;

/// How much a journal holds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Size {
    pub(super) rows: usize,
    pub(super) datoms: usize,
    bytes: usize,
}

impl Size {
    fn with(self, datoms: usize, text: &str) -> Self {
        Self { rows: self.rows + 1, datoms: self.datoms + datoms, bytes: self.bytes + text.len() }
    }
}

/// What is to be stored of the transactions that were installed last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unstored {
    /// Nothing was installed.
    Nothing,
    /// This row of the journal.
    Journal(String),
    /// What [`Conn::write_out`] gives. Where there is a journal it has to be empty afterwards.
    Rows,
}

impl Conn {
    /// From here on transactions go to a journal, and to the nodes at checkpoints. To be called before any is installed. The
    /// journal holds at most `datoms` datoms: [`MAX_JOURNAL_DATOMS`], or fewer.
    #[must_use]
    pub fn journaled(mut self, datoms: usize) -> Self {
        self.policy = Policy::Journal(datoms);
        // Those of the tail row stay there until the next checkpoint.
        self.tail.clear();
        self
    }

    /// Applies a row of the journal, leniently as the tail (7.2). To be called for each row that the graph's last checkpoint
    /// lacks, in their order, before anything else is done with the connection.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt), with the address of the tail, for a row that is no list of transactions.
    pub fn replay_journal(&mut self, text: String) -> Result<()> {
        let row = Row { addr: TAIL_ADDR, content: text, addresses: None };
        let transactions = decode_tail(&row, self.nodes.attrs(), Limits::STORED)?;
        self.live_tx = super::open::replay_all(&mut self.db, self.live_tx, &transactions)?;
        let datoms = transactions.iter().map(Vec::len).sum();
        self.journal = self.journal.with(datoms, &row.content);
        Ok(())
    }

    /// What has to be stored of the transactions that were installed since the last call. A row of the journal counts as
    /// stored from here on: if it cannot be, the connection has to be dropped.
    pub fn next_unstored(&mut self) -> Unstored {
        if !self.has_writes() {
            return Unstored::Nothing;
        }
        if self.pending == Pending::All || self.policy == Policy::Tail {
            return Unstored::Rows;
        }
        // They are counted when they are installed.
        let datoms = self.tail.iter().map(Vec::len).sum();
        let has_room = self.journal.rows < MAX_JOURNAL_ROWS && self.nodes.waiting_bytes() <= MAX_WAITING_NODES;
        let room = MAX_JOURNAL_TEXT.saturating_sub(self.journal.bytes);
        if has_room && let Some(text) = encode_tail(&self.tail, self.nodes.attrs(), room) {
            self.journal = self.journal.with(datoms, &text);
            self.tail.clear();
            self.pending = Pending::Nothing;
            return Unstored::Journal(text);
        }
        self.pending = Pending::All;
        Unstored::Rows
    }
}
