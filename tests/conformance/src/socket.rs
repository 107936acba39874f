//! A WebSocket as a client uses it.

use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::client::client_with_config;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::protocol::frame::CloseFrame;
use tungstenite::{Error, Message, WebSocket};

use crate::client::{Answer, Client};

const PATIENCE: Duration = Duration::from_secs(15);

/// An open socket; messages are read in order.
pub struct Socket {
    ws: WebSocket<TcpStream>,
}

/// What ends a socket: the code and reason of the server's Close frame.
#[derive(Debug, PartialEq, Eq)]
pub struct Closed(pub u16, pub String);

impl Socket {
    /// Opens `/sync/<graph>` with the token in the query, as clients do; a refusal comes back as an ordinary answer.
    pub fn try_open(client: &Client, graph: &str) -> Result<Self, Answer> {
        let query = client.token.as_ref().map(|t| format!("?token={t}")).unwrap_or_default();
        Self::try_open_path(client, &format!("/sync/{graph}{query}"), &[])
    }

    /// Opens any path with any headers.
    pub fn try_open_path(client: &Client, path: &str, headers: &[(&'static str, &str)]) -> Result<Self, Answer> {
        let address = client.base.trim_start_matches("http://").to_owned();
        let mut request = format!("ws://{address}{path}").into_client_request().expect("request");
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("header value"));
        }
        let stream = TcpStream::connect(&address).expect("server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        stream.set_nodelay(true).expect("nodelay");
        let config = WebSocketConfig::default().max_message_size(Some(1 << 30)).max_frame_size(Some(1 << 30));
        match client_with_config(request, stream, Some(config)) {
            Ok((ws, _response)) => Ok(Self { ws }),
            Err(tungstenite::HandshakeError::Failure(Error::Http(response))) => {
                let (parts, body) = response.into_parts();
                Err(Answer { status: parts.status.as_u16(), headers: parts.headers, bytes: body.unwrap_or_default() })
            }
            Err(other) => panic!("upgrade: {other}"),
        }
    }

    /// Opens a socket that must be accepted, and swallows the `online-users` that follow.
    #[track_caller]
    pub fn open(client: &Client, graph: &str) -> Self {
        let mut socket = match Self::try_open(client, graph) {
            Ok(socket) => socket,
            Err(answer) => panic!("upgrade refused: {} {}", answer.status, answer.json()),
        };
        assert_eq!(socket.next()["type"], "online-users");
        socket
    }

    /// Sends one JSON message.
    pub fn send(&mut self, message: &Value) {
        self.send_text(&message.to_string());
    }

    pub fn send_text(&mut self, text: &str) {
        self.ws.send(Message::text(text)).expect("socket takes the message");
    }

    pub fn send_binary(&mut self, bytes: &[u8]) {
        self.ws.send(Message::binary(bytes.to_vec())).expect("socket takes the message");
    }

    /// The next message; texts that are not JSON come as a JSON string.
    #[track_caller]
    pub fn next(&mut self) -> Value {
        match self.next_or_closed() {
            Ok(message) => message,
            Err(closed) => panic!("socket closed: {closed:?}"),
        }
    }

    /// The next message, or how the server closed the socket.
    #[track_caller]
    pub fn next_or_closed(&mut self) -> Result<Value, Closed> {
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
        self.next()
    }

    /// Everything that has arrived by now: a ping is answered after what came before it.
    #[track_caller]
    pub fn drain(&mut self) -> Vec<Value> {
        self.send(&json!({ "type": "ping" }));
        let mut out = Vec::new();
        loop {
            let message = self.next();
            if message["type"] == "pong" {
                return out;
            }
            out.push(message);
        }
    }

    /// Closes with this code and returns what the server's Close frame says.
    pub fn close(mut self, code: u16, reason: &str) -> Closed {
        self.ws.close(Some(CloseFrame { code: code.into(), reason: reason.to_owned().into() })).expect("close is sent");
        loop {
            match self.next_or_closed() {
                Ok(_) => {}
                Err(closed) => return closed,
            }
        }
    }
}
