//! Requests that no HTTP library would send.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use conformance::Client;

/// Sends a request with exactly this target, and gives the status of the answer: 0 if the server cuts the connection
/// instead.
pub fn status(client: &Client, method: &str, target: &str, headers: &[(&str, &str)]) -> u16 {
    let address = client.base.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("server listens");
    stream.set_read_timeout(Some(Duration::from_secs(15))).expect("timeout");
    let mut request =
        format!("{method} {target} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: 0\r\n");
    let token = client.token.as_ref().map(|token| format!("Bearer {token}"));
    let token = token.iter().map(|token| ("authorization", token.as_str()));
    for (name, value) in headers.iter().copied().chain(token) {
        for part in [name, ": ", value, "\r\n"] {
            request.push_str(part);
        }
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).expect("request is sent");
    // Only the bytes that are needed are read, because the connection may stay open for seconds.
    let mut line = Vec::new();
    let mut part = [0; 64];
    while !line.contains(&b'\n') {
        match stream.read(&mut part) {
            Ok(read @ 1..) => line.extend(part.iter().take(read)),
            _ => break,
        }
    }
    let line = String::from_utf8_lossy(&line);
    line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}
