//! Which copy of the database is asked, what is written to it, and its migrations.

use std::cell::Cell;

use database::sqlite::Sqlite;
use database::{Database, DbError, Param, ReadFrom, Row, Statement};
use index::members::Removal;
use index::migrations::MIGRATIONS;
use index::{access, graphs, keys, members, migrations, users};
use pollster::block_on;

use crate::support::{Recorder, create, db, new_graph, rows, run, set_key, shared};

/// An index whose nearest replica is empty, and whose writes happen although their answers are lost.
struct Unlucky<D> {
    inner: D,
    stale: bool,
    lost: Cell<bool>,
}

impl<D: Database> Database for Unlucky<D> {
    async fn query(&self, from: ReadFrom, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DbError> {
        match from {
            ReadFrom::Nearest if self.stale => Ok(Vec::new()),
            _ => self.inner.query(from, sql, params).await,
        }
    }

    async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, DbError> {
        self.inner.execute(sql, params).await
    }

    async fn batch(&self, statements: &[Statement<'_>]) -> Result<Vec<u64>, DbError> {
        let done = self.inner.batch(statements).await;
        if self.lost.take() { Err(DbError("the answer got lost".into())) } else { done }
    }
}

#[test]
fn a_no_is_the_primary_copys() {
    let db = Unlucky { inner: shared(), stale: true, lost: Cell::new(false) };
    assert!(block_on(access::has_access(&db, "g", "a")).unwrap());
    assert!(block_on(access::is_manager(&db, "g", "m1")).unwrap());
    assert!(!block_on(access::has_access(&db, "g", "stranger")).unwrap());
    assert_eq!(block_on(keys::graph_key(&db, "g", "a")).unwrap().as_deref(), Some("key"));
    assert_eq!(block_on(members::removal(&db, "g", "a", "a")).unwrap(), Removal::Allowed);
}

#[test]
fn what_was_done_is_done_although_its_answer_got_lost() {
    let db = Unlucky { inner: db(), stale: false, lost: Cell::new(true) };
    create(&db, "g", "owner", 1);
    assert!(block_on(access::has_access(&db, "g", "owner")).unwrap());
    db.lost.set(true);
    block_on(graphs::delete(&db, "g")).unwrap();
    // A write that did not happen is a failure.
    run(&db, "ALTER TABLE graph_members RENAME TO away");
    block_on(graphs::create(&db, &new_graph("h", "owner"), 1)).unwrap_err();
    run(&db, "ALTER TABLE away RENAME TO graph_members");
    create(&db, "h", "owner", 1);
    run(&db, "ALTER TABLE graph_members RENAME TO away");
    block_on(graphs::delete(&db, "h")).unwrap_err();
    assert_eq!(rows(&db, "SELECT 1 FROM graphs WHERE graph_id = 'h'").len(), 1);
}

#[test]
fn reads_ask_the_copy_that_their_purpose_needs() {
    let db = Recorder::new();
    let copies = || db.take().into_iter().filter_map(|(from, ..)| from).collect::<Vec<_>>();
    create(&db, "g", "u", 1);
    assert!(set_key(&db, "g", "u", "k"));
    block_on(async {
        graphs::list(&db, "u").await.unwrap();
        graphs::name_exists(&db, "n", "u").await.unwrap();
        graphs::is_ready(&db, "g").await.unwrap();
        graphs::is_e2ee(&db, "g").await.unwrap();
        keys::graph_key(&db, "g", "u").await.unwrap();
        access::has_access(&db, "g", "u").await.unwrap();
        access::is_manager(&db, "g", "u").await.unwrap();
    });
    assert_eq!(copies(), [ReadFrom::Nearest; 7]);
    block_on(async {
        keys::graph_key(&db, "g", "v").await.unwrap();
        access::has_access(&db, "g", "v").await.unwrap();
        access::is_manager(&db, "g", "v").await.unwrap();
    });
    assert_eq!(copies(), [ReadFrom::Nearest, ReadFrom::Primary].repeat(3), "a no is asked again");
    block_on(async {
        users::id_by_email(&db, "e").await.unwrap();
        keys::rsa_pair(&db, "u").await.unwrap();
        keys::public_key_of(&db, "e").await.unwrap();
        members::list(&db, "g").await.unwrap();
        members::removal(&db, "g", "u", "u").await.unwrap();
        access::has_access_now(&db, "g", "u").await.unwrap();
    });
    assert!(copies().iter().all(|from| *from == ReadFrom::Primary));
}

#[test]
fn migrations_make_the_schema_and_adopt_existing_columns() {
    let db = db();
    assert!(block_on(migrations::missing(&db)).unwrap().is_empty());
    let indexes = rows(&db, "SELECT name FROM sqlite_master WHERE type = 'index' AND name LIKE 'idx_%' ORDER BY name");
    let names: Vec<_> = indexes.iter().map(|row| row.text(0).unwrap()).collect();
    assert_eq!(
        names,
        [
            "idx_daily_active_entities_type_day",
            "idx_graph_members_graph_id_created_at",
            "idx_graphs_user_id_updated_at",
            "idx_users_email"
        ]
    );
    // A database of another server has all of it, and does not remember by which files.
    let file = std::env::temp_dir().join(format!("index-migrations-{}.sqlite", std::process::id()));
    let open = || Sqlite::new(rusqlite::Connection::open(&file).unwrap(), MIGRATIONS).unwrap();
    run(&open(), "DELETE FROM d1_migrations");
    assert!(block_on(migrations::missing(&open())).unwrap().is_empty());
    std::fs::remove_file(file).unwrap();
}
