//! Storage that fails (self-host.md 9.1): a full disk, a reserve, damaged files.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::operator::graph_with_pages;
use crate::support::{ADMIN, Server, TOKEN, binary, page};

fn put_asset(server: &Server, graph_id: &str, bytes: usize) -> u16 {
    server
        .ask("PUT", &format!("/assets/{graph_id}/9a8b7c6d-0000-4000-8000-000000000001.png"), TOKEN, &"x".repeat(bytes))
        .0
}

fn metrics(server: &Server) -> String {
    server.ask_with("GET", "/metrics", &[&format!("x-db-sync-admin-token: {ADMIN}")], "").1
}

#[test]
fn uploads_and_assets_leave_a_reserve_alone_and_edits_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[("DB_SYNC_MIN_FREE", "1000000000")]);
    let graph_id = graph_with_pages(&server, "notes", 1);
    assert_eq!(put_asset(&server, &graph_id, 1), 507);
    let (status, answer) =
        server.ask("POST", &format!("/sync/{graph_id}/snapshot/upload?reset=true&finished=true"), TOKEN, "x");
    assert_eq!((status, answer), (507, json!({ "error": "storage full" })));
    assert_eq!(server.ask("GET", &format!("/sync/{graph_id}/pull"), TOKEN, "").0, 200);
}

/// A server whose data lies on a disk of its own of some megabytes.
fn on_small_disk(folder: &Path) -> Server {
    let own = binary(folder);
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
    // The directory's own mode counts for who may write into it.
    let script = format!(
        "mount -t tmpfs -o size=12m,mode=0700 tmpfs '{0}' && exec '{1}' serve --port 0 --bind 127.0.0.1 --json",
        folder.display(),
        own.get_program().to_str().unwrap()
    );
    command.arg(script).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.envs([
        ("DB_SYNC_AUTH_DRIVER", "static"),
        ("DB_SYNC_AUTH_TOKEN", TOKEN),
        ("DB_SYNC_ADMIN_TOKEN", ADMIN),
        ("DB_SYNC_INITIAL_DATA", "true"),
        ("DB_SYNC_MIN_FREE", "0"),
    ]);
    Server::of(command)
}

#[test]
fn a_full_disk_is_told_and_nothing_acknowledged_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let server = on_small_disk(folder.path());
    let graph_id = graph_with_pages(&server, "notes", 3);
    // Larger than the disk: refused before any of it is sent.
    let mut stream = server.connect();
    let head = format!(
        "PUT /assets/{graph_id}/9a8b7c6d-0000-4000-8000-000000000002.png HTTP/1.1\r\nhost: localhost\r\n\
         authorization: Bearer {TOKEN}\r\ncontent-length: {}\r\n\r\n",
        14 << 20
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut status = String::new();
    BufReader::new(stream).read_line(&mut status).unwrap();
    assert!(status.starts_with("HTTP/1.1 507"), "{status}");
    assert_eq!(put_asset(&server, &graph_id, 1 << 20), 200);
    let mut socket = server.socket(TOKEN, &graph_id);
    let mut t = 3;
    let reject = loop {
        let mut batch = page(t, 1_000_000 + u64::try_from(t).unwrap());
        let long = "y".repeat(400_000);
        let tx = batch["txs"][0]["tx"].as_str().unwrap().replace("\"Page ", &format!("\"{long} "));
        batch["txs"][0]["tx"] = json!(tx);
        socket.send(&batch);
        let answer = socket.receive(&["tx/batch/ok", "tx/reject"]);
        if answer["type"] == "tx/reject" {
            break answer;
        }
        t += 1;
        assert!(t < 100, "12 MiB hold no 40 MB");
    };
    assert_eq!((&reject["reason"], &reject["error-detail"]), (&json!("db transact failed"), &json!("storage full")));
    let (_, pulled) = server.ask("GET", &format!("/sync/{graph_id}/pull?since=0"), TOKEN, "");
    assert_eq!(pulled["t"], t, "what was acknowledged is there, and can be read");
    let told = metrics(&server);
    assert!(told.contains("logseq_sync_storage_errors_total{kind=\"full\"}"), "{told}");
    assert_eq!(server.ask("GET", "/health", "", "").0, 200, "a restart would not help");
    // Room again, and it goes on without one.
    server.ask("DELETE", &format!("/assets/{graph_id}/9a8b7c6d-0000-4000-8000-000000000001.png"), TOKEN, "");
    socket.send(&page(t, 2_000_000));
    let answer = socket.receive(&["tx/batch/ok", "tx/reject"]);
    assert_eq!((&answer["type"], &answer["t"]), (&json!("tx/batch/ok"), &json!(t + 1)), "{answer}");
}

#[test]
fn a_damaged_graph_is_told_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let damaged = graph_with_pages(&server, "damaged", 1);
    let good = graph_with_pages(&server, "good", 1);
    server.signal("TERM");
    server.wait();
    let path = folder.path().join("graphs").join(&damaged).join("db.sqlite");
    let text = "no database at all, whatever it is called".repeat(500);
    std::fs::write(&path, &text).unwrap();
    let server = Server::start(folder.path(), &[]);
    let (status, answer) = server.ask("GET", &format!("/sync/{damaged}/pull"), TOKEN, "");
    assert_eq!((status, &answer["error"]), (503, &json!("graph damaged")));
    assert_eq!(server.ask("GET", &format!("/sync/{good}/pull"), TOKEN, "").0, 200);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "the file is left alone");
    assert!(metrics(&server).contains("logseq_sync_storage_errors_total{kind=\"corrupt\"}"));
}

#[test]
fn whoever_guesses_tokens_is_slowed_down() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [("DB_SYNC_LIMIT_FAILED_LOGINS", "3"), ("DB_SYNC_TRUSTED_PROXIES", "loopback")];
    let server = Server::start(folder.path(), &settings);
    let ask = |address: &str, token: &str| {
        let lines = [format!("authorization: Bearer {token}"), format!("x-forwarded-for: {address}")];
        server.ask_with("GET", "/graphs", &lines.each_ref().map(String::as_str), "").0
    };
    for _ in 0..3 {
        assert_eq!(ask("203.0.113.5", "wrong"), 401);
    }
    assert_eq!(ask("203.0.113.5", "wrong"), 429);
    assert_eq!(ask("203.0.113.5", TOKEN), 429, "a right guess is not told from a wrong one");
    assert_eq!(ask("203.0.113.6", TOKEN), 200);
    for _ in 0..5 {
        assert_eq!(ask("127.0.0.1", "wrong"), 401, "this machine is exempt");
    }
}
