//! Transactions whose nodes are not stored yet (datascript.md 13.5): a ring of rows, one for each batch.
//!
//! Rows beyond the last checkpoint count, in the order of their numbers. Those before it are overwritten when their place in
//! the ring comes up again, so that a batch writes one row and deletes none.

use std::borrow::Cow;
use std::ops::ControlFlow;

use database::Param;
use database::local::{Sql, SqlError};
use datascript::MAX_JOURNAL_ROWS;

/// How far a journal and the checkpoints have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Journaled {
    /// The number of the last row whose transactions the nodes hold, `journal-seq` in `sync_meta`.
    pub(crate) checkpoint: i64,
    /// The number of the last row.
    pub(crate) last: i64,
}

impl Journaled {
    /// Whether the nodes hold everything.
    pub(crate) const fn is_checkpointed(self) -> bool {
        self.last <= self.checkpoint
    }
}

/// A row to be written.
#[derive(Debug)]
pub(crate) struct JournalRow<'a> {
    /// Its number, one more than that of the row before it.
    pub(crate) seq: i64,
    /// The counter after the batch.
    pub(crate) t: i64,
    /// The checksum after it.
    pub(crate) checksum: Option<&'a str>,
    /// The datoms of its transactions, as the tail has them.
    pub(crate) txs: &'a str,
}

/// Writes a row in the place of one that the nodes hold.
pub(crate) fn append(sql: &impl Sql, row: &JournalRow<'_>) -> Result<(), SqlError> {
    let slots = i64::try_from(MAX_JOURNAL_ROWS).unwrap_or(i64::MAX);
    sql.execute(
        "INSERT OR REPLACE INTO journal (slot, seq, t, checksum, txs) VALUES (?, ?, ?, ?, ?)",
        &[
            Param::Int(row.seq.rem_euclid(slots)),
            Param::Int(row.seq),
            Param::Int(row.t),
            Param::opt(row.checksum),
            Param::Text(row.txs),
        ],
    )
}

/// What the last row says.
#[derive(Debug)]
pub(crate) struct Last {
    pub(crate) seq: i64,
    pub(crate) t: i64,
    pub(crate) checksum: Option<String>,
}

/// The last row, unless the nodes hold it. Its transactions are not read.
pub(crate) fn last(sql: &impl Sql, checkpoint: i64) -> Result<Option<Last>, SqlError> {
    let mut found = None;
    sql.query(
        "SELECT seq, t, checksum FROM journal WHERE seq > ? ORDER BY seq DESC LIMIT 1",
        &[Param::Int(checkpoint)],
        &mut |row| {
            let (seq, t) = (row.int(0)?.unwrap_or_default(), row.int(1)?.unwrap_or_default());
            found = Some(Last { seq, t, checksum: row.text(2)?.map(Cow::into_owned) });
            Ok(ControlFlow::Break(()))
        },
    )?;
    Ok(found)
}

/// The transactions of all rows that the nodes do not hold, in order. They are as long as a journal may be.
pub(crate) fn read(sql: &impl Sql, checkpoint: i64) -> Result<Vec<String>, SqlError> {
    let mut rows = Vec::new();
    sql.query("SELECT txs FROM journal WHERE seq > ? ORDER BY seq", &[Param::Int(checkpoint)], &mut |row| {
        rows.push(row.text(0)?.map(Cow::into_owned).unwrap_or_default());
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(rows)
}

/// Notes a checkpoint: the counter, the checksum where there is one, and the row up to which the nodes hold everything.
pub(crate) fn checkpoint(sql: &impl Sql, seq: i64, t: i64, checksum: Option<&str>) -> Result<(), SqlError> {
    let (seq, t) = (seq.to_string(), t.to_string());
    match checksum {
        Some(checksum) => sql.execute(
            "INSERT OR REPLACE INTO sync_meta (key, value) VALUES ('t', ?), ('checksum', ?), ('journal-seq', ?)",
            &[Param::Text(&t), Param::Text(checksum), Param::Text(&seq)],
        ),
        None => sql.execute(
            "INSERT OR REPLACE INTO sync_meta (key, value) VALUES ('t', ?), ('journal-seq', ?)",
            &[Param::Text(&t), Param::Text(&seq)],
        ),
    }
}
