//! A graph that nobody uses is checkpointed by the object's alarm (docs/spec/datascript.md 13.5).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use conformance::{Server, TestGraph, tx};
use rusqlite::{Connection, OpenFlags};

/// The alarm comes four seconds after the last batch; a busy machine may take its time.
const PATIENCE: Duration = Duration::from_mins(1);

#[test]
fn an_idle_graph_is_checkpointed_and_its_rows_alone_are_the_graph() {
    let mut server = Server::own(None);
    let graph = TestGraph::initial(&server.person("owner"));
    let page = tx::id();
    graph.batch(0, &[tx::entry(&tx::page(&page, "Idle"), "create-page", &tx::id())]).status(200);
    for t in 1..20 {
        let block = tx::new_block(&tx::id(), &page, &page, &format!("a{t}V"), &format!("block {t}"));
        graph.batch(t, &[tx::entry(&block, "insert-blocks", &tx::id())]).status(200);
    }
    // Nothing that would make a checkpoint of its own is asked meanwhile: the files are looked at.
    let until = Instant::now() + PATIENCE;
    let file = loop {
        let open = graph_files(server.data());
        if let Some((file, _)) = open.iter().find(|(_, state)| state.is_some_and(State::is_checkpointed)) {
            break file.clone();
        }
        assert!(Instant::now() < until, "no checkpoint within {PATIENCE:?}: {open:?}");
        std::thread::sleep(Duration::from_millis(200));
    };
    let diagnostics = || graph.owner.get(&graph.path("/checksum/diagnostics")).status(200).json();
    let (told, rows) = (diagnostics(), graph.rows());
    assert!(rows.len() > 10, "{} rows", rows.len());

    server.kill();
    let written = Connection::open(&file).expect("the file opens");
    let removed = written.execute("DELETE FROM journal", []).expect("the journal is emptied");
    assert!(removed >= 20, "{removed} rows of the journal");
    assert_eq!(written.execute("DELETE FROM tx_log", []).expect("the log is emptied"), 20);
    drop(written);
    server.restart();
    assert_eq!((diagnostics(), graph.rows()), (told, rows));
    server.stop();
}

/// How far a graph's journal and its checkpoints have come.
#[derive(Clone, Copy, Debug)]
struct State {
    last: i64,
    checkpoint: i64,
}

impl State {
    fn is_checkpointed(self) -> bool {
        self.last >= 20 && self.checkpoint == self.last
    }
}

/// The databases of graphs below a folder, and what they say. One that is just being written says nothing.
fn graph_files(folder: &Path) -> Vec<(PathBuf, Option<State>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(graph_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "sqlite") {
            let state = state(&path);
            found.push((path, state));
        }
    }
    found
}

fn state(file: &Path) -> Option<State> {
    let read = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    let number = |sql: &str| read.query_row(sql, [], |row| row.get(0)).ok();
    Some(State {
        last: number("SELECT max(seq) FROM journal")?,
        checkpoint: number("SELECT CAST(value AS INTEGER) FROM sync_meta WHERE key = 'journal-seq'").unwrap_or(0),
    })
}
