//! The transaction log (sync.md 9.1, 11.9).

use std::borrow::Cow;
use std::ops::ControlFlow;

use super::statements::Statements;
use database::Param;
use database::local::{Sql, SqlError};

static APPEND: Statements =
    Statements::new("INSERT INTO tx_log (t, tx, created_at, outliner_op) VALUES ", "(?,?,?,?)", "", 4);

/// A row to be appended.
#[derive(Debug)]
pub(crate) struct LogRow {
    pub(crate) t: i64,
    /// Transit text of the normalised transaction.
    pub(crate) tx: String,
    /// Milliseconds since the epoch.
    pub(crate) created_at: i64,
    pub(crate) outliner_op: Option<String>,
}

/// Appends rows.
pub(crate) fn append(sql: &impl Sql, rows: &[LogRow]) -> Result<(), SqlError> {
    let mut params = Vec::with_capacity(4 * rows.len().min(APPEND.capacity(0)));
    for part in rows.chunks(APPEND.capacity(0)) {
        params.clear();
        for row in part {
            params.push(Param::Int(row.t));
            params.push(Param::Text(&row.tx));
            params.push(Param::Int(row.created_at));
            params.push(Param::opt(row.outliner_op.as_deref()));
        }
        sql.execute(APPEND.text(part.len()), &params)?;
    }
    Ok(())
}

/// What [`read`] calls with `t`, the text and the operation of each row.
pub(crate) type OnLogged<'f> = dyn FnMut(i64, &str, Option<&str>) -> ControlFlow<()> + 'f;

/// Shows the rows with `since < t <= until` in order, until `row` answers [`ControlFlow::Break`].
pub(crate) fn read(sql: &impl Sql, since: i64, until: i64, row: &mut OnLogged<'_>) -> Result<(), SqlError> {
    sql.query(
        "SELECT t, tx, outliner_op FROM tx_log WHERE t > ? AND t <= ? ORDER BY t",
        &[Param::Int(since), Param::Int(until)],
        &mut |columns| {
            let t = columns.int(0)?.unwrap_or_default();
            let tx = columns.text(1)?.unwrap_or(Cow::Borrowed(""));
            Ok(row(t, &tx, columns.text(2)?.as_deref()))
        },
    )
}

/// The size of a part of the log.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogRange {
    pub(crate) rows: i64,
    /// The greatest counter; 0 without rows.
    pub(crate) last: i64,
    /// Bytes of the transactions together.
    pub(crate) bytes: i64,
}

/// The rows with `t > since`. None of their texts is read: a text's length stands beside it.
pub(crate) fn range(sql: &impl Sql, since: i64) -> Result<LogRange, SqlError> {
    let mut range = LogRange::default();
    sql.query(
        "SELECT count(*), max(t), sum(octet_length(tx)) FROM tx_log WHERE t > ?",
        &[Param::Int(since)],
        &mut |row| {
            let column = |at| Ok::<_, SqlError>(row.int(at)?.unwrap_or_default());
            range = LogRange { rows: column(0)?, last: column(1)?, bytes: column(2)? };
            Ok(ControlFlow::Continue(()))
        },
    )?;
    Ok(range)
}

/// Shows the counter of each row, in order.
pub(crate) fn counters(sql: &impl Sql, show: &mut dyn FnMut(i64)) -> Result<(), SqlError> {
    sql.query("SELECT t FROM tx_log ORDER BY t", &[], &mut |row| {
        show(row.int(0)?.unwrap_or_default());
        Ok(ControlFlow::Continue(()))
    })
}
