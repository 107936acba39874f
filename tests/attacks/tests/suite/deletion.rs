//! Deletions that race upgrades and writes.

use std::sync::Barrier;

use attacks::Bystander;
use conformance::{Server, Socket, TestGraph, tx};
use serde_json::{Value, json};

super::cases![a_graph_that_is_deleted_stays_so];

const ROUNDS: usize = 40;

fn batch() -> Value {
    tx::batch(0, &[tx::entry(&tx::page(&tx::id(), "Late"), "create-page", &tx::id())])
}

/// What an open socket still receives for a write after the deletion was answered.
fn is_acknowledged(mut socket: Socket) -> bool {
    if socket.try_send(&batch()).is_err() {
        return false;
    }
    while let Ok(message) = socket.receive_or_closed() {
        if message["type"] == "tx/batch/ok" {
            return true;
        }
    }
    false
}

fn a_graph_that_is_deleted_stays_so(server: &Server) {
    let bystander = Bystander::watch(server);
    let owner = server.person("owner");
    let operator = [("x-db-sync-admin-token", server.admin_token.as_str())];
    let mut deleted = Vec::new();
    for round in 0..ROUNDS {
        let graph = TestGraph::create(&owner);
        let mut before = Socket::open(&owner, &graph.id);
        before.send(&json!({ "type": "hello", "client": "c" }));
        let start = Barrier::new(4);
        let sockets: Vec<Socket> = std::thread::scope(|scope| {
            let open = || {
                start.wait();
                (0..5).filter_map(|_| Socket::try_open(&owner, &graph.id).ok()).collect::<Vec<_>>()
            };
            let opening = [scope.spawn(open), scope.spawn(open)];
            let writing = scope.spawn(|| {
                start.wait();
                for _ in 0..5 {
                    graph.batch(0, &[tx::entry(&tx::page(&tx::id(), "Late"), "create-page", &tx::id())]);
                }
            });
            start.wait();
            owner.delete(&format!("/graphs/{}", graph.id)).status(200);
            writing.join().unwrap();
            opening.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        for socket in sockets {
            assert!(!is_acknowledged(socket), "round {round}");
        }
        assert_eq!((before.until_end().0, round), (1000, round));
        let late = Socket::try_open(&owner, &graph.id).unwrap_err().status;
        assert!(matches!(late, 403 | 404), "round {round}: {late}");
        let late = graph.batch(0, &[]).status;
        assert!(matches!(late, 403 | 404), "round {round}: {late}");
        // Not even the operator finds anything.
        let anyone = server.anonymous();
        anyone.send("GET", &graph.path("/pull"), &operator, None).error(404, "not found");
        assert_eq!(Socket::try_open_path(&anyone, &graph.path(""), &operator).unwrap_err().status, 404);
        owner.delete(&format!("/graphs/{}", graph.id)).error(403, "forbidden");
        deleted.push(graph.id);
    }
    // Where there is one user alone, other cases have made graphs, too.
    let listed = owner.get("/graphs").json()["graphs"].to_string();
    assert!(deleted.iter().all(|id| !listed.contains(id.as_str())), "{listed}");
    bystander.is_content();
}
