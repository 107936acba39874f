//! The database port over SQLite: tests, and a server without D1.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};

use crate::migrations::MIGRATIONS;
use crate::{Cell, Database, DbError, Param, Row, Session, Statement};

/// An index in one SQLite database.
pub struct SqliteIndex(Mutex<Connection>);

impl SqliteIndex {
    /// Takes a connection and brings its schema up to date.
    pub fn new(connection: Connection) -> Result<Self, DbError> {
        migrate(&connection)?;
        Ok(Self(Mutex::new(connection)))
    }

    /// An empty index in memory.
    pub fn in_memory() -> Result<Self, DbError> {
        Self::new(Connection::open_in_memory().map_err(db_error)?)
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Applies the migrations that the database does not remember, each in a transaction of its own. The names of applied
/// migrations are kept in the same table as in D1, so that a database of either kind can be used. A migration that adds
/// a column which is there already counts as applied.
fn migrate(connection: &Connection) -> Result<(), DbError> {
    let table = "CREATE TABLE IF NOT EXISTS d1_migrations (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, \
        applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL)";
    connection.execute(table, ()).map_err(db_error)?;
    for migration in MIGRATIONS {
        let applied: bool = connection
            .query_row("SELECT EXISTS (SELECT 1 FROM d1_migrations WHERE name = ?)", [migration.name], |row| row.get(0))
            .map_err(db_error)?;
        if applied {
            continue;
        }
        let transaction = connection.unchecked_transaction().map_err(db_error)?;
        match transaction.execute_batch(migration.sql) {
            Err(error) if !error.to_string().contains("duplicate column") => return Err(db_error(error)),
            _ => {}
        }
        transaction
            .execute("INSERT INTO d1_migrations (name) VALUES (?)", [migration.name])
            .and_then(|_| transaction.commit())
            .map_err(db_error)?;
    }
    Ok(())
}

impl Database for SqliteIndex {
    async fn query(&self, _session: Session, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DbError> {
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
        Ok(match self {
            Param::Null => ToSqlOutput::Owned(Value::Null),
            Param::Real(number) => ToSqlOutput::Owned(Value::Real(*number)),
            Param::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "the port's numbers are doubles, as D1's are")]
fn cell_of(value: ValueRef<'_>) -> Cell {
    match value {
        ValueRef::Null | ValueRef::Blob(_) => Cell::Null,
        ValueRef::Integer(number) => Cell::Real(number as f64),
        ValueRef::Real(number) => Cell::Real(number),
        ValueRef::Text(text) => Cell::Text(String::from_utf8_lossy(text).into_owned()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function for map_err")]
fn db_error(error: rusqlite::Error) -> DbError {
    DbError(error.to_string())
}
