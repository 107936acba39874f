//! The asynchronous port.

use crate::{Param, Row};

/// Which copy of the database answers a query. It matters only where a database has read replicas, which may be some
/// seconds behind (sync.md 8.4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReadFrom {
    /// The nearest copy, whatever its age.
    Nearest,
    /// The primary copy, which knows every write.
    Primary,
}

/// One statement of a batch: its text and its parameters.
pub type Statement<'a> = (&'a str, &'a [Param<'a>]);

/// A statement failed: the database refused it, could not be reached, or gave no answer. In the last case a write may
/// have happened. The text is for logs, never for clients.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DbError(pub String);

/// An SQL database that can do what D1 can: `?` parameters (at most 100 a statement), no interactive transactions, and
/// a batch as the unit of atomicity. Writes go to the primary copy.
#[expect(async_fn_in_trait, reason = "one of the two platforms has futures that cannot cross threads")]
pub trait Database {
    /// All rows that a reading statement gives.
    async fn query(&self, from: ReadFrom, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DbError>;

    /// Runs a writing statement. Returns the number of rows it changed.
    async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, DbError>;

    /// Runs writing statements in order, all or none. Returns the number of rows that each has changed.
    async fn batch(&self, statements: &[Statement<'_>]) -> Result<Vec<u64>, DbError>;
}

impl<D: Database> Database for std::rc::Rc<D> {
    async fn query(&self, from: ReadFrom, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DbError> {
        (**self).query(from, sql, params).await
    }

    async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, DbError> {
        (**self).execute(sql, params).await
    }

    async fn batch(&self, statements: &[Statement<'_>]) -> Result<Vec<u64>, DbError> {
        (**self).batch(statements).await
    }
}
