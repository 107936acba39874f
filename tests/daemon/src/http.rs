//! As much HTTP as the daemon needs: one request for each connection.

use std::io::{self, Read, Write};

/// The largest request, in bytes.
const LIMIT: usize = 64 * 1024;

/// A request.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) host: Option<String>,
    pub(crate) token: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// A value of the query.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.query
            .split('&')
            .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
            .map(|(_, value)| value)
    }
}

/// Reads a request.
pub(crate) fn read(stream: &mut impl Read) -> io::Result<Request> {
    let odd = || io::Error::from(io::ErrorKind::InvalidData);
    let mut received = Vec::new();
    let mut piece = [0; 4096];
    // Bounded by the largest request.
    while received.len() < LIMIT {
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        received.extend(piece.get(..count).unwrap_or_default());
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut head = httparse::Request::new(&mut headers);
        let Ok(httparse::Status::Complete(length)) = head.parse(&received) else {
            continue;
        };
        let header = |name: &str| {
            let header = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(header.value).ok().map(str::to_owned)
        };
        let declared = header("content-length").and_then(|text| text.parse::<usize>().ok()).unwrap_or(0);
        let Some(body) = received.get(length..).filter(|body| body.len() >= declared) else {
            continue;
        };
        let (path, query) = head.path.ok_or_else(odd)?.split_once('?').unwrap_or((head.path.unwrap_or_default(), ""));
        return Ok(Request {
            method: head.method.unwrap_or_default().to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            host: header("host"),
            token: header("authorization").and_then(|text| text.strip_prefix("Bearer ").map(str::to_owned)),
            body: body.to_vec(),
        });
    }
    Err(odd())
}

/// Writes an answer.
pub(crate) fn write(stream: &mut impl Write, status: u16, body: &str) -> io::Result<()> {
    let length = body.len();
    write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")?;
    stream.flush()
}
