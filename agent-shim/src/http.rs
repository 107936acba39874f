//! As much of HTTP/1.1 as a server on this machine needs to be asked: one request a connection, bounded answers.

use std::io::{self, BufRead, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// The longest head of an answer, in bytes.
const MAX_HEAD: u64 = 64 << 10;

/// A request.
pub(crate) struct Request<'a> {
    /// Its method.
    pub(crate) method: &'a str,
    /// Path and query.
    pub(crate) path: &'a str,
    /// Further headers; none of their texts comes from the agent.
    pub(crate) headers: &'a [(&'a str, &'a str)],
    /// Its body, as JSON.
    pub(crate) body: &'a str,
    /// How long may pass between two parts of the answer.
    pub(crate) silence: Option<Duration>,
}

/// Sends a request. The status of the answer, and its body.
pub(crate) fn ask(address: SocketAddr, request: &Request<'_>) -> io::Result<(u16, Body)> {
    let mut stream = TcpStream::connect_timeout(&address, CONNECT)?;
    stream.set_read_timeout(request.silence)?;
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    write!(head, "{} {} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n", request.method, request.path)?;
    for (name, value) in request.headers {
        write!(head, "{name}: {value}\r\n")?;
    }
    write!(head, "content-length: {}\r\n\r\n", request.body.len())?;
    stream.write_all(&head)?;
    stream.write_all(request.body.as_bytes())?;
    let mut reader = BufReader::new(stream);
    let (status, framing) = read_head(&mut reader)?;
    Ok((status, Body { reader, framing }))
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct Body {
    reader: BufReader<TcpStream>,
    framing: Framing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// So many bytes are left.
    Length(u64),
    /// So many bytes of this chunk are left; nothing before the first.
    Chunks(Option<u64>),
    /// All there is.
    Rest,
}

fn odd(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn read_head(reader: &mut impl BufRead) -> io::Result<(u16, Framing)> {
    let mut head = reader.by_ref().take(MAX_HEAD);
    let first = line(&mut head)?;
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(|| odd("no status"))?;
    let mut framing = Framing::Rest;
    // Bounded by MAX_HEAD.
    loop {
        let header = line(&mut head)?;
        let Some((name, value)) = header.split_once(':') else {
            // Some answers have no body, whatever their headers say.
            let empty = matches!(status, 204 | 304);
            return Ok((status, if empty { Framing::Length(0) } else { framing }));
        };
        if name.eq_ignore_ascii_case("transfer-encoding") && value.trim().eq_ignore_ascii_case("chunked") {
            framing = Framing::Chunks(None);
        } else if name.eq_ignore_ascii_case("content-length") && framing == Framing::Rest {
            framing = Framing::Length(value.trim().parse().map_err(|_| odd("no length"))?);
        }
    }
}

/// A line without its end.
fn line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 || !line.ends_with('\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Reads a chunk's head. Nothing after the last one.
fn next_chunk(reader: &mut impl BufRead, first: bool) -> io::Result<Option<u64>> {
    let mut bounded = reader.by_ref().take(MAX_HEAD);
    if !first {
        // The end of the chunk before it.
        line(&mut bounded)?;
    }
    let head = line(&mut bounded)?;
    let size = head.split(';').next().unwrap_or_default().trim();
    let size = u64::from_str_radix(size, 16).map_err(|_| odd("no length of a chunk"))?;
    Ok((size > 0).then_some(size))
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Framing::Chunks(left) = self.framing
            && left.unwrap_or_default() == 0
        {
            self.framing = match next_chunk(&mut self.reader, left.is_none())? {
                Some(size) => Framing::Chunks(Some(size)),
                None => Framing::Length(0),
            };
        }
        let room = match self.framing {
            Framing::Length(left) | Framing::Chunks(Some(left)) => usize::try_from(left).unwrap_or(usize::MAX),
            Framing::Chunks(None) => 0,
            Framing::Rest => usize::MAX,
        };
        let room = room.min(buffer.len());
        let read = self.reader.read(buffer.get_mut(..room).unwrap_or_default())?;
        if read == 0 && room > 0 && self.framing != Framing::Rest {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let read_so_far = read as u64;
        match &mut self.framing {
            Framing::Length(left) | Framing::Chunks(Some(left)) => *left -= read_so_far.min(*left),
            _ => {}
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// What is read of an answer.
    fn answered(answer: &'static [u8]) -> io::Result<(u16, String)> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while !line(&mut reader).unwrap().is_empty() {}
            stream.write_all(answer).unwrap();
        });
        let silence = Some(Duration::from_mins(1));
        let request = Request { method: "GET", path: "/x", headers: &[("a", "b")], body: "", silence };
        let result = ask(address, &request).and_then(|(status, mut body)| {
            let mut text = String::new();
            body.read_to_string(&mut text)?;
            Ok((status, text))
        });
        server.join().unwrap();
        result
    }

    #[test]
    fn bodies_of_all_forms_are_read() {
        assert_eq!(answered(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhixx").unwrap(), (200, "hi".into()));
        assert_eq!(answered(b"HTTP/1.1 502 Bad\r\n\r\nrest").unwrap(), (502, "rest".into()));
        assert_eq!(answered(b"HTTP/1.1 204 No\r\n\r\n").unwrap(), (204, String::new()));
        let chunked =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=1\r\n0123456789\r\n0\r\n\r\n";
        assert_eq!(answered(chunked).unwrap(), (200, "abc0123456789".into()));
    }

    #[test]
    fn what_is_cut_off_or_no_http_is_an_error() {
        for bad in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
            b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            b"hello\r\n",
            b"",
        ] {
            assert!(answered(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
