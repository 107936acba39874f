//! System calls that fail under a running server (self-host.md 9.1): `strace` has them fail for as long as it is attached.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::operator::graph_with_pages;
use crate::support::{ADMIN, Server, TOKEN, page};

/// How long what comes by itself may take: it is tried every five seconds.
const PATIENCE: Duration = Duration::from_mins(2);

/// Calls of a server that fail. Dropped, they go well again.
struct Failing(
    Child,
    #[expect(dead_code, reason = "it would be told of a pipe that is closed")] BufReader<ChildStderr>,
);

impl Failing {
    fn begin(server: &Server, calls: &str, error: &str) -> Self {
        let mut command = Command::new("strace");
        command.args(["-f", "-o", "/dev/null", "-p", &server.pid().to_string()]);
        command.args(["-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:error={error}")]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        // It attaches to all threads before it says so of any.
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert!(line.contains("attached"), "{line}");
        Self(child, said)
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

pub(crate) fn health(server: &Server) -> Value {
    let (status, body) = server.ask_with("GET", "/health?verbose=1", &[&format!("x-db-sync-admin-token: {ADMIN}")], "");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// What is degraded.
pub(crate) fn degraded(server: &Server) -> Vec<String> {
    serde_json::from_value(health(server)["degraded"].clone()).unwrap()
}

/// Waits until something is so.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn pull(server: &Server, graph_id: &str) -> (u16, Value) {
    server.ask("GET", &format!("/sync/{graph_id}/pull?since=0"), TOKEN, "")
}

fn post_page(server: &Server, graph_id: &str, t: i64, number: u64) -> (u16, Value) {
    server.ask("POST", &format!("/sync/{graph_id}/tx/batch"), TOKEN, &page(t, number).to_string())
}

fn create(server: &Server, name: &str) -> (u16, Value) {
    let body = json!({ "graph-name": name, "graph-e2ee?": false, "graph-ready-for-use?": true });
    server.ask("POST", "/graphs", TOKEN, &body.to_string())
}

/// Waits until the index is not written: `strace` has hold of one thread after the other.
fn refused(server: &Server, answer: &(u16, Value)) {
    let mut number = 0;
    until("the index is not written", || {
        number += 1;
        create(server, &format!("refused {number}")) == *answer
    });
}

fn unavailable() -> (u16, Value) {
    (503, json!({ "error": "storage unavailable" }))
}

#[test]
fn a_failed_sync_closes_its_graph_and_what_was_acknowledged_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("server.log");
    let server = Server::start(folder.path(), &[("DB_SYNC_LOG_FILE", log.to_str().unwrap())]);
    let graph_id = graph_with_pages(&server, "notes", 3);
    let mut socket = server.socket(TOKEN, &graph_id);
    assert!(degraded(&server).is_empty());
    let failing = Failing::begin(&server, "fsync,fdatasync", "EIO");
    socket.send(&page(3, 3));
    let closed = socket.closed_without(&["tx/batch/ok"]);
    assert_eq!(closed, Some((1011, "storage failed".to_owned())), "nothing is acknowledged");
    // Until the log is known to be on the disk the graph can be read, and is not written.
    let write = || {
        let (status, pulled) = pull(&server, &graph_id);
        let Some(t) = pulled["t"].as_i64() else { return (status, Value::Null) };
        assert!(t >= 3, "what was acknowledged is there: {pulled}");
        (status, post_page(&server, &graph_id, t, 100).1)
    };
    until("it opens again, and is not written", || {
        let (status, rejected) = write();
        assert_ne!(rejected["type"], "tx/batch/ok");
        status == 200 && rejected["error-detail"] == "storage unavailable"
    });
    assert_eq!(pull(&server, &graph_id).0, 200, "it can be read");
    refused(&server, &unavailable());
    assert_eq!(server.ask("GET", "/graphs", TOKEN, "").0, 200, "and can be read");
    let told = health(&server);
    assert_eq!((&told["ok"], &told["writable"]), (&json!(true), &json!(false)), "a restart would not help");
    assert!(told["degraded"].to_string().contains("storage unavailable"), "{told}");
    drop(failing);
    until("it is written again", || write().1["type"] == "tx/batch/ok");
    until("all is well", || degraded(&server).is_empty());
    assert_eq!(create(&server, "more").0, 200);
    let metrics = server.ask_with("GET", "/metrics", &[&format!("x-db-sync-admin-token: {ADMIN}")], "").1;
    assert!(metrics.contains("logseq_sync_storage_errors_total{kind=\"io\"}"), "{metrics}");
    let logged = std::fs::read_to_string(log).unwrap();
    assert!(logged.contains("could not be synced") && logged.contains("can be written again"), "{logged}");
}

#[test]
fn what_cannot_be_written_is_told_and_all_goes_on_by_itself() {
    let begun = Instant::now();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("server.log");
    let server = Server::start(folder.path(), &[("DB_SYNC_LOG_FILE", log.to_str().unwrap())]);
    let graph_id = graph_with_pages(&server, "notes", 3);
    let mut socket = server.socket(TOKEN, &graph_id);
    // What a disk says that was made read-only under open files, or fails.
    for (t, error) in [(3, "EROFS"), (4, "EIO")] {
        let failing = Failing::begin(&server, "pwrite64", error);
        for number in 0..3 {
            socket.send(&page(t, 100 + number));
            let reject = socket.receive(&["tx/batch/ok", "tx/reject"]);
            assert_eq!(reject["reason"], "db transact failed", "{reject}");
            assert_eq!((&reject["error-detail"], &reject["t"]), (&json!("storage unavailable"), &json!(t)), "{reject}");
        }
        refused(&server, &unavailable());
        let (status, pulled) = pull(&server, &graph_id);
        assert_eq!((status, &pulled["t"]), (200, &json!(t)), "reads go on");
        drop(failing);
        socket.send(&page(t, 200 + u64::try_from(t).unwrap()));
        let answer = socket.receive(&["tx/batch/ok", "tx/reject"]);
        assert_eq!(answer["type"], "tx/batch/ok", "no restart is needed: {answer}");
    }
    assert_eq!(create(&server, "more").0, 200);
    until("all is well", || degraded(&server).is_empty());
    let logged = std::fs::read_to_string(log).unwrap();
    let lines = logged.matches("disk I/O error").count() as u64;
    assert!((1..=1 + begun.elapsed().as_secs() / 60).contains(&lines), "one line a minute: {logged}");
}

#[test]
fn a_full_disk_is_degraded_until_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let graph_id = graph_with_pages(&server, "notes", 1);
    let failing = Failing::begin(&server, "pwrite64,fsync,fdatasync", "ENOSPC");
    refused(&server, &(507, json!({ "error": "storage full" })));
    let told = health(&server);
    assert_eq!(told["writable"], false);
    assert!(told["degraded"].to_string().contains("storage full"), "{told}");
    until("reads go on", || pull(&server, &graph_id).0 == 200);
    drop(failing);
    until("all is well", || degraded(&server).is_empty());
    assert_eq!(create(&server, "more").0, 200);
}

#[test]
fn an_index_that_cannot_be_read_is_not_called_damaged() {
    let folder = tempfile::tempdir().unwrap();
    drop(Server::start(folder.path(), &[]));
    let own = crate::support::binary(folder.path());
    let mut command = Command::new("strace");
    // Of this file alone: the program itself is read, too.
    command.args(["-f", "-o", "/dev/null", "-P"]).arg(folder.path().join("index.sqlite"));
    command.args(["-e", "trace=pread64", "-e", "inject=pread64:error=EIO"]).arg(own.get_program());
    command.args(["serve", "--port", "0", "--json", "--auth-driver", "static", "--auth-token", TOKEN]);
    let output = command.env("DB_SYNC_DATA_DIR", folder.path()).output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &told["error"]["code"]), (Some(74), &json!("io")), "{told}");
    drop(Server::start(folder.path(), &[]));
}
