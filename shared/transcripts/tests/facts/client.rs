//! A worker of 7.2 against a server that answers as it is told (facts 1–9 and 27 of transcripts.md 3): real sockets and files.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::UNIX_EPOCH;

use http::{HeaderMap, StatusCode};
use pollster::block_on;
use serde_json::{Value, json};
use transcripts::client::{Client, ClientError};
use transcripts::rules::Status;
use web::{Call, CallError, Failure, Fetch, Incoming, Reply};

use crate::support::{Folder, Machine, noise};

/// HTTP over plain sockets, as much of it as the tests need.
struct Plain;
struct Whole(Option<Vec<u8>>);

impl Incoming for Whole {
    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.0.take())
    }
}

impl Fetch for Plain {
    type Body = Whole;

    async fn fetch(&self, call: Call) -> Result<Reply<Whole>, CallError> {
        let broken = |error: std::io::Error| CallError::Broken(error.to_string());
        let rest = call.url.strip_prefix("http://").unwrap();
        let (host, path) = rest.split_once('/').unwrap();
        let mut stream = TcpStream::connect(host).map_err(|error| CallError::NotReached(error.to_string()))?;
        let mut head =
            format!("{} /{path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {}\r\n", call.method, call.body.len());
        for (name, value) in &call.headers {
            head = format!("{head}{name}: {}\r\n", value.to_str().unwrap());
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).map_err(broken)?;
        stream.write_all(&call.body).map_err(broken)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map_err(broken)?;
        let split = answer
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .ok_or_else(|| CallError::Broken("no head".into()))?;
        let head = String::from_utf8_lossy(&answer[..split]).into_owned();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = Whole(Some(answer[split + 4..].to_vec()));
        Ok(Reply { status: StatusCode::from_u16(status).unwrap(), headers: HeaderMap::new(), body })
    }
}

/// What came: the head, and the body.
type Asked = (String, Vec<u8>);

/// A server that gives one answer to everybody.
struct Server {
    base: String,
    asked: mpsc::Receiver<Asked>,
}

impl Server {
    fn new(status: u16, body: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (sender, asked) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
                let length =
                    head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
                let mut content = vec![0; length];
                reader.read_exact(&mut content).unwrap();
                let _ = sender.send((head, content));
                let head =
                    format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(&body).unwrap();
            }
        });
        Self { base, asked }
    }
}

fn client<'a>(machine: &'a Machine, base_url: &'a str, file: &'a str) -> Client<'a, Plain, Machine> {
    Client { fetch: &Plain, target: machine, base_url, token: "tok.en.1", file, limit: 4 << 20 }
}

/// Facts 1, 2 and 5.
#[test]
fn the_file_is_the_body() {
    for body in [noise(1, 600_000), b"{\"a\":\"\xc3\xa4\"}\n".to_vec(), b"\xff".to_vec()] {
        let (home, machine, server) = (Folder::new("client"), Machine::default(), Server::new(200, body.clone()));
        let file = home.path("not/yet/there.jsonl");
        assert_eq!(block_on(client(&machine, &server.base, &file).hydrate()), Ok(true));
        assert_eq!(fs::read(&file).unwrap(), body);
        let (head, sent) = server.asked.recv().unwrap();
        assert!(head.starts_with("GET /worker/transcript/snapshot HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("authorization: Bearer tok.en.1\r\n") && sent.is_empty(), "{head}");
    }
}

/// Fact 3.
#[test]
fn without_a_snapshot_the_file_is_left_alone() {
    let (home, machine, server) = (Folder::new("none"), Machine::default(), Server::new(404, b"{}".to_vec()));
    let file = home.path("session.jsonl");
    let client = client(&machine, &server.base, &file);
    assert_eq!(block_on(client.hydrate()), Ok(false));
    assert!(!fs::exists(&file).unwrap());
    fs::write(&file, b"mine").unwrap();
    let before = fs::metadata(&file).unwrap().modified().unwrap().duration_since(UNIX_EPOCH).unwrap();
    assert_eq!(block_on(client.hydrate()), Ok(false));
    let after = fs::metadata(&file).unwrap().modified().unwrap().duration_since(UNIX_EPOCH).unwrap();
    assert_eq!((fs::read(&file).unwrap().as_slice(), before), (&b"mine"[..], after));
}

/// Fact 4.
#[test]
fn a_refusal_is_told_and_the_file_stays() {
    let (home, machine, server) = (Folder::new("refusal"), Machine::default(), Server::new(500, b"no".to_vec()));
    let file = home.path("session.jsonl");
    fs::write(&file, b"mine").unwrap();
    let error = block_on(client(&machine, &server.base, &file).hydrate()).unwrap_err();
    assert!(error.to_string().contains("transcript hydrate failed: 500"), "{error}");
    assert_eq!(fs::read(&file).unwrap(), b"mine");
    let nobody = "http://127.0.0.1:1".to_owned();
    assert!(matches!(block_on(client(&machine, &nobody, &file).hydrate()), Err(ClientError::NoAnswer(_))));
}

/// Facts 6, 7, 8 and 9.
#[test]
fn a_completed_run_is_sent_once_and_others_are_not() {
    let (home, machine) = (Folder::new("sent"), Machine::default());
    let file = home.path("session.jsonl");
    let server = Server::new(200, b"{}".to_vec());
    let sends = client(&machine, &server.base, &file);
    let nothing = || server.asked.try_recv().is_err();
    block_on(sends.upload(Status::Completed, 42)).unwrap();
    fs::write(&file, b"").unwrap();
    block_on(sends.upload(Status::Completed, 42)).unwrap();
    fs::write(&file, "{\"text\":\"ä\\n\"}\n").unwrap();
    for status in [Status::Failed, Status::Timeout, Status::Cancelled] {
        block_on(sends.upload(status, 42)).unwrap();
    }
    assert!(nothing());
    block_on(sends.upload(Status::Completed, 42)).unwrap();
    let (head, body) = server.asked.recv().unwrap();
    assert!(head.starts_with("POST /worker/transcript/snapshot HTTP/1.1\r\n"), "{head}");
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body, json!({"terminalStatus": "completed", "snapshotJsonl": "{\"text\":\"ä\\n\"}\n", "runId": 42}));
    for (status, is_told) in [(409, false), (500, true)] {
        let server = Server::new(status, Vec::new());
        assert_eq!(block_on(client(&machine, &server.base, &file).upload(Status::Completed, 42)).is_err(), is_told);
    }
    let nobody = "http://127.0.0.1:1".to_owned();
    assert!(block_on(client(&machine, &nobody, &file).upload(Status::Completed, 42)).is_err(), "told, nothing more");
    block_on(sends.clear()).unwrap();
    assert!(server.asked.recv().unwrap().0.starts_with("DELETE /worker/transcript/snapshot HTTP/1.1\r\n"));
}
