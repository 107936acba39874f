//! A runtime of agents that does what an attack needs: it takes prompts and never answers them, says what it is told to say, or sends whoever
//! calls it elsewhere. It speaks as much of sandbox-agent's dialect as a session needs.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

/// A session of this name is sent to another address, whatever it asks for.
pub const REDIRECTED: &str = "redirected";

/// A runtime, which lives as long as the process.
#[derive(Clone)]
pub struct Runtime {
    pub port: u16,
    servers: Arc<Mutex<HashMap<String, AgentServer>>>,
    elsewhere: Arc<Mutex<String>>,
}

/// What is known of one session.
#[derive(Default)]
struct AgentServer {
    frames: u64,
    streams: Vec<TcpStream>,
}

impl Runtime {
    pub fn serve() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let runtime = Self { port, servers: Arc::default(), elsewhere: Arc::default() };
        let served = runtime.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = served.clone();
                // One request a connection; a broken one is the caller's affair.
                std::thread::spawn(move || served.answer(stream));
            }
        });
        runtime
    }

    /// Where [`REDIRECTED`] is sent.
    pub fn redirect_to(&self, url: &str) {
        url.clone_into(&mut self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn answer(&self, stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let mut words = line.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let path = target.split('?').next()?;
        let session = path.strip_prefix("/v1/acp/").unwrap_or_default().to_owned();
        if session.starts_with(REDIRECTED) {
            let to = self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let head = format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {to}{target}\r\n");
            return finish(&stream, &head, "");
        }
        match method.as_str() {
            "GET" if !session.is_empty() => self.listen(&session, stream),
            "POST" => {
                let call: Value = serde_json::from_slice(&body).unwrap_or_default();
                self.servers.lock().unwrap_or_else(PoisonError::into_inner).entry(session.clone()).or_default();
                let result = match call["method"].as_str() {
                    Some("session/new") => json!({ "sessionId": format!("runtime-{session}") }),
                    // The turn goes on for ever.
                    Some("session/prompt") => return finish(&stream, "HTTP/1.1 202 Accepted\r\n", ""),
                    _ => json!({}),
                };
                let said = json!({ "jsonrpc": "2.0", "id": call["id"], "result": result }).to_string();
                finish(&stream, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n", &said)
            }
            "DELETE" => finish(&stream, "HTTP/1.1 204 No Content\r\n", ""),
            _ => finish(&stream, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n", r#"{"servers":[]}"#),
        }
    }

    fn listen(&self, session: &str, mut stream: TcpStream) -> Option<()> {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n").ok()?;
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.entry(session.to_owned()).or_default().streams.push(stream);
        Some(())
    }

    /// Whether somebody listens to the session.
    pub fn is_heard(&self, session: &str) -> bool {
        let servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.get(session).is_some_and(|server| !server.streams.is_empty())
    }

    /// Says an event of the progress of a tool, with so many bytes of text. It is numbered.
    pub fn say(&self, session: &str, number: usize, bytes: usize) {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let server = servers.entry(session.to_owned()).or_default();
        server.frames += 1;
        let update = json!({ "sessionUpdate": "tool_call_update", "toolCallId": "call", "status": "in_progress",
            "rawOutput": { "n": number, "text": "x".repeat(bytes) } });
        let said = json!({ "jsonrpc": "2.0", "method": "session/update",
            "params": { "sessionId": format!("runtime-{session}"), "update": update } });
        let frame = format!("event: message\nid: {}\ndata: {said}\n\n", server.frames);
        server.streams.retain_mut(|stream| stream.write_all(frame.as_bytes()).is_ok());
    }
}

fn finish(mut stream: &TcpStream, head: &str, body: &str) -> Option<()> {
    write!(stream, "{head}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).ok()
}
