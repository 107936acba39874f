//! Migrations over SQLite.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use database::sqlite::{OpenError, Sqlite};
use database::{Database, Migration, ReadFrom, migrations};
use pollster::block_on;
use rusqlite::Connection;

const LIST: [Migration; 3] = [
    Migration { name: "0001_init.sql", sql: "CREATE TABLE notes (id TEXT);\nCREATE TABLE tags (id TEXT);\n" },
    Migration { name: "0002_age.sql", sql: "-- How old.\nALTER TABLE notes ADD COLUMN age INTEGER;\n" },
    Migration { name: "0003_fill.sql", sql: "INSERT INTO notes VALUES ('a', 1)" },
];

fn count(db: &Sqlite, sql: &str) -> i64 {
    let rows = block_on(db.query(ReadFrom::Primary, sql, &[])).unwrap();
    rows.first().and_then(|row| row.int(0)).unwrap()
}

fn missing(db: &Sqlite) -> Vec<&'static str> {
    block_on(migrations::missing(db, &LIST)).unwrap()
}

/// A database file that goes with the test.
struct File(std::path::PathBuf);

impl File {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("database-{name}-{}.sqlite", std::process::id())))
    }

    fn connection(&self) -> Connection {
        Connection::open(&self.0).unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn each_is_applied_once_in_order() {
    let file = File::new("once");
    let [first, ..] = LIST;
    let db = Sqlite::new(file.connection(), &[first]).unwrap();
    assert_eq!(missing(&db), ["0002_age.sql", "0003_fill.sql"]);
    drop(db);
    for _ in 0..2 {
        let db = Sqlite::new(file.connection(), &LIST).unwrap();
        assert!(missing(&db).is_empty());
        assert_eq!(count(&db, "SELECT COUNT(*) FROM notes"), 1, "filled once");
        assert_eq!(count(&db, "SELECT COUNT(*) FROM d1_migrations WHERE applied_at IS NOT NULL"), 3);
    }
}

#[test]
fn one_that_fails_is_named_and_leaves_nothing() {
    let file = File::new("fails");
    let broken =
        Migration { name: "0002_broken.sql", sql: "CREATE TABLE more (id TEXT); CREATE TABLE notes (id TEXT);" };
    let [first, _, last] = LIST;
    let error = Sqlite::new(file.connection(), &[first, broken, last]).err().unwrap();
    assert!(matches!(&error, OpenError::Migration { name: "0002_broken.sql", .. }), "{error}");
    assert!(error.to_string().starts_with("migration 0002_broken.sql failed: table notes already exists"), "{error}");
    let db = Sqlite::new(file.connection(), &[first]).unwrap();
    assert_eq!(missing(&db), ["0002_age.sql", "0003_fill.sql"]);
    assert_eq!(count(&db, "SELECT COUNT(*) FROM sqlite_master WHERE name = 'more'"), 0);
}

#[test]
fn a_column_that_is_there_counts_as_applied() {
    let file = File::new("column");
    file.connection().execute_batch("CREATE TABLE notes (id TEXT, age INTEGER)").unwrap();
    let [_, age, _] = LIST;
    Sqlite::new(file.connection(), &[age]).unwrap();
    // What stands behind the column in the same file would be passed over.
    let two =
        Migration { name: "two.sql", sql: "ALTER TABLE notes ADD COLUMN age INTEGER; CREATE TABLE more (id TEXT);" };
    let error = Sqlite::new(file.connection(), &[age, two]).err().unwrap();
    assert!(matches!(error, OpenError::Migration { name: "two.sql", .. }), "{error}");
}

#[test]
fn a_database_without_the_table_misses_all() {
    let file = File::new("bare");
    let db = Sqlite::new(file.connection(), &[]).unwrap();
    block_on(db.execute("DROP TABLE d1_migrations", &[])).unwrap();
    assert_eq!(missing(&db), LIST.map(|migration| migration.name));
}
