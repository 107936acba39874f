//! Storage that fails (self-host.md 9.1): a full disk, a reserve, damaged files.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::failing::{degraded, health, until};
use crate::operator::graph_with_pages;
use crate::support::{ADMIN, Server, TOKEN, binary, page, run};

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
    let log = folder.path().join("server.log");
    let settings = [("DB_SYNC_MIN_FREE", "1000000000"), ("DB_SYNC_LOG_FILE", log.to_str().unwrap())];
    let server = Server::start(folder.path(), &settings);
    let graph_id = graph_with_pages(&server, "notes", 1);
    assert_eq!(put_asset(&server, &graph_id, 1), 507);
    let (status, answer) =
        server.ask("POST", &format!("/sync/{graph_id}/snapshot/upload?reset=true&finished=true"), TOKEN, "x");
    assert_eq!((status, answer), (507, json!({ "error": "storage full" })));
    assert_eq!(server.ask("GET", &format!("/sync/{graph_id}/pull"), TOKEN, "").0, 200);
    until("the operator is warned", || degraded(&server) == ["little space"]);
    assert!(std::fs::read_to_string(log).unwrap().contains("uploads and assets are refused"));
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
    let mut size = 400_000;
    let reject = loop {
        let mut batch = page(t, 1_000_000 + u64::try_from(t).unwrap());
        let long = "y".repeat(size);
        let tx = batch["txs"][0]["tx"].as_str().unwrap().replace("\"Page ", &format!("\"{long} "));
        batch["txs"][0]["tx"] = json!(tx);
        socket.send(&batch);
        let answer = socket.receive(&["tx/batch/ok", "tx/reject"]);
        if answer["type"] == "tx/reject" {
            if size < 10_000 {
                break answer;
            }
            // Until there is hardly any room.
            size /= 10;
            continue;
        }
        t += 1;
        assert!(t < 200, "12 MiB hold no more");
    };
    assert_eq!((&reject["reason"], &reject["error-detail"]), (&json!("db transact failed"), &json!("storage full")));
    let (status, pulled) = server.ask("GET", &format!("/sync/{graph_id}/pull?since={}", t - 1), TOKEN, "");
    assert_eq!((status, &pulled["t"]), (200, &json!(t)), "what was acknowledged is there, and can be read");
    assert_eq!(pulled["txs"].as_array().unwrap().len(), 1);
    let told = metrics(&server);
    assert!(told.contains("logseq_sync_storage_errors_total{kind=\"full\"}"), "{told}");
    assert_eq!(server.ask("GET", "/health", "", "").0, 200, "a restart would not help");
    let told = health(&server);
    assert_eq!(
        (&told["writable"], told["degraded"].to_string().contains("storage full")),
        (&json!(false), true),
        "{told}"
    );
    // Room again, and it goes on without one.
    server.ask("DELETE", &format!("/assets/{graph_id}/9a8b7c6d-0000-4000-8000-000000000001.png"), TOKEN, "");
    socket.send(&page(t, 2_000_000));
    let answer = socket.receive(&["tx/batch/ok", "tx/reject"]);
    assert_eq!((&answer["type"], &answer["t"]), (&json!("tx/batch/ok"), &json!(t + 1)), "{answer}");
}

/// What a verb says where the data directory is on read-only media.
fn on_read_only_media(folder: &Path, arguments: &[&str]) -> (Option<i32>, Value) {
    let own = binary(folder);
    let script = format!("mount --bind '{0}' '{0}' && mount -o remount,bind,ro '{0}' && exec \"$@\"", folder.display());
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"]);
    command.arg(own.get_program()).args(arguments).arg("--json");
    command.env("DB_SYNC_DATA_DIR", folder).env("DB_SYNC_AUTH_DRIVER", "static").env("DB_SYNC_AUTH_TOKEN", TOKEN);
    let output = command.output().unwrap();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn what_is_read_only_from_the_start_stops_it() {
    let folder = tempfile::tempdir().unwrap();
    drop(Server::start(folder.path(), &[]));
    let (code, told) = on_read_only_media(folder.path(), &["serve", "--port", "0", "--bind", "127.0.0.1"]);
    assert_eq!((code, &told["error"]["code"]), (Some(73), &json!("data-dir-read-only")), "{told}");
}

#[test]
fn what_lies_on_read_only_media_is_verified_unless_a_log_lies_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let graph_id = graph_with_pages(&server, "notes", 3);
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    let verify = || on_read_only_media(folder.path(), &["verify", "--graph-id", &graph_id]);
    let show = || on_read_only_media(folder.path(), &["checksum", "show", "--graph-id", &graph_id]);
    let (code, verified) = verify();
    assert_eq!((code, &verified["data"]["graphs"][0]["t"]), (Some(0), &json!(3)), "{verified}");
    assert_eq!(show().0, Some(0));
    // A server that was killed leaves its logs, and who copies them not always what SQLite remembers of them.
    let mut server = Server::start(folder.path(), &[]);
    let mut socket = server.socket(TOKEN, &graph_id);
    socket.send(&page(3, 3));
    socket.receive(&["tx/batch/ok"]);
    server.kill();
    std::fs::remove_file(folder.path().join("graphs").join(&graph_id).join("db.sqlite-shm")).unwrap();
    let (code, told) = verify();
    assert_eq!((code, &told["error"]["code"]), (Some(1), &json!("copy-first")), "{told}");
    let (code, told) = show();
    assert_eq!((code, &told["error"]["code"]), (Some(1), &json!("copy-first")), "{told}");
}

#[test]
fn other_damaged_files_stop_the_start_or_do_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let graph_id = graph_with_pages(&server, "notes", 3);
    assert_eq!(put_asset(&server, &graph_id, 10), 200);
    server.signal("TERM");
    server.wait();
    // Logs that no server of ours has left, and what is known of a file.
    let graph = folder.path().join("graphs").join(&graph_id).join("db.sqlite-wal");
    let meta = format!("assets/{graph_id}/9a8b7c6d-0000-4000-8000-000000000001.png.meta.json");
    for path in [graph, folder.path().join("index.sqlite-wal"), folder.path().join(meta)] {
        std::fs::write(&path, "nothing that is of use ".repeat(1000)).unwrap();
    }
    let mut server = Server::start(folder.path(), &[]);
    let (status, pulled) = server.ask("GET", &format!("/sync/{graph_id}/pull"), TOKEN, "");
    assert_eq!((status, &pulled["t"]), (200, &json!(3)));
    let asset = format!("/assets/{graph_id}/9a8b7c6d-0000-4000-8000-000000000001.png");
    assert_eq!(server.ask("GET", &asset, TOKEN, "").0, 200);
    server.signal("TERM");
    server.wait();
    for name in [".format", "self-host.sqlite"] {
        let path = folder.path().join(name);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, "nothing that is of use ".repeat(1000)).unwrap();
        let start = ["serve", "--port", "0", "--json", "--auth-token", TOKEN, "--auth-driver", "static"];
        let output = run(folder.path(), &start);
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((output.status.code(), &told["error"]["code"]), (Some(74), &json!("io")), "{name}: {told}");
        assert!(told["error"]["message"].as_str().unwrap().contains(name), "{told}");
        std::fs::write(&path, whole).unwrap();
    }
    drop(Server::start(folder.path(), &[]));
}

#[test]
fn a_damaged_index_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.sqlite");
    let text = "no database at all, whatever it is called".repeat(500);
    std::fs::write(&path, &text).unwrap();
    let output =
        run(folder.path(), &["serve", "--port", "0", "--json", "--auth-token", TOKEN, "--auth-driver", "static"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &told["error"]["code"]), (Some(74), &json!("index-damaged")), "{told}");
    assert!(told["error"]["hint"].as_str().unwrap().contains("repair index-db"), "{told}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "the file is left alone");
}

#[test]
fn health_says_more_to_the_operator_alone() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let graph_id = graph_with_pages(&server, "notes", 1);
    let _socket = server.socket(TOKEN, &graph_id);
    for lines in
        [&["accept: */*"][..], &["authorization: Bearer wrong"], &["authorization: Bearer a-token-that-is-long-enough"]]
    {
        assert_eq!(server.ask_with("GET", "/health?verbose=1", lines, ""), (200, "{\"ok\":true}".into()), "{lines:?}");
    }
    let admin = format!("authorization: Bearer {ADMIN}");
    assert_eq!(server.ask_with("GET", "/health", &[&admin], "").1, "{\"ok\":true}");
    let by_token = server.ask_with("GET", "/health?verbose=1", &[&admin], "").1;
    let daemon = std::fs::read_to_string(folder.path().join("daemon.token")).unwrap();
    let mut stream = UnixStream::connect(folder.path().join("sync.sock")).unwrap();
    let head = format!("GET /health?verbose=1 HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {}\r\n\r\n", daemon.trim());
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let by_socket = answer.split_once("\r\n\r\n").unwrap().1;
    for body in [&*by_token, by_socket] {
        let told: Value = serde_json::from_str(body).unwrap();
        let names: Vec<&str> = told.as_object().unwrap().keys().map(String::as_str).collect();
        let fields = "degraded free_bytes graphs_open index_ms ok revision sockets uptime_s version writable";
        assert_eq!(names, fields.split(' ').collect::<Vec<_>>());
        assert_eq!((&told["ok"], &told["writable"], &told["degraded"]), (&json!(true), &json!(true), &json!([])));
        assert_eq!((&told["graphs_open"], &told["sockets"]), (&json!(1), &json!(1)));
        assert!(told["free_bytes"].as_u64().unwrap() > 0 && told["index_ms"].as_f64().unwrap() < 2000.0);
    }
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
    let counted = metrics(&server);
    assert!(counted.contains("logseq_sync_storage_errors_total{kind=\"corrupt\"}"), "{counted}");
    assert!(counted.contains("logseq_sync_graphs_damaged 1"), "{counted}");
    assert_eq!(degraded(&server), ["graph damaged"]);
}

#[test]
fn damage_that_is_found_late_ends_the_sockets_of_that_graph_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let (damaged, good) = (graph_with_pages(&server, "damaged", 300), graph_with_pages(&server, "good", 1));
    server.signal("TERM");
    server.wait();
    let path = folder.path().join("graphs").join(&damaged).join("db.sqlite");
    let last = "SELECT max(pageno) FROM dbstat WHERE name = 'kvs' AND pagetype = 'leaf'";
    let last: u32 = rusqlite::Connection::open(&path).unwrap().query_row(last, (), |row| row.get(0)).unwrap();
    let end = last as usize * 4096;
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[end - 4096..end].fill(0xEE);
    std::fs::write(&path, &bytes).unwrap();
    let log = folder.path().join("server.log");
    let mut server = Server::start(folder.path(), &[("DB_SYNC_LOG_FILE", log.to_str().unwrap())]);
    let (mut socket, mut bystander) = (server.socket(TOKEN, &damaged), server.socket(TOKEN, &good));
    let ask = |graph: &str| server.ask("GET", &format!("/sync/{graph}/checksum/diagnostics"), TOKEN, "");
    assert_eq!(ask(&damaged), (503, json!({ "error": "graph damaged" })));
    assert_eq!(socket.closed(), Some((1011, "graph damaged".to_owned())));
    let (status, answer) = server.ask("GET", &format!("/sync/{damaged}/pull"), TOKEN, "");
    assert_eq!((status, answer), (503, json!({ "error": "graph damaged" })), "whatever is asked of it");
    assert_eq!(ask(&good).0, 200);
    bystander.send(&page(1, 1));
    assert_eq!(bystander.receive(&["tx/batch/ok", "tx/reject"])["t"], 2);
    assert!(metrics(&server).contains("logseq_sync_graphs_damaged 1"));
    let logged = std::fs::read_to_string(&log).unwrap();
    assert!(logged.contains(path.to_str().unwrap()) && logged.contains("repair graph-db"), "{logged}");
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    assert!(std::fs::read(&path).unwrap() == bytes, "the file is left alone");
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
