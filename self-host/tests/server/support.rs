//! A running binary, and a client without comfort.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tungstenite::client::IntoClientRequest as _;
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The token of the static driver in these tests.
pub(crate) const TOKEN: &str = "a-token-that-is-long-enough";

/// The operator's.
pub(crate) const ADMIN: &str = "the-operator's-token";

/// The binary, with nothing in its environment but what a case sets.
pub(crate) fn binary(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logseq-sync"));
    command.env_clear().env("HOME", data).env("DB_SYNC_DATA_DIR", data).stdin(Stdio::null());
    command
}

/// Runs a verb to its end.
pub(crate) fn run(data: &Path, arguments: &[&str]) -> Output {
    binary(data).args(arguments).output().unwrap()
}

/// The same; its standard output, which must come with exit 0.
pub(crate) fn said(data: &Path, arguments: &[&str]) -> String {
    let output = run(data, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A running server. Dropped, it is killed.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    /// The line that it said when it was ready.
    pub(crate) ready: String,
}

impl Server {
    /// Serves over this data, by the static driver, with more settings.
    pub(crate) fn start(data: &Path, settings: &[(&str, &str)]) -> Self {
        let mut command = binary(data);
        command.args(["serve", "--port", "0", "--bind", "127.0.0.1", "--json"]);
        let base = [("DB_SYNC_AUTH_DRIVER", "static"), ("DB_SYNC_AUTH_TOKEN", TOKEN), ("DB_SYNC_ADMIN_TOKEN", ADMIN)];
        command.env("DB_SYNC_INITIAL_DATA", "true");
        command.envs(base).envs(settings.iter().copied());
        Self::of(command)
    }

    /// Waits for the ready line of a command.
    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let parsed: Value = serde_json::from_str(&ready).unwrap_or_else(|_| panic!("{ready:?}"));
        let address = parsed["listen"][0].as_str().unwrap().rsplit_once("://").unwrap().1.parse().unwrap();
        Self { child, address, ready }
    }

    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// How it ends.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Ends it at once, as a power cut does for its own memory.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks something; status and body.
    pub(crate) fn ask(&self, method: &str, path: &str, token: &str, body: &str) -> (u16, Value) {
        let token = format!("authorization: Bearer {token}");
        let (status, text) = self.ask_with(method, path, &[&token], body);
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// The same with whole lines of headers; the body as text.
    pub(crate) fn ask_with(&self, method: &str, path: &str, lines: &[&str], body: &str) -> (u16, String) {
        let answer = self.whole(method, path, lines, body);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// The same; the answer as it came.
    pub(crate) fn whole(&self, method: &str, path: &str, lines: &[&str], body: &str) -> String {
        let mut stream = self.connect();
        let (length, lines) = (body.len(), lines.join("\r\n"));
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\n{lines}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// A connection that nothing was sent on.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A graph of the user with that token.
    pub(crate) fn create_graph(&self, token: &str, name: &str) -> String {
        let body = serde_json::json!({ "graph-name": name, "graph-e2ee?": false, "graph-ready-for-use?": true });
        let (status, answer) = self.ask("POST", "/graphs", token, &body.to_string());
        assert_eq!(status, 200, "{answer}");
        answer["graph-id"].as_str().unwrap().to_owned()
    }

    /// A socket at a graph.
    pub(crate) fn socket(&self, token: &str, graph_id: &str) -> Socket {
        let url = format!("ws://{}/sync/{graph_id}?token={token}", self.address);
        let stream = self.connect();
        let (socket, _) =
            tungstenite::client(url.into_client_request().unwrap(), MaybeTlsStream::Plain(stream)).unwrap();
        Socket(socket)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client's end of a socket.
pub(crate) struct Socket(WebSocket<MaybeTlsStream<TcpStream>>);

impl Socket {
    /// A read that a signal has interrupted, as those of children that end do, is none.
    fn read(&mut self) -> Result<Message, tungstenite::Error> {
        loop {
            match self.0.read() {
                Err(tungstenite::Error::Io(error)) if error.kind() == std::io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    pub(crate) fn send(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).unwrap();
    }

    /// The next message of one of these types.
    pub(crate) fn receive(&mut self, types: &[&str]) -> Value {
        loop {
            match self.read().unwrap() {
                Message::Text(text) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    if types.contains(&message["type"].as_str().unwrap()) {
                        return message;
                    }
                }
                Message::Close(frame) => panic!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    /// Sends a message, unless the socket is being closed.
    pub(crate) fn offer(&mut self, message: &Value) {
        let _ = self.0.send(Message::text(message.to_string()));
    }

    /// The next message of one of these types; the code where the socket is closed before it comes.
    pub(crate) fn next_of(&mut self, types: &[&str]) -> Result<Value, Option<u16>> {
        loop {
            match self.read() {
                Ok(Message::Text(text)) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    if types.contains(&message["type"].as_str().unwrap()) {
                        return Ok(message);
                    }
                }
                Ok(Message::Close(frame)) => return Err(frame.map(|it| it.code.into())),
                Ok(_) => {}
                Err(_) => return Err(None),
            }
        }
    }

    /// The code with which the server closes.
    pub(crate) fn closed(&mut self) -> Option<(u16, String)> {
        self.closed_without(&[])
    }

    /// The same; before it comes no message of one of these types.
    pub(crate) fn closed_without(&mut self, types: &[&str]) -> Option<(u16, String)> {
        loop {
            match self.read() {
                Ok(Message::Close(frame)) => return frame.map(|it| (it.code.into(), it.reason.as_str().to_owned())),
                Ok(Message::Text(text)) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    assert!(!types.contains(&message["type"].as_str().unwrap()), "{message}");
                }
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }
}

/// A batch of one page.
pub(crate) fn page(t_before: i64, number: u64) -> Value {
    let uuid = format!("66b8d8f0-0000-4000-8000-{number:012x}");
    let add = |attribute: &str, value: &str| format!(r#"["~:db/add","page","~:{attribute}",{value}]"#);
    let items = [
        add("block/uuid", &format!("\"~u{uuid}\"")),
        add("block/name", &format!("\"page {number}\"")),
        add("block/title", &format!("\"Page {number}\"")),
        add("block/created-at", "1755000000000"),
        add("block/updated-at", "1755000000000"),
        add("block/tags", "\"~:logseq.class/Page\""),
    ];
    serde_json::json!({
        "type": "tx/batch",
        "t-before": t_before,
        "txs": [{ "tx": format!("[{}]", items.join(",")), "outliner-op": "create-page" }],
    })
}
