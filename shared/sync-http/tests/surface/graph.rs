//! Inside a graph: readiness, transactions, snapshots, sockets.

use serde_json::{Value, json};

use crate::world::{ADMIN, PULL_MESSAGE_BYTES, TestBody, World, request};

fn add_page(uuid: &str, title: &str) -> Value {
    json!({ "tx": json!([
        ["~:db/add", uuid, "~:block/uuid", format!("~u{uuid}")],
        ["~:db/add", uuid, "~:block/name", title],
        ["~:db/add", uuid, "~:block/title", title],
    ]).to_string(), "outliner-op": "save-block" })
}

const PAGE: &str = "00000000-0000-4000-8000-000000000001";
const OTHER: &str = "00000000-0000-4000-8000-000000000002";

fn batch(t_before: i64, tx: &Value) -> String {
    json!({ "t-before": t_before, "txs": [tx] }).to_string()
}

#[test]
fn a_batch_over_http_is_answered_and_told() {
    let world = World::new();
    let graph = world.create("owner", "g");
    let socket = world.connect("owner", &graph);
    let path = format!("/sync/{graph}/tx/batch");
    for (body, expected) in [
        ("", "missing body"),
        ("{", "invalid body"),
        (r#"{"t-before":0}"#, "invalid tx"),
        (r#"{"t-before":2.5,"txs":[]}"#, "invalid tx"),
    ] {
        assert_eq!(world.call(Some("owner"), "POST", &path, body).refusal(), (400, expected.into()), "{body}");
    }
    let done = world.ok("owner", "POST", &path, &batch(0, &add_page(PAGE, "page")));
    assert_eq!((&done["type"], &done["t"]), (&json!("tx/batch/ok"), &json!(1)));
    let stale = world.ok("owner", "POST", &path, &batch(0, &add_page(OTHER, "other")));
    assert_eq!(stale, json!({ "type": "tx/reject", "reason": "stale", "t": 1 }));
    assert_eq!(*socket.received.borrow().last().unwrap(), json!({ "type": "changed", "t": 1 }));
    let pull = world.ok("owner", "GET", &format!("/sync/{graph}/pull?since=0"), "");
    assert_eq!((&pull["t"], pull["txs"].as_array().unwrap().len()), (&json!(1), 1));
    for since in ["abc", "", "-1"] {
        let answer = world.call(Some("owner"), "GET", &format!("/sync/{graph}/pull?since={since}"), "");
        assert_eq!(answer.refusal(), (400, "invalid since".into()), "{since}");
    }
    let diagnostics = world.ok("owner", "GET", &format!("/sync/{graph}/checksum/diagnostics"), "");
    assert_eq!(diagnostics["checksum"], done["checksum"]);
    assert_eq!(diagnostics["blocks"][0]["title"], "page");
    let large = "x".repeat(33 << 20);
    assert_eq!(world.call(Some("owner"), "POST", &path, &large).refusal(), (413, "request too large".into()));
}

#[test]
fn a_pull_over_a_socket_is_one_message_and_not_a_long_one() {
    let world = World::new();
    let graph = world.create("owner", "g");
    let socket = world.connect("owner", &graph);
    let path = format!("/sync/{graph}/tx/batch");
    world.ok("owner", "POST", &path, &batch(0, &add_page(PAGE, "page")));
    let pull = |since: i64| {
        let text = json!({ "type": "pull", "since": since }).to_string();
        world.graph(&graph).frame(&socket, &text);
    };
    for t in 1..4 {
        // A change of a title logs the old one and the new one.
        pull(0);
        let heard = socket.received.borrow().last().cloned().unwrap();
        assert_eq!(heard["txs"].as_array().unwrap().len(), usize::try_from(t).unwrap());
        assert!(heard == world.ok("owner", "GET", &format!("/sync/{graph}/pull?since=0"), ""));
        let text = format!("{t}{}", "x".repeat(PULL_MESSAGE_BYTES / 5));
        let tx = json!([["~:db/add", ["~:block/uuid", format!("~u{PAGE}")], "~:block/title", text]]).to_string();
        world.ok("owner", "POST", &path, &batch(t, &json!({ "tx": tx, "outliner-op": "save-block" })));
    }
    pull(0);
    assert_eq!(*socket.closed.borrow(), Some((1009, "pull too long: download the snapshot".into())));
    let other = world.connect("owner", &graph);
    world.graph(&graph).frame(&other, r#"{"type":"pull","since":3}"#);
    assert_eq!(other.received.borrow().last().unwrap()["txs"].as_array().unwrap().len(), 1);
    let whole = world.ok("owner", "GET", &format!("/sync/{graph}/pull?since=0"), "");
    assert_eq!(whole["txs"].as_array().unwrap().len(), 4, "HTTP pulls stream");
}

#[test]
fn downloads_are_capped_and_stalled_ones_break_off() {
    let world = World::new();
    let graph = world.create("owner", "g");
    let path = format!("/sync/{graph}/snapshot/stream");
    world.ok("owner", "POST", &format!("/sync/{graph}/tx/batch"), &batch(0, &add_page(PAGE, "page")));
    let begin = || {
        let request = request(Some("owner"), "GET", &path, "");
        pollster::block_on(sync_http::handle(&world, &world.service, request))
    };
    let stalled: Vec<_> = (0..8).map(|_| begin()).collect();
    let refused = world.call(Some("owner"), "GET", &path, "");
    assert_eq!(refused.refusal(), (503, "too many downloads".into()));
    assert_eq!(refused.header("retry-after"), Some("10"));
    world.time.advance(60_001);
    assert_eq!(world.call(Some("owner"), "GET", &path, "").status, 200);
    for response in stalled {
        assert!(response.into_body().bytes().is_err(), "an error, not an end");
    }
    // Those that go away make room at once.
    drop((0..8).map(|_| begin()).collect::<Vec<_>>());
    assert_eq!(world.call(Some("owner"), "GET", &path, "").status, 200);
}

#[test]
fn what_is_downloaded_can_be_uploaded() {
    let world = World::new();
    let source = world.create("owner", "source");
    let tx = format!("/sync/{source}/tx/batch");
    let done = world.ok("owner", "POST", &tx, &batch(0, &add_page(PAGE, "page")));
    let stream = world.call(Some("owner"), "GET", &format!("/sync/{source}/snapshot/stream"), "");
    assert_eq!(stream.header("content-type"), Some("application/transit+json"));
    assert_eq!(stream.header("access-control-allow-origin"), Some("*"));
    let rows: u64 = stream.header("x-snapshot-row-count").unwrap().parse().unwrap();

    let target = world.create("owner", "target");
    let checksum = done["checksum"].as_str().unwrap();
    let path = format!("/sync/{target}/snapshot/upload?reset=true&finished=true&checksum={checksum}");
    let mut upload = request(Some("owner"), "POST", &path, "");
    *upload.body_mut() = TestBody::chunks(stream.bytes.chunks(7).map(<[u8]>::to_vec));
    assert_eq!(world.send(upload).json(), json!({ "ok": true, "count": rows }));
    let diagnostics = world.ok("owner", "GET", &format!("/sync/{target}/checksum/diagnostics"), "");
    assert_eq!(diagnostics["checksum"], checksum);

    let path = format!("/sync/{target}/snapshot/upload?reset=false&finished=true&checksum=0000000000000001");
    let mut conflict = request(Some("owner"), "POST", &path, "");
    *conflict.body_mut() = TestBody::chunks([stream.bytes]);
    assert_eq!(world.send(conflict).refusal(), (409, "checksum conflict".into()));
    assert_eq!(world.call(Some("owner"), "GET", &format!("/sync/{target}/pull"), "").status, 200);
}

#[test]
fn a_failed_upload_leaves_the_graph_closed() {
    let world = World::new();
    let graph = world.create("owner", "g");
    let socket = world.connect("owner", &graph);
    let upload = format!("/sync/{graph}/snapshot/upload?reset=true&finished=true");
    let empty = world.call(Some("owner"), "POST", &upload, "");
    assert_eq!(empty.refusal(), (400, "missing body".into()), "D-37");
    assert_eq!(world.call(Some("owner"), "GET", &format!("/sync/{graph}/pull"), "").status, 200);
    let broken = world.call(Some("owner"), "POST", &upload, "\0\0\0\u{7}{\"a\":1}");
    assert_eq!(broken.refusal(), (400, "invalid snapshot".into()), "D-36");
    for path in ["pull", "snapshot/download", "snapshot/stream", "checksum/diagnostics"] {
        let answer = world.call(Some("owner"), "GET", &format!("/sync/{graph}/{path}"), "");
        assert_eq!(answer.refusal(), (409, "graph not ready".into()), "{path}");
    }
    let answer = world.call(Some("owner"), "POST", &format!("/sync/{graph}/tx/batch"), r#"{"t-before":0,"txs":[]}"#);
    assert_eq!(answer.refusal(), (409, "graph not ready".into()));
    let mut upgrade = request(Some("owner"), "GET", &format!("/sync/{graph}"), "");
    upgrade.headers_mut().insert("upgrade", "websocket".parse().unwrap());
    assert_eq!(world.send(upgrade).refusal(), (409, "graph not ready".into()));
    world.graph(&graph).frame(&socket, r#"{"type":"tx/batch","t-before":0,"txs":[]}"#);
    assert_eq!(socket.received.borrow().last().unwrap()["reason"], "snapshot upload in progress");
    assert_eq!(world.ok("owner", "GET", "/graphs", "")["graphs"][0]["graph-ready-for-use?"], false);
    assert_eq!(world.call(Some("owner"), "GET", &format!("/sync/{graph}/health"), "").status, 200);
}

#[test]
fn an_upload_that_breaks_off_leaves_no_rows() {
    let world = World::new();
    let graph = world.create("owner", "g");
    world.ok("owner", "POST", &format!("/sync/{graph}/tx/batch"), &batch(0, &add_page(PAGE, "page")));
    let stream = world.call(Some("owner"), "GET", &format!("/sync/{graph}/snapshot/stream"), "").bytes;
    let rows = || -> i64 {
        let graph = world.graph(&graph).graph.clone();
        let graph = graph.borrow();
        let connection = graph.sql().connection();
        let count = "SELECT (SELECT count(*) FROM kvs) + (SELECT count(*) FROM upload_rows)";
        connection.query_row(count, [], |row| row.get(0)).unwrap()
    };
    let before = rows();
    let checksum = world.ok("owner", "GET", &format!("/sync/{graph}/pull"), "")["checksum"].clone();
    let checksum = checksum.as_str().unwrap();
    for reset in [false, true] {
        let path = format!("/sync/{graph}/snapshot/upload?reset={reset}&finished=true&checksum={checksum}");
        let mut upload = request(Some("owner"), "POST", &path, "");
        *upload.body_mut() = TestBody::chunks(std::iter::repeat_n(stream.clone(), 400));
        upload.body_mut().broken = true;
        assert_eq!(world.send(upload).refusal(), (400, "request interrupted".into()));
        assert_eq!(rows(), before, "reset {reset}");
    }
}

#[test]
fn without_a_row_in_the_index_nothing_closes() {
    let world = World::new();
    let answer = world.call(Some(ADMIN), "POST", "/sync/nowhere/snapshot/upload?reset=true", "\0\0\0\u{2}[]");
    assert_eq!(answer.status, 500);
    assert_eq!(world.call(Some(ADMIN), "GET", "/sync/nowhere/pull", "").status, 200, "D-29");
}

#[test]
fn the_index_closes_a_graph_for_requests() {
    let world = World::new();
    let body = r#"{"graph-name":"x","graph-e2ee?":false,"graph-ready-for-use?":false}"#;
    let created = world.ok("owner", "POST", "/graphs", body);
    let path = format!("/sync/{}/pull", created["graph-id"].as_str().unwrap());
    assert_eq!(world.call(Some("owner"), "GET", &path, "").refusal(), (409, "graph not ready".into()));
}

#[test]
fn the_operator_wipes_a_graph() {
    let world = World::new();
    let graph = world.create("owner", "g");
    world.ok("owner", "POST", &format!("/sync/{graph}/tx/batch"), &batch(0, &add_page(PAGE, "page")));
    let socket = world.connect("owner", &graph);
    assert_eq!(world.call(Some(ADMIN), "DELETE", &format!("/sync/{graph}/admin/reset"), "").status, 200);
    assert_eq!(*socket.closed.borrow(), Some((1000, "graph deleted".into())));
    assert_eq!(world.ok("owner", "GET", &format!("/sync/{graph}/pull"), "")["t"], 0);
}

#[test]
fn presence_goes_to_peers() {
    let world = World::new();
    let graph_id = world.create("owner", "g");
    world.ok("owner", "POST", &format!("/graphs/{graph_id}/members"), r#"{"user-id":"bob"}"#);
    let (owner, bob) = (world.connect("owner", &graph_id), world.connect("bob", &graph_id));
    let graph = world.graph(&graph_id);
    let online = |socket: &crate::world::TestSocket| {
        let received = socket.received.borrow();
        received.last().unwrap()["online-users"].as_array().map(Vec::len)
    };
    assert_eq!((online(&owner), online(&bob)), (Some(2), Some(2)));
    graph.frame(&owner, r#"{"type":"presence","editing-block-uuid":"b1"}"#);
    graph.wake();
    let told = bob.received.borrow().last().cloned().unwrap();
    assert_eq!(told, json!({ "type": "presence", "user-id": "owner", "editing-block-uuid": "b1" }));
    assert_eq!(online(&owner), Some(2), "the sender hears nothing");
    sync_http::graph_routes::sockets::on_close(&*graph, &graph.memory, &owner, 1005, "");
    assert_eq!(*owner.closed.borrow(), Some((1000, String::new())));
    graph.wake();
    assert_eq!(online(&bob), Some(1));
}

#[test]
fn membership_is_asked_again_before_a_write() {
    let world = World::new();
    let graph_id = world.create("owner", "g");
    world.ok("owner", "POST", &format!("/graphs/{graph_id}/members"), r#"{"user-id":"bob"}"#);
    let bob = world.connect("bob", &graph_id);
    let graph = world.graph(&graph_id);
    let message =
        |t: i64, uuid: &str| json!({ "type": "tx/batch", "t-before": t, "txs": [add_page(uuid, uuid)] }).to_string();
    graph.frame(&bob, &message(0, PAGE));
    assert_eq!(graph.questions(), 0, "asked when the socket was opened");
    let db = world.db.clone().unwrap();
    pollster::block_on(database::Database::execute(&*db, "DELETE FROM graph_members WHERE user_id = 'bob'", &[]))
        .unwrap();
    world.time.advance(5_000);
    graph.frame(&bob, &message(1, OTHER));
    assert_eq!(*bob.closed.borrow(), Some((1008, "access revoked".into())), "D-18");
    assert_eq!(world.ok("owner", "GET", &format!("/sync/{graph_id}/pull"), "")["t"], 1);
}

#[test]
fn an_index_that_is_away_revokes_nothing() {
    let world = World::new();
    let graph_id = world.create("owner", "g");
    let owner = world.connect("owner", &graph_id);
    let db = world.db.clone().unwrap();
    pollster::block_on(database::Database::execute(&*db, "ALTER TABLE graphs RENAME TO away", &[])).unwrap();
    world.time.advance(5_000);
    world.graph(&graph_id).frame(&owner, r#"{"type":"tx/batch","t-before":0,"txs":[]}"#);
    assert_eq!(owner.received.borrow().last().unwrap()["reason"], "empty tx data");
    assert_eq!(world.event_names(), ["db-sync/access-recheck-failed"]);
}

#[test]
fn an_operators_socket_has_no_presence() {
    let world = World::new();
    let graph_id = world.create("owner", "g");
    let owner = world.connect("owner", &graph_id);
    let operator = world.connect(ADMIN, &graph_id);
    let graph = world.graph(&graph_id);
    assert_eq!(operator.received.borrow()[0]["online-users"].as_array().unwrap().len(), 1);
    let before = owner.received.borrow().len();
    graph.frame(&operator, r#"{"type":"presence","editing-block-uuid":"b1"}"#);
    assert_eq!(owner.received.borrow().len(), before, "D-17");
    world.time.advance(10_000);
    graph.frame(&operator, &json!({ "type": "tx/batch", "t-before": 0, "txs": [add_page(PAGE, "p")] }).to_string());
    assert_eq!(operator.received.borrow().last().unwrap()["type"], "tx/batch/ok");
}

#[test]
fn names_of_codings_have_no_case() {
    let world = World::new();
    let graph = world.create("owner", "g");
    for coding in ["gzip", "GZIP", "GZip"] {
        // What says to be packed and is not cannot be read.
        let path = format!("/sync/{graph}/snapshot/upload?reset=true&finished=false");
        let mut upload = request(Some("owner"), "POST", &path, "\0\0\0\u{2}[]");
        upload.headers_mut().insert("content-encoding", coding.parse().unwrap());
        assert_eq!(world.send(upload).refusal(), (400, "invalid snapshot".into()), "{coding}");
    }
}
