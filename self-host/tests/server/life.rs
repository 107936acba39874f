//! From the ready line to the last signal.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::support::{Server, TOKEN, binary, page, run, said};

#[test]
fn the_ready_line_tells_where_it_listens() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &[]);
    let ready: Value = serde_json::from_str(&server.ready).unwrap();
    assert_eq!(ready["event"], "ready");
    assert_eq!(ready["pid"], server.pid());
    assert_eq!(ready["auth"], serde_json::json!(["static"]));
    assert_eq!(ready["listen"], serde_json::json!([server.base()]));
    assert_eq!(server.ask("GET", "/health", "", "").0, 200);
    let url = ["health", "--url", &server.base()];
    assert_eq!(said(data.path(), &url), "ok\n");
    drop(server);
    assert_eq!(run(data.path(), &url).status.code(), Some(1));
}

#[test]
fn a_second_server_finds_the_directory_locked() {
    let data = tempfile::tempdir().unwrap();
    let _server = Server::start(data.path(), &[]);
    let mut second = binary(data.path());
    second.args(["serve", "--port", "0"]).env("DB_SYNC_AUTH_DRIVER", "none").env("DB_SYNC_BIND", "127.0.0.1");
    assert_eq!(second.output().unwrap().status.code(), Some(75));
}

#[test]
fn an_orderly_end_closes_sockets_and_leaves_one_file_a_graph() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Server::start(data.path(), &[]);
    let graph = server.create_graph(TOKEN, "notes");
    let mut socket = server.socket(TOKEN, &graph);
    socket.send(&page(0, 1));
    assert_eq!(socket.receive(&["tx/batch/ok", "tx/reject"])["t"], 1);
    server.signal("TERM");
    assert_eq!(socket.closed(), Some((1012, "server restarting".to_owned())));
    assert_eq!(server.wait(), Some(0));
    let folder = data.path().join("graphs").join(&graph);
    let files: Vec<_> = folder.read_dir().unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, ["db.sqlite"], "nothing is left in a log");
    let server = Server::start(data.path(), &[]);
    let (status, pulled) = server.ask("GET", &format!("/sync/{graph}/pull?since=0"), TOKEN, "");
    assert_eq!((status, &pulled["t"]), (200, &1.into()), "{pulled}");
}

#[test]
fn an_orderly_end_under_a_hundred_clients_keeps_what_was_acknowledged() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Server::start(data.path(), &[]);
    let graphs: Vec<String> = (0..100).map(|number| server.create_graph(TOKEN, &format!("g{number}"))).collect();
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = graphs
        .iter()
        .map(|graph| {
            let (mut socket, acknowledged) = (server.socket(TOKEN, graph), Arc::clone(&acknowledged));
            std::thread::spawn(move || {
                let mut t = 0_i64;
                loop {
                    socket.offer(&page(t, t.unsigned_abs()));
                    let answer = match socket.next_of(&["tx/batch/ok", "tx/reject"]) {
                        Ok(answer) => answer,
                        Err(code) => return (t, code),
                    };
                    assert_eq!((&answer["type"], &answer["t"]), (&"tx/batch/ok".into(), &(t + 1).into()));
                    t += 1;
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    while acknowledged.load(Ordering::Relaxed) < 500 {
        assert!(clients.iter().all(|client| !client.is_finished()), "a client was refused");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    server.signal("TERM");
    let ends: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    assert_eq!(server.wait(), Some(0));
    assert!(ends.iter().all(|(_, code)| *code == Some(1012)), "{ends:?}");
    let server = Server::start(data.path(), &[]);
    for (graph, (t, _)) in graphs.iter().zip(ends) {
        let (status, pulled) = server.ask("GET", &format!("/sync/{graph}/pull?since=0"), TOKEN, "");
        // The last batch may have been committed without its answer having come.
        let there = pulled["txs"].as_array().map_or(0, Vec::len);
        assert!(status == 200 && (t..=t + 1).contains(&i64::try_from(there).unwrap()), "{t} of {there}: {pulled}");
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let data = tempfile::tempdir().unwrap();
        let mut server = Server::start(data.path(), &[("DB_SYNC_SHUTDOWN_TIMEOUT", "600")]);
        // An upload that never ends is what it waits for.
        let graph = server.create_graph(TOKEN, "notes");
        let mut upload = server.connect();
        let head = format!(
            "POST /sync/{graph}/snapshot/upload?reset=true HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {TOKEN}\r\n\
             content-length: 1000\r\nexpect: 100-continue\r\n\r\n"
        );
        std::io::Write::write_all(&mut upload, head.as_bytes()).unwrap();
        let mut told = [0; 12];
        std::io::Read::read_exact(&mut upload, &mut told).unwrap();
        assert_eq!(&told, b"HTTP/1.1 100", "the upload is under way");
        server.signal(name);
        // Listeners close first.
        while std::net::TcpStream::connect(server.base().trim_start_matches("http://")).is_ok() {
            std::thread::yield_now();
        }
        server.signal(name);
        assert_eq!(server.wait(), Some(code));
    }
}

#[test]
fn quickstart_makes_a_user_and_tells_the_token_once() {
    let home = tempfile::tempdir().unwrap();
    let start = || {
        let mut command = binary(home.path());
        command.env_remove("DB_SYNC_DATA_DIR").env("XDG_DATA_HOME", home.path());
        command.args(["quickstart", "--port", "0", "--json"]).stderr(std::process::Stdio::piped());
        command
    };
    let (token, mut server) = {
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut command = start();
        command.stderr(log.reopen().unwrap());
        let mut server = Server::of(command);
        server.signal("TERM");
        assert_eq!(server.wait(), Some(0));
        let told = std::fs::read_to_string(log.path()).unwrap();
        let token = told.split_whitespace().find(|word| word.starts_with("lgs_")).unwrap().to_owned();
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut command = start();
        command.stderr(log.reopen().unwrap());
        let mut again = Server::of(command);
        assert_eq!(again.ask("GET", "/graphs", &token, "").0, 200, "the token of the first start counts");
        again.signal("TERM");
        assert_eq!(again.wait(), Some(0));
        let told = std::fs::read_to_string(log.path()).unwrap();
        assert!(!told.contains("lgs_"), "{told}");
        (token, Server::of(start()))
    };
    assert!(home.path().join("logseq-sync/index.sqlite").exists());
    assert_eq!(server.ask("GET", "/graphs", &token, "").0, 200);
    server.kill();
}

#[test]
fn a_signal_shortens_the_logs_of_open_graphs() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let graph_id = crate::operator::graph_with_pages(&server, "notes", 3);
    let log = folder.path().join("graphs").join(&graph_id).join("db.sqlite-wal");
    assert!(log.metadata().unwrap().len() > 0);
    server.signal("USR1");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while log.metadata().unwrap().len() > 0 {
        // Each answer gives the server a turn.
        assert_eq!(server.ask("GET", "/health", "", "").0, 200);
        assert!(std::time::Instant::now() < until, "the log is as long as before");
    }
    let (_, pulled) = server.ask("GET", &format!("/sync/{graph_id}/pull"), TOKEN, "");
    assert_eq!(pulled["t"], 3);
}

/// A thread that is gone would leave those waiting who wait for it.
#[test]
fn a_defect_ends_the_program_with_its_own_code() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Server::start(data.path(), &[("TRIAL_PANIC", "1")]);
    assert_eq!(server.wait(), Some(70));
    // What was begun under the lock is taken up by the next start.
    drop(server);
    Server::start(data.path(), &[]);
    // So does a starter that promises a descriptor which is none.
    let mut command = binary(data.path());
    command.args(["serve", "--port", "0"]).env("LOGSEQ_READY_FD", "999");
    assert_eq!(command.output().unwrap().status.code(), Some(70));
}
