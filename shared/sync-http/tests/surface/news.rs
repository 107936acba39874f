//! News that are gathered: who is online, who edits what. Nothing overtakes them, and the last of them arrives.

use std::rc::Rc;

use protocol::limits::NEWS_TURN_BYTES;
use serde_json::{Value, json};

use crate::world::{TestGraph, TestSocket, World, request, token_with};

fn online(world: &World, users: usize) -> (Rc<TestGraph>, Vec<Rc<TestSocket>>) {
    let graph = world.create("owner", "g");
    let sockets = (0..users)
        .map(|n| {
            let body = json!({ "user-id": format!("u{n}") }).to_string();
            world.ok("owner", "POST", &format!("/graphs/{graph}/members"), &body);
            world.connect(&format!("u{n}"), &graph)
        })
        .collect();
    let object = world.graph(&graph);
    while object.wake() {}
    world.time.advance(10_000);
    (object, sockets)
}

fn presence(block: &str) -> String {
    json!({ "type": "presence", "editing-block-uuid": block }).to_string()
}

fn clear(sockets: &[Rc<TestSocket>]) {
    for socket in sockets {
        socket.received.borrow_mut().clear();
    }
}

fn blocks(socket: &TestSocket) -> Vec<Value> {
    let received = socket.received.borrow();
    received.iter().filter(|message| message["type"] == "presence").map(|m| m["editing-block-uuid"].clone()).collect()
}

#[test]
fn news_are_told_at_once_and_then_gathered() {
    let world = World::new();
    let (object, sockets) = online(&world, 3);
    clear(&sockets);
    for n in 0..10 {
        object.frame(&sockets[0], &presence(&format!("b{n}")));
    }
    assert_eq!(blocks(&sockets[1]), ["b0"], "the first at once");
    assert!(object.wake());
    assert_eq!(blocks(&sockets[1]), ["b0", "b9"], "the last of the others in the end");
    assert_eq!(blocks(&sockets[2]), ["b0", "b9"]);
    assert!(blocks(&sockets[0]).is_empty(), "never back to the sender");
    assert!(object.wake() && !object.wake(), "and then it sleeps");
}

#[test]
fn nothing_overtakes_news() {
    let world = World::new();
    let (object, sockets) = online(&world, 3);
    clear(&sockets);
    object.frame(&sockets[0], &presence("b0"));
    object.frame(&sockets[0], &presence("b1"));
    object.frame(&sockets[1], r#"{"type":"ping"}"#);
    let heard: Vec<Value> = sockets[1].received.borrow().iter().map(|message| message["type"].clone()).collect();
    assert_eq!(heard, ["presence", "presence", "pong"]);
    object.frame(&sockets[0], &presence("b2"));
    object.frame(&sockets[1], &presence("c0"));
    let page = "00000000-0000-4000-8000-000000000001";
    let tx = json!([
        ["~:db/add", page, "~:block/uuid", format!("~u{page}")],
        ["~:db/add", page, "~:block/name", "p"],
        ["~:db/add", page, "~:block/title", "p"]
    ]);
    let entry = json!({ "tx": tx.to_string(), "outliner-op": "save-block" });
    object.frame(&sockets[0], &json!({ "type": "tx/batch", "t-before": 0, "txs": [entry] }).to_string());
    let heard: Vec<Value> = sockets[2].received.borrow().iter().map(|message| message["type"].clone()).collect();
    assert_eq!(heard, ["presence", "presence", "presence", "changed"], "b0 at once, b2 and c0 before the change");
    assert!(object.wake());
    assert_eq!(sockets[2].received.borrow().len(), 4, "nothing twice");
}

#[test]
fn a_socket_that_comes_hears_what_is_true_then() {
    let world = World::new();
    let (object, sockets) = online(&world, 2);
    object.frame(&sockets[0], &presence("b0"));
    object.frame(&sockets[0], &presence("b1"));
    let graph = world.graphs.borrow().keys().next().unwrap().clone();
    let late = world.connect("owner", &graph);
    let received = late.received.borrow();
    assert_eq!(received.len(), 1);
    let users = received[0]["online-users"].as_array().unwrap();
    assert_eq!(users.iter().filter(|user| user["editing-block-uuid"] == "b1").count(), 1);
    assert_eq!(users.len(), 3);
}

#[test]
fn a_flood_costs_a_bounded_number_of_messages() {
    let world = World::with(&[("DB_SYNC_LIMIT_GRAPH_SOCKETS", "500")]);
    let (object, sockets) = online(&world, 100);
    clear(&sockets);
    let sent = || sockets.iter().map(|socket| socket.received.borrow().len()).sum::<usize>();
    // A second in which every socket sends as fast as it can.
    for second_part in 0..34 {
        let before = sent();
        for round in 0..50 {
            for (n, socket) in sockets.iter().enumerate() {
                object.frame(socket, &presence(&format!("b{n}-{second_part}-{round}")));
            }
        }
        assert!(sent() - before <= 700, "what one turn sends: {}", sent() - before);
        object.wake();
    }
    while object.wake() {}
    for (n, socket) in sockets.iter().enumerate() {
        let last = format!("b{}-33-49", (n + 1) % 100);
        assert!(blocks(socket).iter().any(|block| *block == last.as_str()), "the last state arrives everywhere");
    }
    assert!(sent() < 34 * 700 + 100 * 100 * 3, "{}", sent());
}

#[test]
fn comings_and_goings_are_gathered() {
    let world = World::new();
    let (object, sockets) = online(&world, 20);
    clear(&sockets);
    for socket in &sockets[..10] {
        sync_http::graph_routes::sockets::on_close(&*object, &object.memory, socket, 1000, "");
    }
    object.wake();
    let received = sockets[19].received.borrow();
    assert_eq!(received.len(), 2, "the first at once, the other nine together");
    assert_eq!(received[1]["online-users"].as_array().unwrap().len(), 10);
}

#[test]
fn a_turn_sends_a_bounded_number_of_bytes() {
    const USERS: usize = 60;
    let world = World::new();
    let id = world.create("owner", "g");
    let object = world.graph(&id);
    for n in 0..USERS {
        let user = format!("u{n}");
        world.ok("owner", "POST", &format!("/graphs/{id}/members"), &json!({ "user-id": user }).to_string());
        let mut upgrade = request(None, "GET", &format!("/sync/{id}"), "");
        upgrade.headers_mut().insert("upgrade", "websocket".parse().unwrap());
        // What takes most bytes on its way.
        let token = token_with(&user, &json!({ "name": "\u{1}".repeat(256) }));
        upgrade.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        assert_eq!(world.send(upgrade).status, 101);
    }
    while object.wake() {}
    let sockets = object.sockets.borrow().clone();
    clear(&sockets);
    let sent = || {
        let of = |socket: &Rc<TestSocket>| socket.received.borrow().iter().map(|m| m.to_string().len()).sum::<usize>();
        sockets.iter().map(of).sum::<usize>()
    };
    sync_http::graph_routes::sockets::on_close(&*object, &object.memory, &sockets[0], 1000, "");
    let one = sockets.iter().map(|s| s.received.borrow().iter().map(|m| m.to_string().len()).sum::<usize>()).max();
    let (first, one) = (sent(), one.unwrap());
    assert!(one * USERS > NEWS_TURN_BYTES + one, "there is more than a turn sends: {one}");
    assert!(first <= NEWS_TURN_BYTES + one, "{first}");
    while object.wake() {}
    for socket in &sockets[1..] {
        let received = socket.received.borrow();
        assert_eq!(received.len(), 1, "told once");
        assert_eq!(received[0]["online-users"].as_array().unwrap().len(), USERS - 1);
    }
}
