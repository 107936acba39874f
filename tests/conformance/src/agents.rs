//! A stand-in for the agents worker: it answers with what it was asked, so that tests see what was forwarded.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::json;

/// The stand-in and how often each path was asked.
pub struct Agents {
    pub port: u16,
    calls: Arc<Mutex<HashMap<String, Calls>>>,
}

/// The requests for one path.
#[derive(Default)]
struct Calls {
    count: usize,
    last_headers: Vec<String>,
}

impl Agents {
    /// Serves for the life of the process. A path with `refuse=N` in its query is answered 503 the first N times, every
    /// other request 201 with what it was.
    pub fn serve(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the agents port is free");
        let calls = Arc::new(Mutex::new(HashMap::new()));
        let counted = Arc::clone(&calls);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counted = Arc::clone(&counted);
                std::thread::spawn(move || answer(&stream, &counted));
            }
        });
        Self { port, calls }
    }

    /// Requests so far for a path with query.
    pub fn calls(&self, path: &str) -> usize {
        self.calls.lock().expect("no case panics here").get(path).map_or(0, |calls| calls.count)
    }

    /// Names of the headers that came last for a path with query, in lower case.
    pub fn last_headers(&self, path: &str) -> Vec<String> {
        self.calls
            .lock()
            .expect("no case panics here")
            .get(path)
            .map(|calls| calls.last_headers.clone())
            .unwrap_or_default()
    }
}

/// One request for each connection. A broken connection is an error of the server, and fails the running case.
fn answer(stream: &TcpStream, calls: &Mutex<HashMap<String, Calls>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let body = read_body(&mut reader, &headers)?;
    let seen = {
        let mut calls = calls.lock().ok()?;
        let seen = calls.entry(path.clone()).or_default();
        seen.count += 1;
        seen.last_headers = headers.keys().cloned().collect();
        seen.count
    };
    let refusals: usize = path.split("refuse=").nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    let status = if seen <= refusals { "503 Service Unavailable" } else { "201 Created" };
    let said = json!({
        "method": method, "path": path, "authorization": headers.get("authorization"), "body": String::from_utf8_lossy(&body),
    })
    .to_string();
    let mut stream = stream;
    write!(stream, "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nx-agents: yes\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{said}", said.len()).ok()
}

/// All of a body, also in chunks: a connection that is closed with bytes of it unread is reset, and may take the answer with it.
fn read_body(reader: &mut impl BufRead, headers: &HashMap<String, String>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    if headers.get("transfer-encoding").is_none_or(|encoding| encoding != "chunked") {
        body.resize(headers.get("content-length").and_then(|n| n.parse().ok()).unwrap_or(0), 0);
        reader.read_exact(&mut body).ok()?;
        return Some(body);
    }
    loop {
        let mut size = String::new();
        reader.read_line(&mut size).ok()?;
        let size = usize::from_str_radix(size.trim_end(), 16).ok()?;
        let begun = body.len();
        body.resize(begun + size, 0);
        reader.read_exact(&mut body[begun..]).ok()?;
        // The end of the line behind each chunk.
        reader.read_line(&mut String::new()).ok()?;
        if size == 0 {
            return Some(body);
        }
    }
}
