//! Uploads whose statements fail, that are cut, repeated or mixed.

use std::io::Write as _;
use std::net::Shutdown;
use std::time::Duration;

use conformance::frames::{self, Row};
use conformance::{Client, Server, TestGraph, raw, tx};
use faults::{Ledger, Order, Platform, is_long, places};
use serde_json::json;

super::cases![
    every_statement_of_an_upload_may_fail,
    an_upload_may_be_cut_anywhere,
    a_repeated_last_part_destroys_nothing,
    uploads_do_not_mix,
    a_failed_upload_locks_nobody_out,
    a_part_that_breaks_off_leaves_nothing_behind,
    a_late_ready_does_not_open_another_upload,
    an_upload_that_races_a_deletion_leaves_nothing,
];

const CUT_BYTES: usize = 64 << 10;

fn rows() -> Vec<Row> {
    frames::rows(&frames::initial_graph(false))
}

/// The standard graph among rows that nobody reads: some megabytes that do not compress.
fn large() -> Vec<u8> {
    let mut all = rows();
    let filler = |i: i64| (5_000_000 + i, format!("[\"^ \",\"~:keys\",[{i},\"{}\"]]", tx::id().repeat(500)), None);
    all.extend((0..if is_long() { 120 } else { 40 }).map(filler));
    all.chunks(20).flat_map(frames::frame).collect()
}

/// Uploads until it succeeds, as a client does, and checks what is stored then.
#[track_caller]
fn repeats(graph: TestGraph) {
    graph.upload("reset=true&finished=true", &frames::initial_graph(false)).status(200);
    assert_eq!(graph.rows(), rows());
    Ledger::on(graph).prove();
}

fn every_statement_of_an_upload_may_fail(server: &Server) {
    let platform = Platform::of(server);
    let owner = server.person("owner");
    for after in [false, true] {
        let mut tried = 0;
        for place in places(if after { 4 } else { 8 }) {
            assert!(place < 2_000, "an upload without an end");
            let graph = TestGraph::initial(&owner);
            let order = Order::fail("sql", ".").of(&graph).skip(place);
            platform.clear();
            platform.order(&if after { order.after() } else { order });
            let answer = graph.upload("reset=true&finished=true", &frames::initial_graph(true));
            let was_hit = platform.is_done();
            platform.clear();
            assert!(was_hit || answer.status == 200, "statement {place}: {}", answer.status);
            if !was_hit {
                break;
            }
            tried += 1;
            if answer.status == 200 {
                assert_eq!(graph.rows(), frames::rows(&frames::initial_graph(true)), "statement {place}");
            }
            repeats(graph);
        }
        assert!(tried > 1, "only {tried} statements were found");
    }
}

fn an_upload_may_be_cut_anywhere(server: &Server) {
    let owner = server.person("owner");
    let (body, graph) = (large(), TestGraph::initial(&owner));
    for place in places(2).take_while(|place| place * CUT_BYTES < body.len()) {
        let mut stream = raw::connect(&owner);
        let path = graph.path("/snapshot/upload?reset=true&finished=true");
        let length = format!("content-length: {}", body.len());
        stream.write_all(raw::head(&owner, "POST", &path, &[&length]).as_bytes()).unwrap();
        stream.write_all(&body[..place * CUT_BYTES]).unwrap();
        stream.shutdown(Shutdown::Both).unwrap();
        drop(stream);
        let pull = owner.get(&graph.path("/pull?since=0")).status;
        assert!(matches!(pull, 200 | 409), "cut {place}: {pull}");
        graph.upload("reset=true&finished=true", &frames::initial_graph(false)).status(200);
        assert_eq!(graph.rows(), rows(), "cut {place}");
        assert_eq!(graph.pull()["t"], 0, "cut {place}");
    }
    repeats(graph);
}

fn a_repeated_last_part_destroys_nothing(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    let all = rows();
    let (first, last) = all.split_at(200);
    graph.upload("reset=true", &frames::frame(first)).status(200);
    let last = frames::frame(last);
    graph.upload("reset=false&finished=true", &last).status(200);
    let mut ledger = Ledger::on(graph);
    ledger.write(150);
    ledger.graph.upload("reset=false&finished=true", &last).status(409);
    ledger.prove();
}

/// Parts of two people's uploads: which are accepted, and what is stored in the end.
fn uploads_do_not_mix(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    let manager = server.person("manager");
    graph.invite(&manager, "manager");
    let theirs = TestGraph { id: graph.id.clone(), owner: manager };
    let (a, b) = (rows(), frames::rows(&frames::initial_graph(true)));
    let ((a1, a2), (b1, b2)) = (a.split_at(200), b.split_at(150));
    graph.upload("reset=true", &frames::frame(a1)).status(200);
    theirs.upload("reset=true", &frames::frame(b1)).status(409);
    theirs.upload("reset=false", &frames::frame(b2)).status(409);
    graph.upload("reset=false&finished=true", &frames::frame(a2)).status(200);
    theirs.upload("reset=false&finished=true", &frames::frame(b2)).status(409);
    assert_eq!(graph.rows(), a, "what the one who was not refused has sent");
    theirs.upload("reset=true&finished=true", &frames::frame(&b)).status(200);
    assert_eq!(graph.rows(), b, "nobody's upload is under way any more");
    repeats(graph);
}

fn a_failed_upload_locks_nobody_out(server: &Server) {
    let platform = Platform::of(server);
    let mut ledger = Ledger::begin(&server.person("owner"));
    // The index stored the flag and its answer was lost: the graph itself is unchanged.
    platform.order(&Order::fail("d1", "UPDATE graphs SET graph_ready_for_use").after());
    let failed = ledger.graph.upload("reset=true&finished=true", &frames::initial_graph(false)).status;
    assert!(failed >= 500, "{failed}");
    platform.clear();
    ledger.prove();
    assert_eq!(ledger.graph.owner.get("/graphs").json()["graphs"][0]["graph-ready-for-use?"], true);
}

fn a_part_that_breaks_off_leaves_nothing_behind(server: &Server) {
    let platform = Platform::of(server);
    let mut ledger = Ledger::begin(&server.person("owner"));
    let row = |i: i64| (7_000_000 + i, format!("[\"^ \",\"{}\"]", "x".repeat(100_000)), None);
    let body: Vec<u8> = (0..40).flat_map(|i| frames::frame(&[row(i)])).collect();
    // Clears the list of calls of the first upload.
    platform.clear();
    let mut stream = raw::connect(&ledger.graph.owner);
    // Without the checksum, rows for a graph that was written to are refused.
    let checksum = ledger.graph.pull()["checksum"].as_str().unwrap().to_owned();
    let path = ledger.graph.path(&format!("/snapshot/upload?reset=false&finished=true&checksum={checksum}"));
    let length = format!("content-length: {}", 2 * body.len());
    stream.write_all(raw::head(&ledger.graph.owner, "POST", &path, &[&length]).as_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    await_that("rows are staged", || platform.count("sql", "INTO upload_rows") > 0);
    let dropped = platform.count("sql", "DELETE FROM upload_rows");
    stream.shutdown(Shutdown::Both).unwrap();
    drop(stream);
    await_that("staged rows are dropped", || platform.count("sql", "DELETE FROM upload_rows") > dropped);
    ledger.prove();
}

fn a_late_ready_does_not_open_another_upload(server: &Server) {
    let platform = Platform::of(server);
    let graph = TestGraph::create(&server.person("owner"));
    let all = rows();
    let (first, last) = all.split_at(200);
    graph.upload("reset=true", &frames::frame(first)).status(200);
    platform.order(&Order::wait("d1", "UPDATE graphs SET graph_ready_for_use", 1_500).times(1));
    std::thread::scope(|scope| {
        let finishing = scope.spawn(|| graph.upload("reset=false&finished=true", &frames::frame(last)).status);
        await_that("the index is told", || platform.is_done());
        graph.upload("reset=true", &frames::frame(first)).status(200);
        finishing.join().unwrap();
    });
    platform.clear();
    graph.owner.get(&graph.path("/pull")).error(409, "graph not ready");
    let listed = graph.owner.get("/graphs").json();
    assert_eq!(listed["graphs"][0]["graph-ready-for-use?"], false, "the list says what the graph says");
    repeats(graph);
}

fn an_upload_that_races_a_deletion_leaves_nothing(server: &Server) {
    let platform = Platform::of(server);
    let owner = server.person("owner");
    let graph = TestGraph::create(&owner);
    let body = frames::initial_graph(false);
    let (begun, rest) = body.split_at(body.len() / 2);
    let mut stream = raw::connect(&owner);
    let path = graph.path("/snapshot/upload?reset=true&finished=true");
    let length = format!("content-length: {}", body.len());
    stream.write_all(raw::head(&owner, "POST", &path, &[&length]).as_bytes()).unwrap();
    stream.write_all(begun).unwrap();
    await_that("the upload has begun", || platform.statements(&graph) > 0);
    owner.delete(&format!("/graphs/{}", graph.id)).expect(200, &json!({ "graph-id": graph.id, "deleted": true }));
    platform.clear();
    // The request may be refused early or cut off.
    let _gone = stream.write_all(rest);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(platform.count("sql", "INTO kvs") + platform.count("sql", "INTO upload_rows"), 0);
    assert_eq!(owner.get("/graphs").json()["graphs"], json!([]));
    let status = Client::get(&owner, &graph.path("/pull")).status;
    assert!(matches!(status, 403 | 404), "{status}");
}

#[track_caller]
fn await_that(what: &str, mut yes: impl FnMut() -> bool) {
    let until = std::time::Instant::now() + Duration::from_secs(10);
    while !yes() {
        assert!(std::time::Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
