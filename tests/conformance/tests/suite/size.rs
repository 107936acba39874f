//! As much as one message may hold, in both directions (sync.md 7).

use conformance::{Server, Socket, TestGraph, tx};
use serde_json::json;

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
    let mut peer = Socket::open(&graph.owner, &graph.id);
    let mut socket = Socket::open(&graph.owner, &graph.id);
    assert_eq!(peer.receive()["type"], "online-users", "the second socket");
    socket.send_text(&hello(MESSAGE_BYTES));
    assert_eq!(socket.receive()["type"], "hello", "as long as it may be");
    let closed = socket.send_to_the_end(&hello(MESSAGE_BYTES + 1)).map(|closed| closed.0);
    // Another server may cut the connection without a word.
    assert!(closed == Some(TOO_BIG) || (closed.is_none() && !server.is_own()), "{closed:?}");
    assert_eq!(peer.receive()["type"], "online-users", "the other one hears that it has gone");
    assert_eq!(peer.ask(&json!({ "type": "ping" })), json!({ "type": "pong" }));
    assert_eq!(graph.t(), 0);
}

/// One block's title is replaced again and again. What is logged holds the old title and the new one: together more than 50 MB,
/// and less than the 64 MiB that one message may have.
const EDITS: usize = 54;
const TITLE_BYTES: usize = 480_000;

fn fifty_megabytes_are_pulled_over_the_socket(server: &Server) {
    let graph = TestGraph::initial(&server.person("owner"));
    let page = tx::id();
    graph.batch(0, &[tx::entry(&tx::page(&page, "Page"), "create-page", &tx::id())]).status(200);
    let edit = |n: usize| {
        let title = format!("{n:03} {}", "long ".repeat(TITLE_BYTES / 5));
        tx::entry(&[tx::add(tx::block(&page), "block/title", title)], "save-block", &tx::id())
    };
    let done = graph.batch(1, &(0..EDITS).map(edit).collect::<Vec<_>>()).json();
    assert_eq!((&done["type"], &done["t"]), (&json!("tx/batch/ok"), &json!(EDITS + 1)), "{done}");
    let mut socket = Socket::open(&graph.owner, &graph.id);
    let pulled = socket.ask(&json!({ "type": "pull", "since": 0 }));
    let logged = pulled["txs"].as_array().expect("transactions");
    assert_eq!(logged.len(), EDITS + 1);
    let bytes: usize = logged.iter().map(|row| row["tx"].as_str().expect("a text").len()).sum();
    assert!(bytes > 50_000_000, "{bytes} bytes");
    assert_eq!(pulled, graph.pull(), "the same as over HTTP");
    assert_eq!(socket.ask(&json!({ "type": "ping" })), json!({ "type": "pong" }), "the socket is still open");
}
