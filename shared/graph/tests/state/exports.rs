//! Exports while the graph is written to (sync.md 10.3, D-08).

use std::io::Read;

use datascript::Row;
use flate2::read::GzDecoder;
use graph::snapshot::{Encoding, Export, FrameError, FrameReader};

use super::support::{TestGraph, TestRow, count, empty_tree, frame, new_graph, rows_of, upload};

/// A graph without facts, and rows that belong to no index: `n` altogether, of about a kilobyte each.
fn rows(n: i64) -> Vec<TestRow> {
    let mut rows = empty_tree();
    let rest = (1_000_004..).take(usize::try_from(n).unwrap() - rows.len());
    rows.extend(rest.map(|addr| (addr, format!("[\"{addr}\",\"{}\"]", "x".repeat(1000)), Some("[1]".to_owned()))));
    rows
}

fn filled(n: i64) -> (TestGraph, std::rc::Rc<graph::sql_rusqlite::Rusqlite>) {
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

fn decode(bytes: &[u8]) -> Vec<TestRow> {
    let mut rows = Vec::new();
    let mut reader = FrameReader::new();
    reader
        .feed(bytes, |Row { addr, content, addresses }| {
            rows.push((i64::from(addr), content, addresses));
            Ok::<_, FrameError>(())
        })
        .unwrap();
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
    assert_eq!(count(&sql, "export_rows"), 0);

    let mut export = graph.begin_export(Encoding::Identity).unwrap();
    graph.reset().unwrap();
    assert!(matches!(graph.next_chunk(&mut export), Err(graph::Error::Replaced)));
}

#[test]
fn a_graph_under_upload_is_not_exported() {
    let (mut graph, _) = new_graph();
    upload(&mut graph, ("true", "false", ""), false, &[&frame(&rows(10))]).unwrap();
    assert!(matches!(graph.begin_export(Encoding::Identity), Err(graph::Error::NotReady)));
}

#[test]
fn writes_during_a_slow_download_do_not_show() {
    use super::client::{apply, assert_consistent, block, entry, lookup, page, retract};
    let (mut graph, sql) = new_graph();
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
        assert!(count(&sql, "export_rows") > 0 || round > 2);
        round += 1;
    }
    assert!(chunks.len() > 2, "{} chunks", chunks.len());
    assert_eq!(decode(&chunks.concat()), at_start, "the state at the start");
    assert_ne!(rows_of(&sql), at_start);
    let (at_late_start, mut late) = late.unwrap();
    assert_eq!(decode(&drain(&mut graph, &mut late).concat()), at_late_start);
    graph.end_export(plain).unwrap();
    assert!(count(&sql, "export_rows") > 0, "the other one still has its rows");
    drop(late);
    apply(&mut graph, &[entry("delete-blocks", None, &[retract(1)])]);
    assert_eq!(count(&sql, "export_rows"), 0, "a dropped export is noticed by the next commit");
    assert_consistent(&mut graph, &sql);
}
