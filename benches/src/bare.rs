//! The yardstick of part (b): the same `tx_log` rows inserted into the same kind of file, and nothing else.

use std::path::Path;
use std::time::{Duration, Instant};

use database::local_sqlite::{Rusqlite, Synchronous};

/// Time for inserting `texts`, `batch` rows a transaction, through the connection settings that graphs use.
pub(crate) fn insert(file: &Path, texts: &[String], batch: usize) -> anyhow::Result<Duration> {
    let database = Rusqlite::open(file, Synchronous::Normal)?;
    let connection = database.connection();
    connection.execute_batch(
        "create table tx_log (t integer primary key, tx text not null, created_at integer, outliner_op text)",
    )?;
    let start = Instant::now();
    let mut t = 0_i64;
    for rows in texts.chunks(batch) {
        connection.execute_batch("begin immediate")?;
        let mut insert =
            connection.prepare_cached("insert into tx_log (t, tx, created_at, outliner_op) values (?, ?, ?, ?)")?;
        for text in rows {
            t += 1;
            insert.execute((t, text, 1_755_000_000_000_i64, "insert-blocks"))?;
        }
        connection.execute_batch("commit")?;
    }
    Ok(start.elapsed())
}
