//! Where the server listens: Unix sockets, descriptors of a service manager, HTTP/2; and how long clients may take.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::operator::graph_with_pages;
use crate::support::{ADMIN, Server, TOKEN, binary};

fn over(path: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_unix_socket_is_one_more_address() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("public.sock");
    let bind = format!("127.0.0.1,unix:{}", socket.display());
    let mut command = binary(folder.path());
    command.args(["serve", "--port", "0", "--json", "--bind", &bind]);
    command.envs([
        ("DB_SYNC_AUTH_DRIVER", "static"),
        ("DB_SYNC_AUTH_TOKEN", TOKEN),
        ("DB_SYNC_TRUSTED_PROXIES", "unix"),
    ]);
    command.env("DB_SYNC_INITIAL_DATA", "true");
    let mut server = Server::of(command);
    let ready: Value = serde_json::from_str(&server.ready).unwrap();
    assert_eq!(ready["listen"][1], format!("unix:{}", socket.display()));
    let graph_id = graph_with_pages(&server, "notes", 1);
    let ask = |more: &str| {
        let path = format!("/sync/{graph_id}/snapshot/download");
        over(
            &socket,
            &format!(
                "GET {path} HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {TOKEN}\r\n{more}connection: close\r\n\r\n"
            ),
        )
    };
    assert!(ask("").contains("\"http://h/sync/"), "{}", ask(""));
    let forwarded =
        ask("x-forwarded-proto: https\r\nx-forwarded-host: notes.example\r\nx-forwarded-for: 192.0.2.1\r\n");
    assert!(forwarded.contains("\"https://notes.example/sync/"), "{forwarded}");
    let second = binary(folder.path()).args(["serve", "--bind", &bind]).output().unwrap();
    assert_eq!(second.status.code(), Some(75), "the directory is locked first");
    let other = tempfile::tempdir().unwrap();
    let mut taken = binary(other.path());
    taken.args(["serve", "--bind", &format!("unix:{}", socket.display())]).env("DB_SYNC_AUTH_DRIVER", "none");
    assert_eq!(taken.output().unwrap().status.code(), Some(69), "somebody listens there");
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    assert!(!socket.exists(), "the file went with the server");
}

/// Starts the server as a service manager does that has opened descriptors 3 and 4: a shell hands them on under these numbers, and its
/// process becomes the server's.
fn activated(folder: &Path, listeners: &[std::net::TcpListener], names: &str, pid: &str) -> Command {
    // What the shell is to inherit does not close with its start. One of them may have a number that another one is to get.
    let kept = (103..).zip(listeners).map(|(number, listener)| format!("exec {number}<&{}; ", listener.as_raw_fd()));
    let given = (3..).zip(listeners).map(|(number, _)| format!("exec {number}<&{0} {0}<&-; ", number + 100));
    let last = format!("export LISTEN_PID={pid} LISTEN_FDS={}; exec \"$0\" serve --json", listeners.len());
    let script = kept.chain(given).collect::<String>() + &last;
    // Other shells know only numbers of one digit.
    let mut command = Command::new("bash");
    command.env_clear().env("DB_SYNC_DATA_DIR", folder).env("HOME", folder).stdin(Stdio::null());
    command.envs([("DB_SYNC_AUTH_DRIVER", "static"), ("DB_SYNC_AUTH_TOKEN", TOKEN), ("DB_SYNC_ADMIN_TOKEN", ADMIN)]);
    command.env("DB_SYNC_PORT", "0").env("DB_SYNC_BIND", "127.0.0.1").env("LISTEN_FDNAMES", names);
    command.args(["-c", &script, env!("CARGO_BIN_EXE_logseq-sync")]);
    command
}

fn inheritable() -> std::net::TcpListener {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::empty()).unwrap();
    listener
}

fn get(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn descriptors_of_a_service_manager_replace_the_addresses() {
    let folder = tempfile::tempdir().unwrap();
    let listeners = [inheritable(), inheritable()];
    let addresses = [0, 1].map(|at: usize| listeners[at].local_addr().unwrap());
    let server = Server::of(activated(folder.path(), &listeners, ":metrics", "$$"));
    let ready: Value = serde_json::from_str(&server.ready).unwrap();
    assert_eq!(ready["listen"], serde_json::json!([format!("http://{}", addresses[0])]));
    assert!(get(addresses[0], "/health").ends_with("{\"ok\":true}"));
    assert!(get(addresses[1], "/metrics").contains("logseq_sync_build_info"));
    assert!(get(addresses[0], "/metrics").starts_with("HTTP/1.1 404"), "they are there alone");
    drop(server);
    // Those of another process are left alone.
    let server = Server::of(activated(folder.path(), &listeners[..1], "", "1"));
    assert!(!server.ready.contains(&addresses[0].to_string()), "{}", server.ready);
    drop(server);
    let refused = activated(folder.path(), &listeners[..1], "https", "$$").output().unwrap();
    assert_eq!(refused.status.code(), Some(78), "there is no certificate");
}

#[test]
fn a_head_that_does_not_come_is_told_and_a_connection_stays_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let settings =
        [("DB_SYNC_LIMIT_HEADER_S", "1"), ("DB_SYNC_LIMIT_KEEP_ALIVE_S", "3"), ("DB_SYNC_LIMIT_IDLE_S", "1")];
    let server = Server::start(folder.path(), &settings);
    let mut slow = server.connect();
    slow.write_all(b"GET /health HT").unwrap();
    let mut told = String::new();
    slow.read_to_string(&mut told).unwrap();
    assert!(told.starts_with("HTTP/1.1 408") && told.ends_with("{\"error\":\"request timeout\"}"), "{told}");
    let mut silent = server.connect();
    told.clear();
    silent.read_to_string(&mut told).unwrap();
    assert_eq!(told, "", "whoever says nothing hears nothing");
    let mut kept = server.connect();
    kept.write_all(b"GET /health HTTP/1.1\r\nhost: h\r\n\r\n").unwrap();
    let begun = Instant::now();
    told.clear();
    kept.read_to_string(&mut told).unwrap();
    assert!(told.ends_with("{\"ok\":true}") && begun.elapsed() >= Duration::from_secs(2), "{told}");
    let mut body = server.connect();
    let head =
        format!("POST /graphs HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: 9\r\n\r\n{{");
    body.write_all(head.as_bytes()).unwrap();
    told.clear();
    body.read_to_string(&mut told).unwrap();
    assert!(told.starts_with("HTTP/1.1 408"), "{told}");
    let mut large = server.connect();
    large.write_all(format!("GET / HTTP/1.1\r\nhost: h\r\nx: {}\r\n\r\n", "x".repeat(64 << 10)).as_bytes()).unwrap();
    told.clear();
    large.read_to_string(&mut told).unwrap();
    assert!(told.starts_with("HTTP/1.1 431"), "{told}");
}

#[test]
fn limits_change_while_the_server_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.toml");
    std::fs::write(&file, "[limits]\nuser_sockets = 1\nexports = 1\nconnections = 100\n").unwrap();
    let server = Server::start(folder.path(), &[("DB_SYNC_CONFIG", file.to_str().unwrap())]);
    let graph_id = server.create_graph(TOKEN, "notes");
    let _first = server.socket(TOKEN, &graph_id);
    let upgrade = [
        &*format!("authorization: Bearer {TOKEN}"),
        "upgrade: websocket",
        "sec-websocket-version: 13",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let tried = || {
        let mut stream = server.connect();
        let lines = upgrade.join("\r\n");
        write!(stream, "GET /sync/{graph_id} HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\n{lines}\r\n\r\n").unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        String::from_utf8_lossy(&head[9..]).into_owned()
    };
    assert_eq!(tried(), "429");
    std::fs::write(&file, "[limits]\nuser_sockets = 5\nexports = 1\nconnections = 100\n").unwrap();
    server.signal("HUP");
    let begun = Instant::now();
    while tried() != "101" {
        assert!(begun.elapsed() < Duration::from_secs(30));
        std::thread::yield_now();
    }
    // One too many is closed at once.
    std::fs::write(&file, "[limits]\nconnections = 1\n").unwrap();
    server.signal("HUP");
    let begun = Instant::now();
    loop {
        let mut stream = server.connect();
        let written = stream.write_all(b"GET /health HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
        let mut answer = Vec::new();
        // A connection that is closed before its request was read is reset.
        let read = written.and_then(|()| stream.read_to_end(&mut answer));
        if read.is_err() || answer.is_empty() {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
}
