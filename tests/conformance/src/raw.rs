//! HTTP as it goes over the wire: nothing is unpacked, completed, repeated or followed.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use http::HeaderMap;

use crate::client::{Answer, Client};
use crate::socket::read_head;

const PATIENCE: Duration = Duration::from_mins(1);

/// A connection to the server, before anything was sent.
pub fn connect(client: &Client) -> TcpStream {
    let stream = TcpStream::connect(client.base.trim_start_matches("http://")).expect("server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    stream.set_nodelay(true).expect("nodelay");
    stream
}

/// The head of a request that closes its connection; `headers` are whole lines.
pub fn head(client: &Client, method: &str, path: &str, headers: &[&str]) -> String {
    let host = client.base.trim_start_matches("http://");
    let token = client.token.as_ref().map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    let named = headers.iter().any(|line| line.starts_with("host:"));
    let host = if named { String::new() } else { format!("host: {host}\r\n") };
    let more: String = headers.iter().flat_map(|line| [line, "\r\n"]).collect();
    format!("{method} {path} HTTP/1.1\r\n{host}connection: close\r\n{token}{more}\r\n")
}

/// Sends a request without a body.
pub fn send(client: &Client, method: &str, path: &str, headers: &[&str]) -> Answer {
    let mut stream = connect(client);
    stream.write_all(head(client, method, path, headers).as_bytes()).expect("request is sent");
    receive(&mut stream)
}

/// The next answer on a connection; chunks of its body are put together, nothing else is changed.
pub fn receive(stream: &mut TcpStream) -> Answer {
    let (status, headers, mut bytes) = read_head(stream);
    if status == 101 || status == 204 {
        // The answer has no body: what follows belongs to the next protocol.
        return Answer { status, headers, bytes };
    }
    let declared: Option<usize> = header(&headers, "content-length").and_then(|length| length.parse().ok());
    while declared.is_none_or(|length| bytes.len() < length) {
        let mut part = [0; 16 << 10];
        match stream.read(&mut part) {
            // When the server closes the connection with bytes unread, it is reset after the answer.
            Ok(0) | Err(_) => break,
            Ok(got) => bytes.extend_from_slice(&part[..got]),
        }
    }
    if header(&headers, "transfer-encoding") == Some("chunked") {
        bytes = without_chunks(&bytes);
    }
    Answer { status, headers, bytes }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// A chunked body, put together. It must be whole.
fn without_chunks(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let line = rest.windows(2).position(|w| w == b"\r\n").expect("chunk header");
        let size = std::str::from_utf8(&rest[..line]).expect("chunk header is text");
        let size = usize::from_str_radix(size.trim(), 16).expect("chunk header is a length");
        if size == 0 {
            return out;
        }
        out.extend_from_slice(&rest[line + 2..line + 2 + size]);
        rest = &rest[line + 2 + size + 2..];
    }
}
