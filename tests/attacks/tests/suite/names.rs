//! Tokens with claims longer than what is kept with a hibernating socket.

use conformance::{Client, Server, Socket, TestGraph, tx};
use serde_json::{Value, json};

super::cases![a_socket_always_knows_whose_it_is, ids_are_bounded];

/// How long a server may take to put an idle graph to sleep, and a little more.
const SLEEP: std::time::Duration = std::time::Duration::from_secs(16);

fn named(server: &Server, more: &Value) -> Client {
    let person = server.person("named");
    let mut claims = server.issuer.claims(&person.user);
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    person.with_token(&server.issuer.sign(&claims))
}

fn a_socket_always_knows_whose_it_is(server: &Server) {
    let graph = TestGraph::initial(&server.person("owner"));
    let claims = [
        json!({ "name": "x".repeat(9_000) }),
        json!({ "name": "日".repeat(3_000) }),
        json!({ "name": "😀".repeat(2_000), "email": "é".repeat(1_000) }),
        json!({ "email": format!("{}@example.test", "x".repeat(9_000)) }),
        json!({ "preferred_username": "日".repeat(2_000), "name": "日".repeat(1_500) }),
        json!({ "name": ["日".repeat(3_000)], "email": { "deep": "x" } }),
    ];
    let mut open: Vec<(Client, Socket)> = claims
        .iter()
        .map(|more| {
            let guest = named(server, more);
            graph.invite(&guest, "member");
            let mut socket = Socket::try_open(&guest, &graph.id).expect("accepted");
            // The longest block id that is kept beside the names.
            socket.send(&json!({ "type": "presence", "editing-block-uuid": "日".repeat(21) }));
            socket.drain();
            (guest, socket)
        })
        .collect();
    std::thread::sleep(SLEEP);
    for (guest, _) in &open {
        graph.owner.delete(&format!("/graphs/{}/members/{}", graph.id, guest.user)).status(200);
    }
    for (n, (_, socket)) in open.iter_mut().enumerate() {
        let _closed_already =
            socket.try_send(&tx::batch(0, &[tx::entry(&tx::page(&tx::id(), "Late"), "create-page", &tx::id())]));
        assert_eq!((socket.until_end().0, n), (1008, n), "closed after it has slept");
    }
    assert_eq!(graph.t(), 0, "and nothing was written");
}

fn ids_are_bounded(server: &Server) {
    for id in ["x".repeat(513), "日".repeat(513), "x".repeat(9_000)] {
        let claims = server.issuer.claims(&id);
        server.anonymous().with_token(&server.issuer.sign(&claims)).get("/graphs").error(401, "unauthorized");
    }
}
