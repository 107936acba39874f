//! What was acknowledged is there, however the server ends.

use std::io::Write as _;

use graph::snapshot::FrameWriter;
use serde_json::json;

use super::operator::graph_with_pages;
use super::support::{Server, TOKEN, page};

#[test]
fn a_killed_server_has_lost_nothing_it_acknowledged() {
    let data = tempfile::tempdir().unwrap();
    let mut graph = String::new();
    let mut t = 0;
    for round in 0..5 {
        let mut server = Server::start(data.path(), &[]);
        if graph.is_empty() {
            graph = server.create_graph(TOKEN, "notes");
        }
        let mut socket = server.socket(TOKEN, &graph);
        for _ in 0..20 {
            socket.send(&page(t, u64::try_from(t).unwrap()));
            let answer = socket.receive(&["tx/batch/ok", "tx/reject"]);
            assert_eq!((&answer["type"], &answer["t"]), (&"tx/batch/ok".into(), &(t + 1).into()), "{round}: {answer}");
            t += 1;
        }
        // Another one is under way.
        socket.send(&page(t, 1_000_000 + round));
        server.kill();
        let server = Server::start(data.path(), &[]);
        let (status, pulled) = server.ask("GET", &format!("/sync/{graph}/pull?since=0"), TOKEN, "");
        let found = pulled["t"].as_i64().unwrap();
        assert_eq!(status, 200);
        assert!(found == t || found == t + 1, "{found} of {t}");
        assert_eq!(pulled["txs"].as_array().unwrap().len(), usize::try_from(found).unwrap());
        let (status, checked) = server.ask("GET", &format!("/sync/{graph}/checksum/diagnostics"), TOKEN, "");
        assert_eq!((status, checked["checksum"].is_null()), (200, false), "{checked}");
        t = found;
    }
}

#[test]
fn an_upload_goes_on_after_a_kill_and_what_was_half_done_is_thrown_away() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Server::start(data.path(), &[]);
    let source = graph_with_pages(&server, "source", 3);
    server.signal("TERM");
    server.wait();
    let rows = rusqlite::Connection::open(data.path().join("graphs").join(&source).join("db.sqlite")).unwrap();
    let mut frame = FrameWriter::new();
    let mut statement = rows.prepare("SELECT addr, content, addresses FROM kvs ORDER BY addr").unwrap();
    let read = statement.query_map((), |row| {
        frame.row(row.get(0)?, &row.get::<_, String>(1)?, row.get::<_, Option<String>>(2)?.as_deref());
        Ok(())
    });
    for row in read.unwrap() {
        row.unwrap();
    }
    let frame = frame.finish();
    let mut server = Server::start(data.path(), &[]);
    let graph = server.create_graph(TOKEN, "target");
    let upload = |server: &Server, query: &str, bytes: &[u8]| {
        let mut stream = server.connect();
        let head = format!(
            "POST /sync/{graph}/snapshot/upload?{query} HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {TOKEN}\r\n\
             connection: close\r\ncontent-length: {}\r\n\r\n",
            bytes.len()
        );
        stream.write_all(&[head.as_bytes(), bytes].concat()).unwrap();
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    };
    upload(&server, "reset=true&finished=false", &frame);
    // A file that is under way.
    let mut stream = server.connect();
    let head = format!(
        "PUT /assets/{graph}/9a8b7c6d-0000-4000-8000-000000000001.png HTTP/1.1\r\nhost: h\r\n\
         authorization: Bearer {TOKEN}\r\ncontent-length: 1000000\r\n\r\nhalf of it"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let tmp = data.path().join("tmp");
    crate::failing::until("the file is begun", || tmp.read_dir().unwrap().count() > 0);
    server.kill();
    assert!(tmp.read_dir().unwrap().count() > 0);
    let server = Server::start(data.path(), &[]);
    assert_eq!(tmp.read_dir().unwrap().count(), 0);
    let pull = || server.ask("GET", &format!("/sync/{graph}/pull?since=0"), TOKEN, "");
    assert_eq!(pull(), (409, json!({ "error": "graph not ready" })), "the upload is not over");
    upload(&server, "reset=false&finished=true", &[]);
    assert_eq!(pull().0, 200);
    let sum = |graph: &str| {
        server.ask("GET", &format!("/sync/{graph}/checksum/diagnostics"), TOKEN, "").1["checksum"].clone()
    };
    assert_eq!(sum(&graph), sum(&source));
}

#[test]
fn idle_graphs_are_closed_and_open_again() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &[("DB_SYNC_GRAPH_IDLE", "1"), ("DB_SYNC_LIMIT_OPEN_GRAPHS", "2")]);
    let graphs: Vec<String> = (0..6).map(|number| server.create_graph(TOKEN, &format!("notes {number}"))).collect();
    for round in 0..3 {
        for graph in &graphs {
            let body = page(round, u64::try_from(round).unwrap());
            let (status, answer) = server.ask("POST", &format!("/sync/{graph}/tx/batch"), TOKEN, &body.to_string());
            assert_eq!((status, &answer["t"]), (200, &(round + 1).into()), "{answer}");
        }
    }
    // A closed database has no log beside it.
    let wal = data.path().join("graphs").join(&graphs[0]).join("db.sqlite-wal");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while wal.exists() {
        assert!(std::time::Instant::now() < until, "the graph is not closed");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let (status, pulled) = server.ask("GET", &format!("/sync/{}/pull?since=0", graphs[0]), TOKEN, "");
    assert_eq!((status, &pulled["t"]), (200, &3.into()));
}
