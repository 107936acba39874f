//! The index (D1) out of reach, slow, silent, or answering from an old copy.

use std::time::{Duration, Instant};

use attacks::Bystander;
use conformance::{Server, Socket};
use faults::{Ledger, Order, Platform};
use serde_json::json;

super::cases![
    an_outage_loses_nothing_and_removes_nobody,
    a_slow_index_slows_nobody_who_is_known,
    an_index_that_hangs_keeps_nobody_but_those_who_ask,
    a_stale_no_of_a_copy_removes_nobody,
    activity_is_noted_behind_the_answer,
];

/// Membership is remembered for five seconds.
const FORGOTTEN: Duration = Duration::from_millis(5_100);

/// The server stops waiting for an answer about a member after three seconds.
const PATIENCE: Duration = Duration::from_secs(5);

const HELLO: &str = "hello";

fn an_outage_loses_nothing_and_removes_nobody(server: &Server) {
    let platform = Platform::of(server);
    let mut ledger = Ledger::begin(&server.person("owner"));
    let mut socket = Socket::open(&ledger.graph.owner, &ledger.graph.id);
    let draft = ledger.draft(5);
    let message = ledger.message(&draft);
    std::thread::sleep(FORGOTTEN);
    platform.order(&Order::fail("d1", ".").always());
    assert_eq!(socket.ask(&message)["type"], "tx/batch/ok", "an outage is no revocation");
    ledger.acknowledge(draft);
    for path in ["/pull?since=0", "/snapshot/stream"] {
        let status = ledger.graph.owner.get(&ledger.graph.path(path)).status;
        assert!(status >= 500, "{path}: {status}");
    }
    platform.clear();
    assert_eq!(socket.ask(&json!({ "type": "hello", "client": "c" }))["type"], HELLO);
    ledger.prove();
}

fn a_slow_index_slows_nobody_who_is_known(server: &Server) {
    let platform = Platform::of(server);
    let mut ledger = Ledger::begin(&server.person("owner"));
    let mut socket = Socket::open(&ledger.graph.owner, &ledger.graph.id);
    let bystander = Bystander::watch(server);
    let draft = ledger.draft(5);
    let message = ledger.message(&draft);
    platform.order(&Order::wait("d1", ".", 1_000));
    let asked = Instant::now();
    assert_eq!(socket.ask(&message)["type"], "tx/batch/ok");
    assert!(asked.elapsed() < Duration::from_secs(1), "known a moment ago: {} ms", asked.elapsed().as_millis());
    ledger.acknowledge(draft);
    ledger.write(2);
    platform.clear();
    bystander.is_content();
    ledger.prove();
}

fn an_index_that_hangs_keeps_nobody_but_those_who_ask(server: &Server) {
    let platform = Platform::of(server);
    let mut ledger = Ledger::begin(&server.person("owner"));
    let mut socket = Socket::open(&ledger.graph.owner, &ledger.graph.id);
    std::thread::sleep(FORGOTTEN);
    let mut known = Socket::open(&ledger.graph.owner, &ledger.graph.id);
    let guest = server.person("guest");
    ledger.graph.invite(&guest, "member");
    let mut theirs = Socket::open(&guest, &ledger.graph.id);
    let bystander = Bystander::watch(server);
    std::thread::sleep(FORGOTTEN);
    platform.order(&Order::hang("d1", "graph_members"));
    // One member is asked about and the index does not answer; another one uses the same graph meanwhile.
    let draft = ledger.draft(3);
    let asked = Instant::now();
    socket.send(&json!({ "type": "hello", "client": "c" }));
    theirs.send(&json!({ "type": "ping" }));
    while theirs.receive()["type"] != "pong" {}
    assert!(asked.elapsed() < Duration::from_secs(1), "the graph was closed for {} ms", asked.elapsed().as_millis());
    while socket.receive()["type"] != HELLO {}
    assert!(asked.elapsed() < PATIENCE, "{} ms", asked.elapsed().as_millis());
    platform.clear();
    let message = ledger.message(&draft);
    known.send(&message);
    while known.receive()["type"] != "tx/batch/ok" {}
    ledger.acknowledge(draft);
    bystander.is_content();
    ledger.prove();
}

fn a_stale_no_of_a_copy_removes_nobody(server: &Server) {
    let platform = Platform::of(server);
    let mut ledger = Ledger::begin(&server.person("owner"));
    let mut socket = Socket::open(&ledger.graph.owner, &ledger.graph.id);
    std::thread::sleep(FORGOTTEN);
    platform.order(&Order::find_nothing("d1", "^replica: SELECT 1 FROM graphs").times(2));
    assert_eq!(socket.ask(&json!({ "type": "hello", "client": "c" }))["type"], HELLO, "the primary copy knows better");
    ledger.graph.owner.get(&ledger.graph.path("/pull?since=0")).status(200);
    platform.clear();
    ledger.prove();
}

fn activity_is_noted_behind_the_answer(server: &Server) {
    let platform = Platform::of(server);
    for order in [Order::wait("d1", "daily_active_entities", 3_000), Order::hang("d1", "daily_active_entities")] {
        let mut ledger = Ledger::begin(&server.person("owner"));
        // Another graph and another user, so that this isolate has not noted their activity today.
        let other = Ledger::begin(&server.person("other"));
        platform.order(&order);
        let fresh = server.person("fresh");
        platform.clear();
        other.graph.invite(&fresh, "member");
        platform.order(&order);
        let asked = Instant::now();
        fresh.get(&other.graph.path("/pull?since=0")).status(200);
        let draft = ledger.draft(2);
        assert_eq!(ledger.graph.batch(1, &draft.entries).json()["type"], "tx/batch/ok");
        ledger.acknowledge(draft);
        assert!(asked.elapsed() < Duration::from_secs(2), "{} ms", asked.elapsed().as_millis());
        platform.clear();
        ledger.prove();
    }
}
