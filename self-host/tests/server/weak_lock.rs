//! A directory on a file system where locks do not hold (docs/spec/daemon.md 4.2).

use std::path::Path;
use std::process::Command;

use rusqlite::Connection;

use crate::operator::graph_with_pages;
use crate::support::{Server, TOKEN, binary, page, said};

/// The number by which the system names NFS.
const NFS: &str = "26985";

/// `serve` as on such a file system.
fn command(folder: &Path, more: &[&str]) -> Command {
    let mut command = binary(folder);
    command.args(["serve", "--port", "0", "--bind", "127.0.0.1", "--json"]).args(more);
    command.env("TRIAL_FILE_SYSTEM", NFS).env("DB_SYNC_AUTH_DRIVER", "static").env("DB_SYNC_AUTH_TOKEN", TOKEN);
    command
}

/// How a database is journalled.
fn journal(path: &Path) -> String {
    Connection::open(path).unwrap().query_row("PRAGMA journal_mode", (), |row| row.get(0)).unwrap()
}

#[test]
fn a_weak_lock_is_meant_and_does_without_a_log() {
    let folder = tempfile::tempdir().unwrap();
    said(folder.path(), &["user", "add", "ann", "--quiet"]);
    assert_eq!(journal(&folder.path().join("self-host.sqlite")), "wal");
    // As it was before it was moved there.
    let local = Server::start(folder.path(), &[]);
    let graph_id = graph_with_pages(&local, "notes", 2);
    drop(local);
    let refused = command(folder.path(), &[]).output().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!((refused.status.code(), &told["error"]["code"]), (Some(73), &"data-dir-lock-unsupported".into()));
    assert!(told["error"]["hint"].as_str().unwrap().contains("--allow-weak-lock"), "{told}");

    let log = folder.path().join("server.log");
    let mut weak = command(folder.path(), &["--allow-weak-lock", "--log-file", log.to_str().unwrap()]);
    weak.env("DB_SYNC_ADMIN_TOKEN", "the-operator's-token");
    let mut server = Server::of(weak);
    assert!(std::fs::read_to_string(&log).unwrap().contains("the lock is weak"));
    let mut socket = server.socket(TOKEN, &graph_id);
    for t in 2..12 {
        socket.send(&page(t, t.unsigned_abs()));
        assert_eq!(socket.receive(&["tx/batch/ok", "tx/reject"])["t"], t + 1);
    }
    let second = command(folder.path(), &["--allow-weak-lock"]).output().unwrap();
    assert_eq!(second.status.code(), Some(75));
    said(folder.path(), &["user", "add", "bob", "--quiet"]);
    let graph = folder.path().join("graphs").join(&graph_id);
    for path in [folder.path().join("index.sqlite"), folder.path().join("self-host.sqlite"), graph.join("db.sqlite")] {
        assert_eq!(journal(&path), "delete", "{}", path.display());
        assert!(!path.with_extension("sqlite-wal").exists(), "{}", path.display());
    }
    // What was acknowledged is there, however it ends.
    server.kill();
    let server = Server::of(command(folder.path(), &["--allow-weak-lock"]));
    assert_eq!(server.ask("GET", &format!("/sync/{graph_id}/pull"), TOKEN, "").1["t"], 12);
    drop(server);
    // Back on a disk of its own.
    let server = Server::start(folder.path(), &[]);
    let mut socket = server.socket(TOKEN, &graph_id);
    socket.send(&page(12, 12));
    assert_eq!(socket.receive(&["tx/batch/ok", "tx/reject"])["t"], 13);
    assert_eq!(journal(&graph.join("db.sqlite")), "wal");
}
