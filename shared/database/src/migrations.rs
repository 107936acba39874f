//! Schemas as lists of migrations.
//!
//! A database remembers by name what was applied, in the table that `wrangler d1 migrations apply` keeps. So a database
//! file may come from either side, and a worker can ask whether the operator has applied everything. Names never change.

use crate::{Database, DbError, ReadFrom};

/// One migration file.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// The file's name, under which a database remembers it.
    pub name: &'static str,
    /// Its statements. A file that adds a column to a table holds that one statement only: then it can count as applied
    /// where the column is there already.
    pub sql: &'static str,
}

/// The table of applied migrations, with the columns that wrangler gives it.
#[cfg(feature = "rusqlite")]
pub(crate) const CREATE_TABLE: &str = "CREATE TABLE IF NOT EXISTS d1_migrations (id INTEGER PRIMARY KEY AUTOINCREMENT, \
    name TEXT UNIQUE, applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL)";

const HAS_TABLE: &str = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'd1_migrations'";
const APPLIED: &str = "SELECT name FROM d1_migrations";

/// The names of the migrations that were not applied to the database, in the order of the list. Empty: the schema is
/// up to date.
pub async fn missing(db: &impl Database, migrations: &[Migration]) -> Result<Vec<&'static str>, DbError> {
    let applied = match db.query(ReadFrom::Primary, APPLIED, &[]).await {
        Ok(rows) => rows,
        // A database that nothing was ever applied to has no such table.
        Err(_) if db.query(ReadFrom::Primary, HAS_TABLE, &[]).await?.is_empty() => Vec::new(),
        Err(error) => return Err(error),
    };
    let is_applied = |name: &str| applied.iter().any(|row| row.text(0) == Some(name));
    Ok(migrations.iter().map(|migration| migration.name).filter(|name| !is_applied(name)).collect())
}
