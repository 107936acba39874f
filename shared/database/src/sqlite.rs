//! The port over SQLite: tests, and a server without D1.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};

use crate::migrations::{CREATE_TABLE, Migration};
use crate::{Cell, Database, DbError, Param, ReadFrom, Row, Statement};

/// Why a database cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// SQLite cannot open it, or keep its table of applied migrations.
    #[error("the database cannot be opened: {0}")]
    Unusable(DbError),
    /// A migration failed and left no trace. Those before it are applied.
    #[error("migration {name} failed: {cause}")]
    Migration {
        /// The migration's name.
        name: &'static str,
        /// What SQLite says.
        cause: DbError,
    },
}

/// A database in one SQLite connection.
pub struct Sqlite(Mutex<Connection>);

impl Sqlite {
    /// Takes a connection and brings its schema up to date.
    pub fn new(connection: Connection, migrations: &[Migration]) -> Result<Self, OpenError> {
        connection.execute(CREATE_TABLE, ()).map_err(db_error).map_err(OpenError::Unusable)?;
        for migration in migrations {
            apply(&connection, migration)
                .map_err(|error| OpenError::Migration { name: migration.name, cause: db_error(error) })?;
        }
        Ok(Self(Mutex::new(connection)))
    }

    /// A new database in memory.
    pub fn in_memory(migrations: &[Migration]) -> Result<Self, OpenError> {
        Self::new(Connection::open_in_memory().map_err(db_error).map_err(OpenError::Unusable)?, migrations)
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Applies a migration, unless the database remembers it, in one transaction with the note that it was applied.
fn apply(connection: &Connection, migration: &Migration) -> Result<(), rusqlite::Error> {
    let transaction = connection.unchecked_transaction()?;
    let applied: bool = transaction.query_row(
        "SELECT EXISTS (SELECT 1 FROM d1_migrations WHERE name = ?)",
        [migration.name],
        |row| row.get(0),
    )?;
    if applied {
        return Ok(());
    }
    match transaction.execute_batch(migration.sql) {
        // A database of another server may have the column without the note.
        Err(error) if !(is_one_statement(migration.sql) && error.to_string().contains("duplicate column")) => {
            return Err(error);
        }
        _ => {}
    }
    transaction.execute("INSERT INTO d1_migrations (name) VALUES (?)", [migration.name])?;
    transaction.commit()
}

/// Whether nothing follows the first semicolon. A semicolon in a comment or a string counts as well, which errs on the
/// strict side.
fn is_one_statement(sql: &str) -> bool {
    sql.split_once(';').is_none_or(|(_, rest)| rest.trim().is_empty())
}

impl Database for Sqlite {
    async fn query(&self, _from: ReadFrom, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DbError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(sql).map_err(db_error)?;
        let columns = statement.column_count();
        let rows = statement
            .query_map(params_from_iter(params), |row| {
                (0..columns).map(|column| row.get_ref(column).map(cell_of)).collect::<Result<Vec<_>, _>>().map(Row)
            })
            .map_err(db_error)?;
        rows.collect::<Result<_, _>>().map_err(db_error)
    }

    async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, DbError> {
        run(&self.connection(), sql, params)
    }

    async fn batch(&self, statements: &[Statement<'_>]) -> Result<Vec<u64>, DbError> {
        let connection = self.connection();
        let transaction = connection.unchecked_transaction().map_err(db_error)?;
        let changed =
            statements.iter().map(|(sql, params)| run(&transaction, sql, params)).collect::<Result<_, _>>()?;
        transaction.commit().map_err(db_error)?;
        Ok(changed)
    }
}

fn run(connection: &Connection, sql: &str, params: &[Param<'_>]) -> Result<u64, DbError> {
    let changed = connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.execute(params_from_iter(params)))
        .map_err(db_error)?;
    Ok(changed as u64)
}

impl ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match *self {
            Param::Null => ToSqlOutput::Owned(Value::Null),
            Param::Int(number) => ToSqlOutput::Owned(Value::Integer(number)),
            Param::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "the port's results are doubles, as D1's are")]
fn cell_of(value: ValueRef<'_>) -> Cell {
    match value {
        ValueRef::Null | ValueRef::Blob(_) => Cell::Null,
        ValueRef::Integer(number) => Cell::Number(number as f64),
        ValueRef::Real(number) => Cell::Number(number),
        ValueRef::Text(text) => Cell::Text(String::from_utf8_lossy(text).into_owned()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function for map_err")]
fn db_error(error: rusqlite::Error) -> DbError {
    DbError(error.to_string())
}
