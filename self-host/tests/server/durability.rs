//! What was acknowledged is there, however the server ends.

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
