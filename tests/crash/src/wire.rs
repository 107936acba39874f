//! How the harness talks to a server: requests one a connection, and sockets as clients have them.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use tungstenite::client::IntoClientRequest as _;
use tungstenite::{Error, Message, WebSocket};

use crate::process::TOKEN;

/// How long an answer may take: the machine may be busy with other things, and the server under `strace`.
const PATIENCE: Duration = Duration::from_mins(1);

/// The connection is gone, or was never there.
#[derive(Debug)]
pub(crate) struct Gone(pub(crate) String);

impl From<std::io::Error> for Gone {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

fn connect(address: SocketAddr) -> Result<TcpStream, Gone> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One request. An answer that breaks off is none.
pub(crate) fn ask(address: SocketAddr, method: &str, path: &str, body: &[u8]) -> Result<Answer, Gone> {
    let mut stream = connect(address)?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(|| Gone("no answer".into()))?;
    let body = answer.split_off(end + 4);
    let head = String::from_utf8_lossy(&answer).to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = if head.contains("transfer-encoding: chunked") { unchunked(&body)? } else { body };
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.trim().parse().ok());
    if length.is_some_and(|length: usize| length != body.len()) {
        return Err(Gone("the answer broke off".into()));
    }
    Ok(Answer { status: status.ok_or_else(|| Gone("no status".into()))?, body })
}

fn unchunked(mut body: &[u8]) -> Result<Vec<u8>, Gone> {
    let mut whole = Vec::new();
    let broken = || Gone("the answer broke off".into());
    loop {
        let end = body.windows(2).position(|window| window == b"\r\n").ok_or_else(broken)?;
        let (size, rest) = body.split_at_checked(end).ok_or_else(broken)?;
        let size = std::str::from_utf8(size).ok().and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
        let size = size.ok_or_else(broken)?;
        let rest = rest.get(2..).ok_or_else(broken)?;
        if size == 0 {
            return Ok(whole);
        }
        whole.extend_from_slice(rest.get(..size).ok_or_else(broken)?);
        body = rest.get(size + 2..).ok_or_else(broken)?;
    }
}

/// A client's socket at a graph.
pub(crate) struct Socket {
    socket: WebSocket<TcpStream>,
    /// The highest `t` that the server said the graph is at.
    pub(crate) told: i64,
}

impl Socket {
    pub(crate) fn open(address: SocketAddr, graph_id: &str) -> Result<Self, Gone> {
        let url = format!("ws://{address}/sync/{graph_id}?token={TOKEN}");
        let request = url.into_client_request().map_err(|error| Gone(error.to_string()))?;
        let opened = tungstenite::client(request, connect(address)?);
        let (socket, _) = opened.map_err(|error| Gone(error.to_string()))?;
        Ok(Self { socket, told: 0 })
    }

    /// Sends a message and waits for one of these types.
    pub(crate) fn ask(&mut self, message: &Value, types: &[&str]) -> Result<Value, Gone> {
        self.socket.send(Message::text(message.to_string())).map_err(|error| Gone(error.to_string()))?;
        self.receive(types)
    }

    /// The next message of one of these types.
    pub(crate) fn receive(&mut self, types: &[&str]) -> Result<Value, Gone> {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    let message: Value = serde_json::from_str(&text).map_err(|error| Gone(error.to_string()))?;
                    let kind = message["type"].as_str().unwrap_or_default();
                    if kind == "changed" {
                        self.told = self.told.max(message["t"].as_i64().unwrap_or(0));
                    }
                    if types.contains(&kind) {
                        return Ok(message);
                    }
                }
                Ok(Message::Close(frame)) => return Err(Gone(format!("closed: {frame:?}"))),
                Ok(_) => {}
                // Of a child that has ended.
                Err(Error::Io(error)) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Gone(error.to_string())),
            }
        }
    }
}
