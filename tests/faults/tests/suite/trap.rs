//! An instance of WebAssembly that dies, and with it whatever it was doing for other graphs.

use std::io::Write as _;
use std::time::{Duration, Instant};

use attacks::Bystander;
use conformance::{Server, Socket, raw};
use faults::{Ledger, Order, Platform};
use serde_json::json;

super::cases![what_the_platform_throws_at_a_graph_is_no_panic, after_a_trap_bystanders_are_answered_within_seconds,];

/// What a bystander may wait for an answer after a trap: the time that a question to the index may take, and a new start.
const PATIENCE: Duration = Duration::from_secs(6);

/// Membership is remembered for five seconds.
const FORGOTTEN: Duration = Duration::from_millis(5_100);

fn what_the_platform_throws_at_a_graph_is_no_panic(server: &Server) {
    let platform = Platform::of(server);
    let mut ledger = Ledger::begin(&server.person("owner"));
    let bystander = Bystander::watch(server);
    for method in ["acceptWebSocket", "getWebSockets", "waitUntil"] {
        platform.order(&Order::fail("state", &format!("^{method}$")).of(&ledger.graph));
        match Socket::try_open(&ledger.graph.owner, &ledger.graph.id) {
            Ok(_) => {}
            Err(refused) => assert!(refused.status >= 500, "{method}: {}", refused.status),
        }
        platform.clear();
        let mut socket = Socket::open(&ledger.graph.owner, &ledger.graph.id);
        assert_eq!(socket.ask(&json!({ "type": "hello", "client": "c" }))["type"], "hello", "{method}");
        ledger.prove();
    }
    bystander.is_content();
}

fn after_a_trap_bystanders_are_answered_within_seconds(server: &Server) {
    let platform = Platform::of(server);
    let mut ledger = Ledger::begin(&server.person("owner"));
    let mut others = Ledger::begin(&server.person("other"));
    // The index is being asked about its membership when the instance dies.
    let mut waiting = Socket::open(&others.graph.owner, &others.graph.id);
    std::thread::sleep(FORGOTTEN);
    platform.order(&Order::hang("d1", "graph_members").times(1));
    waiting.send(&json!({ "type": "pull", "since": 0 }));
    std::thread::sleep(Duration::from_millis(200));
    platform.order(&Order::trap("POST /tx/batch").of(&ledger.graph));
    let body = json!({ "t-before": 1, "txs": [] }).to_string();
    let length = format!("content-length: {}", body.len());
    let mut trapping = raw::connect(&ledger.graph.owner);
    let head = raw::head(&ledger.graph.owner, "POST", &ledger.graph.path("/tx/batch"), &[&length]);
    trapping.write_all(format!("{head}{body}").as_bytes()).unwrap();
    // It gets no answer: the front worker's half of it died with the instance.
    let until = Instant::now() + PATIENCE;
    while !platform.is_done() {
        assert!(Instant::now() < until, "nothing has trapped");
        std::thread::sleep(Duration::from_millis(10));
    }
    platform.clear();
    let trapped = Instant::now();
    // A graph that was waiting for the index when the instance died is not blocked.
    let pulled = others.graph.owner.get(&others.graph.path("/pull?since=0"));
    pulled.status(200);
    let mut fresh = Socket::open(&others.graph.owner, &others.graph.id);
    assert_eq!(fresh.ask(&json!({ "type": "hello", "client": "c" }))["type"], "hello");
    assert!(trapped.elapsed() < PATIENCE, "bystanders waited {} ms", trapped.elapsed().as_millis());
    others.prove();
    ledger.prove();
    assert!(trapped.elapsed() < 2 * PATIENCE, "{} ms", trapped.elapsed().as_millis());
    drop(waiting);
}
