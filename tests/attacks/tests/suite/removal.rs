//! Removals that race what the removed member does.

use std::sync::Barrier;

use attacks::Bystander;
use conformance::{Client, Server, Socket, TestGraph, tx};
use serde_json::json;

super::cases![a_removal_that_races_upgrades_and_writes_holds];

const ROUNDS: usize = 40;

/// Messages that the socket of a removed user must never receive.
fn hears_nothing(mut socket: Socket, asked: &serde_json::Value) -> bool {
    if socket.try_send(asked).is_err() {
        return true;
    }
    while let Ok(message) = socket.receive_or_closed() {
        if matches!(message["type"].as_str(), Some("pull/ok" | "hello" | "tx/batch/ok")) {
            return false;
        }
    }
    true
}

fn batch() -> serde_json::Value {
    tx::batch(0, &[tx::entry(&tx::page(&tx::id(), "Late"), "create-page", &tx::id())])
}

fn a_removal_that_races_upgrades_and_writes_holds(server: &Server) {
    let bystander = Bystander::watch(server);
    let graph = TestGraph::initial(&server.person("owner"));
    for round in 0..ROUNDS {
        let guest = server.person("guest");
        graph.invite(&guest, "member");
        // The front worker now remembers that the member has access.
        guest.get(&graph.path("/health")).status(200);
        let start = Barrier::new(4);
        let sockets: Vec<Socket> = std::thread::scope(|scope| {
            let open = || {
                start.wait();
                (0..5).filter_map(|_| Socket::try_open(&guest, &graph.id).ok()).collect::<Vec<_>>()
            };
            let opening = [scope.spawn(open), scope.spawn(open)];
            let over_http = scope.spawn(|| {
                start.wait();
                for _ in 0..5 {
                    guest.get(&graph.path("/pull?since=0"));
                }
            });
            start.wait();
            remove(&graph, &guest);
            over_http.join().unwrap();
            opening.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        for (n, socket) in sockets.into_iter().enumerate() {
            let asked = match n % 3 {
                0 => json!({ "type": "pull", "since": 0 }),
                1 => json!({ "type": "hello", "client": "c" }),
                _ => batch(),
            };
            assert!(hears_nothing(socket, &asked), "round {round}: {asked}");
        }
        assert_eq!(Socket::try_open(&guest, &graph.id).unwrap_err().status, 403);
        guest.get(&graph.path("/pull?since=0")).status(403);
        assert_eq!(graph.t(), 0, "round {round}");
        if round % 10 == 0 {
            // A member who is added again has access at once.
            graph.invite(&guest, "member");
            let mut socket = Socket::open(&guest, &graph.id);
            socket.send(&json!({ "type": "hello", "client": "c" }));
            // Who has left may be told a little later, before the answer.
            assert!(socket.drain().iter().any(|message| message["type"] == "hello"));
            remove(&graph, &guest);
        }
    }
    bystander.is_content();
}

fn remove(graph: &TestGraph, guest: &Client) {
    graph.owner.delete(&format!("/graphs/{}/members/{}", graph.id, guest.user)).status(200);
}
