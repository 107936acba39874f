//! Snapshot downloads (sync.md 10.2, 10.3).

use std::collections::HashMap;

use conformance::people::pages_that_may_ask;
use conformance::{Server, TestGraph, frames, raw, tx};
use serde_json::{Value, json};

super::cases![
    the_descriptor_names_the_stream,
    the_stream_is_framed_rows_in_order,
    the_stream_is_packed_once_on_the_wire,
    frames_stay_near_one_mebibyte,
    an_empty_graph_still_opens,
    a_third_device_reads_what_two_wrote,
    writes_during_a_slow_download_do_not_tear_it,
];

fn the_descriptor_names_the_stream(server: &Server) {
    let graph = TestGraph::initial(&server.person("owner"));
    let found = graph.owner.get(&graph.path("/snapshot/download")).status(200).json();
    assert_eq!((&found["ok"], &found["key"]), (&json!(true), &json!(format!("stream/{}.snapshot", graph.id))));
    assert_eq!(found["url"], format!("{}{}", server.base, graph.path("/snapshot/stream")));
    assert_eq!((&found["schema-version"], &found["t"], &found["row-count"]), (&json!("65"), &json!(0), &json!(418)));
    assert!(found.get("content-encoding").is_none(), "D-59");
    let page = tx::id();
    graph.batch(0, &[tx::entry(&tx::page(&page, "P"), "create-page", &tx::id())]).status(200);
    let later = graph.owner.get(&graph.path("/snapshot/download")).status(200).json();
    let stream = graph.owner.get(&graph.path("/snapshot/stream"));
    assert_eq!(
        (&later["t"], later["row-count"].to_string()),
        (&json!(1), stream.header("x-snapshot-row-count").to_owned())
    );
    server.anonymous().get(&graph.path("/snapshot/stream")).error(401, "unauthorized");
}

fn the_stream_is_framed_rows_in_order(server: &Server) {
    let graph = TestGraph::initial(&server.person("owner"));
    let answer = graph.owner.get(&graph.path("/snapshot/stream"));
    answer.status(200);
    assert_eq!(answer.header("content-type"), "application/transit+json");
    assert_eq!(answer.header("x-snapshot-row-count"), "418");
    assert_eq!(answer.header("access-control-allow-origin"), pages_that_may_ask());
    assert!(!answer.bytes.starts_with(&[0x1f, 0x8b]), "nobody asked for gzip");
    let rows = frames::rows(&answer.bytes);
    assert!(rows.is_sorted_by_key(|r| r.0));
    assert_eq!(rows, frames::rows(&frames::initial_graph(false)));
}

fn the_stream_is_packed_once_on_the_wire(server: &Server) {
    let graph = TestGraph::initial(&server.person("owner"));
    let expected = frames::initial_graph(false);
    for accepted in
        [&[][..], &["accept-encoding: gzip"], &["accept-encoding: gzip, deflate, br"], &["accept-encoding: identity"]]
    {
        let answer = raw::send(&graph.owner, "GET", &graph.path("/snapshot/stream"), accepted);
        answer.status(200);
        let encodings: Vec<_> = answer.headers.get_all("content-encoding").iter().collect();
        let packed = answer.bytes.starts_with(&[0x1f, 0x8b]);
        let asked = accepted.first().is_some_and(|header| header.contains("gzip"));
        assert!(asked || !packed, "{accepted:?}: only for whoever takes it");
        assert_eq!(encodings, if packed { vec!["gzip"] } else { vec![] }, "{accepted:?}: says what it is");
        assert_eq!(frames::rows(&answer.bytes), frames::rows(&expected), "{accepted:?}");
    }
}

fn frames_stay_near_one_mebibyte(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    let mut rows = frames::rows(&frames::initial_graph(false));
    rows.extend(
        (0..40).map(|i| (5_000_000 + i, format!("[\"^ \",\"~:keys\",[{i},\"{}\"]]", "x".repeat(100_000)), None)),
    );
    graph.upload("reset=true&finished=true", &frames::frame(&rows)).status(200);
    let stream = frames::gunzip(&graph.owner.get(&graph.path("/snapshot/stream")).bytes);
    let mut rest = stream.as_slice();
    let mut largest = 0;
    while let Some((head, tail)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*head) as usize;
        largest = largest.max(length);
        rest = &tail[length..];
    }
    assert!(largest <= 1_300_000, "largest frame {largest}");
    assert_eq!(frames::rows(&stream).len(), rows.len());
}

fn an_empty_graph_still_opens(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    assert_eq!(graph.pull(), json!({ "type": "pull/ok", "t": 0, "txs": [] }));
    let rows = graph.rows();
    assert_eq!(
        rows.iter().map(|r| r.0).collect::<Vec<_>>()[..2],
        [0, 1],
        "root and tail exist once the graph was opened"
    );
    assert_eq!(rows.len(), 5, "and three empty trees");
}

fn a_third_device_reads_what_two_wrote(server: &Server) {
    let graph = TestGraph::initial(&server.person("owner"));
    let guest = server.person("guest");
    graph.invite(&guest, "member");
    let page = tx::id();
    graph.batch(0, &[tx::entry(&tx::page(&page, "Shared"), "create-page", &tx::id())]).status(200);
    let block = tx::id();
    let entry = tx::entry(&tx::new_block(&block, &page, &page, "a0", "by the guest"), "insert-blocks", &tx::id());
    guest.post(&graph.path("/tx/batch"), &json!({ "t-before": 1, "txs": [entry] })).status(200);
    let descriptor = guest.get(&graph.path("/snapshot/download")).json();
    let url = descriptor["url"].as_str().unwrap().strip_prefix(&server.base).unwrap().to_owned();
    let text: String = frames::rows(&guest.get(&url).bytes).into_iter().map(|r| r.1).collect();
    assert!(text.contains(&page) && text.contains(&block) && text.contains("by the guest"));
}

/// The EAVT tree's datoms of a set of rows: how often each node is reachable, and that none is missing.
fn reachable(rows: &[frames::Row]) -> usize {
    let by_address: HashMap<i64, &frames::Row> = rows.iter().map(|r| (r.0, r)).collect();
    let root: Vec<Value> = serde_json::from_str(&by_address[&0].1).unwrap();
    let mut count = 0;
    for tree in ["~:eavt", "~:aevt", "~:avet"] {
        let at = root.iter().position(|k| k == tree).unwrap();
        let mut stack = vec![root[at + 1].as_i64().unwrap()];
        while let Some(address) = stack.pop() {
            let row = by_address.get(&address).unwrap_or_else(|| panic!("snapshot lacks node {address}"));
            count += 1;
            if let Some(children) = &row.2 {
                let children: Vec<i64> = serde_json::from_str(children).unwrap();
                let keys: Vec<Value> = serde_json::from_str(&row.1).unwrap();
                assert_eq!(keys[2].as_array().unwrap().len(), children.len(), "a parent agrees with its children");
                stack.extend(children);
            }
        }
    }
    count
}

fn writes_during_a_slow_download_do_not_tear_it(server: &Server) {
    let graph = TestGraph::initial(&server.person("owner"));
    let page = tx::id();
    graph.batch(0, &[tx::entry(&tx::page(&page, "Busy"), "create-page", &tx::id())]).status(200);
    let mut t = 1;
    let write = |t: i64, count: usize, size: usize| {
        let entries: Vec<Value> = (0..count)
            .map(|i| {
                let title = format!("{t} {i} {}", "w".repeat(size));
                tx::entry(&tx::new_block(&tx::id(), &page, &page, &format!("a{i}"), &title), "insert-blocks", &tx::id())
            })
            .collect();
        let answer = graph.batch(t, &entries).json();
        assert_eq!(answer["type"], "tx/batch/ok", "{answer}");
        answer["t"].as_i64().unwrap()
    };
    // Several megabytes that do not compress away, so that the stream cannot fit into socket buffers.
    for _ in 0..12 {
        t = write(t, 40, 20_000);
    }
    let before = graph.rows().len();
    let mut stream = raw::connect(&graph.owner);
    let request = raw::head(&graph.owner, "GET", &graph.path("/snapshot/stream"), &[]);
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    // The answer has begun; no more of it is read.
    assert_eq!(stream.peek(&mut [0; 1]).unwrap(), 1);
    for _ in 0..6 {
        t = write(t, 40, 200);
    }
    let rows = frames::rows(&raw::receive(&mut stream).bytes);
    assert_eq!(rows.len(), before, "exactly the rows of the start");
    assert!(reachable(&rows) + 2 <= rows.len());
    assert!(reachable(&graph.rows()) > 0, "and the next download is whole too");
}
