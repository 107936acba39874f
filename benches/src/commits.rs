//! Part `commits`: the yardstick of what one acknowledged transaction costs, a commit that waits for the disk and nothing else.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use database::local_sqlite::{Rusqlite, Synchronous};

/// Commits that are measured, after as many that warm up as a tenth of them.
const COMMITS: usize = 1_000;

/// Bytes of a row: what a transaction of seven facts is in the log.
const ROW: usize = 800;

/// Prints the median and the 99th percentile of commits of one row into a file in this folder.
pub(crate) fn run(folder: &Path) -> anyhow::Result<()> {
    let folder = tempfile::tempdir_in(folder).with_context(|| folder.display().to_string())?;
    let database = Rusqlite::open(&folder.path().join("commits.sqlite"), Synchronous::Full)?;
    let connection = database.connection();
    connection.execute_batch("create table rows (t integer primary key, tx text not null)")?;
    let text = "x".repeat(ROW);
    let mut lasted = Vec::with_capacity(COMMITS);
    for number in 0..COMMITS + COMMITS / 10 {
        let begun = Instant::now();
        connection.prepare_cached("insert into rows (tx) values (?)")?.execute((&text,))?;
        if number >= COMMITS / 10 {
            lasted.push(begun.elapsed());
        }
    }
    lasted.sort();
    let ms = |place: usize| lasted.get(place).map_or(0.0, Duration::as_secs_f64) * 1000.0;
    let (p50, p99) = (ms(COMMITS / 2), ms(COMMITS * 99 / 100));
    println!("{}", serde_json::json!({ "part": "commits", "p50ms": p50, "p99ms": p99 }));
    Ok(())
}
