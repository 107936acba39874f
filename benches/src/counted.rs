//! A database that counts what is written into it.

use std::cell::Cell;
use std::ops::ControlFlow;

use database::Param;
use database::local::{OnRow, Sql, SqlError};
use database::local_sqlite::Rusqlite;

/// Rows, and bytes of the texts in them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Written {
    pub(crate) rows: i64,
    pub(crate) bytes: usize,
}

/// A database and the bytes that went into it. Statements that write have their texts among their parameters, those that
/// read have numbers.
pub(crate) struct Counted {
    pub(crate) sql: Rusqlite,
    bytes: Cell<usize>,
}

impl Counted {
    pub(crate) fn new(sql: Rusqlite) -> Self {
        Self { sql, bytes: Cell::new(0) }
    }

    /// What was written so far.
    pub(crate) fn written(&self) -> Result<Written, SqlError> {
        let mut rows = 0;
        self.sql.query("SELECT total_changes()", &[], &mut |row| {
            rows = row.int(0)?.unwrap_or_default();
            Ok(ControlFlow::Break(()))
        })?;
        Ok(Written { rows, bytes: self.bytes.get() })
    }
}

impl Sql for Counted {
    fn query(&self, sql: &str, params: &[Param<'_>], row: &mut OnRow<'_>) -> Result<(), SqlError> {
        self.sql.query(sql, params, row)
    }

    fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<(), SqlError> {
        let texts = params.iter().map(|param| if let Param::Text(text) = param { text.len() } else { 0 });
        self.bytes.set(self.bytes.get() + texts.sum::<usize>());
        self.sql.execute(sql, params)
    }

    fn transaction(&self, body: &mut dyn FnMut() -> Result<(), SqlError>) -> Result<(), SqlError> {
        self.sql.transaction(body)
    }

    fn delete_all(&self) -> Result<(), SqlError> {
        self.sql.delete_all()
    }
}
