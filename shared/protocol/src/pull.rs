//! `pull/ok`: logged transactions on their way to a client (sync.md 5.1).
//!
//! A pull is not paged (D-30), so its text can be as large as the log. [`PullWriter`] appends piece by piece to a
//! buffer that the caller empties as it likes.

use crate::tx::keyword_name;
use crate::write;
use transit::json;

/// One row of the transaction log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggedTx<'a> {
    /// The counter after this transaction.
    pub t: i64,
    /// Transit text of the normalised transaction.
    pub tx: &'a str,
    /// The stored operation.
    pub outliner_op: Option<&'a str>,
}

/// Writes one `pull/ok`: [`begin`](Self::begin), then each [`row`](Self::row), then [`end`](Self::end).
///
/// The buffer is passed each time and only appended to: the caller may send and clear it in between.
#[derive(Debug)]
#[must_use = "a pull without its end is no JSON"]
pub struct PullWriter {
    first: bool,
}

impl PullWriter {
    /// Appends the part before the rows.
    pub fn begin(out: &mut String, t: i64) -> Self {
        out.push_str("{\"type\":\"pull/ok\",\"t\":");
        write::int(out, t);
        out.push_str(",\"txs\":[");
        Self { first: true }
    }

    /// Appends one row.
    pub fn row(&mut self, out: &mut String, row: &LoggedTx<'_>) {
        if !std::mem::take(&mut self.first) {
            out.push(',');
        }
        // A Transit text is full of quotes: an eighth more saves the second growth.
        out.reserve(row.tx.len() + row.tx.len() / 8 + 64);
        out.push_str("{\"t\":");
        write::int(out, row.t);
        out.push_str(",\"tx\":");
        json::write_str(out, row.tx);
        out.push_str(",\"outliner-op\":");
        write::nullable(out, row.outliner_op.map(keyword_name));
        out.push('}');
    }

    /// Appends the part after the rows.
    pub fn end(self, out: &mut String, checksum: Option<&str>) {
        out.push(']');
        write::optional(out, "checksum", checksum);
        out.push('}');
    }
}
