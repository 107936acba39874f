//! A small HTTP server that keeps what it was asked.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use super::PATIENCE;

/// A request.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Method and path.
    pub(crate) what: String,
    pub(crate) token: String,
    pub(crate) body: String,
}

pub(crate) struct Server {
    pub(crate) port: u16,
    asked: Receiver<Asked>,
    /// The status of paths that end, or begin, so; all others are 200.
    statuses: Arc<Mutex<BTreeMap<String, u16>>>,
    /// While this file is there everything is 200.
    folder: tempfile::TempDir,
}

impl Server {
    pub(crate) fn start(answer: fn(&str) -> String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, asked) = channel();
        let statuses = Arc::new(Mutex::new(BTreeMap::<String, u16>::new()));
        let folder = tempfile::tempdir().unwrap();
        let (known, fine) = (Arc::clone(&statuses), folder.path().join("200"));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let Some((asked, stream)) = read(stream) else { continue };
                let path = asked.what.split(' ').nth(1).unwrap_or_default().to_owned();
                let known = known.lock().unwrap();
                let status =
                    known.iter().find(|(part, _)| path.ends_with(part.as_str()) || path.starts_with(part.as_str()));
                let status = status.filter(|_| !fine.exists()).map_or(200, |(_, status)| *status);
                drop(known);
                reply(stream, status, &answer(&path));
                let _nobody_listens = sender.send(asked);
            }
        });
        Self { port, asked, statuses, folder }
    }

    /// From now on paths that begin or end so are answered with this status.
    pub(crate) fn answers(&self, part: &str, status: u16) {
        self.statuses.lock().unwrap().insert(part.to_owned(), status);
    }

    /// While this file is there everything is answered with 200.
    pub(crate) fn file_of_200(&self) -> PathBuf {
        self.folder.path().join("200")
    }

    /// The next request of this method and path.
    pub(crate) fn next(&self, what: &str) -> Asked {
        loop {
            let asked = self.asked.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("nobody asked {what}"));
            if asked.what == what {
                return asked;
            }
        }
    }
}

fn read(stream: TcpStream) -> Option<(Asked, TcpStream)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let what = line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let (mut token, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => value.clone_into(&mut token),
            "content-length" => length = value.parse().ok()?,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((Asked { what, token, body: String::from_utf8(body).ok()? }, reader.into_inner()))
}

fn reply(mut stream: TcpStream, status: u16, body: &str) {
    let date = time::OffsetDateTime::now_utc().format(&time::format_description::well_known::Rfc2822).unwrap();
    let _gone = write!(
        stream,
        "HTTP/1.1 {status} x\r\ndate: {date}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
}
