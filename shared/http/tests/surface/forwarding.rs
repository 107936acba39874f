//! What the front worker passes on: to graphs and to the agents service.

use std::cell::Cell;
use std::rc::Rc;

use serde_json::json;
use sync_http::platform::Failure;

use crate::world::{ADMIN, World, request};

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
    let expected = json!({ "ok": true, "key": format!("stream/{graph}.snapshot"), "url": url });
    assert_eq!(world.send(forged).json(), expected, "D-01");
    let calls = world.calls.borrow();
    assert_eq!(*calls, [format!("{graph} GET http://sync.test/snapshot/download?x=1&graph-id={graph}")]);
}

#[test]
fn access_is_asked_once_in_five_seconds() {
    let world = World::new();
    let graph = world.create("owner", "g");
    let path = format!("/sync/{graph}/health");
    assert_eq!(world.call(Some("bob"), "GET", &path, "").status, 403);
    let db = world.db.clone().unwrap();
    let sql = format!("INSERT INTO graph_members (user_id, graph_id, role) VALUES ('bob', '{graph}', 'member')");
    pollster::block_on(index::Database::execute(&*db, &sql, &[])).unwrap();
    assert_eq!(world.call(Some("bob"), "GET", &path, "").status, 403, "the refusal is remembered");
    world.time.advance(5_000);
    assert_eq!(world.call(Some("bob"), "GET", &path, "").status, 200);
    let users = pollster::block_on(index::Database::query(
        &*db,
        index::Session::None,
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
fn agents_are_waited_for_on_local_hosts() {
    let world = World::new();
    let absent = world.call(None, "GET", "/sessions/1", "");
    assert_eq!(absent.refusal(), (503, "agents service unavailable".into()));

    let calls = Rc::new(Cell::new(0));
    let counted = Rc::clone(&calls);
    *world.agents.borrow_mut() = Some(Box::new(move |_| {
        counted.set(counted.get() + 1);
        match counted.get() {
            1 => Ok(503),
            2 => Err(Failure("not yet".into())),
            _ => Ok(201),
        }
    }));
    let local = |path: &str| {
        let mut local = request(None, "POST", "/", "body");
        *local.uri_mut() = format!("http://127.0.0.1:8787{path}").parse().unwrap();
        local
    };
    assert_eq!(world.send(local("/sessions?x=1")).status, 201);
    assert_eq!((calls.get(), world.slept_ms.get()), (3, 200));
    for path in ["/auth/github", "/runners/1"] {
        assert_eq!(world.send(local(path)).status, 201);
    }

    *world.agents.borrow_mut() = Some(Box::new(|_| Ok(503)));
    world.slept_ms.set(0);
    assert_eq!(world.send(local("/sessions")).status, 503);
    assert_eq!(world.slept_ms.get(), 30_000);
    world.slept_ms.set(0);
    assert_eq!(world.call(None, "GET", "/sessions", "").status, 503, "elsewhere it is not waited for");
    assert_eq!(world.slept_ms.get(), 0);
}

#[test]
fn preflights_of_agents_are_theirs() {
    let world = World::new();
    *world.agents.borrow_mut() = Some(Box::new(|request| Ok(if request.method() == "OPTIONS" { 299 } else { 500 })));
    assert_eq!(world.call(None, "OPTIONS", "/sessions", "").status, 299);
}
