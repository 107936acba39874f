//! Exports while the graph is written to (sync.md 10.3, D-08).

use std::cell::Cell;
use std::io::Read;
use std::rc::Rc;

use database::local::Sql;
use database::local_sqlite::Rusqlite;
use datascript::Row;
use flate2::read::GzDecoder;
use graph::snapshot::{Encoding, Export, FrameReader};
use graph::{Graph, Options};

use super::client::{apply, assert_consistent, block, entry, lookup, page, retract, title};
use super::support::{NOW, TestGraph, TestRow, changes, count, empty_tree, frame, new_graph, rows_of, upload};

/// A graph without facts, and rows that belong to no index: `n` altogether, of about a kilobyte each.
fn rows(n: i64) -> Vec<TestRow> {
    let mut rows = empty_tree();
    let rest = (1_000_004..).take(usize::try_from(n).unwrap() - rows.len());
    rows.extend(rest.map(|addr| (addr, format!("[\"{addr}\",\"{}\"]", "x".repeat(1000)), Some("[1]".to_owned()))));
    rows
}

fn filled(n: i64) -> (TestGraph, Rc<Rusqlite>) {
    let (mut graph, sql) = new_graph();
    upload(&mut graph, ("true", "true", ""), false, &[&frame(&rows(n))]).unwrap();
    (graph, sql)
}

fn drain(graph: &mut TestGraph, export: &mut Export) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    while let Some(chunk) = graph.next_chunk(export).unwrap() {
        chunks.push(chunk);
    }
    assert!(graph.next_chunk(export).unwrap().is_none(), "the end stays the end");
    chunks
}

fn decode(mut bytes: &[u8]) -> Vec<TestRow> {
    let mut rows = Vec::new();
    let mut reader = FrameReader::new();
    while let Some(Row { addr, content, addresses }) = reader.next_row(&mut bytes).unwrap() {
        rows.push((i64::from(addr), content, addresses));
    }
    reader.end().unwrap();
    rows
}

#[test]
fn frames_of_about_a_megabyte() {
    let (mut graph, sql) = filled(5000);
    let mut export = graph.begin_export(Encoding::Identity).unwrap();
    assert_eq!(export.row_count(), 5000);
    let chunks = drain(&mut graph, &mut export);
    assert!(chunks.len() >= 4);
    assert!(chunks.iter().all(|chunk| chunk.len() < 1_100_000));
    assert_eq!(decode(&chunks.concat()), rows_of(&sql));
}

#[test]
fn gzip_is_one_stream() {
    let (mut graph, sql) = filled(3000);
    let mut export = graph.begin_export(Encoding::Gzip).unwrap();
    let packed = drain(&mut graph, &mut export).concat();
    let mut plain = Vec::new();
    GzDecoder::new(&packed[..]).read_to_end(&mut plain).unwrap();
    assert_eq!(decode(&plain), rows_of(&sql));
}

#[test]
fn an_empty_graph_is_an_empty_stream() {
    let (mut graph, _) = new_graph();
    let mut export = graph.begin_export(Encoding::Identity).unwrap();
    assert_eq!(export.row_count(), 0);
    assert!(drain(&mut graph, &mut export).is_empty());
}

#[test]
fn a_replaced_graph_breaks_the_stream() {
    let (mut graph, sql) = filled(3000);
    let mut export = graph.begin_export(Encoding::Identity).unwrap();
    graph.next_chunk(&mut export).unwrap().unwrap();
    upload(&mut graph, ("true", "true", ""), false, &[&frame(&rows(10))]).unwrap();
    assert!(matches!(graph.next_chunk(&mut export), Err(graph::Error::Replaced)));
    assert_eq!(count(&sql, "saved_rows"), 0);

    let mut export = graph.begin_export(Encoding::Identity).unwrap();
    graph.reset().unwrap();
    assert!(matches!(graph.next_chunk(&mut export), Err(graph::Error::Replaced)));
}

/// Whatever breaks a stream off: its bytes are no complete snapshot.
#[test]
fn a_stream_that_breaks_off_ends_within_a_frame() {
    type Breaking = fn(&mut TestGraph, &Rusqlite);
    let breaking: [(&str, Breaking); 4] = [
        ("an upload", |graph, _| {
            upload(graph, ("true", "true", ""), false, &[&frame(&rows(10))]).unwrap();
        }),
        ("a reset", |graph, _| graph.reset().unwrap()),
        ("a deletion", |graph, _| graph.delete().unwrap()),
        ("an error of the database", |_, sql| sql.execute("ALTER TABLE kvs RENAME TO away", &[]).unwrap()),
    ];
    for (what, breaking) in breaking {
        for encoding in [Encoding::Identity, Encoding::Gzip] {
            for chunks in [0, 1, 3] {
                let (mut graph, sql) = filled(5000);
                let mut export = graph.begin_export(encoding).unwrap();
                let mut sent = Vec::new();
                for _ in 0..chunks {
                    sent.extend(graph.next_chunk(&mut export).unwrap().unwrap());
                }
                breaking(&mut graph, &sql);
                assert!(graph.next_chunk(&mut export).is_err(), "{what}");
                sent.extend(export.unfinished());
                assert!(graph.next_chunk(&mut export).is_err(), "{what}: and so it stays");
                assert!(export.unfinished().is_empty(), "said once");
                let mut plain = sent.clone();
                if encoding == Encoding::Gzip {
                    plain.clear();
                    let outcome = GzDecoder::new(&sent[..]).read_to_end(&mut plain);
                    assert!(outcome.is_err(), "{what}: no trailer");
                }
                let mut reader = FrameReader::new();
                let mut rest = &plain[..];
                while reader.next_row(&mut rest).unwrap().is_some() {}
                assert!(reader.end().is_err(), "{what}, {chunks} chunks, {encoding:?}: an end within a frame");
            }
        }
    }
}

#[test]
fn a_stream_that_is_out_is_complete_whatever_comes() {
    let (mut graph, sql) = filled(3000);
    let at_start = rows_of(&sql);
    let mut export = graph.begin_export(Encoding::Identity).unwrap();
    let mut sent = Vec::new();
    while decode(&sent).len() < 3000 {
        sent.extend(graph.next_chunk(&mut export).unwrap().unwrap());
    }
    upload(&mut graph, ("true", "true", ""), false, &[&frame(&rows(10))]).unwrap();
    assert!(graph.next_chunk(&mut export).unwrap().is_none());
    assert!(export.unfinished().is_empty());
    assert_eq!(decode(&sent), at_start);
}

#[test]
fn a_graph_under_upload_is_not_exported() {
    let (mut graph, _) = new_graph();
    upload(&mut graph, ("true", "false", ""), false, &[&frame(&rows(10))]).unwrap();
    assert!(matches!(graph.begin_export(Encoding::Identity), Err(graph::Error::NotReady)));
}

#[test]
fn writes_during_a_slow_download_do_not_show() {
    let sql = Rc::new(Rusqlite::in_memory().unwrap());
    // Each batch is written to the nodes at once.
    let mut graph = Graph::new(Rc::clone(&sql), || NOW, Options { journal_datoms: 0, ..Options::default() });
    apply(&mut graph, &[entry("create-page", None, &page(1))]);
    for n in 0..60 {
        let items: Vec<_> = (0..70).flat_map(|i| block(1000 + 70 * n + i, &lookup(1), &lookup(1))).collect();
        apply(&mut graph, &[entry("insert-blocks", None, &items)]);
    }
    let at_start = rows_of(&sql);
    let mut plain = graph.begin_export(Encoding::Identity).unwrap();
    let mut late = None;
    let mut chunks = Vec::new();
    let mut round = 0;
    while let Some(chunk) = graph.next_chunk(&mut plain).unwrap() {
        chunks.push(chunk);
        // Deletions and insertions all over the trees: rows are overwritten, freed and created.
        let delete: Vec<_> = (0..300).map(|i| retract(1000 + (37 * (300 * round + i)) % 4200)).collect();
        apply(&mut graph, &[entry("delete-blocks", None, &delete)]);
        let items: Vec<_> = (0..50).flat_map(|i| block(9000 + 50 * round + i, &lookup(1), &lookup(1))).collect();
        apply(&mut graph, &[entry("insert-blocks", None, &items)]);
        if round == 1 {
            late = Some((rows_of(&sql), graph.begin_export(Encoding::Identity).unwrap()));
        }
        assert!(count(&sql, "saved_rows") > 0 || round > 2);
        round += 1;
    }
    assert!(chunks.len() > 2, "{} chunks", chunks.len());
    assert_eq!(decode(&chunks.concat()), at_start, "the state at the start");
    assert_ne!(rows_of(&sql), at_start);
    let (at_late_start, mut late) = late.unwrap();
    graph.end_export(plain).unwrap();
    assert!(count(&sql, "saved_rows") > 0, "the other one still has its rows");
    assert_eq!(decode(&drain(&mut graph, &mut late).concat()), at_late_start);
    assert_eq!(count(&sql, "saved_rows"), 0, "nothing is left behind at the end");
    let dropped = graph.begin_export(Encoding::Identity).unwrap();
    apply(&mut graph, &[entry("delete-blocks", None, &[retract(9000)])]);
    assert!(count(&sql, "saved_rows") > 0);
    drop(dropped);
    apply(&mut graph, &[entry("delete-blocks", None, &[retract(9001)])]);
    assert_eq!(count(&sql, "saved_rows"), 0, "a dropped export is noticed by the next commit");
    assert_consistent(&mut graph, &sql);
}

/// Blocks 1000 to 1000 + `n` on page 1, and a clock that the test moves; frames of some kilobytes.
fn written(n: usize) -> (TestGraph, Rc<Rusqlite>, Rc<Cell<i64>>) {
    let sql = Rc::new(Rusqlite::in_memory().unwrap());
    let clock = Rc::new(Cell::new(NOW));
    let now = Rc::clone(&clock);
    // Each batch is written to the nodes at once.
    let options = Options { frame_bytes: 20_000, journal_datoms: 0, ..Options::default() };
    let mut graph = Graph::new(Rc::clone(&sql), move || now.get(), options);
    apply(&mut graph, &[entry("create-page", None, &page(1))]);
    for from in (0..n).step_by(70) {
        let items: Vec<_> = (from..n.min(from + 70)).flat_map(|i| block(1000 + i, &lookup(1), &lookup(1))).collect();
        apply(&mut graph, &[entry("insert-blocks", None, &items)]);
    }
    (graph, sql, clock)
}

/// Overwrites rows all over the trees; how many row changes that took.
fn overwrite(graph: &mut TestGraph, sql: &Rusqlite, round: usize) -> i64 {
    let before = changes(sql);
    let items: Vec<_> = (0..60).map(|i| title(1000 + (17 * i + round) % 300, &format!("{round} {i}"))).collect();
    apply(graph, &[entry("save-block", None, &items)]);
    changes(sql) - before
}

#[test]
fn a_row_is_saved_once_for_all_exports() {
    let cost = |exports: usize| {
        let (mut graph, sql, _) = written(1000);
        let running: Vec<_> = (0..exports).map(|_| graph.begin_export(Encoding::Gzip).unwrap()).collect();
        let changed: Vec<_> = (0..5).map(|round| overwrite(&mut graph, &sql, round)).collect();
        let saved = count(&sql, "saved_rows");
        assert_eq!(count(&sql, "(SELECT DISTINCT addr FROM saved_rows)"), saved, "each is saved once");
        drop(running);
        (changed, saved)
    };
    let ((none, none_saved), (one, one_saved)) = (cost(0), cost(1));
    assert_eq!(none_saved, 0);
    assert_eq!(one.iter().sum::<i64>() - none.iter().sum::<i64>(), one_saved);
    assert_eq!(cost(8), (one, one_saved));
}

#[test]
fn exports_are_capped_and_stalled_ones_end() {
    let (mut graph, sql, clock) = written(300);
    let mut exports: Vec<_> = (0..8).map(|_| graph.begin_export(Encoding::Gzip).unwrap()).collect();
    assert!(matches!(graph.begin_export(Encoding::Gzip), Err(graph::Error::TooManyExports)));
    overwrite(&mut graph, &sql, 0);
    assert!(count(&sql, "saved_rows") > 0);

    clock.set(clock.get() + 60_000);
    let mut read = exports.pop().unwrap();
    assert!(graph.next_chunk(&mut read).unwrap().is_some());
    clock.set(clock.get() + 1);
    // Seven were not read for more than a minute, and the eighth lives on.
    let mut late = graph.begin_export(Encoding::Gzip).unwrap();
    for export in &mut exports {
        assert!(matches!(graph.next_chunk(export), Err(graph::Error::Stalled)));
    }
    drain(&mut graph, &mut read);
    drain(&mut graph, &mut late);
    drop(exports);
    assert_eq!(count(&sql, "saved_rows"), 0);

    // A greeting or a commit settles it as well.
    for (round, by_commit) in [(1, false), (3, true)] {
        let mut export = graph.begin_export(Encoding::Identity).unwrap();
        overwrite(&mut graph, &sql, round);
        assert!(count(&sql, "saved_rows") > 0);
        clock.set(clock.get() + 60_001);
        if by_commit {
            overwrite(&mut graph, &sql, round + 1);
        } else {
            graph.position().unwrap();
        }
        assert_eq!(count(&sql, "saved_rows"), 0);
        assert!(matches!(graph.next_chunk(&mut export), Err(graph::Error::Stalled)));
    }
}

/// A small generator: tests need no good one.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

#[test]
fn every_export_shows_the_state_of_its_start() {
    struct Reading {
        export: Export,
        at_start: Vec<TestRow>,
        bytes: Vec<u8>,
    }
    let mut complete = 0;
    for seed in 0..12 {
        let mut random = Random(seed);
        let (mut graph, sql, _) = written(400);
        let mut running: Vec<Reading> = Vec::new();
        for round in 0..120 {
            match random.below(10) {
                0..3 if running.len() < 8 => {
                    let export = graph.begin_export(Encoding::Identity).unwrap();
                    let at_start = rows_of(&sql);
                    assert_eq!(usize::try_from(export.row_count()).unwrap(), at_start.len());
                    running.push(Reading { export, at_start, bytes: Vec::new() });
                }
                3..6 if !running.is_empty() => {
                    let at = random.below(running.len());
                    if let Some(chunk) = graph.next_chunk(&mut running[at].export).unwrap() {
                        running[at].bytes.extend(chunk);
                    } else {
                        let read = running.swap_remove(at);
                        assert_eq!(decode(&read.bytes), read.at_start, "seed {seed}, round {round}");
                        complete += 1;
                    }
                }
                // Some go away in the middle, with and without a word.
                6 if running.len() > 2 => {
                    let gone = running.swap_remove(random.below(running.len()));
                    if random.below(2) == 0 {
                        graph.end_export(gone.export).unwrap();
                    }
                }
                7 => {
                    let retracts: Vec<_> = (0..20).map(|_| retract(1000 + random.below(400))).collect();
                    apply(&mut graph, &[entry("delete-blocks", None, &retracts)]);
                }
                8 => {
                    let from = 2000 + 40 * round;
                    let items: Vec<_> = (from..from + 40).flat_map(|n| block(n, &lookup(1), &lookup(1))).collect();
                    apply(&mut graph, &[entry("insert-blocks", None, &items)]);
                }
                _ => {
                    let items = [title(1, &format!("{round}"))];
                    apply(&mut graph, &[entry("save-block", None, &items)]);
                }
            }
        }
        for mut read in running {
            read.bytes.extend(drain(&mut graph, &mut read.export).concat());
            assert_eq!(decode(&read.bytes), read.at_start, "seed {seed}");
            complete += 1;
        }
        assert_eq!(count(&sql, "saved_rows"), 0, "seed {seed}: nothing is kept for exports that ended");
        assert_consistent(&mut graph, &sql);
    }
    assert!(complete > 60, "{complete} complete exports");
}
