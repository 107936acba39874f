//! As many sockets as the limits allow, and the messages between them.

use std::time::{Duration, Instant};

use attacks::Bystander;
use attacks::flood::Drain;
use conformance::{Client, Server, Socket, TestGraph, tx};
use serde_json::json;

super::cases![sockets_are_capped_and_their_presence_is_bounded];

const OF_USER: usize = 32;
const OF_GRAPH: usize = 500;
const FLOOD: Duration = Duration::from_secs(10);

/// Each socket reports another block twice a second: sent to everyone, this would be half a million messages a second.
const ROUND: Duration = Duration::from_millis(500);

fn refused(client: &Client, graph: &TestGraph) {
    Socket::try_open(client, &graph.id).expect_err("refused").error_body(429, "too many sockets");
}

fn sockets_are_capped_and_their_presence_is_bounded(server: &Server) {
    let bystander = Bystander::watch(server);
    let graph = TestGraph::initial(&server.person("owner"));
    let mut sockets = Vec::new();
    while sockets.len() < OF_GRAPH {
        let guest = server.person("guest");
        graph.invite(&guest, "member");
        for _ in 0..OF_USER.min(OF_GRAPH - sockets.len()) {
            sockets.push(Socket::try_open(&guest, &graph.id).expect("accepted"));
        }
        // One socket too many, of this user or of the graph.
        refused(&guest, &graph);
    }
    refused(&graph.owner, &graph);
    // Messages sent while the sockets were opened.
    for socket in &mut sockets {
        socket.drain();
    }
    let page = tx::entry(&tx::page(&tx::id(), "Page"), "create-page", &tx::id());
    graph.batch(0, &[page]).status(200);
    for socket in &mut sockets {
        assert_eq!(socket.drain(), [json!({ "type": "changed", "t": 1 })], "a change reaches all, once");
    }
    let drain = Drain::of(&sockets);
    let until = Instant::now() + FLOOD;
    let mut sent = 0_usize;
    while Instant::now() < until {
        let round = Instant::now();
        for socket in &mut sockets {
            let editing = format!("block-{sent}");
            socket.try_send(&json!({ "type": "presence", "editing-block-uuid": editing })).expect("still open");
            sent += 1;
        }
        std::thread::sleep(ROUND.saturating_sub(round.elapsed()));
    }
    let bytes = drain.stop();
    // Everyone told everything would be 500 messages of about 100 bytes for each of them: half a gigabyte.
    assert!(bytes < 64 << 20, "{bytes} bytes for {sent} messages");
    assert!(bytes > 1 << 16, "but something was told: {bytes} bytes");
    bystander.is_content();
    graph.owner.get(&graph.path("/health")).status(200);
}
