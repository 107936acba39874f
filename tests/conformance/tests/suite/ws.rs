//! The WebSocket protocol (sync.md 7).

use conformance::socket::Closed;
use conformance::{Server, Socket, TestGraph, tx};
use serde_json::{Value, json};

super::cases![
    refused_upgrades_carry_the_usual_error,
    any_tail_is_accepted,
    upgrades_elsewhere_are_ordinary_requests,
    hello_answers_t_and_checksum,
    json_and_raw_pings_are_answered,
    anything_else_is_an_invalid_request,
    pull_over_the_socket,
    a_batch_is_acknowledged_and_told_to_others,
    rejects_name_uuids_as_strings,
    two_devices_converge,
    presence_goes_to_peers_only,
    online_users_lists_people_once,
    operators_have_no_presence,
    close_is_answered_with_the_same_code,
    nobody_writes_during_an_upload,
    redundant_edits_are_not_broadcast,
    a_sleeping_graph_remembers_its_people,
];

fn graph(server: &Server) -> TestGraph {
    TestGraph::initial(&server.person("owner"))
}

fn page_entry(id: &str) -> Value {
    tx::entry(&tx::page(id, &format!("Page {id}")), "create-page", &tx::id())
}

fn refused_upgrades_carry_the_usual_error(server: &Server) {
    let graph = graph(server);
    let refused = |who: &conformance::Client, id: &str| Socket::try_open(who, id).expect_err("refused");
    refused(&server.anonymous(), &graph.id).error_body(401, "unauthorized");
    refused(&server.person("stranger"), &graph.id).error_body(403, "forbidden");
    let semantic = Socket::try_open_path(&graph.owner, &graph.path("/semantic/pages"), &[]).expect_err("refused");
    semantic.error_body(404, "not found");
    let nameless = Socket::try_open_path(&graph.owner, "/sync/", &[]).expect_err("refused");
    nameless.error_body(400, "missing graph id");
}

fn any_tail_is_accepted(server: &Server) {
    let graph = graph(server);
    let query = graph.owner.token.as_ref().map(|token| format!("?token={token}")).unwrap_or_default();
    let mut socket = Socket::try_open_path(&graph.owner, &graph.path(&format!("/anything{query}")), &[]).unwrap();
    assert_eq!(socket.receive()["type"], "online-users");
}

fn upgrades_elsewhere_are_ordinary_requests(server: &Server) {
    let answer = Socket::try_open_path(&server.anonymous(), "/health", &[]).expect_err("no socket");
    assert_eq!((answer.status, answer.json()), (200, json!({ "ok": true })));
}

fn hello_answers_t_and_checksum(server: &Server) {
    let graph = graph(server);
    let mut socket = Socket::open(&graph.owner, &graph.id);
    assert_eq!(socket.ask(&json!({ "type": "hello", "client": "repo" })), json!({ "type": "hello", "t": 0 }));
    let done = socket.ask(&tx::batch(0, &[page_entry(&tx::id())]));
    assert_eq!((&done["type"], &done["t"]), (&json!("tx/batch/ok"), &json!(1)));
    let hello = socket.ask(&json!({ "type": "hello", "client": "repo" }));
    assert_eq!(hello, json!({ "type": "hello", "t": 1, "checksum": done["checksum"] }));
}

fn json_and_raw_pings_are_answered(server: &Server) {
    let graph = graph(server);
    let mut socket = Socket::open(&graph.owner, &graph.id);
    assert_eq!(socket.ask(&json!({ "type": "ping" })), json!({ "type": "pong" }));
    socket.send_text("ping");
    assert_eq!(socket.receive(), json!("pong"));
}

fn anything_else_is_an_invalid_request(server: &Server) {
    let graph = graph(server);
    let mut socket = Socket::open(&graph.owner, &graph.id);
    let invalid = json!({ "type": "error", "message": "invalid request" });
    for text in [
        "",
        "{",
        "null",
        "5",
        "[]",
        "\"hello\"",
        "{}",
        r#"{"type":"nope"}"#,
        r#"{"type":5}"#,
        r#"{"type":"hello"}"#,
        r#"{"type":"hello","client":5}"#,
        r#"{"type":"pull","since":"1"}"#,
        r#"{"type":"pull","since":1.5}"#,
        r#"{"type":"pull","since":null}"#,
        r#"{"type":"tx/batch"}"#,
        r#"{"type":"tx/batch","t-before":"0","txs":[]}"#,
        r#"{"type":"tx/batch","t-before":0,"txs":[{"tx":1}]}"#,
        r#"{"type":"presence","editing-block-uuid":5}"#,
        r#"{"type":"tx/batch","t-before":0,"txs":[],"client-revision":1}"#,
    ] {
        socket.send_text(text);
        assert_eq!(socket.receive(), invalid, "{text}");
    }
    let many: Vec<Value> = (0..10_001).map(|_| json!({ "tx": "[]" })).collect();
    assert_eq!(socket.ask(&tx::batch(0, &many)), invalid);
    assert_eq!(
        socket.ask(&json!({ "type": "pull", "since": -1 })),
        json!({ "type": "error", "message": "invalid since" })
    );
    assert_eq!(socket.ask(&json!({ "type": "ping" })), json!({ "type": "pong" }), "the socket is still open");
}

fn pull_over_the_socket(server: &Server) {
    let graph = graph(server);
    let mut socket = Socket::open(&graph.owner, &graph.id);
    socket.ask(&tx::batch(0, &[page_entry(&tx::id()), page_entry(&tx::id())]));
    let all = socket.ask(&json!({ "type": "pull" }));
    assert_eq!(all, graph.pull(), "the same answer as over HTTP");
    let last = socket.ask(&json!({ "type": "pull", "since": 1 }));
    assert_eq!(last["txs"], json!([all["txs"][1]]));
    assert_eq!(socket.ask(&json!({ "type": "pull", "since": 2.0 }))["txs"], json!([]));
}

fn a_batch_is_acknowledged_and_told_to_others(server: &Server) {
    let graph = graph(server);
    let mut sender = Socket::open(&graph.owner, &graph.id);
    let mut peer = Socket::open(&graph.owner, &graph.id);
    sender.drain();
    let mut batch = tx::batch(0, &[page_entry(&tx::id()), page_entry(&tx::id())]);
    batch["client-revision"] = json!("abc123");
    let done = sender.ask(&batch);
    assert_eq!((&done["type"], &done["t"]), (&json!("tx/batch/ok"), &json!(2)));
    assert_eq!(done["checksum"].as_str().unwrap().len(), 16);
    assert_eq!(sender.drain(), [] as [Value; 0], "never back to the sender");
    assert_eq!(peer.drain(), [json!({ "type": "changed", "t": 2 })], "once a batch");
    let over_http = graph.batch(2, &[page_entry(&tx::id())]).json();
    assert_eq!(over_http["t"], 3);
    assert_eq!(sender.drain(), [json!({ "type": "changed", "t": 3 })]);
    assert_eq!(peer.drain(), [json!({ "type": "changed", "t": 3 })]);
}

fn rejects_name_uuids_as_strings(server: &Server) {
    let graph = graph(server);
    let mut socket = Socket::open(&graph.owner, &graph.id);
    let (gone, id) = (tx::id(), tx::id());
    let entry = tx::entry(&[tx::add(tx::block(&gone), "block/title", "x")], "save-block", &id);
    let over_ws = socket.ask(&tx::batch(0, std::slice::from_ref(&entry)));
    assert_eq!((&over_ws["failed-tx-id"], &over_ws["missing-block-uuids"]), (&json!(id), &json!([gone])));
    assert_eq!(graph.batch(0, &[entry]).json(), over_ws, "the same over HTTP");
    assert_eq!(socket.ask(&tx::batch(7, &[])), json!({ "type": "tx/reject", "reason": "stale", "t": 0 }));
    assert_eq!(socket.ask(&tx::batch(-7, &[])), json!({ "type": "tx/reject", "reason": "invalid t-before" }));
    assert_eq!(socket.ask(&tx::batch(0, &[])), json!({ "type": "tx/reject", "reason": "empty tx data" }));
}

fn two_devices_converge(server: &Server) {
    let graph = graph(server);
    let (mut a, mut b) = (Socket::open(&graph.owner, &graph.id), Socket::open(&graph.owner, &graph.id));
    a.drain();
    assert_eq!(a.ask(&tx::batch(0, &[page_entry(&tx::id())]))["t"], 1);
    // The other device wrote against an old t: it pulls, then tries again.
    let entry = page_entry(&tx::id());
    assert_eq!(b.receive(), json!({ "type": "changed", "t": 1 }));
    assert_eq!(
        b.ask(&tx::batch(0, std::slice::from_ref(&entry))),
        json!({
            "type": "tx/reject", "reason": "stale", "t": 1,
        })
    );
    assert_eq!(b.ask(&json!({ "type": "pull", "since": 0 }))["txs"].as_array().unwrap().len(), 1);
    assert_eq!(b.ask(&tx::batch(1, &[entry]))["t"], 2);
    assert_eq!(a.receive(), json!({ "type": "changed", "t": 2 }));
    assert_eq!(a.ask(&json!({ "type": "pull", "since": 0 })), b.ask(&json!({ "type": "pull", "since": 0 })));
}

fn presence_goes_to_peers_only(server: &Server) {
    let graph = graph(server);
    let guest = server.person("guest");
    graph.invite(&guest, "member");
    let mut a = Socket::open(&graph.owner, &graph.id);
    let mut b = Socket::open(&guest, &graph.id);
    a.drain();
    let block = tx::id();
    a.send(&json!({ "type": "presence", "editing-block-uuid": block }));
    assert_eq!(b.receive(), json!({ "type": "presence", "user-id": graph.owner.user, "editing-block-uuid": block }));
    assert_eq!(a.drain(), [] as [Value; 0]);
    let c = Socket::open(&guest, &graph.id);
    let users = a.receive()["online-users"].clone();
    let own = users.as_array().unwrap().iter().find(|u| u["user-id"] == graph.owner.user.as_str()).unwrap();
    assert_eq!(own["editing-block-uuid"], block.as_str(), "remembered with the socket");
    b.drain();
    drop(c);
    b.receive();
    for cleared in [
        json!({ "type": "presence", "editing-block-uuid": "  " }),
        json!({ "type": "presence", "editing-block-uuid": null }),
        json!({ "type": "presence" }),
    ] {
        a.send(&cleared);
        assert_eq!(b.receive()["editing-block-uuid"].as_str().map_or("", str::trim), "", "{cleared}");
        let mut late = Socket::try_open(&guest, &graph.id).expect("accepted");
        assert!(!late.receive().to_string().contains("editing-block-uuid"), "{cleared} is not remembered");
        late.close(1000, "");
        b.drain();
    }
}

fn online_users_lists_people_once(server: &Server) {
    let graph = graph(server);
    let mut first = Socket::open(&graph.owner, &graph.id);
    let second = Socket::open(&graph.owner, &graph.id);
    let expected = json!([{
        "user-id": graph.owner.user, "email": conformance::tokens::email(&graph.owner.user), "username": graph.owner.user,
    }]);
    assert_eq!(first.receive()["online-users"], expected, "two tabs of one person");
    second.close(1000, "bye");
    assert_eq!(first.receive(), json!({ "type": "online-users", "online-users": expected }));
}

fn operators_have_no_presence(server: &Server) {
    let graph = graph(server);
    let mut member = Socket::open(&graph.owner, &graph.id);
    let headers = [("x-db-sync-admin-token", server.admin_token.as_str())];
    let mut operator = Socket::try_open_path(&server.anonymous(), &graph.path(""), &headers).expect("accepted");
    let users = operator.receive()["online-users"].clone();
    assert_eq!(users.as_array().unwrap().len(), 1);
    member.drain();
    operator.send(&json!({ "type": "presence", "editing-block-uuid": tx::id() }));
    assert_eq!(operator.drain(), [] as [Value; 0]);
    assert_eq!(member.drain(), [] as [Value; 0], "presence of nobody is dropped");
    assert_eq!(operator.ask(&json!({ "type": "hello", "client": "op" }))["type"], "hello");
}

fn close_is_answered_with_the_same_code(server: &Server) {
    let graph = graph(server);
    for (code, reason) in [(1000, "done"), (3001, "custom"), (4999, "")] {
        let started = std::time::Instant::now();
        assert_eq!(Socket::open(&graph.owner, &graph.id).close(code, reason), Closed(code, reason.to_owned()));
        assert!(started.elapsed().as_secs() < 5, "not left to hibernation");
    }
}

fn nobody_writes_during_an_upload(server: &Server) {
    let graph = graph(server);
    let mut socket = Socket::open(&graph.owner, &graph.id);
    let frames = conformance::frames::initial_graph(false);
    graph.upload("reset=true", &frames).status(200);
    assert_eq!(socket.until_end(), Closed(1012, "snapshot replaced".to_owned()));
    Socket::try_open(&graph.owner, &graph.id).expect_err("no new sockets").error_body(409, "graph not ready");
    graph.batch(0, &[page_entry(&tx::id())]).error_body(409, "graph not ready");
    graph.upload("reset=false&finished=true", &[]).status(200);
    let mut socket = Socket::open(&graph.owner, &graph.id);
    assert_eq!(socket.ask(&tx::batch(0, &[page_entry(&tx::id())]))["t"], 1);
}

fn redundant_edits_are_not_broadcast(server: &Server) {
    let graph = graph(server);
    let page = tx::id();
    graph.batch(0, &[page_entry(&page)]).status(200);
    let mut peer = Socket::open(&graph.owner, &graph.id);
    let again = [tx::add(tx::block(&page), "block/title", format!("Page {page}"))];
    let answer = graph.batch(1, &[tx::entry(&again, "save-block", &tx::id())]).json();
    assert_eq!((&answer["type"], &answer["t"]), (&json!("tx/batch/ok"), &json!(1)));
    assert_eq!(peer.drain(), [] as [Value; 0]);
}

/// How long a server may take to put an idle graph to sleep, and a little more: it may have something to finish first, some
/// seconds after the last batch.
const SLEEP: std::time::Duration = std::time::Duration::from_secs(16);

fn a_sleeping_graph_remembers_its_people(server: &Server) {
    let graph = graph(server);
    let guest = server.person("guest");
    graph.invite(&guest, "member");
    let (mut a, mut b) = (Socket::open(&graph.owner, &graph.id), Socket::open(&guest, &graph.id));
    a.drain();
    let (block, page) = (tx::id(), tx::id());
    a.send(&json!({ "type": "presence", "editing-block-uuid": block }));
    assert_eq!(a.ask(&tx::batch(0, &[page_entry(&page)]))["t"], 1);
    assert_eq!(b.drain().len(), 2);
    let awake = instance(server, &graph);
    std::thread::sleep(SLEEP);
    // The first event after the sleep: all sockets are still open, and their users are still known.
    let mut c = Socket::try_open(&guest, &graph.id).expect("accepted");
    let users = c.receive()["online-users"].clone();
    let owner =
        users.as_array().unwrap().iter().find(|u| u["user-id"] == graph.owner.user.as_str()).expect("still there");
    assert_eq!(owner["editing-block-uuid"], block.as_str());
    a.drain();
    let done = b.ask(&tx::batch(1, &[page_entry(&tx::id())]));
    // The message before the answer is about the third socket.
    let done = if done["type"] == "online-users" { b.receive() } else { done };
    assert_eq!(done["t"], 2, "{done}");
    assert_eq!(a.drain(), [json!({ "type": "changed", "t": 2 })]);
    assert_eq!(c.drain(), [json!({ "type": "changed", "t": 2 })]);
    if let Some(awake) = awake {
        assert_ne!(instance(server, &graph), Some(awake), "the graph slept in between");
    }
}

/// Which object in memory the graph is. A server of another kind than ours may not tell, and need not let graphs sleep.
fn instance(server: &Server, graph: &TestGraph) -> Option<String> {
    let answer = graph.owner.get(&graph.path("/health"));
    let id = answer.status(200).header("x-instance-id");
    assert!(!(id.is_empty() && server.is_own()), "our worker tells it");
    (!id.is_empty()).then(|| id.to_owned())
}
