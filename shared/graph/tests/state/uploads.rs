//! Uploads: complete, in pieces, broken, in each other's way (sync.md 10.4, 10.5).

use std::io::Write;
use std::rc::Rc;

use database::Param;
use database::local::Sql;
use flate2::Compression;
use flate2::write::GzEncoder;
use graph::faults::{self, Point};
use graph::snapshot::UploadError;
use protocol::query::UploadQuery;

use super::support::{OWNER, TestRow, count, empty_tree, frame, meta, new_graph, open, pull_text, rows_of, upload};

/// A checksum that no rows here have.
const SUM: &str = "00112233445566aa";

/// The checksum of a graph without blocks.
const ZERO: &str = "0000000000000000";

fn filler(from: i64, to: i64) -> Vec<TestRow> {
    (from..to).map(|addr| (addr, format!("[\"row\",{addr}]"), (addr % 3 == 0).then(|| "[1,2]".into()))).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn one_request_replaces_the_graph() {
    let (mut graph, sql) = new_graph();
    assert_eq!(graph.position().unwrap().t, 0);
    let rows = [empty_tree(), filler(1_000_004, 1_001_000)].concat();
    let done = upload(&mut graph, ("true", "true", SUM), false, &[&frame(&rows)]).unwrap();
    assert_eq!((done.count, done.opened), (rows.len() as u64, true));
    assert_eq!(rows_of(&sql), rows);
    let position = graph.position().unwrap();
    assert_eq!((position.t, position.checksum.as_deref()), (0, Some(SUM)));
    assert!(!graph.is_uploading().unwrap());
}

#[test]
fn pieces_gzip_and_several_requests() {
    let (mut graph, sql) = new_graph();
    let rows = [empty_tree(), filler(1_000_004, 1_002_000)].concat();
    let (first, second) = rows.split_at(700);
    let packed = gzip(&[frame(&first[..20]), frame(&first[20..])].concat());
    let pieces: Vec<&[u8]> = packed.chunks(100).collect();
    let done = upload(&mut graph, ("true", "false", ""), true, &pieces).unwrap();
    assert_eq!((done.count, done.opened), (700, false));
    assert!(graph.is_uploading().unwrap());
    assert!(matches!(graph.db(), Err(graph::Error::NotReady)));
    assert_eq!(graph.position().unwrap().t, 0, "answered without opening");

    let mut graph = open(&sql);
    assert!(graph.is_uploading().unwrap(), "closed across a restart");
    let done = upload(&mut graph, ("0", "1", ZERO), false, &[&frame(second)]).unwrap();
    assert_eq!((done.count, done.opened), (second.len() as u64, true));
    assert_eq!(rows_of(&sql), rows);
    assert_eq!(count(&sql, "upload_rows"), 0);
    assert_eq!(meta(&sql, "checksum").as_deref(), Some(ZERO));
}

#[test]
fn empty_bodies() {
    let (mut graph, sql) = new_graph();
    let done = upload(&mut graph, ("false", "true", SUM), false, &[]).unwrap();
    assert_eq!((done.count, done.opened), (0, true));
    assert_eq!(meta(&sql, "checksum").as_deref(), Some(SUM));
    graph.position().unwrap();
    let before = rows_of(&sql);
    assert!(matches!(upload(&mut graph, ("true", "true", ""), false, &[]), Err(UploadError::MissingBody)));
    assert!(matches!(upload(&mut graph, ("true", "true", ""), true, &[]), Err(UploadError::MissingBody)));
    assert_eq!(rows_of(&sql), before);
    assert!(!graph.is_uploading().unwrap());
    let done = upload(&mut graph, ("false", "false", ""), true, &[]).unwrap();
    assert_eq!(done.count, 0);
}

#[test]
fn broken_bodies_leave_a_replaced_graph_closed_until_a_complete_upload() {
    let good = frame(&empty_tree());
    let mut padded = gzip(&good);
    padded.extend(*b"more");
    let mut flipped = gzip(&good);
    let last = flipped.len() - 6;
    flipped[last] ^= 1;
    let broken: [(bool, Vec<u8>); 8] = [
        (false, good[..good.len() - 1].to_vec()),
        (false, vec![0, 0, 0, 5, 1, 2]),
        (false, b"\x00\x00\x00\x02{}".to_vec()),
        (true, good.clone()),
        (true, gzip(&good)[..30].to_vec()),
        (true, padded),
        (true, flipped),
        (false, frame(&filler(1_000_004, 1_000_010))),
    ];
    for (i, (packed, body)) in broken.into_iter().enumerate() {
        let (mut graph, sql) = new_graph();
        upload(&mut graph, ("true", "true", ""), false, &[&good]).unwrap();
        let outcome = upload(&mut graph, ("true", "true", ""), packed, &[&body]);
        assert!(matches!(outcome, Err(UploadError::Invalid)), "case {i}: {outcome:?}");
        assert!(graph.is_uploading().unwrap(), "case {i}");
        assert!(open(&sql).is_uploading().unwrap(), "case {i}");
        upload(&mut graph, ("true", "true", ""), false, &[&good]).unwrap();
        assert!(!graph.is_uploading().unwrap(), "case {i}");
        assert_eq!(rows_of(&sql), empty_tree(), "case {i}");
    }
}

#[test]
fn a_reset_that_failed_early_is_done_by_the_rows_that_follow() {
    let (mut graph, sql) = new_graph();
    let old = [empty_tree(), filler(1_000_004, 1_000_010)].concat();
    upload(&mut graph, ("true", "true", ""), false, &[&frame(&old)]).unwrap();
    let failed = upload(&mut graph, ("true", "true", ""), false, &[&[0, 0, 0, 5, 1, 2]]);
    assert!(matches!(failed, Err(UploadError::Invalid)), "{failed:?}");
    // Neither an end without rows nor rows without a root open the graph over what it held before.
    for body in [[].as_slice(), &frame(&filler(50_000_000, 50_000_001))] {
        let outcome = upload(&mut graph, ("false", "true", ""), false, &[body]);
        assert!(matches!(outcome, Err(UploadError::Invalid)), "{outcome:?}");
        graph = open(&sql);
        assert!(graph.is_uploading().unwrap());
    }
    upload(&mut graph, ("false", "true", ""), false, &[&frame(&empty_tree())]).unwrap();
    assert!(!graph.is_uploading().unwrap());
    let rows: Vec<i64> = rows_of(&sql).iter().map(|row| row.0).collect();
    assert_eq!(rows, [0, 1, 1_000_001, 1_000_002, 1_000_003], "what failed has left nothing");
}

#[test]
fn broken_bodies_change_nothing_of_an_open_graph() {
    let (mut graph, sql) = new_graph();
    let rows = [empty_tree(), filler(1_000_004, 1_000_100)].concat();
    upload(&mut graph, ("true", "true", SUM), false, &[&frame(&rows)]).unwrap();
    let much = frame(&filler(1_000_050, 1_002_000));
    let bad_root = frame(&[(0, "[]".into(), None)]);
    for (finished, body) in [("false", &much[..much.len() - 1]), ("true", &much[..much.len() - 1]), ("true", &bad_root)]
    {
        let outcome = upload(&mut graph, ("false", finished, SUM), false, &[body]);
        match finished {
            "true" => assert!(matches!(outcome, Err(UploadError::Invalid)), "{outcome:?}"),
            _ => assert!(matches!(outcome, Err(UploadError::Conflict)), "nothing proves them: {outcome:?}"),
        }
        assert_eq!(rows_of(&sql), rows);
        assert_eq!(count(&sql, "upload_rows"), 0);
        assert!(!graph.is_uploading().unwrap());
    }
    let outcome = upload(&mut graph, ("false", "true", "00000000000000ff"), false, &[&much]);
    assert!(matches!(outcome, Err(UploadError::ChecksumConflict)));
    assert_eq!(rows_of(&sql), rows);
    let done = upload(&mut graph, ("false", "true", SUM), false, &[&much]).unwrap();
    assert_eq!(done.count, 1950);
    assert_eq!(count(&sql, "kvs"), 5 + 1996);
}

#[test]
fn initial_checksum_is_refused_after_transactions() {
    let (mut graph, sql) = new_graph();
    graph.position().unwrap();
    sql.execute("UPDATE sync_meta SET value = '3' WHERE key = 't'", &[]).unwrap();
    let mut graph_again = open(&sql);
    let outcome = upload(&mut graph_again, ("false", "true", SUM), false, &[]);
    assert!(matches!(outcome, Err(UploadError::ChecksumConflict)));
    assert_eq!(meta(&sql, "checksum"), None);
    upload(&mut graph_again, ("false", "true", ""), false, &[]).unwrap();
}

#[test]
fn rows_beyond_the_limit() {
    let (mut graph, _) = new_graph();
    let big = vec![(0, "x".repeat(2_000_001), None)];
    let outcome = upload(&mut graph, ("true", "true", ""), false, &[&frame(&big)]);
    assert!(matches!(outcome, Err(UploadError::RowTooLarge)));
}

#[test]
fn a_gzip_bomb_is_cut_off() {
    let (mut graph, sql) = new_graph();
    // 2 GiB of spaces between two rows would fit into 2 MB.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let frame_of_spaces = {
        let mut payload = vec![b' '; 60 << 20];
        payload.extend_from_slice(b"[]");
        [&u32::try_from(payload.len()).unwrap().to_be_bytes()[..], &payload].concat()
    };
    for _ in 0..18 {
        encoder.write_all(&frame_of_spaces).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 2 << 20);
    let outcome = upload(&mut graph, ("true", "true", ""), true, &[&bomb]);
    assert!(matches!(outcome, Err(UploadError::TooLarge)), "{outcome:?}");
    assert!(graph.is_uploading().unwrap());
    assert_eq!(count(&sql, "kvs"), 0);
}

#[test]
fn a_later_upload_supersedes_one_that_is_under_way() {
    let (mut graph, sql) = new_graph();
    let query = UploadQuery::new(Some("true"), Some("true"), None);
    let mut slow = graph.begin_upload(&query, OWNER, false, true).unwrap();
    graph.close_for_upload(&mut slow).unwrap();
    let slow_body = frame(&filler(5, 2000));
    graph.feed_upload(&mut slow, &slow_body[..1000]).unwrap();
    upload(&mut graph, ("true", "true", SUM), false, &[&frame(&empty_tree())]).unwrap();
    let outcome = graph.feed_upload(&mut slow, &slow_body[1000..]);
    assert!(matches!(outcome, Err(UploadError::Superseded)), "{outcome:?}");
    assert!(graph.finish_upload(&mut slow).is_err());
    assert_eq!(rows_of(&sql), empty_tree());
    assert!(!graph.is_uploading().unwrap());

    let mut slow = graph.begin_upload(&query, OWNER, false, true).unwrap();
    graph.close_for_upload(&mut slow).unwrap();
    graph.reset().unwrap();
    graph.feed_upload(&mut slow, &frame(&empty_tree())).unwrap();
    assert!(matches!(graph.finish_upload(&mut slow), Err(UploadError::Superseded)));
    assert_eq!(graph.position().unwrap().checksum, None);
}

#[test]
fn transactions_during_uploads() {
    use super::client::{apply, assert_consistent, batch, block, entry, everything, lookup, page};
    let (mut graph, sql) = new_graph();
    graph.position().unwrap();
    let create = [entry("create-page", None, &page(1))];
    let insert = [entry("insert-blocks", None, &block(2, &lookup(1), &lookup(1)))];

    // Rows for an open graph wait; a transaction in between makes them outdated.
    let query = UploadQuery::new(Some("false"), Some("true"), None);
    let mut upload_to_open = graph.begin_upload(&query, OWNER, false, true).unwrap();
    graph.feed_upload(&mut upload_to_open, &frame(&[empty_tree(), filler(1_000_004, 1_001_000)].concat())).unwrap();
    assert_eq!(apply(&mut graph, &create), 1);
    let before = everything(&sql);
    assert!(matches!(graph.finish_upload(&mut upload_to_open), Err(UploadError::Superseded)));
    assert_eq!(everything(&sql), before);
    assert_eq!(count(&sql, "upload_rows"), 0);
    assert_consistent(&mut graph, &sql);

    // A graph that is being replaced takes none, before and after its first rows.
    let query = UploadQuery::new(Some("true"), Some("true"), None);
    let mut replacement = graph.begin_upload(&query, OWNER, false, true).unwrap();
    graph.close_for_upload(&mut replacement).unwrap();
    let body = frame(&[empty_tree(), filler(1_000_004, 1_001_000)].concat());
    for piece in [&body[..100], &body[100..30_000], &body[30_000..]] {
        graph.feed_upload(&mut replacement, piece).unwrap();
        let heard = batch(&mut graph, 1, &insert);
        assert_eq!(heard.reply["reason"], "snapshot upload in progress");
        assert_eq!((&heard.reply["t"], heard.others), (&serde_json::json!(1), None));
    }
    assert!(graph.finish_upload(&mut replacement).unwrap().opened);
    assert_eq!(apply(&mut graph, &create), 1);
    assert_consistent(&mut graph, &sql);
}

#[test]
fn a_crash_during_an_upload_leaves_the_graph_closed() {
    let rows = [empty_tree(), filler(1_000_004, 1_002_000)].concat();
    for point in [Point::UploadAfterFirstRows, Point::UploadBetweenRows, Point::UploadBeforeOpening] {
        let (mut graph, sql) = new_graph();
        upload(&mut graph, ("true", "true", SUM), false, &[&frame(&empty_tree())]).unwrap();
        faults::arm(point, 0);
        let outcome = upload(&mut graph, ("true", "true", SUM), false, &[&frame(&rows)]);
        assert!(matches!(outcome, Err(UploadError::Graph(graph::Error::Fault(_)))), "{}", point.name());
        assert!(faults::fired());
        let mut graph = open(&sql);
        assert!(graph.is_uploading().unwrap(), "{}", point.name());
        assert_eq!(rows_of(&sql), empty_tree(), "what there was is there still");
        assert_eq!(count(&sql, "upload_rows"), 0, "what the request brought is not");
        upload(&mut graph, ("true", "true", SUM), false, &[&frame(&rows)]).unwrap();
        assert_eq!(rows_of(&sql), rows);
    }
}

#[test]
fn admin_reset_empties_the_database() {
    let (mut graph, sql) = new_graph();
    upload(&mut graph, ("true", "true", SUM), false, &[&frame(&empty_tree())]).unwrap();
    graph.reset().unwrap();
    let mut tables = 0;
    sql.query("SELECT count(*) FROM sqlite_master", &[], &mut |row| {
        tables = row.int(0)?.unwrap();
        Ok(std::ops::ControlFlow::Break(()))
    })
    .unwrap();
    assert_eq!(tables, 0);
    let position = graph.position().unwrap();
    assert_eq!((position.t, position.checksum), (0, None));
    assert_eq!(count(&sql, "kvs"), 5);
}

#[test]
fn tables_of_older_servers_gain_what_they_lack() {
    let (_, sql) = new_graph();
    sql.execute("CREATE TABLE tx_log (t INTEGER PRIMARY KEY, tx TEXT NOT NULL, created_at INTEGER)", &[]).unwrap();
    sql.execute("INSERT INTO tx_log (t, tx, created_at) VALUES (?, '[]', 0)", &[Param::Int(1)]).unwrap();
    sql.execute("CREATE TABLE sync_meta (key TEXT PRIMARY KEY, value TEXT)", &[]).unwrap();
    sql.execute("INSERT INTO sync_meta VALUES ('t', '1')", &[]).unwrap();
    let text = pull_text(&mut open(&Rc::clone(&sql)), 0).unwrap();
    assert_eq!(text, r#"{"type":"pull/ok","t":1,"txs":[{"t":1,"tx":"[]","outliner-op":null}]}"#);
}

#[test]
fn work_between_turns_is_bounded() {
    let (mut graph, sql) = new_graph();
    // A megabyte of frames of spaces, and many tiny rows, both packed very small.
    let spaces = " ".repeat(8 << 20);
    let rows: Vec<TestRow> = (2_000_000..2_100_000).map(|addr| (addr, String::new(), None)).collect();
    let payload = format!("[{spaces}]");
    let blank = [&u32::try_from(payload.len()).unwrap().to_be_bytes()[..], payload.as_bytes()].concat();
    let body = gzip(&[blank, frame(&rows)].concat());
    let query = UploadQuery::new(Some("true"), Some("false"), None);
    let mut upload = graph.begin_upload(&query, OWNER, true, true).unwrap();
    graph.close_for_upload(&mut upload).unwrap();
    upload.push(body);
    let (mut stored, mut pieces) = (0, 0);
    while graph.upload_piece(&mut upload).unwrap() {
        let now = count(&sql, "upload_rows");
        assert!(now - stored <= 330, "{} rows at once", now - stored);
        stored = now;
        pieces += 1;
    }
    assert!(pieces > 4 + 100_000 / 330, "{pieces} pieces");
    assert_eq!(graph.finish_upload(&mut upload).unwrap().count, 100_000);
    assert_eq!(count(&sql, "upload_rows"), 100_000);
}

#[test]
fn an_upload_that_fails_gives_its_space_back() {
    let many = frame(&[empty_tree(), filler(1_000_004, 1_003_000)].concat());
    let broken = [many.clone(), b"\0\0\0\x01x".to_vec()].concat();
    for abandoned in [false, true] {
        let (mut graph, sql) = new_graph();
        graph.position().unwrap();
        let before = rows_of(&sql);
        for reset in ["false", "true"] {
            let query = UploadQuery::new(Some(reset), Some("false"), None);
            let mut running = graph.begin_upload(&query, OWNER, false, true).unwrap();
            if running.closes_graph() {
                graph.close_for_upload(&mut running).unwrap();
            }
            graph.feed_upload(&mut running, &many).unwrap();
            assert!(count(&sql, "upload_rows") > 2900, "rows were stored");
            if abandoned {
                graph.abandon_upload(&mut running);
            } else {
                let outcome = graph.feed_upload(&mut running, &broken[many.len()..]);
                assert!(matches!(outcome, Err(UploadError::Invalid)), "{outcome:?}");
            }
            assert_eq!(count(&sql, "upload_rows"), 0);
            assert_eq!(rows_of(&sql), before);
            assert_eq!(graph.is_uploading().unwrap(), reset == "true", "closed until a complete upload");
        }
        // A later part alone makes no graph; a complete upload does.
        let outcome = upload(&mut graph, ("false", "true", ""), false, &[&frame(&filler(1_000_004, 1_000_100))]);
        assert!(matches!(outcome, Err(UploadError::Invalid)), "{outcome:?}");
        assert!(graph.is_uploading().unwrap());
        assert!(upload(&mut graph, ("true", "true", ""), false, &[&many]).unwrap().opened);
    }
}

#[test]
fn a_part_that_fails_can_be_repeated() {
    let (mut graph, sql) = new_graph();
    let rows = [empty_tree(), filler(1_000_004, 1_002_000)].concat();
    let (first, second) = rows.split_at(700);
    upload(&mut graph, ("true", "false", ""), false, &[&frame(first)]).unwrap();
    let part = frame(second);
    let outcome = upload(&mut graph, ("false", "true", ""), false, &[&part[..part.len() - 10]]);
    assert!(matches!(outcome, Err(UploadError::Invalid)), "{outcome:?}");
    assert!(upload(&mut graph, ("false", "true", ""), false, &[&part]).unwrap().opened);
    assert_eq!(rows_of(&sql), rows);
}

#[test]
fn a_part_that_fails_late_leaves_an_opened_graph_alone() {
    let (mut graph, sql) = new_graph();
    let rows = [empty_tree(), filler(1_000_004, 1_002_000)].concat();
    let query = UploadQuery::new(Some("true"), Some("false"), None);
    let mut first = graph.begin_upload(&query, OWNER, false, true).unwrap();
    graph.close_for_upload(&mut first).unwrap();
    graph.feed_upload(&mut first, &frame(&rows[..700])).unwrap();
    assert!(upload(&mut graph, ("false", "true", ""), false, &[&frame(&rows)]).unwrap().opened);
    graph.abandon_upload(&mut first);
    assert!(!graph.is_uploading().unwrap());
    assert_eq!(rows_of(&sql), rows);
}

#[test]
fn a_body_may_be_several_gzip_members() {
    let rows = [empty_tree(), filler(1_000_004, 1_000_100)].concat();
    let bytes = frame(&rows);
    // Split within a row.
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let packed = [gzip(first), gzip(&[]), gzip(second)].concat();
    for size in [1, 100, packed.len()] {
        let (mut graph, sql) = new_graph();
        let pieces: Vec<&[u8]> = packed.chunks(size).collect();
        let done = upload(&mut graph, ("true", "true", SUM), true, &pieces).unwrap();
        assert_eq!((done.count, done.opened), (rows.len() as u64, true), "in pieces of {size}");
        assert_eq!(rows_of(&sql), rows);
    }
    for end in [&b"\0"[..], b"rest", &gzip(second)[..20], &packed[..5]] {
        let (mut graph, _) = new_graph();
        let body = [&packed, end].concat();
        let refused = upload(&mut graph, ("true", "true", SUM), true, &[&body]);
        assert!(matches!(refused, Err(UploadError::Invalid)), "{end:?}");
    }
}

#[test]
fn a_request_that_has_ended_is_neither_given_up_nor_finished_again() {
    let (mut graph, sql) = new_graph();
    let query = UploadQuery::new(Some("true"), Some("false"), None);
    let mut part = graph.begin_upload(&query, OWNER, false, true).unwrap();
    graph.close_for_upload(&mut part).unwrap();
    graph.feed_upload(&mut part, &frame(&empty_tree())).unwrap();
    assert!(!graph.finish_upload(&mut part).unwrap().opened);
    let rows = count(&sql, "upload_rows");
    assert!(rows > 0, "they wait for the parts to come");
    graph.abandon_upload(&mut part);
    assert!(matches!(graph.finish_upload(&mut part), Err(UploadError::Superseded)));
    assert_eq!(count(&sql, "upload_rows"), rows);
}
