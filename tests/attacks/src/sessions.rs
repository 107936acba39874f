//! Sessions of people, and their event streams.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use conformance::{Answer, Client, Server};
use serde_json::{Value, json};

use crate::runtime::Runtime;

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// The runtime of all sessions.
pub fn runtime() -> &'static Runtime {
    RUNTIME.get_or_init(Runtime::serve)
}

/// Both workers under workerd, with that runtime. Rates and counts are limited, as they are for everybody.
pub fn server() -> Server {
    let url = format!("http://127.0.0.1:{}", runtime().port);
    Server::with_agents(&[
        ("AGENT_RUNTIME_PROVIDER", "local-dev"),
        ("SANDBOX_AGENT_URL", &url),
        ("MANAGED_AUTH_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
    ])
}

/// A name of nobody's session.
pub fn id() -> String {
    conformance::tx::id()
}

/// The body with which a session is created; `graph` is the graph that it belongs to.
pub fn wanted(id: &str, graph: Option<&str>) -> Value {
    let mut body = json!({
        "session-id": id, "node-id": "n", "node-title": "Title", "content": "Do it.", "attachments": [],
        "project": { "id": "p", "title": "P", "repo-url": "https://example.test/p" }, "agent": { "provider": "claude" },
    });
    if let Some(graph) = graph {
        body["project"]["graph-id"] = json!(graph);
    }
    body
}

/// A session whose turn goes on for ever, so that its runtime is listened to.
pub fn running(owner: &Client, graph: Option<&str>) -> String {
    let id = id();
    owner.post("/sessions", &wanted(&id, graph)).status(200);
    owner.post(&format!("/sessions/{id}/messages"), &json!({ "message": "go on" })).status(200);
    let until = Instant::now() + Duration::from_secs(20);
    while !runtime().is_heard(&id) {
        assert!(Instant::now() < until, "nobody listens to the runtime of {id}");
        std::thread::sleep(Duration::from_millis(10));
    }
    id
}

/// The events of a session.
pub fn events(client: &Client, id: &str) -> Vec<Value> {
    let answer = client.get(&format!("/sessions/{id}/events?limit=10000"));
    answer.status(200);
    answer.json()["events"].as_array().expect("events").clone()
}

/// An open event stream: its connection, of which nothing but the head was read.
#[derive(Debug)]
pub struct Stream {
    connection: TcpStream,
    unread: Vec<u8>,
}

impl Stream {
    /// Opens a stream; where it is refused, the answer.
    pub fn open(client: &Client, id: &str) -> Result<Self, Answer> {
        let address = client.base.trim_start_matches("http://");
        let mut connection = TcpStream::connect(address).expect("server listens");
        connection.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
        let token = client.token.as_deref().unwrap_or_default();
        let request = format!(
            "GET /sessions/{id}/stream?cursor=0 HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\r\n"
        );
        connection.write_all(request.as_bytes()).expect("request is sent");
        let (mut head, mut part) = (Vec::new(), [0; 4096]);
        let end = loop {
            if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            let read = connection.read(&mut part).expect("an answer comes");
            assert!(read > 0, "the connection was closed");
            head.extend_from_slice(&part[..read]);
        };
        let unread = head.split_off(end);
        if head.starts_with(b"HTTP/1.1 200") {
            return Ok(Self { connection, unread });
        }
        let refused = client.get(&format!("/sessions/{id}/stream?cursor=0"));
        Err(refused)
    }

    /// Reads until the text comes, the stream ends, or nothing comes for that long. Gives everything that came.
    pub fn read_until(mut self, text: &str, patience: Duration) -> (Vec<u8>, bool) {
        self.connection.set_read_timeout(Some(patience)).expect("timeout");
        let (mut all, mut part) = (self.unread, vec![0; 1 << 16]);
        loop {
            let seen = all.len().saturating_sub(part.len() + text.len());
            if all[seen..].windows(text.len()).any(|window| window == text.as_bytes()) {
                return (all, true);
            }
            match self.connection.read(&mut part) {
                Ok(read @ 1..) => all.extend_from_slice(&part[..read]),
                _ => return (all, false),
            }
        }
    }
}
