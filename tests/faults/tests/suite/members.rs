//! Members who come, go and change while the index fails or is late.

use std::time::{Duration, Instant};

use conformance::{Client, Server, Socket, TestGraph};
use faults::{Ledger, Order, Platform};
use serde_json::json;

super::cases![
    nobody_joins_a_graph_that_is_gone,
    a_member_who_leaves_is_out_although_the_answer_was_lost,
    a_removal_whose_answer_was_lost_can_be_repeated,
    a_manager_made_meanwhile_is_not_removed,
];

fn member_path(graph: &TestGraph, member: &Client) -> String {
    format!("/graphs/{}/members/{}", graph.id, member.user)
}

#[track_caller]
fn await_done(platform: &Platform) {
    let until = Instant::now() + Duration::from_secs(10);
    while !platform.is_done() {
        assert!(Instant::now() < until, "the call that was to be late never came");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn nobody_joins_a_graph_that_is_gone(server: &Server) {
    let platform = Platform::of(server);
    let graph = TestGraph::initial(&server.person("owner"));
    let guest = server.person("guest");
    platform.order(&Order::wait("d1", "INTO graph_members", 1_500).times(1));
    let added = std::thread::scope(|scope| {
        let adding = scope.spawn(|| {
            let member = json!({ "user-id": guest.user, "role": "member" });
            graph.owner.post(&format!("/graphs/{}/members", graph.id), &member).status
        });
        await_done(&platform);
        graph.owner.delete(&format!("/graphs/{}", graph.id)).status(200);
        adding.join().unwrap()
    });
    assert!(matches!(added, 403 | 404 | 409), "{added}");
    let access = guest.get(&format!("/graphs/{}/access", graph.id)).status;
    assert!(matches!(access, 403 | 404), "{access}");
    let asset = guest.get(&format!("/assets/{}/0e6e7a5e-5d3b-4c3e-9f0a-000000000001.png", graph.id)).status;
    assert!(matches!(asset, 403 | 404), "{asset}");
    let upgrade = Socket::try_open(&guest, &graph.id).map_err(|answer| answer.status).map(drop);
    assert!(matches!(upgrade, Err(403 | 404)), "{upgrade:?}");
    let members = graph.owner.get(&format!("/graphs/{}/members", graph.id)).status;
    assert!(matches!(members, 403 | 404), "{members}");
}

/// How the server closes the socket by itself, within two seconds.
fn close_code(mut socket: Socket) -> u16 {
    for _ in 0..40 {
        if socket.try_send(&json!({ "type": "ping" })).is_err() {
            break;
        }
        loop {
            match socket.receive_or_closed() {
                Ok(message) if message["type"] == "pong" => break,
                Ok(_) => {}
                Err(closed) => return closed.0,
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    0
}

fn a_member_who_leaves_is_out_although_the_answer_was_lost(server: &Server) {
    let platform = Platform::of(server);
    let mut ledger = Ledger::begin(&server.person("owner"));
    let guest = server.person("guest");
    ledger.graph.invite(&guest, "member");
    let socket = Socket::open(&guest, &ledger.graph.id);
    platform.order(&Order::fail("d1", "DELETE FROM graph_members").after());
    let first = guest.delete(&member_path(&ledger.graph, &guest)).status;
    assert!(first == 200 || first >= 500, "{first}");
    platform.clear();
    assert_eq!(close_code(socket), 1008, "the object was told, whatever became of the answer");
    guest.delete(&member_path(&ledger.graph, &guest)).status(200);
    assert_eq!(Socket::try_open(&guest, &ledger.graph.id).unwrap_err().status, 403);
    ledger.prove();
}

fn a_removal_whose_answer_was_lost_can_be_repeated(server: &Server) {
    let platform = Platform::of(server);
    let mut ledger = Ledger::begin(&server.person("owner"));
    for after in [false, true] {
        let guest = server.person("guest");
        ledger.graph.invite(&guest, "member");
        let socket = Socket::open(&guest, &ledger.graph.id);
        let order = Order::fail("d1", "DELETE FROM graph_members");
        platform.order(&if after { order.after() } else { order });
        let first = ledger.graph.owner.delete(&member_path(&ledger.graph, &guest)).status;
        assert!(first == 200 || first >= 500, "{first}");
        platform.clear();
        ledger.graph.owner.delete(&member_path(&ledger.graph, &guest)).status(200);
        assert_eq!(close_code(socket), 1008);
        assert_eq!(Socket::try_open(&guest, &ledger.graph.id).unwrap_err().status, 403);
    }
    ledger.prove();
}

fn a_manager_made_meanwhile_is_not_removed(server: &Server) {
    let platform = Platform::of(server);
    let graph = TestGraph::initial(&server.person("owner"));
    let (manager, other) = (server.person("manager"), server.person("other"));
    graph.invite(&manager, "manager");
    graph.invite(&other, "member");
    platform.order(&Order::wait("d1", "DELETE FROM graph_members", 1_500).times(1));
    let removed = std::thread::scope(|scope| {
        let removing = scope.spawn(|| manager.delete(&member_path(&graph, &other)).status);
        await_done(&platform);
        graph.owner.put(&member_path(&graph, &other), &json!({ "role": "manager" })).status(200);
        removing.join().unwrap()
    });
    assert_eq!(removed, 403, "managers are removed by nobody");
    other.get(&format!("/graphs/{}/access", graph.id)).status(200);
}
