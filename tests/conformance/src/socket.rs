//! A WebSocket as a client uses it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use http::{HeaderMap, HeaderName};

use serde_json::{Value, json};
use tungstenite::handshake::client::generate_key;
use tungstenite::protocol::frame::CloseFrame;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use crate::client::{Answer, Client};

const PATIENCE: Duration = Duration::from_secs(15);

/// An open socket; messages are read in order.
#[derive(Debug)]
pub struct Socket {
    ws: WebSocket<TcpStream>,
}

/// How the server closed a socket: the code and reason of its Close frame.
#[derive(Debug, PartialEq, Eq)]
pub struct Closed(pub u16, pub String);

impl Socket {
    /// Opens `/sync/<graph>` with the token in the query, as clients do; a refusal comes back as an ordinary answer.
    pub fn try_open(client: &Client, graph: &str) -> Result<Self, Answer> {
        let query = client.token.as_ref().map(|t| format!("?token={t}")).unwrap_or_default();
        Self::try_open_path(client, &format!("/sync/{graph}{query}"), &[])
    }

    /// Opens any path with any headers.
    pub fn try_open_path(client: &Client, path: &str, headers: &[(&str, &str)]) -> Result<Self, Answer> {
        let address = client.base.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        stream.set_nodelay(true).expect("nodelay");
        let mut request = format!(
            "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: {}\r\n",
            generate_key()
        );
        for (name, value) in headers {
            for part in [name, ": ", value, "\r\n"] {
                request.push_str(part);
            }
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).expect("request is sent");
        let (status, head, rest) = read_head(&mut stream);
        if status == 101 {
            let config = WebSocketConfig::default().max_message_size(Some(1 << 30)).max_frame_size(Some(1 << 30));
            return Ok(Self { ws: WebSocket::from_partially_read(stream, rest, Role::Client, Some(config)) });
        }
        let mut bytes = rest;
        let length = head.get("content-length").and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok()).unwrap_or(0);
        while bytes.len() < length {
            let mut part = [0_u8; 4096];
            let got = stream.read(&mut part).expect("body arrives");
            assert!(got > 0, "body is cut off");
            bytes.extend_from_slice(&part[..got]);
        }
        Err(Answer { status, headers: head, bytes })
    }

    /// Opens a socket that must be accepted, and swallows the `online-users` that follow.
    #[track_caller]
    pub fn open(client: &Client, graph: &str) -> Self {
        let mut socket = match Self::try_open(client, graph) {
            Ok(socket) => socket,
            Err(answer) => panic!("upgrade refused: {} {}", answer.status, answer.json()),
        };
        assert_eq!(socket.receive()["type"], "online-users");
        socket
    }

    /// Sends one JSON message.
    pub fn send(&mut self, message: &Value) {
        self.send_text(&message.to_string());
    }

    /// The same for a socket that the server may have closed.
    pub fn try_send(&mut self, message: &Value) -> Result<(), Error> {
        self.ws.send(Message::text(message.to_string()))
    }

    /// Sends a text that closes the socket, and gives how it was closed. A server that closes it while the text is on its way may
    /// cut the connection: what it said before that is still read. None: it said nothing.
    pub fn send_to_the_end(&mut self, text: &str) -> Option<Closed> {
        let cut = |error: &Error| match error {
            Error::Io(error) => matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
            _ => false,
        };
        if let Err(error) = self.ws.send(Message::text(text)) {
            assert!(cut(&error), "sending: {error}");
        }
        loop {
            match self.ws.read() {
                Ok(Message::Close(frame)) => {
                    return frame.map(|frame| Closed(frame.code.into(), frame.reason.to_string()));
                }
                Ok(Message::Text(text)) => panic!("answered: {text}"),
                Ok(_) => {}
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => return None,
                Err(error) if cut(&error) => return None,
                Err(error) => panic!("waiting for the end: {error}"),
            }
        }
    }

    pub fn send_text(&mut self, text: &str) {
        self.ws.send(Message::text(text)).expect("socket takes the message");
    }

    pub fn send_binary(&mut self, bytes: &[u8]) {
        self.ws.send(Message::binary(bytes.to_vec())).expect("socket takes the message");
    }

    /// Sends a ping of the protocol and waits for its answer; texts that come before it are passed over.
    pub fn ping(&mut self, payload: &[u8]) {
        self.ws.send(Message::Ping(payload.to_vec().into())).expect("socket takes the ping");
        loop {
            match self.ws.read().expect("an answer arrives") {
                Message::Pong(answer) if answer.as_ref() == payload => return,
                Message::Pong(other) => panic!("the answer to another ping: {other:?}"),
                _ => {}
            }
        }
    }

    /// The next message; texts that are not JSON come as a JSON string.
    #[track_caller]
    pub fn receive(&mut self) -> Value {
        match self.receive_or_closed() {
            Ok(message) => message,
            Err(closed) => panic!("socket closed: {closed:?}"),
        }
    }

    /// The next message, or how the server closed the socket.
    #[track_caller]
    pub fn receive_or_closed(&mut self) -> Result<Value, Closed> {
        loop {
            match self.ws.read() {
                Ok(Message::Text(text)) => {
                    return Ok(serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.to_string())));
                }
                Ok(Message::Binary(bytes)) => panic!("binary frame of {} bytes", bytes.len()),
                Ok(Message::Close(frame)) => {
                    let frame = frame.unwrap_or(CloseFrame { code: 1005.into(), reason: "".into() });
                    return Err(Closed(frame.code.into(), frame.reason.to_string()));
                }
                Ok(_) => {}
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => return Err(Closed(1006, String::new())),
                Err(e) => panic!("waiting for a message: {e}"),
            }
        }
    }

    /// Sends a message and returns the next one that arrives.
    #[track_caller]
    pub fn ask(&mut self, message: &Value) -> Value {
        self.send(message);
        self.receive()
    }

    /// Everything that has arrived by now: a ping is answered after what came before it.
    #[track_caller]
    pub fn drain(&mut self) -> Vec<Value> {
        self.send(&json!({ "type": "ping" }));
        let mut out = Vec::new();
        loop {
            let message = self.receive();
            if message["type"] == "pong" {
                return out;
            }
            out.push(message);
        }
    }

    /// Reads until the server has closed the socket and ended the connection, which is when clients notice it; gives
    /// how it was closed. The Close frame is answered automatically.
    pub fn until_end(&mut self) -> Closed {
        let closed = loop {
            if let Err(closed) = self.receive_or_closed() {
                break closed;
            }
        };
        while self.ws.read().is_ok() {}
        closed
    }

    /// The connection below.
    pub fn stream(&self) -> &TcpStream {
        self.ws.get_ref()
    }

    /// Closes with this code and returns what the server's Close frame says.
    pub fn close(mut self, code: u16, reason: &str) -> Closed {
        self.ws.close(Some(CloseFrame { code: code.into(), reason: reason.to_owned().into() })).expect("close is sent");
        loop {
            match self.receive_or_closed() {
                Ok(_) => {}
                Err(closed) => return closed,
            }
        }
    }
}

/// Status, headers and the bytes after them.
pub(crate) fn read_head(stream: &mut TcpStream) -> (u16, HeaderMap, Vec<u8>) {
    let mut raw = Vec::new();
    let end = loop {
        if let Some(end) = raw.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        let mut part = [0_u8; 4096];
        let got = stream.read(&mut part).expect("an answer arrives");
        assert!(got > 0, "closed without an answer");
        raw.extend_from_slice(&part[..got]);
    };
    let text = String::from_utf8_lossy(&raw[..end]).into_owned();
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|l| l.split(' ').nth(1)).and_then(|s| s.parse().ok()).expect("status line");
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').expect("header line");
        headers.append(name.parse::<HeaderName>().expect("header name"), value.trim().parse().expect("header value"));
    }
    (status, headers, raw.split_off(end + 4))
}
