//! A database with the tables of both servers.

use database::sqlite::Sqlite;
use database::{Database, Migration, ReadFrom, Row};
use pollster::block_on;
use sessions::secrets::Seal;

pub(crate) fn all_migrations() -> Vec<Migration> {
    [index::migrations::MIGRATIONS, sessions::registry::MIGRATIONS].concat()
}

pub(crate) fn db() -> Sqlite {
    Sqlite::in_memory(&all_migrations()).unwrap()
}

pub(crate) fn run(db: &impl Database, sql: &str) {
    block_on(db.execute(sql, &[])).unwrap();
}

pub(crate) fn rows(db: &impl Database, sql: &str) -> Vec<Row> {
    block_on(db.query(ReadFrom::Primary, sql, &[])).unwrap()
}

pub(crate) fn seal() -> Seal {
    Seal { key: Some([7; 32]), allows_clear: false }
}

/// A graph `g` of `owner`, with the member `member`.
pub(crate) fn with_graph(db: &impl Database) {
    run(
        db,
        "INSERT INTO graphs (graph_id, graph_name, user_id, created_at, updated_at) VALUES ('g', 'g', 'owner', 1, 1)",
    );
    run(db, "INSERT INTO graph_members (user_id, graph_id, role) VALUES ('member', 'g', 'member')");
    run(db, "INSERT INTO graph_members (user_id, graph_id, role) VALUES ('member', 'deleted', 'manager')");
}
