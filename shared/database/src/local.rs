//! The synchronous port: SQL over the private database of one object.
//!
//! Two implementations exist: Durable Object SQL (in the worker) and [`rusqlite`](crate::local_sqlite). Texts of statements are
//! fixed, so that prepared-statement caches hit, and bind at most [`MAX_PARAMS`] parameters.

use std::borrow::Cow;
use std::ops::ControlFlow;

use crate::{Param, Trouble};

/// Most parameters one statement binds. Durable Object SQL refuses more than 100 (sync.md 9.7).
pub const MAX_PARAMS: usize = 99;

/// One row of a result, valid during the callback that gets it.
pub trait Row {
    /// The integer in a column counted from 0; `None` for `NULL`. A value of another type is an error.
    fn int(&self, column: usize) -> Result<Option<i64>, SqlError>;
    /// The text in a column counted from 0; `None` for `NULL`. A value of another type is an error.
    fn text(&self, column: usize) -> Result<Option<Cow<'_, str>>, SqlError>;
}

/// What a query calls for each row; [`ControlFlow::Break`] stops the query, an error ends it.
pub type OnRow<'f> = dyn FnMut(&dyn Row) -> Result<ControlFlow<()>, SqlError> + 'f;

/// Synchronous SQL over the database of one object.
pub trait Sql {
    /// Runs one statement and shows its result rows in order.
    fn query(&self, sql: &str, params: &[Param<'_>], row: &mut OnRow<'_>) -> Result<(), SqlError>;

    /// Runs one statement without looking at results.
    fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<(), SqlError>;

    /// Runs `body` in one synchronous transaction: all of its statements take effect, or none.
    ///
    /// An error of `body` rolls back and is returned. Not nested.
    fn transaction(&self, body: &mut dyn FnMut() -> Result<(), SqlError>) -> Result<(), SqlError>;

    /// Removes everything the database holds, its tables included.
    fn delete_all(&self) -> Result<(), SqlError>;

    /// Tells that what had to be looked at to open the object has been, and may not be needed again for long: what was remembered of it
    /// can go. Nothing changes but memory.
    fn was_opened(&self) {}
}

impl<S: Sql + ?Sized> Sql for std::rc::Rc<S> {
    fn query(&self, sql: &str, params: &[Param<'_>], row: &mut OnRow<'_>) -> Result<(), SqlError> {
        (**self).query(sql, params, row)
    }
    fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<(), SqlError> {
        (**self).execute(sql, params)
    }
    fn transaction(&self, body: &mut dyn FnMut() -> Result<(), SqlError>) -> Result<(), SqlError> {
        (**self).transaction(body)
    }
    fn delete_all(&self) -> Result<(), SqlError> {
        (**self).delete_all()
    }
    fn was_opened(&self) {
        (**self).was_opened();
    }
}

impl<S: Sql + ?Sized> Sql for &S {
    fn query(&self, sql: &str, params: &[Param<'_>], row: &mut OnRow<'_>) -> Result<(), SqlError> {
        (**self).query(sql, params, row)
    }
    fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<(), SqlError> {
        (**self).execute(sql, params)
    }
    fn transaction(&self, body: &mut dyn FnMut() -> Result<(), SqlError>) -> Result<(), SqlError> {
        (**self).transaction(body)
    }
    fn delete_all(&self) -> Result<(), SqlError> {
        (**self).delete_all()
    }
    fn was_opened(&self) {
        (**self).was_opened();
    }
}

/// A failed statement. The text is for logs, never for clients.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SqlError {
    /// A value or statement passes a size limit of the database (sync.md 10.4).
    #[error("{0}")]
    TooBig(String),
    /// The database may not grow any more: its disk or its allowance is used up.
    #[error("{0}")]
    Full(String),
    /// A statement that has not ended yet, one that was broken off for example, stands in the way of one that drops a table.
    #[error("{0}")]
    Locked(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl SqlError {
    /// Sorts a database's message by what it means: the texts of sync.md 10.4 are "too big"; a full database is told with
    /// `SQLITE_FULL` by the platform, and in words by SQLite itself.
    pub fn from_message(message: impl Into<String>) -> Self {
        const TOO_BIG: [&str; 3] = ["sqlite_toobig", "string or blob too big", "statement too long"];
        const LOCKED: [&str; 1] = ["database table is locked"];
        let message = message.into();
        let lower = message.to_ascii_lowercase();
        let says = |markers: &[&str]| markers.iter().any(|marker| lower.contains(marker));
        if says(&TOO_BIG) {
            Self::TooBig(message)
        } else if Trouble::of(&message) == Some(Trouble::Full) {
            Self::Full(message)
        } else if says(&LOCKED) {
            Self::Locked(message)
        } else {
            Self::Other(message)
        }
    }
}
