//! What was acknowledged outlives a kill.

#![expect(clippy::unwrap_used, reason = "test code, helpers included")]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use conformance::tokens::Issuer;
use conformance::{Client, TestGraph, server, tx};
use serde_json::Value;

/// The built worker over a folder, in a process group of its own so that all of it can be killed.
struct Worker {
    child: Child,
    port: u16,
}

impl Worker {
    fn start(port: u16, jwks_port: u16, data: &std::path::Path, issuer: &Issuer) -> Self {
        use std::os::unix::process::CommandExt as _;
        let child = Command::new(env!("CARGO"))
            .args(["run", "--quiet", "--package", "xtask", "--", "serve", "--port", &port.to_string(), "--data"])
            .arg(data)
            .env("COGNITO_ISSUER", &issuer.issuer)
            .env("COGNITO_CLIENT_ID", &issuer.client_id)
            .env("COGNITO_JWKS_URL", format!("http://127.0.0.1:{jwks_port}/jwks.json"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let until = Instant::now() + Duration::from_mins(2);
        let probe = Client::new(&format!("http://127.0.0.1:{port}"), "nobody", None);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() || probe.get("/health").status != 200 {
            assert!(Instant::now() < until, "the server did not become healthy");
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { child, port }
    }

    /// As a power cut would: no part of it can say goodbye.
    fn kill(mut self) {
        // Without the dashes some versions of kill read the group's number as a signal, and -1 as everyone.
        let group = format!("-{}", self.child.id());
        assert!(Command::new("kill").args(["-KILL", "--", &group]).status().unwrap().success());
        self.child.wait().unwrap();
        // The next one is to be asked, not this one's last moments.
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn what_was_acknowledged_outlives_a_kill() {
    let data = tempfile::tempdir().unwrap();
    let (port, jwks_port) = (server::free_port(), server::free_port());
    let issuer = Issuer::new(None, "https://issuer.test/pool".into(), "client-under-test".into());
    issuer.serve(jwks_port);
    let mut worker = Worker::start(port, jwks_port, data.path(), &issuer);
    let owner = Client::new(&format!("http://127.0.0.1:{port}"), "owner", Some(issuer.token("owner")));
    let graph = TestGraph::initial(&owner);
    let page = tx::id();
    assert_eq!(graph.batch(0, &[tx::entry(&tx::page(&page, "Kept"), "create-page", &tx::id())]).json()["t"], 1);
    // Small entries, which stay in the tail, and enough of them to flush it, between kills.
    for round in 0..4_i64 {
        for i in 0..=round * 3 {
            let t = graph.t();
            let block = tx::new_block(&tx::id(), &page, &page, &format!("a{i}V"), &format!("round {round}, block {i}"));
            assert_eq!(graph.batch(t, &[tx::entry(&block, "insert-blocks", &tx::id())]).json()["t"], t + 1);
        }
        let (log, rows, diagnostics) = (graph.pull(), graph.rows(), diagnostics(&graph));
        worker.kill();
        worker = Worker::start(port, jwks_port, data.path(), &issuer);
        assert_eq!((graph.pull(), graph.rows()), (log, rows), "round {round}");
        assert_eq!(self::diagnostics(&graph), diagnostics, "round {round}");
        assert_eq!(diagnostics["checksum"], graph.pull()["checksum"], "round {round}");
    }
    worker.kill();
}

fn diagnostics(graph: &TestGraph) -> Value {
    graph.owner.get(&graph.path("/checksum/diagnostics")).status(200).json()
}
