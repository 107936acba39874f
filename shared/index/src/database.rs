//! The database port: what the index needs of D1 or SQLite.

/// A bound parameter.
///
/// D1 knows no 64-bit integers: numbers cross as doubles, exact to 2^53, which milliseconds never reach. Columns with
/// integer affinity store them as integers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Param<'a> {
    /// SQL NULL.
    Null,
    /// A number.
    Real(f64),
    /// Text.
    Text(&'a str),
}

impl<'a> Param<'a> {
    /// A number of milliseconds, or another integer within ±2^53.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds stay below 2^53 for 285,000 years")]
    pub const fn millis(value: i64) -> Self {
        Self::Real(value as f64)
    }

    /// A number of rows or characters.
    #[expect(clippy::cast_precision_loss, reason = "limits stay far below 2^53")]
    pub const fn count(value: usize) -> Self {
        Self::Real(value as f64)
    }

    /// A flag as the index stores it: 0 or 1.
    pub const fn flag(value: bool) -> Self {
        Self::Real(if value { 1.0 } else { 0.0 })
    }

    /// Text, or NULL when there is none.
    pub fn text(value: Option<&'a str>) -> Self {
        value.map_or(Self::Null, Self::Text)
    }
}

/// One column of a result row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// SQL NULL.
    Null,
    /// An integer or real number.
    Real(f64),
    /// Text.
    Text(String),
}

/// One result row, columns in the order of the select list. Reading never fails: a column that is missing, NULL or of
/// another type is `None`, so that rows written by other servers fail no request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row(pub Vec<Cell>);

impl Row {
    /// A text column.
    pub fn text(&self, column: usize) -> Option<&str> {
        match self.0.get(column) {
            Some(Cell::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A text column, owned.
    pub fn string(&self, column: usize) -> Option<String> {
        self.text(column).map(str::to_owned)
    }

    /// An integer column.
    #[expect(clippy::cast_possible_truncation, reason = "the cast saturates, and fractions do not occur in the schema")]
    pub fn int(&self, column: usize) -> Option<i64> {
        match self.0.get(column) {
            Some(Cell::Real(number)) => Some(*number as i64),
            _ => None,
        }
    }

    /// A flag column that is on by default: NULL, 1 and `"1"` are true, 0 and `"0"` are false (sync.md 8.2).
    pub fn flag(&self, column: usize) -> bool {
        match self.0.get(column) {
            Some(Cell::Real(number)) => *number != 0.0,
            Some(Cell::Text(text)) => text != "0",
            Some(Cell::Null) | None => true,
        }
    }
}

/// Which copy of the database a read may use (sync.md 8.4). It makes a difference only where the database has replicas.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Session {
    /// A session without an argument: the nearest copy.
    Default,
    /// A session whose first query goes to the primary copy.
    FirstPrimary,
    /// No session: the primary copy.
    None,
}

/// One statement of a batch: its text and its parameters.
pub type Statement<'a> = (&'a str, &'a [Param<'a>]);

/// The database refused a statement, could not be reached, or its answer was lost. In the last case the write may have
/// happened. The text is for logs, never for clients.
#[derive(Clone, Debug, thiserror::Error)]
#[error("index database: {0}")]
pub struct DbError(pub String);

/// An SQL database that can do what D1 can: `?` parameters (at most 100 a statement), no interactive transactions, and
/// batches that are atomic.
#[expect(async_fn_in_trait, reason = "one of the two platforms has futures that cannot cross threads")]
pub trait Database {
    /// All rows that a reading statement gives.
    async fn query(&self, session: Session, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DbError>;

    /// Runs a writing statement; gives the number of rows it changed.
    async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, DbError>;

    /// Runs writing statements in order, all or none; gives the number of rows that each has changed.
    async fn batch(&self, statements: &[Statement<'_>]) -> Result<Vec<u64>, DbError>;
}

impl<D: Database> Database for std::rc::Rc<D> {
    async fn query(&self, session: Session, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DbError> {
        (**self).query(session, sql, params).await
    }

    async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, DbError> {
        (**self).execute(sql, params).await
    }

    async fn batch(&self, statements: &[Statement<'_>]) -> Result<Vec<u64>, DbError> {
        (**self).batch(statements).await
    }
}
