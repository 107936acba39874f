//! The journal and the nodes (datascript.md 13.5, D-39).

use std::cell::Cell;
use std::rc::Rc;

use database::local::Sql;
use database::local_sqlite::Rusqlite;
use graph::faults::{self, Point};
use graph::snapshot::{Encoding, FrameReader};
use graph::{Graph, Options, WritePolicy};
use protocol::limits::UPLOAD_IDLE_MS;

use super::client::{apply, assert_consistent, batch, block, entry, everything, facts, lookup, page, title};
use super::support::{NOW, TestGraph, TestRow, changes, count, frame, int, meta, new_graph, open, rows_of, upload};

fn with(sql: &Rc<Rusqlite>, options: Options) -> TestGraph {
    Graph::new(Rc::clone(sql), || NOW, options)
}

fn with_tail(sql: &Rc<Rusqlite>) -> TestGraph {
    with(sql, Options { writes: WritePolicy::Tail, ..Options::DEFAULT })
}

/// A page with one block, each its own batch.
fn edited() -> (TestGraph, Rc<Rusqlite>) {
    let (mut graph, sql) = new_graph();
    apply(&mut graph, &[entry("create-page", None, &page(1))]);
    apply(&mut graph, &[entry("insert-blocks", None, &block(2, &lookup(1), &lookup(1)))]);
    (graph, sql)
}

fn edit(graph: &mut TestGraph, text: &str) {
    apply(graph, &[entry("save-block", None, &[title(2, text)])]);
}

/// The facts of nothing but these rows, as a client reads them that has downloaded them.
fn facts_of(rows: &[TestRow]) -> Vec<String> {
    let (mut graph, _) = new_graph();
    upload(&mut graph, ("true", "true", ""), false, &[&frame(rows)]).unwrap();
    facts(graph.db().unwrap())
}

#[test]
fn a_small_edit_writes_two_rows() {
    let (mut graph, sql) = edited();
    let rows = rows_of(&sql);
    for text in ["one", "two", "three"] {
        let before = changes(&sql);
        edit(&mut graph, text);
        assert_eq!(changes(&sql) - before, 2, "its log row and one of the journal");
    }
    assert_eq!(rows_of(&sql), rows);
    assert_consistent(&mut graph, &sql);
}

#[test]
fn after_a_checkpoint_the_rows_alone_are_the_graph() {
    let (mut graph, sql) = edited();
    edit(&mut graph, "second");
    assert_eq!(graph.waits_for_checkpoint(), Some(3));
    let position = graph.position().unwrap();
    assert_ne!(meta(&sql, "t").as_deref(), Some("3"));
    graph.checkpoint().unwrap();
    assert_eq!(graph.waits_for_checkpoint(), None);
    assert_eq!((meta(&sql, "t").as_deref(), meta(&sql, "checksum")), (Some("3"), position.checksum.clone()));
    assert_eq!(rows_of(&sql)[1].1, "[]", "the tail is empty");
    let now = facts(graph.db().unwrap());
    assert_eq!(facts_of(&rows_of(&sql)), now);
    assert_consistent(&mut graph, &sql);
    // It writes nothing again, and needs none of what the journal holds.
    let before = changes(&sql);
    graph.checkpoint().unwrap();
    open(&sql).checkpoint().unwrap();
    assert_eq!(changes(&sql), before);
    sql.execute("DELETE FROM journal", &[]).unwrap();
    let mut alone = open(&sql);
    assert_eq!((facts(alone.db().unwrap()), alone.position().unwrap()), (now, position));
    // The next batch goes on behind what was deleted.
    edit(&mut alone, "third");
    assert_consistent(&mut alone, &sql);
}

#[test]
fn a_graph_that_was_not_opened_makes_its_checkpoint() {
    let (graph, sql) = edited();
    drop(graph);
    let mut graph = open(&sql);
    assert_eq!(graph.waits_for_checkpoint(), None, "nothing is known yet");
    graph.checkpoint().unwrap();
    assert_eq!(meta(&sql, "t").as_deref(), Some("2"));
    assert_eq!(facts_of(&rows_of(&sql)), facts(graph.db().unwrap()));
}

#[test]
fn a_full_journal_is_a_checkpoint() {
    let sql = Rc::new(Rusqlite::in_memory().unwrap());
    let mut graph = with(&sql, Options { journal_datoms: 40, ..Options::DEFAULT });
    apply(&mut graph, &[entry("create-page", None, &page(1))]);
    let mut checkpoints = 0;
    for n in 2..60 {
        apply(&mut graph, &[entry("insert-blocks", None, &block(n, &lookup(1), &lookup(1)))]);
        let waits = graph.waits_for_checkpoint().is_some();
        checkpoints += usize::from(!waits);
        assert_eq!(graph.position().unwrap().t, i64::try_from(n).unwrap());
        if n % 7 == 0 {
            assert_consistent(&mut graph, &sql);
        }
    }
    // Seven datoms each.
    assert!((9..=12).contains(&checkpoints), "{checkpoints}");
    // A batch that no journal takes.
    let items: Vec<_> = (100..110).flat_map(|n| block(n, &lookup(1), &lookup(1))).collect();
    apply(&mut graph, &[entry("insert-blocks", None, &items)]);
    assert_eq!(graph.waits_for_checkpoint(), None);
    assert_consistent(&mut graph, &sql);
}

#[test]
fn the_journal_is_a_ring() {
    let (mut graph, sql) = edited();
    let mut most = 0;
    for n in 0..1200 {
        edit(&mut graph, &format!("text {n}"));
        most = most.max(count(&sql, "journal"));
    }
    assert!((100..=512).contains(&most), "{most} rows");
    assert!(int(&sql, "SELECT max(seq) FROM journal") > 1100);
    assert_consistent(&mut graph, &sql);
    graph.checkpoint().unwrap();
    assert_consistent(&mut graph, &sql);
}

#[test]
fn long_values_do_not_fill_the_journal() {
    let (mut graph, sql) = edited();
    let long = "x".repeat(300_000);
    for n in 0..6 {
        edit(&mut graph, &format!("{n} {long}"));
        let waiting = "SELECT coalesce(sum(length(txs)), 0) FROM journal WHERE seq > \
                       coalesce((SELECT CAST(value AS INTEGER) FROM sync_meta WHERE key = 'journal-seq'), 0)";
        assert!(int(&sql, waiting) <= 512 << 10);
        assert_consistent(&mut graph, &sql);
    }
    edit(&mut graph, &"y".repeat(900_000));
    assert_eq!(graph.waits_for_checkpoint(), None);
    assert_consistent(&mut graph, &sql);
}

#[test]
fn an_export_shows_what_only_the_journal_held() {
    let (mut graph, sql) = edited();
    edit(&mut graph, "not written yet");
    let rows = graph.row_count().unwrap();
    edit(&mut graph, "nor this");
    let at_start = facts(graph.db().unwrap());
    let mut export = graph.begin_export(Encoding::Identity).unwrap();
    assert!(export.row_count() >= rows);
    // What comes later is not shown, also once a checkpoint writes it.
    edit(&mut graph, "too late");
    graph.checkpoint().unwrap();
    let (mut reader, mut shown) = (FrameReader::new(), Vec::new());
    while let Some(chunk) = graph.next_chunk(&mut export).unwrap() {
        let mut chunk = &chunk[..];
        while let Some(row) = reader.next_row(&mut chunk).unwrap() {
            shown.push((i64::from(row.addr), row.content, row.addresses));
        }
    }
    assert_eq!(shown[1].1, "[]");
    assert_eq!(facts_of(&shown), at_start);
    assert_ne!(facts(graph.db().unwrap()), at_start);
    assert_consistent(&mut graph, &sql);
}

#[test]
fn graphs_of_earlier_versions_open_as_they_are() {
    let sql = Rc::new(Rusqlite::in_memory().unwrap());
    let mut earlier = with_tail(&sql);
    apply(&mut earlier, &[entry("create-page", None, &page(1))]);
    apply(&mut earlier, &[entry("insert-blocks", None, &block(2, &lookup(1), &lookup(1)))]);
    let (then, position) = (facts(earlier.db().unwrap()), earlier.position().unwrap());
    assert_ne!(rows_of(&sql)[1].1, "[]", "something is in the tail");
    drop(earlier);
    sql.execute("DROP TABLE journal", &[]).unwrap();
    let mut graph = open(&sql);
    assert_eq!((facts(graph.db().unwrap()), graph.position().unwrap()), (then, position));
    edit(&mut graph, "goes to the journal, on top of the tail");
    assert_consistent(&mut graph, &sql);
    graph.checkpoint().unwrap();
    assert_consistent(&mut graph, &sql);
    let (now, position) = (facts(graph.db().unwrap()), graph.position().unwrap());
    drop(graph);
    // The earlier version knows nothing of the journal.
    sql.execute("DROP TABLE journal", &[]).unwrap();
    let mut earlier = with_tail(&sql);
    assert_eq!((facts(earlier.db().unwrap()), earlier.position().unwrap()), (now, position));
    edit(&mut earlier, "and goes on");
    assert_consistent(&mut earlier, &sql);
}

#[test]
fn a_journal_is_taken_over_by_the_tail() {
    let (graph, sql) = edited();
    drop(graph);
    let mut graph = with_tail(&sql);
    assert_eq!(graph.position().unwrap().t, 2);
    for text in ["one", "two"] {
        edit(&mut graph, text);
        assert_eq!(graph.waits_for_checkpoint(), None);
        assert_consistent(&mut graph, &sql);
    }
}

#[test]
fn an_upload_replaces_the_journal_too_and_a_failed_one_leaves_it() {
    let (graph, sql) = edited();
    drop(graph);
    let now_ms = Rc::new(Cell::new(NOW));
    let clock = Rc::clone(&now_ms);
    let mut graph = Graph::new(Rc::clone(&sql), move || clock.get(), Options::default());
    let position = graph.position().unwrap();
    let now = facts(graph.db().unwrap());
    assert!(upload(&mut graph, ("true", "true", ""), false, &[b"\0\0\0\x02{}"]).is_err());
    assert!(graph.is_uploading().unwrap());
    now_ms.set(NOW + UPLOAD_IDLE_MS + 1);
    assert_eq!((graph.position().unwrap(), facts(graph.db().unwrap())), (position, now));
    let rows = super::support::empty_tree();
    edit(&mut graph, "waits");
    upload(&mut graph, ("true", "true", ""), false, &[&frame(&rows)]).unwrap();
    assert_eq!((graph.position().unwrap().t, facts(graph.db().unwrap()).len()), (0, 0));
    assert_eq!(count(&sql, "journal"), 0);
    assert_consistent(&mut graph, &sql);
}

/// Dies at each point of a checkpoint, and at each point of the batches around it.
#[test]
fn a_crash_around_a_checkpoint_loses_nothing() {
    let points = [Point::CheckpointBeforeStorage, Point::CheckpointInsideStorage, Point::CheckpointAfterStorage];
    for point in points {
        let (mut graph, sql) = edited();
        edit(&mut graph, "waits");
        let (now, position, before) = (facts(graph.db().unwrap()), graph.position().unwrap(), everything(&sql));
        faults::arm(point, 0);
        assert!(matches!(graph.checkpoint(), Err(graph::Error::Fault(_))), "{}", point.name());
        assert!(faults::fired());
        faults::disarm();
        assert_eq!(everything(&sql) == before, point != Point::CheckpointAfterStorage, "{}", point.name());
        // The same object goes on, and so does another one.
        assert_eq!((facts(graph.db().unwrap()), graph.position().unwrap()), (now.clone(), position.clone()));
        edit(&mut graph, "between two checkpoints");
        assert_consistent(&mut graph, &sql);
        drop(graph);
        let mut graph = open(&sql);
        assert_eq!(graph.position().unwrap().t, position.t + 1);
        assert_consistent(&mut graph, &sql);
        graph.checkpoint().unwrap();
        assert_eq!(facts_of(&rows_of(&sql)), facts(graph.db().unwrap()));
    }
}

#[test]
fn a_checkpoint_that_cannot_be_written_leaves_the_journal() {
    let (mut graph, sql) = edited();
    let now = facts(graph.db().unwrap());
    sql.connection()
        .execute_batch("CREATE TRIGGER refuse BEFORE INSERT ON kvs BEGIN SELECT RAISE(ABORT, 'no'); END")
        .unwrap();
    assert!(graph.checkpoint().is_err());
    assert_eq!(facts(graph.db().unwrap()), now);
    // Batches need no node rows.
    edit(&mut graph, "still taken");
    assert!(graph.begin_export(Encoding::Identity).is_err(), "a download would lack what waits");
    assert_eq!(batch(&mut graph, 3, &[entry("save-block", None, &[title(2, "and this")])]).reply["t"], 4);
    sql.connection().execute_batch("DROP TRIGGER refuse").unwrap();
    graph.checkpoint().unwrap();
    assert_consistent(&mut graph, &sql);
    assert_eq!(facts_of(&rows_of(&sql)), facts(graph.db().unwrap()));
}

#[test]
fn a_damaged_journal_row_is_told() {
    let (graph, sql) = edited();
    drop(graph);
    sql.execute("UPDATE journal SET txs = '[[' WHERE seq = 2", &[]).unwrap();
    let mut graph = open(&sql);
    assert_eq!(graph.position().unwrap().t, 2, "its counter can be read");
    assert!(matches!(graph.db(), Err(graph::Error::Corrupt(_))));
    // An upload replaces it.
    upload(&mut graph, ("true", "true", ""), false, &[&frame(&super::support::empty_tree())]).unwrap();
    assert_eq!(facts(graph.db().unwrap()).len(), 0);
}
