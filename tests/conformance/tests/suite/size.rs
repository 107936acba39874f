//! As much as one message may hold, in both directions (sync.md 7.6).

use conformance::{Server, Socket, TestGraph, tx};
use serde_json::{Value, json};

super::cases![an_oversized_message_closes_the_socket, fifty_megabytes_are_pulled_over_the_socket];

/// The longest message that is read.
const MESSAGE_BYTES: usize = 32 << 20;

/// The code that says so (RFC 6455, 7.4.1).
const TOO_BIG: u16 = 1009;

/// A `hello` of this many bytes.
fn hello(bytes: usize) -> String {
    let around = json!({ "type": "hello", "client": "" }).to_string().len();
    json!({ "type": "hello", "client": "x".repeat(bytes - around) }).to_string()
}

fn an_oversized_message_closes_the_socket(server: &Server) {
    let graph = TestGraph::initial(&server.person("owner"));
    let mut socket = Socket::open(&graph.owner, &graph.id);
    let mut peer = Socket::open(&graph.owner, &graph.id);
    socket.send_text(&hello(MESSAGE_BYTES));
    assert_eq!(socket.receive()["type"], "online-users", "the second socket");
    assert_eq!(socket.receive()["type"], "hello", "as long as it may be");
    let closed = socket.send_to_the_end(&hello(MESSAGE_BYTES + 1));
    assert!(closed.as_ref().is_none_or(|closed| closed.0 == TOO_BIG), "{closed:?}");
    assert_eq!(peer.receive()["type"], "online-users", "who is told that the socket has gone");
    assert_eq!(peer.ask(&json!({ "type": "ping" })), json!({ "type": "pong" }));
    assert_eq!(graph.t(), 0);
}

/// A page is logged with its title and, in small letters, its name: together more than 50 MB, and less than the 64 MiB that
/// one message may have.
const PAGES: usize = 52;
const TITLE_BYTES: usize = 500_000;

fn fifty_megabytes_are_pulled_over_the_socket(server: &Server) {
    let graph = TestGraph::initial(&server.person("owner"));
    let entry = |title: String| {
        let id = tx::id();
        tx::entry(&tx::page(&id, &title), "create-page", &tx::id())
    };
    for first in (0..PAGES).step_by(PAGES / 4) {
        let entries: Vec<Value> =
            (first..first + PAGES / 4).map(|n| entry(format!("{n:03} {}", "long ".repeat(TITLE_BYTES / 5)))).collect();
        let done = graph.batch(i64::try_from(first).unwrap(), &entries).json();
        assert_eq!((&done["type"], &done["t"]), (&json!("tx/batch/ok"), &json!(first + PAGES / 4)), "{done}");
    }
    let mut socket = Socket::open(&graph.owner, &graph.id);
    let pulled = socket.ask(&json!({ "type": "pull", "since": 0 }));
    let logged = pulled["txs"].as_array().expect("transactions");
    assert_eq!(logged.len(), PAGES);
    let bytes: usize = logged.iter().map(|row| row["tx"].as_str().expect("a text").len()).sum();
    assert!(bytes > 50_000_000, "{bytes} bytes");
    assert_eq!(pulled, graph.pull(), "the same as over HTTP");
    assert_eq!(socket.ask(&json!({ "type": "ping" })), json!({ "type": "pong" }), "the socket is still open");
}
