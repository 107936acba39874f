//! What the front worker passes on: to graphs and to the agents service.

use std::cell::Cell;
use std::future::Future as _;
use std::rc::Rc;
use std::task::{Context, Waker};

use serde_json::json;
use sync_http::agents::{KEPT_BODY_BYTES, WAITING_REQUESTS};
use web::Failure;

use crate::world::{ADMIN, TestBody, World, request};

#[test]
fn graph_ids_and_tails() {
    let world = World::new();
    for path in ["/sync/", "/sync//"] {
        assert_eq!(world.call(Some(ADMIN), "GET", path, "").refusal(), (400, "missing graph id".into()));
    }
    for tail in ["/semantic", "/semantic/pages", "/internal/revoke-access", "/internal"] {
        for caller in [None, Some("u"), Some(ADMIN)] {
            assert_eq!(world.call(caller, "POST", &format!("/sync/g{tail}"), "").status, 404, "D-35 {tail}");
        }
    }
    assert!(world.calls.borrow().is_empty(), "no graph was touched");
    for path in ["/sync/g//admin/reset", "/sync/g/sync/g/admin/reset", "/sync/g/admin%2Freset"] {
        assert_eq!(world.call(Some(ADMIN), "DELETE", path, "").status, 404, "{path}");
    }
}

#[test]
fn the_graph_is_named_by_the_path_alone() {
    let world = World::new();
    let graph = world.create("owner", "g");
    let mut forged = request(Some("owner"), "GET", &format!("/sync/{graph}/snapshot/download?graph-id=other&x=1"), "");
    forged.headers_mut().insert("x-graph-id", "other".parse().unwrap());
    let url = format!("http://sync.test/sync/{graph}/snapshot/stream");
    let expected = json!({
        "ok": true, "key": format!("stream/{graph}.snapshot"), "url": url,
        "schema-version": "65", "t": 0, "row-count": 5,
    });
    assert_eq!(world.send(forged).json(), expected, "D-01");
    let calls = world.calls.borrow();
    assert_eq!(*calls, [format!("{graph} GET http://sync.test/snapshot/download?x=1&graph-id={graph}")]);
}

#[test]
fn access_is_asked_once_in_five_seconds() {
    let world = World::new();
    let graph = world.create("owner", "g");
    let path = format!("/sync/{graph}/health");
    let bob = || world.call(Some("bob"), "GET", &path, "").status;
    assert_eq!(bob(), 403);
    let db = world.db.clone().unwrap();
    world.sql(&format!("INSERT INTO graph_members (user_id, graph_id, role) VALUES ('bob', '{graph}', 'member')"));
    assert_eq!(bob(), 200);
    world.sql("DELETE FROM graph_members WHERE user_id = 'bob'");
    assert_eq!(bob(), 200, "access is remembered");
    world.time.advance(5_000);
    assert_eq!([bob(), bob()], [403, 403]);
    let users = pollster::block_on(database::Database::query(
        &*db,
        database::ReadFrom::Primary,
        "SELECT id FROM users WHERE id = 'bob'",
        &[],
    ));
    assert!(users.unwrap().is_empty(), "this path writes no user");
}

#[test]
fn an_unreachable_graph_is_a_server_error() {
    let world = World::new();
    let graph = world.create("owner", "g");
    world.graph(&graph).broken.set(true);
    let answer = world.call(Some("owner"), "GET", &format!("/sync/{graph}/pull"), "");
    assert_eq!(answer.refusal(), (500, "server error".into()));
    assert_eq!(world.event_names(), ["db-sync/http-error"]);
}

#[test]
fn agents_that_start_here_are_waited_for() {
    let world = World::with(&STARTING);
    let absent = world.call(None, "GET", "/sessions/1", "");
    assert_eq!(absent.refusal(), (503, "agents service unavailable".into()));

    let calls = Rc::new(Cell::new(0));
    let counted = Rc::clone(&calls);
    world.agents.set(move |_| {
        counted.set(counted.get() + 1);
        match counted.get() {
            1 => Ok(503),
            2 => Err(Failure("not yet".into())),
            _ => Ok(201),
        }
    });
    let local = |path: &str| local(path, "body", true);
    assert_eq!(world.send(local("/sessions?x=1")).status, 201);
    assert_eq!((calls.get(), world.slept_ms.get()), (3, 200));
    for path in ["/auth/github", "/runners/1"] {
        assert_eq!(world.send(local(path)).status, 201);
    }

    world.agents.set(|_| Ok(503));
    world.slept_ms.set(0);
    assert_eq!(world.send(local("/sessions")).status, 503);
    assert_eq!(world.slept_ms.get(), 30_000);
    world.slept_ms.set(0);
    assert_eq!(world.call(None, "GET", "/sessions", "").status, 503, "elsewhere it is not waited for");
    assert_eq!(world.slept_ms.get(), 0);

    // Nothing takes longer than that to start.
    world.time.advance(30_000);
    assert_eq!(world.send(local("/sessions")).status, 503);
    assert_eq!(world.slept_ms.get(), 0);
    world.agents.set(|_| Ok(200));
    assert_eq!(world.send(local("/sessions")).status, 200);
    world.agents.set(|_| Ok(503));
    assert_eq!(world.send(local("/sessions")).status, 503);
    assert_eq!(world.slept_ms.get(), 30_000, "it was there: this is another start");
}

/// Set by whoever starts an agents worker beside the sync worker.
const STARTING: [(&str, &str); 1] = [("DB_SYNC_LOCAL_AGENTS", "starting")];

#[test]
fn agents_that_nobody_starts_are_not_waited_for() {
    let world = World::new();
    for fails in [false, true] {
        world.agents.set(move |_| if fails { Err(Failure("connection refused".into())) } else { Ok(503) });
        assert_eq!(world.send(local("/sessions", "body", true)).status, 503);
    }
    assert_eq!(world.slept_ms.get(), 0);
    assert_eq!(world.event_names(), ["db-sync/agents-unreachable"]);
    let refused = world.send(local("/sessions", "", false)).refusal();
    assert_eq!(refused, (503, "agents service unavailable".into()), "never the reason");
}

#[test]
fn missing_migrations_are_told_by_health() {
    let world = World::new();
    let health = || world.call(None, "GET", "/health", "");
    world.sql("DELETE FROM d1_migrations WHERE name LIKE '0006%'");
    let (status, text) = health().refusal();
    assert_eq!(status, 503);
    assert!(
        text.starts_with("the index database lacks migrations: run `npx wrangler d1 migrations apply DB`"),
        "{text}"
    );
    world.sql("INSERT INTO d1_migrations (name) VALUES ('0006_add_daily_active_entities.sql')");
    assert_eq!(health().status, 200);
    world.sql("DROP TABLE d1_migrations");
    assert_eq!(health().status, 200, "what was found once is not asked again");
}

/// A request to the agents by a local name.
fn local(path: &str, body: &str, declares: bool) -> http::Request<TestBody> {
    let mut local = request(None, "POST", "/", body);
    *local.uri_mut() = format!("http://127.0.0.1:8787{path}").parse().unwrap();
    if declares {
        local.headers_mut().insert("content-length", body.len().into());
    }
    local
}

#[test]
fn only_small_bodies_are_sent_again() {
    let world = World::with(&STARTING);
    let sent = Rc::new(Cell::new((0, 0)));
    let counted = Rc::clone(&sent);
    world.agents.set(move |request| {
        let bytes: usize = request.body().chunks.iter().map(Vec::len).sum();
        assert_eq!(request.headers().get("x-kept").unwrap(), "yes");
        counted.set((counted.get().0 + 1, counted.get().1 + bytes));
        Ok(503)
    });
    for (bytes, declares, calls) in [
        (0, false, 301),
        (0, true, 301),
        (KEPT_BODY_BYTES, true, 301),
        (KEPT_BODY_BYTES + 1, true, 1),
        (10 << 20, true, 1),
        (1, false, 1),
        (10 << 20, false, 1),
    ] {
        sent.set((0, 0));
        let mut request = local("/sessions", &"b".repeat(bytes), declares);
        request.headers_mut().insert("x-kept", "yes".parse().unwrap());
        assert_eq!(world.send(request).status, 503, "{bytes} {declares}");
        assert_eq!(sent.get(), (calls, calls * bytes), "{bytes} {declares}");
    }
    let mut odd = local("/sessions", "body", true);
    *odd.method_mut() = http::Method::GET;
    odd.headers_mut().insert("x-kept", "yes".parse().unwrap());
    sent.set((0, 0));
    world.send(odd);
    assert_eq!(sent.get().0, 1, "a GET with a body");
}

#[test]
fn few_wait_for_the_agents_at_once() {
    let world = World::with(&STARTING);
    world.agents.set(|_| Ok(503));
    world.sleeps_forever.set(true);
    let mut context = Context::from_waker(Waker::noop());
    let start = || Box::pin(sync_http::handle(&world, &world.service, local("/sessions", "", false)));
    let mut waiting: Vec<_> = (0..WAITING_REQUESTS).map(|_| start()).collect();
    assert!(waiting.iter_mut().all(|request| request.as_mut().poll(&mut context).is_pending()));
    assert!(start().as_mut().poll(&mut context).is_ready(), "the next one is told at once");
    waiting.pop();
    assert!(start().as_mut().poll(&mut context).is_pending(), "who gives up makes room");
}

#[test]
fn preflights_of_agents_are_theirs() {
    let world = World::new();
    world.agents.set(|request| Ok(if request.method() == "OPTIONS" { 299 } else { 500 }));
    assert_eq!(world.call(None, "OPTIONS", "/sessions", "").status, 299);
}

/// Where the snapshot of a graph is said to be.
fn snapshot_url(settings: &[(&str, &str)], headers: &[(&'static str, &str)]) -> String {
    let world = World::with(settings);
    let body = json!({ "graph-name": "g", "graph-e2ee?": false, "schema-version": "65" }).to_string();
    let id = world.ok("owner", "POST", "/graphs", &body)["graph-id"].as_str().unwrap().to_owned();
    let mut request = request(Some("owner"), "GET", &format!("/sync/{id}/snapshot/download"), "");
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let answer = world.send(request);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["url"].as_str().unwrap().replace(&id, "G")
}

#[test]
fn addresses_follow_the_base_or_a_trusted_proxy() {
    let said = [("x-forwarded-proto", "https"), ("x-forwarded-host", "notes.example")];
    let trusting = [("DB_SYNC_TRUSTED_PROXIES", "loopback"), ("DB_SYNC_LOCAL_PEERS", "loopback")];
    let base = [("DB_SYNC_BASE_URL", "https://sync.example:8443")];
    assert_eq!(snapshot_url(&[], &said), "http://sync.test/sync/G/snapshot/stream");
    assert_eq!(snapshot_url(&trusting, &said), "https://notes.example/sync/G/snapshot/stream");
    assert_eq!(snapshot_url(&base, &said), "https://sync.example:8443/sync/G/snapshot/stream");
    let world = World::with(&trusting);
    let id = world.create("owner", "g");
    let mut request = request(Some("owner"), "GET", &format!("/sync/{id}/health"), "");
    request.headers_mut().insert("x-forwarded-host", "a/b".parse().unwrap());
    assert_eq!(world.send(request).refusal(), (400, "invalid forwarded header".into()));
}
