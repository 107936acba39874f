//! An index in memory, and what tests do with it.

use std::cell::RefCell;

use database::sqlite::Sqlite;
use database::{Database, DbError, Param, ReadFrom, Row, Statement};
use index::graphs::NewGraph;
use index::keys::GraphKey;
use index::migrations::MIGRATIONS;
use index::{graphs, keys, members};
use pollster::block_on;
use protocol::bodies::members::Role;

pub(crate) fn db() -> Sqlite {
    Sqlite::in_memory(MIGRATIONS).unwrap()
}

pub(crate) fn new_graph<'a>(graph_id: &'a str, user_id: &'a str) -> NewGraph<'a> {
    NewGraph { graph_id, graph_name: graph_id, user_id, schema_version: Some("65"), e2ee: true, ready_for_use: true }
}

pub(crate) fn create(db: &impl Database, graph_id: &str, user_id: &str, now_ms: i64) {
    block_on(graphs::create(db, &new_graph(graph_id, user_id), now_ms)).unwrap();
}

pub(crate) fn run(db: &impl Database, sql: &str) {
    block_on(db.execute(sql, &[])).unwrap();
}

pub(crate) fn rows(db: &impl Database, sql: &str) -> Vec<Row> {
    block_on(db.query(ReadFrom::Primary, sql, &[])).unwrap()
}

/// Records what reaches the database.
pub(crate) struct Recorder<D> {
    pub(crate) inner: D,
    pub(crate) seen: RefCell<Vec<(Option<ReadFrom>, String, usize)>>,
}

impl Recorder<Sqlite> {
    pub(crate) fn new() -> Self {
        Self { inner: db(), seen: RefCell::default() }
    }

    pub(crate) fn take(&self) -> Vec<(Option<ReadFrom>, String, usize)> {
        self.seen.take()
    }
}

impl<D: Database> Database for Recorder<D> {
    async fn query(&self, from: ReadFrom, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DbError> {
        self.seen.borrow_mut().push((Some(from), sql.to_owned(), params.len()));
        self.inner.query(from, sql, params).await
    }

    async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, DbError> {
        self.seen.borrow_mut().push((None, sql.to_owned(), params.len()));
        self.inner.execute(sql, params).await
    }

    async fn batch(&self, statements: &[Statement<'_>]) -> Result<Vec<u64>, DbError> {
        for (sql, params) in statements {
            self.seen.borrow_mut().push((None, (*sql).to_owned(), params.len()));
        }
        self.inner.batch(statements).await
    }
}

pub(crate) fn key<'a>(graph_id: &'a str, user_id: &'a str, encrypted_aes_key: &'a str) -> GraphKey<'a> {
    GraphKey { graph_id, user_id, encrypted_aes_key }
}

pub(crate) fn set_key(db: &impl Database, graph_id: &str, user_id: &str, text: &str) -> bool {
    block_on(keys::set_graph_key(db, key(graph_id, user_id, text), 1)).unwrap()
}

/// A graph of `owner` with a manager `m1` and the members `a` and `b`; all of them have keys.
pub(crate) fn shared() -> Sqlite {
    let db = db();
    create(&db, "g", "owner", 1);
    for (user, role) in [("m1", Role::Manager), ("a", Role::Member), ("b", Role::Member)] {
        assert!(block_on(members::upsert(&db, "g", user, role, "owner", 2)).unwrap());
    }
    for user in ["owner", "m1", "a", "b"] {
        assert!(set_key(&db, "g", user, "key"));
    }
    db
}

pub(crate) fn members_of(db: &impl Database) -> Vec<String> {
    block_on(members::list(db, "g")).unwrap().into_iter().map(|member| member.user_id).collect()
}
