//! Bodies of requests that are refused: how much of them is read.

use std::future::Future as _;
use std::rc::Rc;
use std::task::{Context, Waker};

use web::{HEARD_OUT_BYTES, HEARD_OUT_REQUESTS};

use crate::world::{Fate, TestBody, World, request, token};

const CHUNK: usize = 4 << 10;

/// Sends a body of that many bytes in chunks, with or without saying so; gives the status and the body's fate.
fn refuse(world: &World, user: Option<&str>, path: &str, bytes: usize, declares: bool) -> (u16, Rc<Fate>) {
    let method = if path.starts_with("/assets") { "PUT" } else { "POST" };
    let mut request = request(user, method, path, "");
    *request.body_mut() = TestBody::chunks((0..bytes / CHUNK).map(|_| vec![b'x'; CHUNK]));
    if declares {
        request.headers_mut().insert("content-length", bytes.into());
    }
    let fate = Rc::clone(&request.body().fate);
    (world.send(request).status, fate)
}

#[test]
fn a_refused_body_is_not_read() {
    let world = World::new();
    let graph = world.create("owner", "g");
    let on_graph = |tail: &str| format!("/sync/{graph}{tail}");
    for (user, path, status) in [
        (None, "/graphs".to_owned(), 401),
        (None, on_graph("/tx/batch"), 401),
        (None, on_graph("/snapshot/upload?reset=true"), 401),
        (None, format!("/assets/{graph}/a.png"), 401),
        (None, "/nothing".to_owned(), 404),
        (None, "/assets/nothing".to_owned(), 400),
        (None, "/sessions".to_owned(), 503),
        (Some("stranger"), on_graph("/tx/batch"), 403),
        (Some("stranger"), on_graph("/snapshot/upload?reset=true"), 403),
        (Some("owner"), on_graph("/internal/revoke-access"), 404),
        (Some("owner"), on_graph("/nothing"), 404),
    ] {
        for declares in [false, true] {
            for bytes in [CHUNK, 64 << 20] {
                let (answered, fate) = refuse(&world, user, &path, bytes, declares);
                assert_eq!(answered, status, "{path}");
                assert_eq!((fate.read.get(), fate.cancelled.get()), (0, true), "{path}: the rest is given up");
            }
        }
    }
}

#[test]
fn known_senders_are_heard_out() {
    let world = World::new();
    let graph = world.create("owner", "g");
    for (path, bytes, status) in [
        ("/graphs".to_owned(), 64 << 20, 413),
        (format!("/assets/{graph}/a.png"), 101 << 20, 413),
        (format!("/sync/{graph}/tx/batch"), 33 << 20, 413),
    ] {
        for declares in [false, true] {
            let (answered, fate) = refuse(&world, Some("owner"), &path, bytes, declares);
            assert_eq!(answered, status, "{path}");
            let read = fate.read.get();
            assert!(!fate.cancelled.get() && read <= (100 << 20) + 2 * CHUNK, "{path}: {read} bytes were looked at");
            assert_eq!(fate.discarded.get(), Some((bytes - read) as u64), "{path}: the rest was not");
        }
    }
    let (status, fate) = refuse(&world, Some("owner"), "/graphs", 300 << 20, true);
    assert_eq!((status, fate.discarded.get()), (413, Some(HEARD_OUT_BYTES)), "patience ends");
}

#[test]
fn few_are_heard_out_at_once() {
    let world = World::new();
    let mut context = Context::from_waker(Waker::noop());
    let start = || {
        let mut request = request(Some("u"), "POST", "/graphs", "");
        *request.body_mut() = TestBody::chunks([vec![b'x'; CHUNK]]);
        request.body_mut().never_ends = true;
        request.headers_mut().insert("content-length", (64 << 20).into());
        let fate = Rc::clone(&request.body().fate);
        (Box::pin(sync_http::handle(&world, &world.service, request)), fate)
    };
    let mut heard: Vec<_> = (0..HEARD_OUT_REQUESTS).map(|_| start().0).collect();
    assert!(heard.iter_mut().all(|request| request.as_mut().poll(&mut context).is_pending()));
    let (mut one_more, fate) = start();
    assert!(one_more.as_mut().poll(&mut context).is_ready() && fate.cancelled.get(), "answered at once");
    heard.pop();
    assert!(start().0.as_mut().poll(&mut context).is_pending(), "who has gone makes room");
}

#[test]
fn a_handshake_is_a_get() {
    let world = World::new();
    let graph = world.create("owner", "g");
    let upgrade = |user: Option<&str>, method: &str, tail: &str| {
        let mut request = request(user, method, &format!("/sync/{graph}{tail}"), "");
        request.headers_mut().insert("upgrade", "websocket".parse().unwrap());
        world.send(request)
    };
    for method in ["POST", "PUT", "DELETE", "HEAD", "PATCH"] {
        for tail in ["", "/tx/batch", "/snapshot/upload"] {
            let answer = upgrade(Some("owner"), method, tail);
            assert_eq!(answer.refusal(), (400, "invalid upgrade".into()), "{method} {tail}");
            assert_eq!(upgrade(None, method, tail).status, 401, "{method} {tail}: nobody first");
        }
    }
    assert_eq!(upgrade(Some("owner"), "GET", "/whatever").status, 101);
}

#[test]
fn ids_in_paths_have_limits() {
    let world = World::new();
    let graph = world.create("owner", "g");
    let long = "i".repeat(513);
    for (method, path, text) in [
        ("GET", format!("/graphs/{long}/access"), "invalid graph id"),
        ("DELETE", format!("/graphs/{long}"), "invalid graph id"),
        ("GET", format!("/e2ee/graphs/{long}/aes-key"), "invalid graph id"),
        ("DELETE", format!("/graphs/{graph}/members/{long}"), "invalid user id"),
        ("PUT", format!("/graphs/{graph}/members/{long}"), "invalid user id"),
        ("GET", format!("/sync/{long}/pull"), "invalid graph id"),
        ("GET", format!("/assets/{long}/a.png"), "invalid asset path"),
    ] {
        assert_eq!(world.call(Some("owner"), method, &path, "").refusal(), (400, text.into()), "{method} {path}");
    }
    let shorter = "%C3%A9".repeat(512);
    assert_eq!(
        world.call(Some("owner"), "GET", &format!("/graphs/{shorter}/access"), "").status,
        403,
        "characters count"
    );
    assert_eq!(world.call(Some(&long), "GET", "/graphs", "").status, 401, "a token of such a user is nobody's");
    assert!(token(&long).len() < 16 << 10, "though the token itself is not too long");
    let answer = world.call(Some("owner"), "GET", &format!("/e2ee/user-public-key?email={long}"), "");
    assert_eq!((answer.status, answer.text()), (200, "{}".to_owned()), "nobody has such an address");
}

#[test]
fn one_user_makes_no_more_than_a_thousand_graphs() {
    let world = World::new();
    let db = world.db.clone().unwrap();
    let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 999) \
        INSERT INTO graphs (graph_id, graph_name, user_id) SELECT 'g' || i, 'n' || i, 'u' FROM n";
    pollster::block_on(database::Database::execute(&*db, rows, &[])).unwrap();
    world.create("u", "the thousandth");
    let create = |user| world.call(Some(user), "POST", "/graphs", r#"{"graph-name":"x","graph-e2ee?":false}"#);
    assert_eq!(create("u").refusal(), (429, "too many graphs".into()));
    assert_eq!(create("another").status, 200);
    pollster::block_on(database::Database::execute(&*db, "DELETE FROM graphs WHERE graph_id = 'g1'", &[])).unwrap();
    assert_eq!(create("u").status, 200, "room again");
}
