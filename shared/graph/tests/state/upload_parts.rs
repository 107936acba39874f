//! Whose an upload is, and how far it has come: parts that go on, parts twice, and parts of somebody else (sync.md 10.4,
//! D-40, D-81).

use std::cell::Cell;
use std::rc::Rc;

use database::local::Sql;
use database::local_sqlite::Rusqlite;
use graph::snapshot::UploadError;
use graph::{Graph, Options};
use protocol::limits::UPLOAD_IDLE_MS;
use protocol::query::UploadQuery;

use super::client::{apply, assert_consistent, entry, everything, page, page_of, title};
use super::support::{NOW, OWNER, TestGraph, TestRow, count, frame, meta, new_graph, open, rows_of, upload, upload_by};

const OTHER: &str = "user other";

/// Rows of a graph with a page and `blocks` blocks, and their checksum.
fn written(blocks: usize) -> (Vec<TestRow>, String) {
    let (mut graph, sql) = page_of(blocks);
    (rows_of(&sql), graph.position().unwrap().checksum.unwrap())
}

/// The first half of the rows, and the rest.
fn halves(rows: &[TestRow]) -> [Vec<u8>; 2] {
    let (first, second) = rows.split_at(rows.len() / 2);
    [frame(first), frame(second)]
}

fn begin(graph: &mut TestGraph, part: &[u8]) {
    assert!(!upload(graph, ("true", "false", ""), false, &[part]).unwrap().opened);
}

#[test]
fn the_last_part_once_more_takes_nothing_back() {
    let (rows, sum) = written(300);
    let [first, last] = halves(&rows);
    for checksum in ["", sum.as_str()] {
        let (mut graph, sql) = new_graph();
        begin(&mut graph, &first);
        assert!(upload(&mut graph, ("false", "true", checksum), false, &[&last]).unwrap().opened);
        // The answer was lost, and nothing has happened since.
        let before = everything(&sql);
        assert!(upload(&mut graph, ("false", "true", checksum), false, &[&last]).unwrap().opened);
        assert_eq!(rows_of(&sql), rows);
        assert_eq!(everything(&sql).rows, before.rows);
        for n in 0..30 {
            apply(&mut graph, &[entry("create-page", None, &page(1000 + n))]);
        }
        let before = everything(&sql);
        for (query, part) in [
            (("false", "true", checksum), &last),
            (("false", "true", ""), &last),
            (("false", "false", ""), &last),
            (("false", "true", ""), &first),
        ] {
            let outcome = upload(&mut graph, query, false, &[part]);
            let refused = matches!(outcome, Err(UploadError::Conflict | UploadError::ChecksumConflict));
            assert!(refused, "{query:?}: {outcome:?}");
            assert_eq!(everything(&sql), before, "nothing changed");
        }
        assert_eq!(count(&sql, "upload_rows"), 0);
        assert_consistent(&mut graph, &sql);
    }
}

#[test]
fn rows_go_over_transactions_only_where_their_checksum_proves_them() {
    let (rows, sum) = written(100);
    let (mut graph, sql) = new_graph();
    upload(&mut graph, ("true", "true", &sum), false, &[&frame(&rows)]).unwrap();
    apply(&mut graph, &[entry("save-block", None, &[title(100, "another")])]);
    graph.checkpoint().unwrap();
    let now = rows_of(&sql);
    let stored = graph.position().unwrap().checksum.unwrap();
    assert_ne!(stored, sum);
    let before = everything(&sql);
    // The right checksum over rows of before: its blocks are not those.
    let outcome = upload(&mut graph, ("false", "true", &stored), false, &[&frame(&rows)]);
    assert!(matches!(outcome, Err(UploadError::ChecksumConflict)), "{outcome:?}");
    assert_eq!(everything(&sql), before);
    upload(&mut graph, ("false", "true", &stored), false, &[&frame(&now)]).unwrap();
    assert_eq!(rows_of(&sql), now);
    assert_eq!(graph.position().unwrap().t, 1);
    assert_consistent(&mut graph, &sql);
}

#[test]
fn every_part_can_be_repeated() {
    let (rows, sum) = written(300);
    let parts: Vec<Vec<u8>> = rows.chunks(rows.len() / 5).map(frame).collect();
    let (mut graph, sql) = new_graph();
    for (number, part) in parts.iter().enumerate() {
        let reset = if number == 0 { "true" } else { "false" };
        let last = number + 1 == parts.len();
        let query = (reset, if last { "true" } else { "false" }, if last { sum.as_str() } else { "" });
        // Cut short, then sent, then sent again because the answer was lost, then by a process that knows nothing.
        assert!(upload(&mut graph, query, false, &[&part[..part.len() - 3]]).is_err());
        for _ in 0..2 {
            assert_eq!(upload(&mut graph, query, false, &[part]).unwrap().opened, last, "part {number}");
        }
        graph = open(&sql);
        assert!(upload(&mut graph, query, false, &[&part[..part.len() - 3]]).is_err());
        graph = open(&sql);
        assert_eq!(upload(&mut graph, query, false, &[part]).unwrap().opened, last, "part {number}");
    }
    assert_eq!(rows_of(&sql), rows);
    assert_eq!(meta(&sql, "checksum"), Some(sum));
    assert_eq!(count(&sql, "upload_rows"), 0);
}

#[test]
fn a_part_that_does_not_go_on_is_refused_and_leaves_the_upload_alone() {
    let (rows, sum) = written(300);
    let third = rows.len() / 3;
    let [first, second, last] = [&rows[..third], &rows[third..2 * third], &rows[2 * third..]].map(frame);
    let (mut graph, sql) = new_graph();
    begin(&mut graph, &first);
    upload(&mut graph, ("false", "false", ""), false, &[&second]).unwrap();
    let staged = count(&sql, "upload_rows");
    let astray = [
        // The first part again, and one that begins within what has come.
        first.clone(),
        frame(&rows[third - 5..]),
        frame(&rows[third + 1..]),
        // One that goes on and then goes back.
        frame(&[&rows[2 * third..], &rows[..1]].concat()),
    ];
    for (number, part) in astray.iter().enumerate() {
        for finished in ["false", "true"] {
            let outcome = upload(&mut graph, ("false", finished, ""), false, &[part]);
            assert!(matches!(outcome, Err(UploadError::Conflict)), "{number}: {outcome:?}");
            assert_eq!(count(&sql, "upload_rows"), staged, "{number}");
        }
    }
    for query in [("false", "true", ""), ("false", "false", ""), ("true", "true", ""), ("true", "false", "")] {
        let outcome = upload_by(OTHER, &mut graph, query, false, &[&last]);
        assert!(matches!(outcome, Err(UploadError::Conflict)), "{query:?}: {outcome:?}");
        assert_eq!(count(&sql, "upload_rows"), staged);
    }
    assert!(upload(&mut graph, ("false", "true", &sum), false, &[&last]).unwrap().opened);
    assert_eq!(rows_of(&sql), rows);
}

#[test]
fn two_uploads_do_not_mix() {
    let (a_rows, a_sum) = written(300);
    let (b_rows, b_sum) = written(280);
    let ([a1, a2], [b1, b2]) = (halves(&a_rows), halves(&b_rows));
    for (b, b_is_other) in [(OTHER, true), (OWNER, false)] {
        for (a_sum, b_sum) in [(a_sum.as_str(), b_sum.as_str()), (a_sum.as_str(), "")] {
            let (mut graph, sql) = new_graph();
            begin(&mut graph, &a1);
            let b1_taken = upload_by(b, &mut graph, ("true", "false", ""), false, &[&b1]).is_ok();
            let a2_taken = upload(&mut graph, ("false", "true", a_sum), false, &[&a2]).is_ok();
            let b2_taken = upload_by(b, &mut graph, ("false", "true", b_sum), false, &[&b2]).is_ok();
            assert_eq!((b1_taken, a2_taken, b2_taken), (!b_is_other, b_is_other, !b_is_other), "{b} {b_sum:?}");
            assert_eq!(rows_of(&sql), if b_is_other { a_rows.clone() } else { b_rows.clone() });
            assert!(!graph.is_uploading().unwrap());
        }
    }
}

#[test]
fn the_checksum_of_several_requests_is_compared() {
    let (rows, sum) = written(300);
    let [first, last] = halves(&rows);
    let (mut graph, sql) = new_graph();
    begin(&mut graph, &first);
    let staged = count(&sql, "upload_rows");
    for wrong in ["0000000000000000", "ffffffffffffffff", "nonsense"] {
        let outcome = upload(&mut graph, ("false", "true", wrong), false, &[&last]);
        assert!(matches!(outcome, Err(UploadError::ChecksumConflict)), "{wrong}: {outcome:?}");
        assert_eq!((count(&sql, "upload_rows"), count(&sql, "kvs")), (staged, 0), "what it brought is dropped");
        assert!(graph.is_uploading().unwrap());
    }
    assert!(upload(&mut graph, ("false", "true", &sum), false, &[&last]).unwrap().opened);
    assert_eq!(rows_of(&sql), rows);
}

#[test]
fn a_part_twice_at_a_time_is_taken_once() {
    let (rows, sum) = written(300);
    let [first, last] = halves(&rows);
    let (mut graph, sql) = new_graph();
    begin(&mut graph, &first);
    let query = UploadQuery::new(Some("false"), Some("true"), Some(&sum));
    let mut slow = graph.begin_upload(&query, OWNER, false, true).unwrap();
    graph.feed_upload(&mut slow, &last[..last.len() - 10]).unwrap();
    // Another part does not push it aside, the same one does.
    let beyond = frame(&rows[rows.len() / 2 + 40..]);
    let mut astray = graph.begin_upload(&query, OWNER, false, true).unwrap();
    let outcome = graph.feed_upload(&mut astray, &beyond).and_then(|()| graph.finish_upload(&mut astray).map(drop));
    assert!(matches!(outcome, Err(UploadError::Conflict)), "{outcome:?}");
    let end = upload(&mut graph, ("false", "true", ""), false, &[]);
    assert!(matches!(end, Err(UploadError::Conflict)), "nor does an end without rows: {end:?}");
    graph.feed_upload(&mut slow, &last[last.len() - 10..last.len() - 5]).unwrap();
    assert!(upload(&mut graph, ("false", "true", &sum), false, &[&last]).unwrap().opened);
    let outcome = graph.feed_upload(&mut slow, &last[last.len() - 5..]).and_then(|()| graph.finish_upload(&mut slow));
    assert!(matches!(outcome, Err(UploadError::Superseded)), "{outcome:?}");
    assert_eq!(rows_of(&sql), rows);
    assert!(!graph.is_uploading().unwrap());
}

fn timed() -> (TestGraph, Rc<Rusqlite>, Rc<Cell<i64>>) {
    let sql = Rc::new(Rusqlite::in_memory().unwrap());
    let clock = Rc::new(Cell::new(NOW));
    (open_at(&sql, &clock), sql, clock)
}

fn open_at(sql: &Rc<Rusqlite>, clock: &Rc<Cell<i64>>) -> TestGraph {
    let clock = Rc::clone(clock);
    Graph::new(Rc::clone(sql), move || clock.get(), Options::default())
}

#[test]
fn an_upload_that_nobody_goes_on_with_locks_nobody_out() {
    let (rows, sum) = written(300);
    let [first, last] = halves(&rows);
    for restarts in [false, true] {
        let (mut graph, sql, clock) = timed();
        apply(&mut graph, &[entry("create-page", None, &page(1))]);
        graph.checkpoint().unwrap();
        let before = everything(&sql);
        begin(&mut graph, &first);
        if restarts {
            graph = open_at(&sql, &clock);
        }
        clock.set(clock.get() + UPLOAD_IDLE_MS);
        assert!(graph.is_uploading().unwrap());
        clock.set(clock.get() + 1);
        assert!(!graph.is_uploading().unwrap());
        assert_eq!(everything(&sql), before, "open again as it was");
        assert_eq!(count(&sql, "upload_rows"), 0);
        let late = upload(&mut graph, ("false", "true", &sum), false, &[&last]);
        assert!(matches!(late, Err(UploadError::Conflict | UploadError::ChecksumConflict)), "{late:?}");
        apply(&mut graph, &[entry("create-page", None, &page(2))]);
        assert_consistent(&mut graph, &sql);
        assert!(upload_by(OTHER, &mut graph, ("true", "true", &sum), false, &[&frame(&rows)]).unwrap().opened);
    }
}

#[test]
fn what_is_heard_of_keeps_its_time() {
    let (rows, sum) = written(300);
    let [first, last] = halves(&rows);
    let (mut graph, sql, clock) = timed();
    begin(&mut graph, &first);
    clock.set(clock.get() + UPLOAD_IDLE_MS);
    let query = UploadQuery::new(Some("false"), Some("true"), Some(&sum));
    let mut slow = graph.begin_upload(&query, OWNER, false, true).unwrap();
    for piece in last.chunks(last.len() / 6) {
        graph.feed_upload(&mut slow, piece).unwrap();
        clock.set(clock.get() + UPLOAD_IDLE_MS / 2);
        assert!(graph.is_uploading().unwrap());
    }
    assert!(graph.finish_upload(&mut slow).unwrap().opened);
    assert_eq!(rows_of(&sql), rows);

    // Rows that wait for an open graph, whose sender has gone without a word.
    let mut gone = graph.begin_upload(&query, OWNER, false, true).unwrap();
    graph.feed_upload(&mut gone, &last[..last.len() - 1]).unwrap();
    assert!(count(&sql, "upload_rows") > 0 || last.len() < 1 << 20);
    clock.set(clock.get() + UPLOAD_IDLE_MS + 1);
    graph.position().unwrap();
    assert_eq!(count(&sql, "upload_rows"), 0);
}

#[test]
fn an_upload_that_brought_no_row_protects_nothing() {
    let (rows, sum) = written(10);
    let (mut graph, _) = new_graph();
    let failed = upload(&mut graph, ("true", "true", ""), false, &[&[0, 0, 0, 5, 1, 2]]);
    assert!(matches!(failed, Err(UploadError::Invalid)), "{failed:?}");
    assert!(graph.is_uploading().unwrap());
    assert!(upload_by(OTHER, &mut graph, ("true", "true", &sum), false, &[&frame(&rows)]).unwrap().opened);
}

#[test]
fn a_lock_of_an_older_version_is_replaced() {
    let (rows, sum) = written(10);
    let (mut graph, sql) = new_graph();
    graph.position().unwrap();
    sql.execute("INSERT OR REPLACE INTO sync_meta VALUES ('snapshot-uploading?', 'true')", &[]).unwrap();
    let mut graph = open(&sql);
    let part = upload(&mut graph, ("false", "true", ""), false, &[&frame(&rows)]);
    assert!(matches!(part, Err(UploadError::Conflict)), "nobody knows what went before: {part:?}");
    assert!(upload(&mut graph, ("true", "true", &sum), false, &[&frame(&rows)]).unwrap().opened);
    assert_eq!(rows_of(&sql), rows);
}
