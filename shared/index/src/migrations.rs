//! The schema of the index as migration files, in order (sync.md 8.1). Databases remember applied files by name, so
//! names never change.

/// One migration file.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// The file's name, under which a database remembers it.
    pub name: &'static str,
    /// Its statements.
    pub sql: &'static str,
}

macro_rules! migration {
    ($name:literal) => {
        Migration { name: $name, sql: include_str!(concat!("../../../migrations/sync/", $name)) }
    };
}

/// All migrations of the sync database.
pub const MIGRATIONS: &[Migration] = &[
    migration!("0001_init.sql"),
    migration!("0002_add_graph_e2ee.sql"),
    migration!("0003_add_indexes.sql"),
    migration!("0004_add_graph_ready_for_use.sql"),
    migration!("0005_add_user_created_at.sql"),
    migration!("0006_add_daily_active_entities.sql"),
];
