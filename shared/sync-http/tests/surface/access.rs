//! What a removal and a deletion mean at once, whatever caches still say; and what sockets belong to.

use std::rc::Rc;

use graph::sockets::OwnedFrame;
use protocol::Holder;
use serde_json::json;
use sync_http::graph_routes::sockets::{on_frame, on_frame_at_once};

use crate::world::{ADMIN, TestBody, TestGraph, TestSocket, World, request};

const HELLO: &str = r#"{"type":"hello","client":"c"}"#;
const WRITE: &str = r#"{"type":"tx/batch","t-before":0,"txs":[]}"#;

fn shared() -> (World, String) {
    let world = World::new();
    let graph = world.create("owner", "g");
    world.ok("owner", "POST", &format!("/graphs/{graph}/members"), r#"{"user-id":"bob"}"#);
    (world, graph)
}

fn remove(world: &World, graph: &str) {
    world.ok("owner", "DELETE", &format!("/graphs/{graph}/members/bob"), "");
}

fn add(world: &World, graph: &str) {
    world.ok("owner", "POST", &format!("/graphs/{graph}/members"), r#"{"user-id":"bob"}"#);
}

fn closed(socket: &TestSocket) -> Option<u16> {
    socket.closed.borrow().as_ref().map(|(code, _)| *code)
}

#[test]
fn only_routes_of_the_table_reach_a_graph() {
    let (world, graph) = shared();
    let tails = [
        "/%2e/admin/reset",
        "/x/%2e%2e/admin/reset",
        "/admin/%2e/reset",
        "/admin%2freset",
        "/admin%5creset",
        "//admin/reset",
        "/admin//reset",
        "/admin/reset/",
        "/admin/reset%20",
        "/ADMIN/RESET",
        "/%61dmin/reset",
        "/admin/reset;x",
        "/internal/revoke-access",
        "/%2e/internal/revoke-access",
        "/x/%2e%2e/internal/revoke-access",
        "/revoke",
        "/delete",
        "/",
        "",
        "/nothing",
    ];
    for tail in tails {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"] {
            for caller in ["bob", "owner", ADMIN] {
                let path = format!("/sync/{graph}{tail}?user-id=owner&operation=delete");
                let mut request = request(Some(caller), method, &path, "");
                for name in ["x-db-sync-operation", "x-db-sync-caller", "X-DB-Sync-Operation"] {
                    for value in ["delete", "erase", "revoke owner", "operator", "user owner"] {
                        request.headers_mut().append(name, value.parse().unwrap());
                    }
                }
                assert_eq!(world.send(request).status, 404, "{caller} {method} {tail}");
            }
        }
    }
    // Creating the graph and inviting bob told it once; nothing else came through.
    let calls = world.calls.borrow();
    assert!(calls.iter().all(|call| call.contains("http://graph.internal/")), "{calls:?}");
}

#[test]
fn headers_of_the_front_worker_are_its_own() {
    let (world, graph) = shared();
    let socket = world.connect("owner", &graph);
    for value in ["delete", "erase", "revoke owner", "restore bob"] {
        let mut request = request(Some("bob"), "GET", &format!("/sync/{graph}/health"), "");
        request.headers_mut().insert("x-db-sync-operation", value.parse().unwrap());
        request.headers_mut().insert("x-db-sync-caller", "operator".parse().unwrap());
        assert_eq!(world.send(request).status, 200, "it is what its path says");
    }
    let mut request = request(Some("bob"), "DELETE", &format!("/sync/{graph}/admin/reset"), "");
    request.headers_mut().insert("x-db-sync-caller", "operator".parse().unwrap());
    assert_eq!(world.send(request).status, 403);
    assert_eq!(closed(&socket), None);
    assert_eq!(world.ok("owner", "GET", &format!("/sync/{graph}/pull"), "")["t"], 0);
}

#[test]
fn a_graph_answers_nobody_but_the_front_worker() {
    let (world, graph) = shared();
    let object = world.graph(&graph);
    for (method, path) in [("GET", "/pull"), ("DELETE", "/admin/reset"), ("GET", "/"), ("POST", "/")] {
        let mut direct = request(Some("owner"), method, path, "");
        direct.headers_mut().insert("upgrade", "websocket".parse().unwrap());
        let answered = sync_http::graph_routes::handle(&*object, &object.memory, direct);
        assert_eq!(pollster::block_on(answered).status(), 403, "{method} {path}");
    }
}

#[test]
fn removal_counts_although_another_isolate_remembers_access() {
    let (world, graph) = shared();
    let other = world.isolate();
    let pull = |user| world.send_by(&other, request(Some(user), "GET", &format!("/sync/{graph}/pull"), "")).status;
    assert_eq!(pull("bob"), 200, "and that is remembered there");
    remove(&world, &graph);
    for object in [None, Some(world.graph(&graph).restart())] {
        if let Some(object) = object {
            world.graphs.borrow_mut().insert(graph.clone(), Rc::new(object));
        }
        assert_eq!(world.upgrade(&other, "bob", &graph), 403, "across restarts");
        for (method, tail) in [
            ("GET", "health"),
            ("GET", "pull"),
            ("GET", "checksum/diagnostics"),
            ("GET", "snapshot/download"),
            ("GET", "snapshot/stream"),
            ("POST", "snapshot/upload?reset=true&finished=true"),
            ("POST", "tx/batch"),
        ] {
            let mut request = request(Some("bob"), method, &format!("/sync/{graph}/{tail}"), "");
            *request.body_mut() = TestBody::chunks([br#"{"t-before":0,"txs":[]}"#.to_vec()]);
            assert_eq!(world.send_by(&other, request).status, 403, "{tail}");
        }
        assert_eq!(world.upgrade(&other, "owner", &graph), 101);
    }
    assert_eq!(world.ok("owner", "GET", &format!("/sync/{graph}/pull"), "")["t"], 0, "nothing was touched");
    add(&world, &graph);
    assert_eq!(world.upgrade(&other, "bob", &graph), 101, "lifted at once");
    assert_eq!(pull("bob"), 200);
}

#[test]
fn the_index_settles_what_a_graph_was_not_told() {
    let (world, graph) = shared();
    let other = world.isolate();
    remove(&world, &graph);
    // The graph is away while bob comes back: it hears nothing of it.
    world.graph(&graph).broken.set(true);
    add(&world, &graph);
    assert!(world.event_names().contains(&"db-sync/restore-access-failed".into()));
    world.graph(&graph).broken.set(false);
    assert_eq!(world.upgrade(&other, "bob", &graph), 101, "the index knows");
    let asked = world.graph(&graph).db.as_ref().unwrap().asked.get();
    assert_eq!(world.upgrade(&other, "bob", &graph), 101);
    assert_eq!(world.graph(&graph).db.as_ref().unwrap().asked.get(), asked + 1, "readiness alone: it is settled");
}

#[test]
fn while_a_removal_is_remembered_the_index_is_asked_every_five_seconds() {
    let (world, graph) = shared();
    let other = world.isolate();
    assert_eq!(world.upgrade(&other, "bob", &graph), 101);
    remove(&world, &graph);
    let object = world.graph(&graph);
    for _ in 0..20 {
        assert_eq!(world.upgrade(&other, "bob", &graph), 403);
    }
    assert_eq!(object.questions(), 1);
}

#[test]
fn a_removal_while_the_index_is_asked_wins() {
    let (world, graph) = shared();
    let bob = world.connect("bob", &graph);
    let object = world.graph(&graph);
    world.time.advance(5_000);
    let (told, user) = (Rc::clone(&object), "bob".to_owned());
    object.meanwhile(move || told.graph.borrow_mut().revoke(&user).unwrap());
    object.frame(&bob, WRITE);
    assert_eq!(closed(&bob), Some(1008));
    assert_eq!(bob.received.borrow().last().unwrap()["type"], "online-users", "and it was told nothing");
}

#[test]
fn a_deletion_while_the_index_is_asked_wins() {
    let (world, graph) = shared();
    let bob = world.connect("bob", &graph);
    let object = world.graph(&graph);
    world.time.advance(5_000);
    let told = Rc::clone(&object);
    object.meanwhile(move || told.graph.borrow_mut().delete().unwrap());
    object.frame(&bob, WRITE);
    assert_eq!(closed(&bob), Some(1000));
}

#[test]
fn reading_asks_for_membership_again() {
    for message in [HELLO, r#"{"type":"pull"}"#, WRITE] {
        let (world, graph) = shared();
        let bob = world.connect("bob", &graph);
        let object = world.graph(&graph);
        world.sql("DELETE FROM graph_members WHERE user_id = 'bob'");
        object.frame(&bob, message);
        assert_eq!((closed(&bob), object.questions()), (None, 0), "known for five seconds");
        world.time.advance(5_000);
        object.frame(&bob, message);
        // A "no" is the primary copy's: that makes two.
        assert_eq!((closed(&bob), object.questions()), (Some(1008), 2), "{message}");
    }
}

#[test]
fn an_index_that_never_answers_is_an_outage() {
    let (world, graph) = shared();
    let bob = world.connect("bob", &graph);
    let object = world.graph(&graph);
    object.db.as_ref().unwrap().hangs.set(true);
    world.time.advance(5_000);
    for _ in 0..3 {
        object.frame(&bob, HELLO);
        assert_eq!(bob.received.borrow().last().unwrap()["type"], "hello", "an outage is no revocation");
    }
    assert_eq!(object.questions(), 1, "nobody waits again for the next five seconds");
    assert_eq!(world.event_names(), ["db-sync/access-recheck-failed"]);
    object.graph.borrow_mut().revoke("bob").unwrap();
    world.time.advance(5_000);
    object.frame(&bob, HELLO);
    assert_eq!(closed(&bob), Some(1008), "and no pardon");
}

#[test]
fn a_removal_ends_an_upload_that_is_under_way() {
    let (world, graph) = shared();
    remove(&world, &graph);
    let object = world.graph(&graph);
    add(&world, &graph);
    let told = Rc::clone(&object);
    let body = TestBody::chunks([b"\0\0\0\x02".to_vec(), b"[]".to_vec()])
        .before_chunk(1, Box::new(move || told.graph.borrow_mut().revoke("bob").unwrap()));
    let mut upload =
        request(Some("bob"), "POST", &format!("/sync/{graph}/snapshot/upload?reset=true&finished=true"), "");
    *upload.body_mut() = body;
    assert_eq!(world.send(upload).status, 403);
}

#[test]
fn a_removal_while_a_batch_arrives_refuses_it() {
    let (world, graph) = shared();
    let told = world.graph(&graph);
    let body = TestBody::chunks([br#"{"t-before":0,"#.to_vec(), br#""txs":[]}"#.to_vec()]).before_chunk(
        1,
        Box::new(move || {
            told.graph.borrow_mut().revoke("bob").unwrap();
        }),
    );
    world.sql("DELETE FROM graph_members WHERE user_id = 'bob'");
    // Another isolate has asked before.
    let mut batch = request(Some("bob"), "POST", &format!("/sync/{graph}/tx/batch"), "");
    *batch.body_mut() = body;
    let other = world.isolate();
    world.sql(&format!("INSERT INTO graph_members (user_id, graph_id, role) VALUES ('bob', '{graph}', 'member')"));
    assert_eq!(world.send_by(&other, request(Some("bob"), "GET", &format!("/sync/{graph}/health"), "")).status, 200);
    world.sql("DELETE FROM graph_members WHERE user_id = 'bob'");
    assert_eq!(world.send_by(&other, batch).status, 403);
}

fn sits(object: &TestGraph, socket: &TestSocket) -> bool {
    object.sockets.borrow().iter().any(|other| std::ptr::eq(&raw const **other, socket))
}

#[test]
fn a_socket_whose_holder_cannot_be_kept_is_refused() {
    let (world, graph) = shared();
    let owner = world.connect("owner", &graph);
    let object = world.graph(&graph);
    object.full.set(true);
    for user in ["bob", ADMIN] {
        assert_eq!(world.upgrade(&world.service, user, &graph), 500, "{user}");
    }
    assert_eq!(object.sockets.borrow().len(), 1);
    assert!(sits(&object, &owner));
    object.frame(&owner, r#"{"type":"presence","editing-block-uuid":"b"}"#);
    assert_eq!(closed(&owner), Some(1011), "what is kept would be an older state");
}

#[test]
fn a_socket_of_nobody_is_closed_whatever_it_says() {
    for message in [HELLO, WRITE, "ping", r#"{"type":"presence"}"#, r#"{"type":"pull"}"#, "nonsense"] {
        let (world, graph) = shared();
        let (bob, owner) = (world.connect("bob", &graph), world.connect("owner", &graph));
        *bob.attachment.borrow_mut() = None;
        let object = world.graph(&graph).restart();
        let before = bob.received.borrow().len();
        object.frame(&bob, message);
        assert_eq!(closed(&bob), Some(1011), "{message}");
        assert_eq!(bob.received.borrow().len(), before, "{message}");
        object.frame(&owner, HELLO);
        assert_eq!(owner.received.borrow().last().unwrap()["type"], "hello");
    }
    // And it hears nothing.
    let (world, graph) = shared();
    let bob = world.connect("bob", &graph);
    *bob.attachment.borrow_mut() = None;
    let object = Rc::new(world.graph(&graph).restart());
    world.graphs.borrow_mut().insert(graph.clone(), Rc::clone(&object));
    let before = bob.received.borrow().len();
    world.connect("owner", &graph);
    assert_eq!((closed(&bob), bob.received.borrow().len()), (Some(1011), before));
}

#[test]
fn an_operator_is_marked_and_never_a_user() {
    let (world, graph) = shared();
    // With a token nobody has verified, beside the operator's.
    let mut upgrade = request(Some(ADMIN), "GET", &format!("/sync/{graph}?token={}", crate::world::token("owner")), "");
    upgrade.headers_mut().insert("upgrade", "websocket".parse().unwrap());
    assert_eq!(world.send(upgrade).status, 101);
    let object = world.graph(&graph);
    let socket = object.sockets.borrow()[0].clone();
    assert_eq!(*socket.attachment.borrow(), Some(Holder::Operator));
    assert_eq!(socket.received.borrow()[0]["online-users"], json!([]));
    let object = object.restart();
    object.frame(&socket, HELLO);
    assert_eq!(socket.received.borrow().last().unwrap()["type"], "hello", "across restarts");
}

#[test]
fn a_long_name_fits() {
    let (world, graph) = shared();
    let mut upgrade = request(None, "GET", &format!("/sync/{graph}"), "");
    let token = crate::world::token_with("bob", &json!({ "name": "日".repeat(3_000), "email": "é".repeat(400) }));
    upgrade.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    upgrade.headers_mut().insert("upgrade", "websocket".parse().unwrap());
    assert_eq!(world.send(upgrade).status, 101);
    let socket = world.graph(&graph).sockets.borrow()[0].clone();
    let Some(Holder::User(user)) = socket.attachment.borrow().clone() else { panic!("a user") };
    assert_eq!((user.name.map(|name| name.chars().count()), user.email), (Some(256), None));
    let huge = crate::world::token_with(&"x".repeat(513), &json!({}));
    let mut answer = request(None, "GET", "/graphs", "");
    answer.headers_mut().insert("authorization", format!("Bearer {huge}").parse().unwrap());
    assert_eq!(world.send(answer).status, 401, "no id is as long");
}

#[test]
fn sockets_are_counted() {
    let world = World::with(&[("DB_SYNC_LIMIT_USER_SOCKETS", "3"), ("DB_SYNC_LIMIT_GRAPH_SOCKETS", "5")]);
    let graph = world.create("owner", "g");
    for user in ["bob", "carol"] {
        world.ok("owner", "POST", &format!("/graphs/{graph}/members"), &json!({ "user-id": user }).to_string());
    }
    let first = world.connect("owner", &graph);
    for _ in 0..2 {
        world.connect("owner", &graph);
    }
    assert_eq!(world.upgrade(&world.service, "owner", &graph), 429);
    world.connect("bob", &graph);
    world.connect("carol", &graph);
    assert_eq!(world.upgrade(&world.service, "bob", &graph), 429, "the graph has all it takes");
    let object = world.graph(&graph);
    sync_http::graph_routes::sockets::on_close(&*object, &object.memory, &first, 1000, "");
    assert_eq!(world.upgrade(&world.service, "owner", &graph), 101, "one has gone");
    // The same after the object has slept.
    world.graphs.borrow_mut().insert(graph.clone(), Rc::new(object.restart()));
    assert_eq!(world.upgrade(&world.service, "owner", &graph), 429);
    let mut upgrade = request(Some("bob"), "GET", &format!("/sync/{graph}"), "");
    upgrade.headers_mut().insert("upgrade", "websocket".parse().unwrap());
    assert_eq!(world.send(upgrade).refusal(), (429, "too many sockets".into()));
}

/// Polls once.
fn poll(future: std::pin::Pin<&mut impl Future<Output = ()>>) -> bool {
    future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_ready()
}

#[test]
fn while_one_is_asked_about_everyone_else_goes_on() {
    let (world, graph) = shared();
    let (alice, bob) = (world.connect("owner", &graph), world.connect("bob", &graph));
    let object = world.graph(&graph);
    let index = object.db.clone().unwrap();
    world.time.advance(5_000);
    object.frame(&alice, HELLO);
    index.late.set(true);
    let asked = object.questions();
    let frame = |text: &str| OwnedFrame::Text(text.to_owned());
    let mut waiting = std::pin::pin!(on_frame(&*object, &object.memory, &bob, frame(WRITE)));
    assert!(!poll(waiting.as_mut()));
    alice.received.borrow_mut().clear();
    bob.received.borrow_mut().clear();
    object.frame(&alice, HELLO);
    assert_eq!(alice.received.borrow()[0]["type"], "hello", "another user's socket is answered");
    for text in [r#"{"type":"ping"}"#, HELLO] {
        assert!(on_frame_at_once(&*object, &object.memory, &bob, frame(text)).is_ok());
    }
    assert!(bob.received.borrow().is_empty(), "the socket's own frames wait");
    index.late.set(false);
    assert!(poll(waiting.as_mut()));
    let types: Vec<_> = bob.received.borrow().iter().map(|message| message["type"].clone()).collect();
    assert_eq!(types, ["tx/reject", "pong", "hello"], "in their order");
    object.frame(&bob, HELLO);
    assert_eq!((bob.received.borrow().len(), object.questions()), (4, asked + 1), "and were asked about once");
}

#[test]
fn sockets_of_one_user_are_asked_about_once() {
    let (world, graph) = shared();
    let sockets = [world.connect("bob", &graph), world.connect("bob", &graph)];
    let object = world.graph(&graph);
    let index = object.db.clone().unwrap();
    let asked = object.questions();
    world.time.advance(5_000);
    index.late.set(true);
    let frame = || OwnedFrame::Text(HELLO.to_owned());
    let mut first = std::pin::pin!(on_frame(&*object, &object.memory, &sockets[0], frame()));
    let mut second = std::pin::pin!(on_frame(&*object, &object.memory, &sockets[1], frame()));
    assert!(!poll(first.as_mut()) && !poll(second.as_mut()));
    index.late.set(false);
    assert!(poll(first.as_mut()) && poll(second.as_mut()));
    for socket in &sockets {
        assert_eq!(socket.received.borrow().last().unwrap()["type"], "hello");
    }
    assert_eq!(object.questions(), asked + 1);
}

#[test]
fn whoever_gives_up_asking_leaves_it_to_the_next() {
    let (world, graph) = shared();
    let sockets = [world.connect("bob", &graph), world.connect("bob", &graph)];
    let object = world.graph(&graph);
    let index = object.db.clone().unwrap();
    world.time.advance(5_000);
    index.late.set(true);
    let frame = || OwnedFrame::Text(HELLO.to_owned());
    let mut first = Box::pin(on_frame(&*object, &object.memory, &sockets[0], frame()));
    let mut second = std::pin::pin!(on_frame(&*object, &object.memory, &sockets[1], frame()));
    assert!(!poll(first.as_mut()) && !poll(second.as_mut()));
    drop(first);
    index.late.set(false);
    assert!(poll(second.as_mut()));
    assert_eq!(sockets[1].received.borrow().last().unwrap()["type"], "hello");
    object.frame(&sockets[0], HELLO);
    assert_eq!(sockets[0].received.borrow().last().unwrap()["type"], "hello", "its line has ended with it");
}

#[test]
fn a_batch_is_parsed_once_where_its_sender_must_be_asked_about() {
    const TEXT_BYTES: usize = 4 << 20;
    let (world, graph) = shared();
    let bob = world.connect("bob", &graph);
    let object = world.graph(&graph);
    // Escaped, so that the parser copies it. It is no transaction, so that the graph refuses the entry unread.
    let batch = json!({ "type": "tx/batch", "t-before": 7, "txs": [{ "tx": "\"".repeat(TEXT_BYTES) }] }).to_string();
    let handle = || {
        let frame = OwnedFrame::Text(batch.clone());
        let mut handled = std::pin::pin!(on_frame(&*object, &object.memory, &bob, frame));
        let counted = allocation_counter::measure(|| assert!(poll(handled.as_mut())));
        assert_eq!(bob.received.borrow().last().unwrap()["type"], "tx/reject");
        counted.bytes_total
    };
    let asked = object.questions();
    let known = handle();
    assert_eq!(object.questions(), asked, "the answer to the upgrade still counts");
    assert!(known >= TEXT_BYTES as u64, "a parse is seen in what is allocated: {known}");
    world.time.advance(5_000);
    let unknown = handle();
    assert_eq!(object.questions(), asked + 1);
    assert!(unknown < known + TEXT_BYTES as u64 / 2, "{unknown} bytes with a question, {known} without");
}
