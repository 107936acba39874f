//! The schema of the index as migration files, in order (sync.md 8.1).

use database::{Database, DbError, Migration, migrations};

macro_rules! migration {
    ($name:literal) => {
        Migration { name: $name, sql: include_str!(concat!("../../../migrations/sync/", $name)) }
    };
}

/// All migrations of the index.
pub const MIGRATIONS: &[Migration] = &[
    migration!("0001_init.sql"),
    migration!("0002_add_graph_e2ee.sql"),
    migration!("0003_add_indexes.sql"),
    migration!("0004_add_graph_ready_for_use.sql"),
    migration!("0005_add_user_created_at.sql"),
    migration!("0006_add_daily_active_entities.sql"),
];

/// The names of the migrations that the operator has yet to apply. Empty: the schema is up to date.
pub async fn missing(db: &impl Database) -> Result<Vec<&'static str>, DbError> {
    migrations::missing(db, MIGRATIONS).await
}
