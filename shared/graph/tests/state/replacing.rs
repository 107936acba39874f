//! What an upload that replaces a graph costs, and what a crash makes of it (sync.md D-40).

use std::rc::Rc;

use database::local_sqlite::Rusqlite;
use graph::faults::{self, Point};
use graph::snapshot::UploadError;
use protocol::query::UploadQuery;

use super::client::{apply, assert_consistent, entry, facts, page, page_of};
use super::support::{OWNER, TestGraph, TestRow, changes, count, empty_tree, frame, int, open, rows_of, upload};

/// A graph with a page and `blocks` blocks, its database and its rows.
fn written(blocks: usize) -> (TestGraph, Rc<Rusqlite>, Vec<TestRow>) {
    let (graph, sql) = page_of(blocks);
    let rows = rows_of(&sql);
    (graph, sql, rows)
}

fn discarded_tables(sql: &Rusqlite) -> i64 {
    int(sql, "SELECT count(*) FROM sqlite_master WHERE name LIKE 'discarded_%'")
}

/// Statements' row changes of the end of an upload, once all its rows wait.
fn cost_of_the_end(graph: &mut TestGraph, sql: &Rusqlite, rows: &[TestRow]) -> i64 {
    let query = UploadQuery::new(Some("true"), Some("true"), Some(""));
    let mut uploading = graph.begin_upload(&query, OWNER, false, true).unwrap();
    graph.close_for_upload(&mut uploading).unwrap();
    graph.feed_upload(&mut uploading, &frame(rows)).unwrap();
    graph.store_rest(&mut uploading).unwrap();
    while graph.verify_piece(&mut uploading).unwrap() {}
    let before = changes(sql);
    assert!(graph.finish_upload(&mut uploading).unwrap().opened);
    changes(sql) - before
}

#[test]
fn taking_the_place_of_a_graph_costs_the_same_whatever_their_sizes() {
    let cost = |of_old: usize, of_new: usize| {
        let (mut graph, sql, _) = written(of_old);
        let (_, _, rows) = written(of_new);
        let cost = cost_of_the_end(&mut graph, &sql, &rows);
        assert_eq!(rows_of(&sql), rows);
        assert_consistent(&mut graph, &sql);
        // A log of one transaction for fifty blocks, and a journal that is never long.
        cost
    };
    let (small, large) = (cost(50, 50), cost(3000, 3000));
    assert!(large <= small + 60, "{large} row changes, {small} of a small graph");
    assert!(large < 200, "{large}");
}

#[test]
fn what_was_replaced_goes_in_small_steps() {
    let (mut graph, sql, _) = written(3000);
    let old = count(&sql, "kvs");
    assert!(!graph.waits_for_sweep().unwrap());
    let (_, _, rows) = written(300);
    upload(&mut graph, ("true", "true", ""), false, &[&frame(&rows)]).unwrap();
    assert!(graph.waits_for_sweep().unwrap() && open(&sql).waits_for_sweep().unwrap());
    let tables = discarded_tables(&sql);
    assert!(tables >= 2, "rows and log");
    let mut steps = 0;
    loop {
        let before = changes(&sql);
        let more = graph.sweep().unwrap();
        assert!(changes(&sql) - before <= 501);
        if !more {
            break;
        }
        steps += 1;
        if steps == 2 {
            // Another upload meanwhile, and a process that knows nothing.
            upload(&mut graph, ("true", "true", ""), false, &[&frame(&rows)]).unwrap();
            graph = open(&sql);
        }
    }
    assert!(steps > old / 500);
    assert_eq!((discarded_tables(&sql), count(&sql, "discarded")), (0, 0));
    assert_eq!(rows_of(&sql), rows);
    apply(&mut graph, &[entry("create-page", None, &page(9))]);
    assert_consistent(&mut graph, &sql);
}

#[test]
fn a_statement_that_has_not_ended_leaves_an_empty_table_for_later() {
    let (mut graph, sql, rows) = written(300);
    upload(&mut graph, ("true", "true", ""), false, &[&frame(&rows)]).unwrap();
    {
        // As a page of a download leaves one behind where statements end when they are collected.
        let mut statement = sql.connection().prepare("SELECT addr FROM kvs ORDER BY addr").unwrap();
        let mut read = statement.query([]).unwrap();
        assert!(read.next().unwrap().is_some());
        while graph.sweep().unwrap() {}
        assert!(discarded_tables(&sql) > 0 && graph.waits_for_sweep().unwrap());
        assert_eq!(rows_of(&sql), rows);
    }
    while graph.sweep().unwrap() {}
    assert_eq!((discarded_tables(&sql), count(&sql, "discarded")), (0, 0));
}

#[test]
fn an_upload_that_was_given_up_goes_in_small_steps_too() {
    let (mut graph, sql, rows) = written(1500);
    let now = facts(graph.db().unwrap());
    upload(&mut graph, ("true", "false", ""), false, &[&frame(&rows)]).unwrap();
    let staged = count(&sql, "upload_rows");
    assert!(staged > 500);
    let before = changes(&sql);
    // It begins again, with what its sender has by now.
    let query = UploadQuery::new(Some("true"), Some("false"), None);
    let mut again = graph.begin_upload(&query, OWNER, false, true).unwrap();
    graph.close_for_upload(&mut again).unwrap();
    assert!(changes(&sql) - before < 50);
    assert_eq!(count(&sql, "upload_rows"), 0);
    graph.abandon_upload(&mut again);
    while graph.sweep().unwrap() {}
    assert_eq!(discarded_tables(&sql), 0);
    assert!(graph.is_uploading().unwrap());
    assert!(!now.is_empty());
}

#[test]
fn a_crash_at_any_point_of_an_upload_leaves_one_graph_or_the_other() {
    let points = [
        Point::UploadAfterFirstRows,
        Point::UploadBetweenRows,
        Point::UploadBeforeOpening,
        Point::UploadInsideOpening,
        Point::UploadAfterOpening,
    ];
    for point in points {
        let (mut graph, sql, old) = written(400);
        let (mut other, _, new) = written(700);
        let (before, after) = (facts(graph.db().unwrap()), facts(other.db().unwrap()));
        let t = graph.position().unwrap().t;
        faults::arm(point, 0);
        let died = upload(&mut graph, ("true", "true", ""), false, &[&frame(&new)]);
        assert!(matches!(died, Err(UploadError::Graph(graph::Error::Fault(_)))), "{}: {died:?}", point.name());
        faults::disarm();
        drop(graph);
        let mut graph = open(&sql);
        if point == Point::UploadAfterOpening {
            assert!(!graph.is_uploading().unwrap());
            assert_eq!((rows_of(&sql), facts(graph.db().unwrap()), graph.position().unwrap().t), (new, after, 0));
        } else {
            assert!(graph.is_uploading().unwrap(), "{}", point.name());
            assert_eq!(rows_of(&sql), old, "{}: nothing of the graph has changed", point.name());
            // The time of the upload is over.
            let mut late = graph::Graph::new(
                Rc::clone(&sql),
                || super::support::NOW + protocol::limits::UPLOAD_IDLE_MS + 1,
                graph::Options::default(),
            );
            assert!(!late.is_uploading().unwrap());
            assert_eq!((facts(late.db().unwrap()), late.position().unwrap().t), (before, t));
            graph = late;
        }
        faults::arm(Point::SweepBetweenSteps, 1);
        let swept = std::iter::repeat_with(|| graph.sweep()).find(|swept| !matches!(swept, Ok(true)));
        assert!(faults::fired() || matches!(swept, Some(Ok(false))));
        faults::disarm();
        let mut graph = open(&sql);
        while graph.sweep().unwrap() {}
        assert_eq!((discarded_tables(&sql), count(&sql, "upload_rows")), (0, 0), "{}", point.name());
        apply_one(&mut graph, &sql);
    }
}

fn apply_one(graph: &mut TestGraph, sql: &Rc<Rusqlite>) {
    if !graph.is_uploading().unwrap() {
        apply(graph, &[entry("create-page", None, &page(9))]);
        assert_consistent(graph, sql);
    }
    upload(graph, ("true", "true", ""), false, &[&frame(&empty_tree())]).unwrap();
    assert_eq!(facts(graph.db().unwrap()).len(), 0);
}
