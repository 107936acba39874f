//! Long answers to pulls: made in turns, one at a time, and bounded in what one user may ask for (sync.md 7.5).

use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use database::local::Sql as _;
use graph::sockets::OwnedFrame;
use http::Response;
use protocol::limits::{PULL_IDLE_MS, PULL_STREAMS, PULLS_AT_ONCE};
use serde_json::{Value, json};
use sync_http::graph_routes::sockets;

use crate::world::{PULL_MESSAGE_BYTES, TestAnswer, TestGraph, TestSocket, World, request};

const PULL: &str = r#"{"type":"pull","since":0}"#;
const ENTITY_PULL: &str = r#"{"type":"entity/pull","since":0}"#;
/// More than one piece of a pull, and less than the longest message.
const LONG: usize = 15;
/// Less than a piece.
const SHORT: usize = 5;
/// Bytes of a title; one transaction takes a little more.
const TITLE_BYTES: usize = 100_000;

fn page(n: usize, title: &str) -> Value {
    let uuid = format!("00000000-0000-4000-8000-{n:012x}");
    json!([
        ["~:db/add", uuid, "~:block/uuid", format!("~u{uuid}")],
        ["~:db/add", uuid, "~:block/name", format!("page {n}")],
        ["~:db/add", uuid, "~:block/title", title],
    ])
}

fn batch(t: usize, title: &str) -> String {
    let entry = json!({ "tx": page(t + 1, title).to_string(), "outliner-op": "save-block" });
    json!({ "type": "tx/batch", "t-before": t, "txs": [entry] }).to_string()
}

/// A graph with so many long transactions.
fn graph(world: &World, transactions: usize) -> (String, Rc<TestGraph>) {
    let id = world.create("owner", "g");
    for t in 0..transactions {
        let answer = world.ok("owner", "POST", &format!("/sync/{id}/tx/batch"), &batch(t, &"x".repeat(TITLE_BYTES)));
        assert_eq!(answer["type"], "tx/batch/ok", "{answer}");
    }
    let object = world.graph(&id);
    (id, object)
}

fn text(text: &str) -> OwnedFrame {
    OwnedFrame::Text(text.to_owned())
}

fn types(socket: &TestSocket) -> Vec<String> {
    socket.received.borrow().iter().map(|message| message["type"].as_str().unwrap().to_owned()).collect()
}

fn bytes(socket: &TestSocket) -> usize {
    socket.received.borrow().iter().map(|message| message.to_string().len()).sum()
}

fn settle(object: &TestGraph, sockets: &[&Rc<TestSocket>]) {
    while object.wake() {}
    for socket in sockets {
        socket.received.borrow_mut().clear();
    }
}

#[test]
fn a_short_pull_is_answered_at_once() {
    let world = World::new();
    let (id, object) = graph(&world, SHORT);
    let socket = world.connect("owner", &id);
    settle(&object, &[&socket]);
    assert!(sockets::on_frame_at_once(&*object, &object.memory, &socket, text(PULL)).is_ok());
    assert_eq!(types(&socket), ["pull/ok"]);
    assert_eq!(object.turns.get(), 0);
}

#[test]
fn others_have_their_turn_while_a_long_pull_is_made() {
    let world = World::new();
    let (id, object) = graph(&world, LONG);
    let (reader, writer) = (world.connect("owner", &id), world.connect("owner", &id));
    settle(&object, &[&reader, &writer]);
    object.busy.set(true);
    let mut context = Context::from_waker(Waker::noop());
    {
        let mut pull = pin!(sockets::on_frame(&*object, &object.memory, &reader, text(PULL)));
        assert!(pull.as_mut().poll(&mut context).is_pending());
        object.frame(&writer, r#"{"type":"ping"}"#);
        object.frame(&writer, &batch(LONG, "y"));
        object.frame(&writer, &batch(LONG + 1, "z"));
        assert_eq!(types(&writer), ["pong", "tx/batch/ok", "tx/batch/ok"]);
        object.frame(&reader, r#"{"type":"ping"}"#);
        assert!(types(&reader).is_empty(), "who waits for a pull hears of no change before it, and keeps its order");
        object.busy.set(false);
        assert!(pull.as_mut().poll(&mut context).is_ready());
    }
    assert_eq!(types(&reader), ["pull/ok", "changed", "pong"]);
    let received = reader.received.borrow();
    assert_eq!(received[0]["t"], LONG, "as it was when it began");
    assert_eq!(received[0]["txs"].as_array().unwrap().len(), LONG);
    assert_eq!(received[1]["t"], LONG + 2, "the latest change");
    drop(received);
    object.frame(&writer, &batch(LONG + 2, "y"));
    assert_eq!(types(&reader).last().unwrap(), "changed", "and from then on each");
}

#[test]
fn long_pulls_are_made_one_at_a_time() {
    let world = World::new();
    let (id, object) = graph(&world, LONG);
    let sockets: Vec<_> = (0..3).map(|_| world.connect("owner", &id)).collect();
    settle(&object, &sockets.iter().collect::<Vec<_>>());
    object.busy.set(true);
    let mut context = Context::from_waker(Waker::noop());
    let pull = |n: usize| Box::pin(sockets::on_frame(&*object, &object.memory, &sockets[n], text(PULL)));
    let (mut first, mut second, mut third) = (pull(0), pull(1), pull(2));
    for future in [&mut first, &mut second, &mut third] {
        assert!(future.as_mut().poll(&mut context).is_pending());
    }
    assert_eq!(object.turns.get(), 1, "the others have not begun");
    object.busy.set(false);
    assert!(second.as_mut().poll(&mut context).is_pending(), "not before the first");
    drop(third);
    assert!(first.as_mut().poll(&mut context).is_ready());
    assert!(second.as_mut().poll(&mut context).is_ready());
    assert_eq!([types(&sockets[0]), types(&sockets[1])], [["pull/ok"], ["pull/ok"]]);
    assert_eq!(*sockets[0].received.borrow(), *sockets[1].received.borrow());
    // Nothing is left of the one that was given up.
    object.frame(&sockets[2], PULL);
    assert_eq!(types(&sockets[2]), ["pull/ok"]);
}

/// Happens to a graph of the user `bob` while he is sent a pull.
type Event = fn(&World, &TestGraph, &str);

#[test]
fn a_long_pull_ends_with_the_right_to_it() {
    let events: [(Event, u16); 3] = [
        (|world, _, id| drop(world.ok("owner", "DELETE", &format!("/graphs/{id}/members/bob"), "")), 1008),
        (|world, _, id| drop(world.ok("owner", "DELETE", &format!("/graphs/{id}"), "")), 1000),
        (|_, object, _| object.graph.borrow_mut().reset().unwrap(), 1012),
    ];
    for (event, code) in events {
        let world = World::new();
        let (id, object) = graph(&world, LONG);
        world.ok("owner", "POST", &format!("/graphs/{id}/members"), r#"{"user-id":"bob"}"#);
        let (bob, other) = (world.connect("bob", &id), world.connect("bob", &id));
        settle(&object, &[&bob, &other]);
        object.busy.set(true);
        let mut context = Context::from_waker(Waker::noop());
        let mut pull = Box::pin(sockets::on_frame(&*object, &object.memory, &bob, text(PULL)));
        let mut waiting = Box::pin(sockets::on_frame(&*object, &object.memory, &other, text(PULL)));
        assert!(pull.as_mut().poll(&mut context).is_pending());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        event(&world, &object, &id);
        object.busy.set(false);
        assert!(pull.as_mut().poll(&mut context).is_ready());
        assert!(waiting.as_mut().poll(&mut context).is_ready());
        assert!(!types(&bob).contains(&"pull/ok".to_owned()), "{code}");
        assert_eq!(bob.closed.borrow().as_ref().map(|closed| closed.0), Some(code));
        assert!(bytes(&other) < TITLE_BYTES, "{code}");
        assert!(!world.event_names().contains(&"db-sync/transact-failed".to_owned()), "nothing is wrong here");
    }
}

/// Has a socket ask without end, and checks what it is sent.
fn flood(world: &World, object: &TestGraph, socket: &Rc<TestSocket>, question: &str, most: usize) -> usize {
    let mut asked = 0;
    while socket.closed.borrow().is_none() {
        object.frame(socket, question);
        asked += 1;
        assert!(asked <= most, "{question}: no end after {asked}, {} bytes", bytes(socket));
    }
    let reason = "too many pulls: read what was sent, or download the snapshot".to_owned();
    assert_eq!(*socket.closed.borrow(), Some((1013, reason)), "{question}");
    let allowed = usize::try_from(PULLS_AT_ONCE).unwrap() * PULL_MESSAGE_BYTES;
    assert!(bytes(socket) <= allowed + PULL_MESSAGE_BYTES, "{} bytes", bytes(socket));
    assert_eq!(world.event_names(), Vec::<String>::new());
    asked
}

#[test]
fn who_does_not_read_is_sent_a_bounded_amount() {
    for (transactions, question) in [(LONG, PULL), (SHORT, PULL), (LONG, ENTITY_PULL)] {
        let world = World::new();
        let (id, object) = graph(&world, transactions);
        let (socket, same, other) =
            (world.connect("owner", &id), world.connect("owner", &id), world.connect(crate::world::ADMIN, &id));
        settle(&object, &[&socket, &same, &other]);
        let asked = flood(&world, &object, &socket, question, 60);
        assert!(asked > 3, "more than a client asks for: {asked}");
        object.frame(&same, PULL);
        assert_eq!(same.closed.borrow().as_ref().unwrap().0, 1013, "another socket of the same user");
        object.frame(&other, PULL);
        assert_eq!(types(&other), ["pull/ok"], "somebody else");
        world.time.advance(60_000);
        let again = world.connect("owner", &id);
        settle(&object, &[&again]);
        object.frame(&again, PULL);
        assert_eq!(types(&again), ["pull/ok"], "after a minute");
    }
}

#[test]
fn work_that_brings_no_answer_is_counted_too() {
    let world = World::new();
    let (id, object) = graph(&world, LONG);
    let socket = world.connect("owner", &id);
    settle(&object, &[&socket]);
    // The last row cannot be read: only the snapshot helps, but all others were read before.
    let sql = format!("UPDATE tx_log SET tx = '[' WHERE t = {LONG}");
    object.graph.borrow().sql().execute(&sql, &[]).unwrap();
    let mut asked = 0;
    while socket.closed.borrow().is_none() && asked < 60 {
        object.frame(&socket, ENTITY_PULL);
        asked += 1;
    }
    assert_eq!(socket.closed.borrow().as_ref().map(|closed| closed.0), Some(1013));
    assert!(types(&socket).iter().all(|kind| kind == "reset") && asked > 4, "{asked}");
}

#[test]
fn what_comes_behind_a_long_pull_is_bounded_too() {
    let world = World::new();
    let (id, object) = graph(&world, LONG);
    let socket = world.connect("owner", &id);
    settle(&object, &[&socket]);
    object.busy.set(true);
    let mut context = Context::from_waker(Waker::noop());
    let mut pull = Box::pin(sockets::on_frame(&*object, &object.memory, &socket, text(PULL)));
    assert!(pull.as_mut().poll(&mut context).is_pending());
    for _ in 0..60 {
        assert!(sockets::on_frame_at_once(&*object, &object.memory, &socket, text(PULL)).is_ok(), "it waits");
    }
    assert_eq!(object.turns.get(), 1);
    object.busy.set(false);
    assert_eq!(pull.as_mut().poll(&mut context), Poll::Ready(()));
    assert_eq!(socket.closed.borrow().as_ref().map(|closed| closed.0), Some(1013));
    assert!(types(&socket).len() < 10);
}

fn stream(world: &World, path: &str) -> Response<TestAnswer> {
    pollster::block_on(sync_http::handle(world, &world.service, request(Some("owner"), "GET", path, "")))
}

#[test]
fn http_pulls_that_nobody_reads_are_bounded() {
    let world = World::new();
    let (id, _) = graph(&world, LONG);
    let (long, short) = (format!("/sync/{id}/pull?since=0"), format!("/sync/{id}/pull?since=10"));
    let mut held: Vec<_> = (0..PULL_STREAMS).map(|_| stream(&world, &long)).collect();
    assert!(held.iter().all(|response| response.status() == 200));
    let refused = stream(&world, &long);
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "10");
    assert_eq!(refused.into_body().bytes().unwrap(), br#"{"error":"too many downloads"}"#);
    for _ in 0..2 * PULL_STREAMS {
        assert_eq!(stream(&world, &short).status(), 200, "a short one takes no place");
    }
    // One that was dropped makes room, and so does one that was read to its end.
    held.pop();
    let read = stream(&world, &long);
    assert_eq!(stream(&world, &long).status(), 503);
    let whole: Value = serde_json::from_slice(&read.into_body().bytes().unwrap()).unwrap();
    assert_eq!(whole["t"], LONG);
    held.push(stream(&world, &long));
    // One that is read stays; the others end.
    let mut slow = held.pop().unwrap().into_body();
    world.time.advance(PULL_IDLE_MS);
    let mut sent = slow.next_piece().unwrap().unwrap();
    assert_eq!(stream(&world, &long).status(), 503, "for a minute");
    world.time.advance(1);
    assert_eq!(stream(&world, &long).status(), 200);
    while let Some(piece) = slow.next_piece().unwrap() {
        sent.extend(piece);
    }
    assert!(serde_json::from_slice::<Value>(&sent).is_ok());
    let mut stalled = held.pop().unwrap().into_body();
    assert!(stalled.next_piece().is_err() && stalled.next_piece().is_err(), "it breaks off");
}
