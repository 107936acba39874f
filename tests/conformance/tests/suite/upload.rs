//! Snapshot uploads (sync.md 10.4), whole, in pieces, broken and hostile.

use conformance::frames::{self, Row};
use conformance::socket::{Closed, Socket};
use conformance::{Server, TestGraph, tx};
use serde_json::{Value, json};

super::cases![
    one_request_replaces_everything,
    pieces_open_the_graph_only_when_finished,
    the_checksum_is_stored_with_the_last_piece,
    a_conflicting_checksum_is_refused_before_anything_is_written,
    packed_and_plain_bodies_are_equal,
    frames_may_be_cut_anywhere,
    an_empty_body_with_reset_changes_nothing,
    a_finished_upload_without_rows_keeps_the_graph,
    broken_bodies_close_the_graph_until_a_complete_upload,
    finishing_needs_a_root_with_three_trees,
    oversized_rows_are_refused,
    oversized_frames_are_refused,
    gzip_bombs_are_refused,
    rows_of_the_wrong_type_are_refused,
    deep_nesting_in_a_frame_is_refused,
    trees_that_no_edit_could_follow_are_refused,
    history_is_dropped_by_a_reset,
    sockets_of_a_replaced_graph_are_closed,
    a_last_part_that_comes_again_takes_nothing_back,
    two_uploads_do_not_mix,
    the_checksum_of_several_parts_is_compared,
    parameters_are_read_leniently,
];

fn rows() -> Vec<Row> {
    frames::rows(&frames::initial_graph(false))
}

fn one_request_replaces_everything(server: &Server) {
    let graph = TestGraph::initial(&server.person("owner"));
    assert_eq!(graph.rows(), rows());
    let answer = graph.upload("reset=true&finished=true", &frames::initial_graph(true));
    answer.expect(200, &json!({ "ok": true, "count": frames::rows(&frames::initial_graph(true)).len() }));
    assert_eq!(graph.rows(), frames::rows(&frames::initial_graph(true)));
}

fn pieces_open_the_graph_only_when_finished(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    let all = rows();
    let (first, rest) = all.split_at(100);
    let (second, third) = rest.split_at(150);
    graph.upload("reset=true", &frames::frame(first)).expect(200, &json!({ "ok": true, "count": 100 }));
    for _ in 0..2 {
        graph.owner.get(&graph.path("/pull")).error(409, "graph not ready");
        assert_eq!(graph.owner.get("/graphs").json()["graphs"][0]["graph-ready-for-use?"], false);
        graph.upload("reset=false", &frames::frame(second)).expect(200, &json!({ "ok": true, "count": 150 }));
    }
    graph.upload("reset=false&finished=true", &frames::frame(third)).status(200);
    assert_eq!(graph.owner.get("/graphs").json()["graphs"][0]["graph-ready-for-use?"], true);
    assert_eq!(graph.rows(), all, "rows sent twice are stored once");
    assert_eq!(graph.t(), 0);
}

fn the_checksum_is_stored_with_the_last_piece(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    let sum = "00112233aabbccdd";
    graph.upload(&format!("reset=true&checksum={sum}"), &frames::initial_graph(false)).status(200);
    graph.upload("reset=false&finished=true", &[]).expect(200, &json!({ "ok": true, "count": 0 }));
    assert!(graph.pull().get("checksum").is_none(), "used only together with finished");
    graph
        .upload(&format!("reset=false&finished=true&checksum={sum}"), &[])
        .expect(200, &json!({ "ok": true, "count": 0 }));
    assert_eq!(graph.pull()["checksum"], sum);
    graph.upload(&format!("reset=false&finished=true&checksum={sum}"), &[]).status(200);
}

fn a_conflicting_checksum_is_refused_before_anything_is_written(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    graph.upload("reset=true&finished=true&checksum=00112233aabbccdd", &frames::initial_graph(false)).status(200);
    let extra = frames::frame(&[(9_999_999, "[\"^ \"]".to_owned(), None)]);
    graph.upload("reset=false&finished=true&checksum=ffffffffffffffff", &extra).error(409, "checksum conflict");
    assert_eq!(graph.rows(), rows(), "rows and flags stay, the graph stays open");
    assert_eq!(graph.pull()["checksum"], "00112233aabbccdd");
    let page = tx::id();
    graph.upload("reset=true&finished=true", &frames::initial_graph(false)).status(200);
    graph.batch(0, &[tx::entry(&tx::page(&page, "P"), "create-page", &tx::id())]).status(200);
    graph.upload("reset=false&finished=true&checksum=ffffffffffffffff", &[]).error(409, "checksum conflict");
    assert_eq!(graph.t(), 1);
}

fn packed_and_plain_bodies_are_equal(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    let body = frames::gzip(&frames::initial_graph(false));
    let path = graph.path("/snapshot/upload?reset=true&finished=true");
    graph.owner.send("POST", &path, &[("content-encoding", "gzip")], Some(&body)).status(200);
    assert_eq!(graph.rows(), rows());
}

fn frames_may_be_cut_anywhere(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    let stream: Vec<u8> = rows().chunks(7).flat_map(frames::frame).collect();
    graph.upload("reset=true&finished=true", &stream).expect(200, &json!({ "ok": true, "count": 418 }));
    assert_eq!(graph.rows(), rows());
}

fn an_empty_body_with_reset_changes_nothing(server: &Server) {
    let graph = TestGraph::initial(&server.person("owner"));
    for query in ["", "reset=true", "reset=true&finished=true", "reset=1"] {
        graph.upload(query, &[]).error(400, "missing body");
        graph
            .owner
            .send("POST", &graph.path(&format!("/snapshot/upload?{query}")), &[], None)
            .error(400, "missing body");
    }
    assert_eq!(graph.rows(), rows());
    assert_eq!(graph.t(), 0);
}

fn a_finished_upload_without_rows_keeps_the_graph(server: &Server) {
    let graph = TestGraph::initial(&server.person("owner"));
    graph.upload("reset=false&finished=true", &[]).expect(200, &json!({ "ok": true, "count": 0 }));
    assert_eq!(graph.rows(), rows());
}

fn broken_bodies_close_the_graph_until_a_complete_upload(server: &Server) {
    let whole = frames::initial_graph(false);
    let mut packed = frames::gzip(&whole);
    packed.truncate(packed.len() / 2);
    for (what, body, packed) in [
        ("truncated frame", whole[..whole.len() - 1].to_vec(), false),
        ("length only", vec![0, 0, 1], false),
        ("garbage", b"this is not a frame at all".to_vec(), false),
        ("not rows", frames::raw_frame(b"{\"a\":1}"), false),
        ("not JSON", frames::raw_frame(b"[[1,"), false),
        ("not UTF-8", frames::raw_frame(&[b'[', b'"', 0xff, b'"', b']']), false),
        ("text after the rows", frames::raw_frame(b"[] []"), false),
        ("cut gzip", packed, true),
        ("not gzip", whole.clone(), true),
    ] {
        let graph = TestGraph::initial(&server.person("owner"));
        let headers: &[(&str, &str)] = if packed { &[("content-encoding", "gzip")] } else { &[] };
        let path = graph.path("/snapshot/upload?reset=true&finished=true");
        let answer = graph.owner.send("POST", &path, headers, Some(&body));
        assert_eq!((answer.status, answer.json()), (400, json!({ "error": "invalid snapshot" })), "{what}");
        graph.owner.get(&graph.path("/pull")).error(409, "graph not ready");
        graph.upload("reset=true&finished=true", &whole).status(200);
        assert_eq!(graph.rows(), rows(), "{what}");
    }
}

fn finishing_needs_a_root_with_three_trees(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    let without_root: Vec<Row> = rows().into_iter().filter(|r| r.0 != 0).collect();
    graph.upload("reset=true&finished=true", &frames::frame(&without_root)).error(400, "invalid snapshot");
    graph.owner.get(&graph.path("/pull")).error(409, "graph not ready");
    let mut torn = rows();
    torn[0].1 = torn[0].1.replace("~:avet\"", "~:tave\"");
    graph.upload("reset=true&finished=true", &frames::frame(&torn)).error(400, "invalid snapshot");
    let root: Vec<Row> = rows().into_iter().filter(|r| r.0 == 0).collect();
    graph.upload("reset=true&finished=false", &frames::frame(&without_root)).status(200);
    graph.upload("reset=false&finished=true", &frames::frame(&root)).error(409, "upload conflict");
    graph.upload("reset=true&finished=false", &frames::frame(&root)).status(200);
    graph.upload("reset=false&finished=true", &frames::frame(&without_root)).status(200);
    assert_eq!(graph.rows(), rows());
}

fn oversized_rows_are_refused(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    let mut all = rows();
    all.push((9_999_999, format!("[\"{}\"]", "x".repeat(2_000_000)), None));
    graph.upload("reset=true&finished=true", &frames::frame(&all)).error(413, "snapshot row too large");
    graph.owner.get(&graph.path("/pull")).error(409, "graph not ready");
    graph.upload("reset=true&finished=true", &frames::initial_graph(false)).status(200);
    assert_eq!(graph.t(), 0);
}

fn oversized_frames_are_refused(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    let mut body = ((64_u32 << 20) + 1).to_be_bytes().to_vec();
    body.extend_from_slice(b"[[0,\"x\",null],");
    graph.upload("reset=true", &body).error(400, "invalid snapshot");
    graph.upload("reset=true", &u32::MAX.to_be_bytes()).error(400, "invalid snapshot");
}

fn gzip_bombs_are_refused(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    // Valid frames of tiny rows, over and over: a few megabytes that unpack to more than a gibibyte.
    let frame = frames::frame(&[(5, format!("[\"{}\"]", "z".repeat(1_900_000)), None)]);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for _ in 0..=(1 << 30) / frame.len() {
        std::io::Write::write_all(&mut encoder, &frame).unwrap();
    }
    let body = encoder.finish().unwrap();
    let path = graph.path("/snapshot/upload?reset=true");
    graph.owner.send("POST", &path, &[("content-encoding", "gzip")], Some(&body)).error(413, "request too large");
    graph.upload("reset=true&finished=true", &frames::initial_graph(false)).status(200);
    assert_eq!(graph.t(), 0);
}

fn rows_of_the_wrong_type_are_refused(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    for row in [
        json!(["0", "x", null]),
        json!([0, 5, null]),
        json!([0, "x", 5]),
        json!([0, "x"]),
        json!([0, "x", null, null]),
        json!([1.5, "x", null]),
        json!([null, "x", null]),
        json!({ "addr": 0 }),
        json!(5),
    ] {
        let body = frames::raw_frame(Value::Array(vec![row.clone()]).to_string().as_bytes());
        let answer = graph.upload("reset=true", &body);
        assert_eq!((answer.status, answer.json()), (400, json!({ "error": "invalid snapshot" })), "{row}");
    }
}

fn deep_nesting_in_a_frame_is_refused(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    graph.upload("reset=true", &frames::raw_frame(deep.as_bytes())).error(400, "invalid snapshot");
}

fn trees_that_no_edit_could_follow_are_refused(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    let inner_only = rows().into_iter().filter(|row| row.0 < 1_000_001 || row.2.is_some()).collect::<Vec<Row>>();
    let mut looped = rows();
    for row in &mut looped {
        if let Some(addresses) = &mut row.2 {
            let count = addresses.split(',').count();
            *addresses = json!(vec![row.0; count]).to_string();
        }
    }
    let mut emptied = rows();
    let leaf = emptied.iter_mut().find(|row| row.0 > 1 && row.2.is_none()).unwrap();
    leaf.1 = String::from(r#"["^ ","~:keys",[]]"#);
    let mut malformed_tail = rows();
    malformed_tail[1].1 = String::from(r#"[[[1,"~:a"]]]"#);
    for (what, rows) in [
        ("no leaves", inner_only),
        ("a circle", looped),
        ("an empty leaf", emptied),
        ("a malformed tail", malformed_tail),
    ] {
        let answer = graph.upload("reset=true&finished=true", &frames::frame(&rows));
        assert_eq!((what, answer.status), (what, 400));
        answer.error(400, "invalid snapshot");
        graph.owner.get(&graph.path("/pull")).error(409, "graph not ready");
    }
    graph.upload("reset=true&finished=true", &frames::initial_graph(false)).status(200);
    let page = tx::id();
    graph.batch(0, &[tx::entry(&tx::page(&page, "P"), "create-page", &tx::id())]).status(200);
    assert_eq!(graph.t(), 1);
}

fn history_is_dropped_by_a_reset(server: &Server) {
    let graph = TestGraph::initial(&server.person("owner"));
    let page = tx::id();
    graph.batch(0, &[tx::entry(&tx::page(&page, "P"), "create-page", &tx::id())]).status(200);
    assert_eq!(graph.t(), 1);
    graph.upload("reset=true&finished=true&checksum=00112233aabbccdd", &frames::initial_graph(false)).status(200);
    assert_eq!(graph.pull(), json!({ "type": "pull/ok", "t": 0, "txs": [], "checksum": "00112233aabbccdd" }));
    assert!(!graph.owner.get(&graph.path("/checksum/diagnostics")).json().to_string().contains(&page));
}

fn sockets_of_a_replaced_graph_are_closed(server: &Server) {
    let graph = TestGraph::initial(&server.person("owner"));
    let mut socket = Socket::open(&graph.owner, &graph.id);
    graph.upload("reset=true&finished=true&checksum=0000000000000000", &frames::initial_graph(false)).status(200);
    let closed = loop {
        if let Err(closed) = socket.receive_or_closed() {
            break closed;
        }
    };
    assert_eq!(closed, Closed(1012, "snapshot replaced".to_owned()));
    assert_eq!(graph.t(), 0);
}

fn a_last_part_that_comes_again_takes_nothing_back(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    let all = rows();
    let (first, last) = all.split_at(200);
    graph.upload("reset=true", &frames::frame(first)).status(200);
    for _ in 0..2 {
        // Sent again because the answer was lost; nothing was written in between.
        let answer = graph.upload("reset=false&finished=true&checksum=0000000000000000", &frames::frame(last));
        answer.expect(200, &json!({ "ok": true, "count": 218 }));
        assert_eq!(graph.rows(), all);
    }
    let page = tx::id();
    graph.batch(0, &[tx::entry(&tx::page(&page, "P"), "create-page", &tx::id())]).status(200);
    let before = graph.rows();
    graph.upload("reset=false&finished=true", &frames::frame(last)).error(409, "upload conflict");
    graph.upload("reset=false", &frames::frame(last)).error(409, "upload conflict");
    let checksum = "reset=false&finished=true&checksum=0000000000000000";
    graph.upload(checksum, &frames::frame(last)).error(409, "checksum conflict");
    assert_eq!((graph.rows(), graph.t()), (before, 1));
    graph.batch(1, &[tx::entry(&tx::page(&tx::id(), "Q"), "create-page", &tx::id())]).status(200);
}

fn two_uploads_do_not_mix(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    let guest = server.person("guest");
    graph.invite(&guest, "manager");
    let as_guest = |query: &str, rows: &[Row]| {
        let path = graph.path(&format!("/snapshot/upload?{query}"));
        guest.send("POST", &path, &[], Some(&frames::frame(rows)))
    };
    let (mine, theirs) = (rows(), frames::rows(&frames::initial_graph(true)));
    graph.upload("reset=true", &frames::frame(&mine[..200])).status(200);
    as_guest("reset=true", &theirs[..180]).error(409, "upload conflict");
    as_guest("reset=false&finished=true", &theirs[180..]).error(409, "upload conflict");
    graph.upload("reset=false", &frames::frame(&mine[100..300])).error(409, "upload conflict");
    graph.upload("reset=false&finished=true", &frames::frame(&mine[200..])).status(200);
    as_guest("reset=false&finished=true", &theirs[180..]).error(409, "upload conflict");
    assert_eq!(graph.rows(), mine);
    as_guest("reset=true&finished=true", &theirs).status(200);
    assert_eq!(graph.rows(), theirs, "one after the other may");
}

fn the_checksum_of_several_parts_is_compared(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    let all = rows();
    let (first, last) = all.split_at(200);
    graph.upload("reset=true", &frames::frame(first)).status(200);
    let end = |sum: &str| graph.upload(&format!("reset=false&finished=true&checksum={sum}"), &frames::frame(last));
    end("00112233aabbccdd").error(409, "checksum conflict");
    graph.owner.get(&graph.path("/pull")).error(409, "graph not ready");
    end("0000000000000000").status(200);
    assert_eq!((graph.rows(), graph.pull()["checksum"].clone()), (all, json!("0000000000000000")));
}

fn parameters_are_read_leniently(server: &Server) {
    let graph = TestGraph::initial(&server.person("owner"));
    for query in ["reset=false&finished=1", "reset=0&finished=true", "reset=false&finished=yes", "reset=false"] {
        graph.upload(query, &[]).expect(200, &json!({ "ok": true, "count": 0 }));
    }
    assert_eq!(graph.rows(), rows());
    graph.upload("reset=no", &frames::frame(&rows()[..10])).status(200);
    graph.owner.get(&graph.path("/pull")).error(409, "graph not ready");
}
