//! A client whose socket the server closes hears of it at once.

use std::time::{Duration, Instant};

use conformance::socket::Closed;
use conformance::{Server, Socket, TestGraph};
use serde_json::json;

super::cases![a_close_by_the_server_is_heard_at_once];

fn a_close_by_the_server_is_heard_at_once(server: &Server) {
    let graph = TestGraph::initial(&server.person("owner"));
    let guest = server.person("guest");
    graph.invite(&guest, "member");
    // Several sockets, because the last socket of a graph is closed anyway when the graph hibernates.
    let open = |client| {
        let mut socket = Socket::open(client, &graph.id);
        socket.ask(&json!({ "type": "hello", "client": "c" }));
        socket
    };
    let removed = [open(&guest), open(&guest), open(&guest)];
    let others = [open(&graph.owner), open(&graph.owner)];
    let at = Instant::now();
    graph.owner.delete(&format!("/graphs/{}/members/{}", graph.id, guest.user)).status(200);
    for mut socket in removed {
        assert_eq!(socket.until_end(), Closed(1008, "access revoked".to_owned()));
    }
    graph.owner.delete(&format!("/graphs/{}", graph.id)).status(200);
    for mut socket in others {
        assert_eq!(socket.until_end(), Closed(1000, "graph deleted".to_owned()));
    }
    assert!(at.elapsed() < Duration::from_secs(5), "heard after {} ms", at.elapsed().as_millis());
}
