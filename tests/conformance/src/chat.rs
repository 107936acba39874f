//! A stand-in for the client `logseq/chat`, written from sync.md 14: its requests, their order, and the answers that it
//! refuses.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::client::Client;
use crate::frames::{self, Row};
use crate::socket::{Closed, Socket};
use crate::{Server, transit, tx};

/// The schema version of the data that it makes itself.
pub const SCHEMA_VERSION: &str = "65.33";

/// The scopes of its tokens.
const SCOPES: &str = "openid email profile aws.cognito.signin.user.admin";

/// Longer frames of a snapshot are refused.
const FRAME_BYTES: usize = 64 << 20;

/// The app on one device, with one graph open.
pub struct Chat {
    pub client: Client,
    pub graph: String,
    pub mirror: Mirror,
    /// Rows of the snapshot that it began with.
    pub rows: Vec<Row>,
    socket: Option<Socket>,
    /// The greatest counter in a `changed` that came while an answer was outstanding.
    changed: Option<i64>,
}

/// Its copy of the graph, made from the change sets since it was opened.
#[derive(Debug, Default)]
pub struct Mirror {
    pub schema_version: String,
    pub cursor: i64,
    /// Attributes by identity.
    pub entities: BTreeMap<String, Value>,
    /// Identities that were deleted, in the order of the change sets.
    pub deleted: Vec<String>,
}

/// Why the client starts again.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// The server told it to download the snapshot.
    Reset(String),
    /// The socket was closed.
    Closed(Closed),
}

/// Someone signed in with an access token, which has no e-mail claims, where the server takes such tokens.
pub fn sign_in(server: &Server, name: &str) -> Client {
    let person = server.person(name);
    if !server.people.have_access_tokens() {
        return person;
    }
    let mut claims = server.issuer.claims(&person.user);
    let fields = claims.as_object_mut().expect("claims");
    for absent in ["aud", "email", "email_verified", "cognito:username"] {
        fields.remove(absent);
    }
    fields.insert("client_id".into(), json!(server.issuer.client_id));
    fields.insert("token_use".into(), json!("access"));
    fields.insert("username".into(), json!(person.user));
    fields.insert("scope".into(), json!(SCOPES));
    person.with_token(&server.issuer.sign(&claims))
}

/// Makes a graph: creates the row, uploads its own initial data in one request, and checks that the graph is ready.
pub fn create_graph(client: &Client) -> String {
    let name = format!("chat-{}", tx::id());
    let body = json!({
        "graph-name": name, "schema-version": SCHEMA_VERSION, "graph-e2ee?": false, "graph-ready-for-use?": false,
    });
    let made = client.post("/graphs", &body);
    let graph = made.status(200).json()["graph-id"].as_str().expect("a graph id").to_owned();
    let rows = frames::rows(&frames::initial_graph(false));
    upload(client, &graph, &rows);
    let listed = listed(client, &graph);
    assert_eq!(listed["graph-ready-for-use?"], true, "{listed}");
    graph
}

/// One request, not compressed, one frame with all rows.
pub fn upload(client: &Client, graph: &str, rows: &[Row]) {
    let path = format!("/sync/{graph}/snapshot/upload?reset=true&finished=true&checksum=0000000000000000");
    let headers = [("content-type", "application/transit+json")];
    let answer = client.send("POST", &path, &headers, Some(&frames::frame(rows)));
    answer.expect(200, &json!({ "ok": true, "count": rows.len() }));
}

fn listed(client: &Client, graph: &str) -> Value {
    let list = client.get("/graphs").status(200).json();
    let found = list["graphs"].as_array().expect("graphs").iter().find(|row| row["graph-id"] == graph);
    found.expect("the graph is listed").clone()
}

impl Chat {
    /// Opens a graph: its row, the descriptor, the counter, the snapshot; then a socket that follows.
    pub fn open(client: &Client, graph: &str) -> Self {
        let row = listed(client, graph);
        // The client takes an absent field for "not ready" and for "encrypted".
        assert_eq!((&row["graph-ready-for-use?"], &row["graph-e2ee?"]), (&json!(true), &json!(false)), "{row}");
        let descriptor = client.get(&format!("/sync/{graph}/snapshot/download")).status(200).json();
        let pull = client.get(&format!("/sync/{graph}/pull")).status(200).json();
        assert_eq!(descriptor["ok"], true, "{descriptor}");
        // With this field the client would unpack once more what its HTTP library has unpacked.
        assert_eq!(descriptor.get("content-encoding"), None, "{descriptor}");
        let version = descriptor["schema-version"].as_str().filter(|version| !version.is_empty());
        let schema_version = version.expect("the descriptor has a schema version").to_owned();
        assert_eq!(pull["type"], "pull/ok");
        let cursor = pull["t"].as_i64().filter(|t| *t >= 0).expect("a counter");
        let url = descriptor["url"].as_str().expect("an address");
        let rows = snapshot(client, url.strip_prefix(&client.base).expect("an address of this server"));
        let mirror = Mirror { schema_version, cursor, ..Mirror::default() };
        Self { client: client.clone(), graph: graph.to_owned(), mirror, rows, socket: None, changed: None }
    }

    /// Opens the socket, with the token in the header and without `hello`.
    pub fn connect(&mut self) {
        let token = format!("Bearer {}", self.client.token.as_deref().expect("a token"));
        let path = format!("/sync/{}", self.graph);
        let opened = Socket::try_open_path(&self.client, &path, &[("authorization", &token)]);
        self.socket = Some(opened.unwrap_or_else(|answer| panic!("refused: {} {}", answer.status, answer.json())));
    }

    pub fn socket(&mut self) -> &mut Socket {
        self.socket.as_mut().expect("a socket")
    }

    /// Asks for changes until it has followed every `changed`.
    pub fn follow(&mut self) -> Result<(), Ended> {
        loop {
            let ask = json!({ "type": "entity/pull", "since": self.mirror.cursor });
            self.socket().send(&ask);
            let data = self.answer()?;
            self.mirror.apply(&self.graph, &data);
            if self.changed.take().is_none_or(|t| t <= self.mirror.cursor) {
                return Ok(());
            }
        }
    }

    /// Waits until a `changed` tells of something new, and follows.
    pub fn hear(&mut self) -> Result<(), Ended> {
        loop {
            match self.socket().receive_or_closed() {
                Ok(message) if message["type"] == "changed" => return self.follow(),
                Ok(_) => {}
                Err(closed) => return Err(Ended::Closed(closed)),
            }
        }
    }

    /// The data of the answer that is outstanding. All other types but `changed` are ignored, `error` ends the connection.
    fn answer(&mut self) -> Result<Value, Ended> {
        loop {
            let message = match self.socket().receive_or_closed() {
                Ok(message) => message,
                Err(closed) => return Err(Ended::Closed(closed)),
            };
            let data = || transit::expand(message["data"].as_str().expect("data"));
            match message["type"].as_str() {
                Some("graph-changes") => return Ok(data()),
                Some("reset") => {
                    let data = data();
                    assert_eq!(transit::get(&data, "snapshot-required"), Some(&json!(true)));
                    let reason = transit::get(&data, "reason").and_then(Value::as_str).expect("a reason");
                    return Err(Ended::Reset(reason.to_owned()));
                }
                Some("changed") => self.changed = self.changed.max(message["t"].as_i64()),
                Some("error") => panic!("the connection ends: {message}"),
                _ => {}
            }
        }
    }

    /// Sends one entry against a counter; gives the answer.
    pub fn send_at(&self, t_before: i64, op: &str, items: &[Value], tx_id: &str) -> Value {
        let entry = json!({ "tx-id": tx_id, "tx": Value::from(items.to_vec()).to_string(), "outliner-op": op });
        let body = json!({ "t-before": t_before, "txs": [entry] });
        self.client.post(&format!("/sync/{}/tx/batch", self.graph), &body).status(200).json()
    }

    /// Writes an entry: when another client was faster, follows and sends again. Gives the counter afterwards.
    pub fn write(&mut self, op: &str, items: &[Value]) -> i64 {
        let tx_id = tx::id();
        loop {
            let answer = self.send_at(self.mirror.cursor, op, items, &tx_id);
            match (answer["type"].as_str(), answer["reason"].as_str()) {
                (Some("tx/batch/ok"), _) => return answer["t"].as_i64().expect("a counter"),
                (_, Some("stale")) => self.follow().expect("it can follow"),
                _ => panic!("refused: {answer}"),
            }
        }
    }
}

/// The rows of a snapshot, with the checks that the app makes.
fn snapshot(client: &Client, path: &str) -> Vec<Row> {
    // Its HTTP library unpacks once, if the answer's header says so.
    let answer = client.send("GET", path, &[("accept-encoding", "gzip")], None);
    answer.status(200);
    assert_eq!(answer.header("content-encoding") == "gzip", answer.bytes.starts_with(&[0x1f, 0x8b]));
    let counted: usize = answer.header("x-snapshot-row-count").parse().expect("a number of rows");
    let bytes = frames::gunzip(&answer.bytes);
    let mut rest = bytes.as_slice();
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        assert!(length <= FRAME_BYTES, "a frame of {length} bytes");
        rest = &tail[length..];
    }
    let rows = frames::rows(&answer.bytes);
    assert_eq!(rows.len(), counted, "the header counts the rows");
    assert!(rows.windows(2).all(|pair| pair[0].0 < pair[1].0), "addresses increase");
    assert!(matches!(rows.as_slice(), [first, second, ..] if first.0 == 0 && second.0 == 1), "rows 0 and 1");
    rows
}

impl Mirror {
    /// Applies a change set, after the checks whose failure ends the connection.
    fn apply(&mut self, graph: &str, data: &Value) {
        let at = |key| transit::get(data, key).unwrap_or_else(|| panic!("{key} of {data}"));
        assert_eq!(at("format-version"), 1);
        assert_eq!(at("graph-id"), graph);
        assert_eq!(at("schema-version"), &json!(self.schema_version));
        assert_eq!(at("t-before"), self.cursor);
        let t = at("t").as_i64().filter(|t| *t >= self.cursor).expect("a counter that does not go back");
        for identity in at("deleted").as_array().expect("a list") {
            check_identity(identity);
            self.entities.remove(&identity.to_string());
            self.deleted.push(identity.to_string());
        }
        for upsert in at("upserts").as_array().expect("a list") {
            let identity = transit::get(upsert, "id").expect("an identity");
            check_identity(identity);
            self.entities.insert(identity.to_string(), transit::get(upsert, "attrs").expect("attributes").clone());
        }
        self.cursor = t;
    }

    /// The attributes of a block.
    pub fn block(&self, id: &str) -> Option<&Value> {
        self.entities.get(&tx::block(id).to_string())
    }

    /// One attribute of a block.
    pub fn get(&self, id: &str, attribute: &str) -> Option<&Value> {
        transit::get(self.block(id)?, attribute)
    }
}

fn check_identity(identity: &Value) {
    let pair = identity.as_array().expect("a pair");
    assert!(
        matches!(pair.as_slice(), [name, _] if ["~:block/uuid", "~:db/ident", "~:file/path"].contains(&name.as_str().unwrap_or_default())),
        "{identity}"
    );
}
