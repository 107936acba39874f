//! Limits of what is taken at once (docs/spec/self-host.md 9.3). Those of heads, bodies and idle connections are in `listening`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::operator::graph_with_pages;
use crate::support::{ADMIN, Server, TOKEN, binary};

/// The status of a handshake at a graph, whose socket goes at once.
fn handshake(server: &Server, graph_id: &str) -> String {
    let mut stream = server.connect();
    let head = format!(
        "GET /sync/{graph_id} HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {TOKEN}\r\nconnection: upgrade\r\n\
         upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    String::from_utf8_lossy(&status[9..]).into_owned()
}

#[test]
fn a_graph_has_so_many_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[("DB_SYNC_LIMIT_GRAPH_SOCKETS", "2")]);
    let (first, second) = (server.create_graph(TOKEN, "first"), server.create_graph(TOKEN, "second"));
    let _there = [server.socket(TOKEN, &first), server.socket(TOKEN, &first)];
    assert_eq!((handshake(&server, &first), handshake(&server, &second)), ("429".into(), "101".into()));
}

#[test]
fn a_graph_has_so_many_downloads() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [("DB_SYNC_LIMIT_EXPORTS", "1"), ("DB_SYNC_SNAPSHOT_STREAM_GZIP", "false")];
    let server = Server::start(folder.path(), &settings);
    let graph_id = graph_with_pages(&server, "notes", 2);
    let path = folder.path().join("graphs").join(&graph_id).join("db.sqlite");
    let mut connection = rusqlite::Connection::open(&path).unwrap();
    connection.busy_timeout(Duration::from_mins(1)).unwrap();
    // More than all buffers on the way hold, before anybody has asked how many rows there are.
    let transaction = connection.transaction().unwrap();
    for addr in 0..64 {
        let sql = "INSERT INTO kvs (addr, content, addresses) VALUES (?, ?, NULL)";
        transaction.execute(sql, (50_000_000 + addr, "x".repeat(1 << 20))).unwrap();
    }
    transaction.commit().unwrap();
    assert_eq!(server.ask("GET", &format!("/sync/{graph_id}/snapshot/download"), TOKEN, "").0, 200);
    let mut first = server.connect();
    let path = format!("/sync/{graph_id}/snapshot/stream");
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\r\n");
    first.write_all(head.as_bytes()).unwrap();
    first.read_exact(&mut [0; 4096]).unwrap();
    assert_eq!(server.ask("GET", &path, TOKEN, "").0, 503);
    drop(first);
    let begun = Instant::now();
    while server.ask("GET", &path, TOKEN, "").0 != 200 {
        assert!(begun.elapsed() < Duration::from_mins(1), "its place is free again");
    }
}

#[test]
fn a_socket_that_answers_no_ping_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[("DB_SYNC_LIMIT_PING_S", "1")]);
    let graph_id = server.create_graph(TOKEN, "notes");
    let mut stream = server.connect();
    let head = format!(
        "GET /sync/{graph_id} HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {TOKEN}\r\nconnection: upgrade\r\n\
         upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).unwrap();
    let pings = heard.windows(2).filter(|two| *two == [0x89, 0]).count();
    assert!(pings >= 2, "it was asked twice, not {pings} times");
    // A frame that closes, with the code 1001.
    assert!(heard.windows(4).any(|four| four[0] == 0x88 && four[2..] == [0x03, 0xE9]), "{heard:?}");
}

#[test]
fn a_reader_who_is_too_slow_is_told_and_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[("DB_SYNC_LIMIT_UNREAD_MIB", "1")]);
    let graph_id = graph_with_pages(&server, "notes", 100);
    let mut socket = server.socket(TOKEN, &graph_id);
    let ask = serde_json::json!({ "type": "pull", "since": 0 });
    // More answers than the system keeps for a reader, who reads none of them.
    for _ in 0..1_000 {
        socket.send(&ask);
    }
    assert_eq!(socket.closed(), Some((1013, "too slow".into())));
    let metrics = || server.ask_with("GET", "/metrics", &[&format!("x-db-sync-admin-token: {ADMIN}")], "").1;
    let begun = Instant::now();
    while !metrics().contains("websocket_closes_total{code=\"1013\"} 1") {
        assert!(begun.elapsed() < Duration::from_mins(1), "{}", metrics());
    }
    // Whoever reads is answered.
    let mut other = server.socket(TOKEN, &graph_id);
    other.send(&ask);
    assert_eq!(other.receive(&["pull/ok"])["t"], 100);
}

/// An address of this machine that is not loopback. Nothing is sent for it.
fn own_address() -> std::net::IpAddr {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    // Fails where the machine has no network at all.
    socket.connect("198.51.100.1:9").unwrap();
    socket.local_addr().unwrap().ip()
}

#[test]
fn an_address_has_so_many_connections_and_this_machine_any_number() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = binary(folder.path());
    let binds = format!("127.0.0.1,{}", own_address());
    command.args(["serve", "--port", "0", "--bind", &binds, "--json"]);
    command.envs([("DB_SYNC_AUTH_DRIVER", "static"), ("DB_SYNC_AUTH_TOKEN", TOKEN)]);
    command.env("DB_SYNC_LIMIT_PER_ADDRESS", "2");
    let server = Server::of(command);
    let ready: serde_json::Value = serde_json::from_str(&server.ready).unwrap();
    let outer = ready["listen"][1].as_str().unwrap().trim_start_matches("http://").to_owned();
    // What is answered on a new connection, which stays.
    let come = |address: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        // One that is refused may be closed by now.
        let _ = stream.write_all(b"GET /health HTTP/1.1\r\nhost: h\r\n\r\n");
        let mut answer = [0; 12];
        let read = stream.read(&mut answer).unwrap_or_default();
        (String::from_utf8_lossy(&answer[..read]).into_owned(), stream)
    };
    let (first, stays) = come(&outer);
    let (second, _stays_too) = come(&outer);
    assert_eq!((&*first, &*second), ("HTTP/1.1 200", "HTTP/1.1 200"));
    let (third, _) = come(&outer);
    assert!(matches!(&*third, "HTTP/1.1 503" | ""), "{third}");
    let inner = server.base().trim_start_matches("http://").to_owned();
    let near: Vec<_> = (0..5).map(|_| come(&inner)).collect();
    assert!(near.iter().all(|(answer, _)| answer == "HTTP/1.1 200"), "{near:?}");
    drop(stays);
    let begun = Instant::now();
    while come(&outer).0 != "HTTP/1.1 200" {
        assert!(begun.elapsed() < Duration::from_mins(1), "its place is free again");
    }
}

#[test]
fn the_graph_that_was_unused_for_longest_makes_room() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[("DB_SYNC_LIMIT_OPEN_GRAPHS", "1")]);
    // Each thread has room for one.
    let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(1, 8);
    let graphs: Vec<String> = (0..4 * threads).map(|n| server.create_graph(TOKEN, &format!("g{n}"))).collect();
    for graph_id in graphs.iter().chain(&graphs) {
        let (status, told) = server.ask("GET", &format!("/sync/{graph_id}/pull"), TOKEN, "");
        assert_eq!(status, 200, "{told}");
    }
    let metrics = server.ask_with("GET", "/metrics", &[&format!("x-db-sync-admin-token: {ADMIN}")], "").1;
    let open = metrics.lines().find_map(|line| line.strip_prefix("logseq_sync_graphs_open ")).unwrap();
    assert!(open.parse::<usize>().unwrap() <= threads, "{open} graphs are open on {threads} threads");
}
