//! Per-graph routes over HTTP (sync.md 5): pull, tx/batch, diagnostics, reset, and who may call them.

use conformance::{Client, Server, TestGraph, tx};
use serde_json::{Value, json};

super::cases![
    every_route_by_every_kind_of_caller,
    unknown_tails_and_wrong_methods_are_not_found,
    internal_routes_are_out_of_reach,
    reset_is_for_operators,
    graph_ids_in_headers_and_queries_are_ignored,
    pull_reads_since_like_parse_int,
    pull_returns_what_was_written,
    batches_are_checked_before_they_are_applied,
    diagnostics_list_blocks_and_the_checksum,
    not_ready_graphs_answer_conflict,
    health_of_a_graph_needs_access,
    missing_graph_id_is_a_bad_request,
];

const ROUTES: [(&str, &str); 7] = [
    ("GET", "/health"),
    ("GET", "/pull"),
    ("GET", "/checksum/diagnostics"),
    ("GET", "/snapshot/download"),
    ("GET", "/snapshot/stream"),
    ("POST", "/tx/batch"),
    ("POST", "/snapshot/upload?reset=false"),
];

fn body_of(path: &str) -> Option<&'static [u8]> {
    path.starts_with("/tx/batch").then_some(br#"{"t-before":99,"txs":[]}"#.as_slice())
}

fn every_route_by_every_kind_of_caller(server: &Server) {
    let (owner, manager, member, removed) =
        (server.person("owner"), server.person("manager"), server.person("member"), server.person("removed"));
    let graph = TestGraph::initial(&owner);
    graph.invite(&manager, "manager");
    graph.invite(&member, "member");
    graph.invite(&removed, "member");
    owner.delete(&format!("/graphs/{}/members/{}", graph.id, removed.user)).status(200);
    let call = |who: &Client, headers: &[(&str, &str)], (method, path): (&str, &str)| {
        who.send(method, &graph.path(path), headers, body_of(path))
    };
    let admin = [("x-db-sync-admin-token", server.admin_token.as_str())];
    for route in ROUTES {
        for allowed in [&owner, &manager, &member] {
            assert_eq!(call(allowed, &[], route).status, 200, "{route:?} by {}", allowed.user);
        }
        assert_eq!(call(&server.anonymous(), &admin, route).status, 200, "{route:?} by the operator");
        for refused in [&removed, &server.person("stranger")] {
            call(refused, &[], route).error(403, "forbidden");
        }
        call(&server.anonymous(), &[], route).error(401, "unauthorized");
        call(&server.anonymous(), &[("x-db-sync-admin-token", "wrong")], route).error(401, "unauthorized");
        call(&server.anonymous(), &[("x-db-sync-admin-token", "")], route).error(401, "unauthorized");
    }
}

fn unknown_tails_and_wrong_methods_are_not_found(server: &Server) {
    let owner = server.person("owner");
    let graph = TestGraph::initial(&owner);
    for (method, tail) in [
        ("GET", ""),
        ("GET", "/"),
        ("GET", "/nope"),
        ("POST", "/pull"),
        ("GET", "/tx/batch"),
        ("POST", "/repair/blocks"),
        ("GET", "/snapshot/upload"),
        ("POST", "/snapshot/stream"),
        ("PUT", "/snapshot/download"),
        ("GET", "/pull/"),
        ("GET", "/snapshot"),
    ] {
        owner.send(method, &graph.path(tail), &[], None).error(404, "not found");
    }
}

fn internal_routes_are_out_of_reach(server: &Server) {
    let owner = server.person("owner");
    let graph = TestGraph::initial(&owner);
    let admin = [("x-db-sync-admin-token", server.admin_token.as_str())];
    for tail in ["/semantic", "/semantic/pages", "/semantic/"] {
        owner.get(&graph.path(tail)).error(404, "not found");
        server.anonymous().send("GET", &graph.path(tail), &admin, None).error(404, "not found");
        server.anonymous().get(&graph.path(tail)).error(404, "not found");
    }
}

fn reset_is_for_operators(server: &Server) {
    let (owner, manager) = (server.person("owner"), server.person("manager"));
    let graph = TestGraph::initial(&owner);
    graph.invite(&manager, "manager");
    for person in [&owner, &manager] {
        person.delete(&graph.path("/admin/reset")).error(403, "forbidden");
    }
    assert_eq!(graph.rows().len(), 418);
    let admin = [("x-db-sync-admin-token", server.admin_token.as_str())];
    server.anonymous().send("DELETE", &graph.path("/admin/reset"), &admin, None).expect(200, &json!({ "ok": true }));
    let pull = graph.pull();
    assert_eq!((&pull["t"], &pull["txs"]), (&json!(0), &json!([])));
}

fn graph_ids_in_headers_and_queries_are_ignored(server: &Server) {
    let owner = server.person("owner");
    let (mine, victim) = (TestGraph::initial(&owner), TestGraph::initial(&server.person("victim")));
    let aimed = [("x-graph-id", victim.id.as_str())];
    let path = mine.path(&format!("/snapshot/upload?reset=true&graph-id={}", victim.id));
    owner.send("POST", &path, &aimed, Some(&conformance::frames::initial_graph(false))).status(200);
    victim.owner.get(&victim.path("/pull")).status(200);
    owner.get(&mine.path("/pull")).error(409, "graph not ready");
    owner.send("GET", &mine.path("/pull"), &aimed, None).error(409, "graph not ready");
}

fn pull_reads_since_like_parse_int(server: &Server) {
    let graph = TestGraph::initial(&server.person("owner"));
    for since in ["", "?since=0", "?since=12abc", "?since=%205", "?since=1.9", "?since=99999999999999999999"] {
        let answer = graph.owner.get(&graph.path(&format!("/pull{since}")));
        assert_eq!((answer.status, &answer.json()["type"]), (200, &json!("pull/ok")), "{since}");
    }
    for since in ["?since=-1", "?since=abc", "?since=", "?since=x5"] {
        graph.owner.get(&graph.path(&format!("/pull{since}"))).error(400, "invalid since");
    }
}

fn pull_returns_what_was_written(server: &Server) {
    let graph = TestGraph::initial(&server.person("owner"));
    let empty = graph.pull();
    assert_eq!((&empty["t"], &empty["txs"]), (&json!(0), &json!([])));
    let page = tx::id();
    let done = graph.batch(0, &[tx::entry(&tx::page(&page, "One"), "create-page", &tx::id())]).status(200).json();
    assert_eq!((&done["type"], &done["t"]), (&json!("tx/batch/ok"), &json!(1)));
    let block = tx::id();
    let add = tx::entry(&tx::new_block(&block, &page, &page, "a0", "text"), "insert-blocks", &tx::id());
    graph.batch(1, &[add]).status(200);
    let pull = graph.pull();
    assert_eq!(pull["checksum"].as_str().unwrap().len(), 16);
    assert_eq!(pull["txs"].as_array().unwrap().iter().map(|t| t["t"].as_i64().unwrap()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(pull["txs"][1]["outliner-op"], "insert-blocks");
    assert!(pull["txs"][1]["tx"].as_str().unwrap().contains(&block));
    let later = graph.owner.get(&graph.path("/pull?since=1")).json();
    assert_eq!(later["txs"], json!([pull["txs"][1]]));
    assert_eq!(graph.owner.get(&graph.path("/pull?since=2")).json()["txs"], json!([]));
}

fn batches_are_checked_before_they_are_applied(server: &Server) {
    let graph = TestGraph::initial(&server.person("owner"));
    let path = graph.path("/tx/batch");
    let post = |text: &str| graph.owner.send("POST", &path, &[], Some(text.as_bytes()));
    graph.owner.send("POST", &path, &[], None).error(400, "missing body");
    post("null").error(400, "missing body");
    post("{\"t-before\"").error(400, "invalid body");
    for body in [
        json!({}),
        json!({ "t-before": 0 }),
        json!({ "t-before": "0", "txs": [] }),
        json!({ "t-before": 0.5, "txs": [] }),
        json!({ "t-before": 0, "txs": {} }),
        json!({ "t-before": 0, "txs": [{}] }),
        json!({ "t-before": 0, "txs": [{ "tx": 5 }] }),
        json!({ "t-before": 0, "txs": [{ "tx": "[]", "tx-id": "not-a-uuid" }] }),
        json!({ "t-before": 0, "txs": [{ "tx": "[]", "tx-id": null }] }),
        json!({ "t-before": 0, "txs": [{ "tx": "[]", "outliner-op": 5 }] }),
        json!({ "t-before": 0, "txs": [], "client-revision": 5 }),
        json!([]),
    ] {
        graph.owner.post(&path, &body).error(400, "invalid tx");
    }
    let many: Vec<Value> = (0..10_001).map(|_| json!({ "tx": "[]" })).collect();
    assert_eq!(graph.owner.post(&path, &json!({ "t-before": 0, "txs": many })).status, 400);
    let reject = |body: Value| graph.owner.post(&path, &body).status(200).json();
    assert_eq!(
        reject(json!({ "t-before": -1, "txs": [] })),
        json!({ "type": "tx/reject", "reason": "invalid t-before" })
    );
    assert_eq!(reject(json!({ "t-before": 5, "txs": [] })), json!({ "type": "tx/reject", "reason": "stale", "t": 0 }));
    assert_eq!(
        reject(json!({ "t-before": 0.0, "txs": [] })),
        json!({ "type": "tx/reject", "reason": "empty tx data" })
    );
    assert_eq!(graph.t(), 0);
}

fn diagnostics_list_blocks_and_the_checksum(server: &Server) {
    let graph = TestGraph::initial(&server.person("owner"));
    let (page, block) = (tx::id(), tx::id());
    let items = [tx::page(&page, "Page A"), tx::new_block(&block, &page, &page, "a0", "Hello")].concat();
    let done = graph.batch(0, &[tx::entry(&items, "create-page", &tx::id())]).json();
    let found = graph.owner.get(&graph.path("/checksum/diagnostics")).status(200).json();
    assert_eq!(found["checksum"], done["checksum"]);
    assert_eq!(found["e2ee?"], false);
    assert_eq!(found["attrs"], json!(["name", "order", "page", "parent", "title", "uuid"]));
    let blocks = found["blocks"].as_array().unwrap();
    assert!(blocks.is_sorted_by_key(|b| b["uuid"].as_str().unwrap().to_owned()));
    let of = |id: &str| blocks.iter().find(|b| b["uuid"] == id).cloned().unwrap();
    assert_eq!(
        of(&page),
        json!({ "uuid": page, "parent": null, "page": null, "order": null, "title": "Page A", "name": "page a" })
    );
    assert_eq!(
        of(&block),
        json!({ "uuid": block, "parent": page, "page": page, "order": "a0", "title": "Hello", "name": null })
    );
}

fn not_ready_graphs_answer_conflict(server: &Server) {
    let owner = server.person("owner");
    let body = json!({ "graph-name": tx::id(), "graph-e2ee?": false, "graph-ready-for-use?": false });
    let id = owner.post("/graphs", &body).json()["graph-id"].as_str().unwrap().to_owned();
    for (method, tail) in
        [("GET", "/pull"), ("GET", "/checksum/diagnostics"), ("GET", "/snapshot/download"), ("GET", "/snapshot/stream")]
    {
        owner.send(method, &format!("/sync/{id}{tail}"), &[], None).error(409, "graph not ready");
    }
    owner.post(&format!("/sync/{id}/tx/batch"), &json!({ "t-before": 0, "txs": [] })).error(409, "graph not ready");
    owner.get(&format!("/sync/{id}/health")).expect(200, &json!({ "ok": true }));
    conformance::Socket::try_open(&owner, &id).expect_err("no socket").error_body(409, "graph not ready");
}

fn health_of_a_graph_needs_access(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    graph.owner.get(&graph.path("/health")).expect(200, &json!({ "ok": true }));
    server.person("stranger").get(&graph.path("/health")).error(403, "forbidden");
}

fn missing_graph_id_is_a_bad_request(server: &Server) {
    server.person("owner").get("/sync/").error(400, "missing graph id");
    server.person("owner").get("/sync///pull").error(400, "missing graph id");
}
