//! `gc`, `repair` and `checkpoint` beside a running server, and the two verbs that look for a wrong checksum.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::operator::{data, graph_with_pages, refused, told};
use crate::support::{Server, TOKEN, binary, page};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(1);

fn graph_file(folder: &Path, graph_id: &str) -> PathBuf {
    folder.join("graphs").join(graph_id).join("db.sqlite")
}

/// Rows that nothing reaches, of some bytes each.
fn litter(path: &Path, rows: u32, bytes: usize) {
    let mut connection = Connection::open(path).unwrap();
    connection.busy_timeout(PATIENCE).unwrap();
    let transaction = connection.transaction().unwrap();
    for addr in 0..rows {
        let sql = "INSERT INTO kvs (addr, content, addresses) VALUES (?, ?, NULL)";
        transaction.execute(sql, (50_000_000 + addr, "x".repeat(bytes))).unwrap();
    }
    transaction.commit().unwrap();
}

/// Rows of those that nothing reaches.
fn littered(path: &Path) -> i64 {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(PATIENCE).unwrap();
    let sql = "SELECT count(*) FROM kvs WHERE addr >= 50000000 AND addresses IS NULL AND content LIKE 'x%'";
    connection.query_row(sql, (), |row| row.get(0)).unwrap()
}

fn verb(folder: &Path, arguments: &[&str]) -> Child {
    binary(folder).args(arguments).arg("--json").stdout(Stdio::piped()).spawn().unwrap()
}

/// Waits for what must come about, and says what it was.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn rows_are_freed_while_clients_write() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let graph_id = graph_with_pages(&server, "notes", 20);
    data(folder.path(), &["checkpoint"]);
    let path = graph_file(folder.path(), &graph_id);
    litter(&path, 12_500, 200);
    let mut gc = verb(folder.path(), &["gc", "--vacuum"]);
    let mut socket = server.socket(TOKEN, &graph_id);
    let mut t = 20;
    // Until it has ended, and some more.
    let mut more = 20;
    while more > 0 {
        socket.send(&page(t, t.unsigned_abs()));
        assert_eq!(socket.receive(&["tx/batch/ok", "tx/reject"])["type"], "tx/batch/ok");
        t += 1;
        if gc.try_wait().unwrap().is_some() {
            more -= 1;
        }
    }
    let said: Value = serde_json::from_slice(&gc.wait_with_output().unwrap().stdout).unwrap();
    let freed = &said["data"]["graphs"][0];
    assert!(freed["deleted"].as_u64() >= Some(12_500), "{said}");
    assert!(freed["bytes_after"].as_u64() < freed["bytes_before"].as_u64(), "{said}");
    let verified = data(folder.path(), &["verify"]);
    let graph = &verified["graphs"][0];
    assert_eq!((&graph["ok"], &graph["t"], &graph["checksum"]), (&json!(true), &json!(t), &graph["recomputed"]));
    assert_eq!(littered(&path), 0);
    drop(server);
    assert_eq!(data(folder.path(), &["verify"])["ok"], true);
}

#[test]
fn freeing_waits_for_a_download() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[("DB_SYNC_SNAPSHOT_STREAM_GZIP", "false")]);
    let graph_id = graph_with_pages(&server, "notes", 5);
    data(folder.path(), &["checkpoint"]);
    let path = graph_file(folder.path(), &graph_id);
    // More than all buffers on the way hold.
    litter(&path, 64, 1 << 20);
    let mut download = server.connect();
    let head =
        format!("GET /sync/{graph_id}/snapshot/stream HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\r\n");
    download.write_all(head.as_bytes()).unwrap();
    let mut some = [0; 4096];
    download.read_exact(&mut some).unwrap();
    assert!(some.starts_with(b"HTTP/1.1 200"));
    let mut gc = verb(folder.path(), &["gc"]);
    let mut socket = server.socket(TOKEN, &graph_id);
    for t in 5..40 {
        socket.send(&page(t, t.unsigned_abs()));
        assert_eq!(socket.receive(&["tx/batch/ok", "tx/reject"])["type"], "tx/batch/ok");
    }
    assert!(gc.try_wait().unwrap().is_none(), "it waits");
    assert_eq!(littered(&path), 64);
    drop(download);
    assert!(gc.wait().unwrap().success());
    assert_eq!(littered(&path), 0, "and goes on");
}

#[test]
fn freeing_may_be_killed_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let graph_id = graph_with_pages(&server, "notes", 20);
    data(folder.path(), &["checkpoint"]);
    let path = graph_file(folder.path(), &graph_id);
    litter(&path, 30_000, 20);
    let sum = || data(folder.path(), &["checksum", "show", "--graph-id", &graph_id])["recomputed"].clone();
    let before = sum();
    // Whoever asked goes: the server ends it by itself, and does what is asked next.
    let mut gone = verb(folder.path(), &["gc"]);
    until("the first rows went", || littered(&path) < 30_000);
    gone.kill().unwrap();
    gone.wait().unwrap();
    assert_eq!(server.ask("GET", "/health", TOKEN, "").0, 200);
    // The server goes.
    let mut left = verb(folder.path(), &["gc"]);
    server.kill();
    // Where it came too late for that, it was its own server.
    left.wait().unwrap();
    let verified = data(folder.path(), &["verify"]);
    assert_eq!((&verified["ok"], sum()), (&json!(true), before.clone()));
    // Without a server it is done to the end.
    data(folder.path(), &["gc"]);
    assert_eq!(littered(&path), 0);
    assert_eq!(sum(), before);
}

#[test]
fn repairs_go_beside_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let graph_id = graph_with_pages(&server, "notes", 5);
    data(folder.path(), &["checkpoint"]);
    let path = graph_file(folder.path(), &graph_id);
    let wal = path.with_extension("sqlite-wal");
    assert_eq!(wal.metadata().map_or(0, |meta| meta.len()), 0, "no log is left");
    let write = |sql: &str| Connection::open(&path).unwrap().execute(sql, ()).unwrap();
    write("UPDATE sync_meta SET value = '00000000deadbeef' WHERE key = 'checksum'");
    // The server knows what it stored: it reads this when the graph is opened again.
    drop(server);
    let server = Server::start(folder.path(), &[]);
    let dry = data(folder.path(), &["repair", "checksum"]);
    assert_eq!((&dry["actions"][0]["before"], &dry["actions"][0]["done"]), (&json!("00000000deadbeef"), &json!(false)));
    let done = data(folder.path(), &["repair", "checksum", "--apply"]);
    assert_eq!(
        (&done["actions"][0]["after"], &done["actions"][0]["done"]),
        (&dry["actions"][0]["after"], &json!(true))
    );
    let mut socket = server.socket(TOKEN, &graph_id);
    socket.send(&json!({ "type": "hello", "client": "test" }));
    assert_eq!(socket.receive(&["hello"])["checksum"], done["actions"][0]["after"]);
    let kept: Vec<_> = folder.path().join("quarantine").read_dir().unwrap().collect();
    let kept = kept[0].as_ref().unwrap().path().join("graphs").join(&graph_id).join("db.sqlite");
    let sql = "SELECT value FROM sync_meta WHERE key = 'checksum'";
    let stored: String = Connection::open(kept).unwrap().query_row(sql, (), |row| row.get(0)).unwrap();
    assert_eq!(stored, "00000000deadbeef", "the file as it was");
    assert_eq!(data(folder.path(), &["repair", "checksum"])["actions"], json!([]));
    // What the index does not know.
    std::fs::create_dir_all(folder.path().join("graphs/nobody's")).unwrap();
    std::fs::create_dir_all(folder.path().join("assets/nobody's")).unwrap();
    let moved = data(folder.path(), &["repair", "index", "--apply"]);
    let what: Vec<_> = moved["actions"].as_array().unwrap().iter().map(|it| it["what"].clone()).collect();
    assert_eq!(what, ["graph-without-row", "assets-without-row"]);
    assert!(!folder.path().join("graphs/nobody's").exists() && !folder.path().join("assets/nobody's").exists());
    // What only a server that is stopped bears.
    assert_eq!(refused(folder.path(), &["repair", "index-db"]), (75, "repo-locked".into()));
    assert_eq!(refused(folder.path(), &["checkpoint", "--for-upstream"]), (75, "repo-locked".into()));
}

#[test]
fn an_upload_that_nobody_goes_on_with_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let graph_id = graph_with_pages(&server, "notes", 5);
    // A first part, of one row, without a last one.
    let row = br#"[0,"{}",null]"#;
    let mut frame = u32::try_from(row.len() + 2).unwrap().to_be_bytes().to_vec();
    frame.extend([&b"["[..], row, b"]"].concat());
    let path = format!("/sync/{graph_id}/snapshot/upload?reset=true&finished=false");
    let length = format!("content-length: {}", frame.len());
    let token = format!("authorization: Bearer {TOKEN}");
    let mut stream = server.connect();
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\n{token}\r\n{length}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&frame).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(server.ask("GET", &format!("/sync/{graph_id}/pull"), TOKEN, "").0, 409);
    assert_eq!(data(folder.path(), &["repair", "uploads"])["actions"][0]["what"], "upload");
    assert_eq!(server.ask("GET", &format!("/sync/{graph_id}/pull"), TOKEN, "").0, 409, "only looked at");
    data(folder.path(), &["repair", "uploads", "--apply"]);
    assert_eq!(server.ask("GET", &format!("/sync/{graph_id}/pull"), TOKEN, "").0, 200);
}

#[test]
fn a_damaged_graph_is_saved_while_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let (good, bad) = (graph_with_pages(&server, "good", 5), graph_with_pages(&server, "bad", 300));
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    let path = graph_file(folder.path(), &bad);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 4096].fill(0xEE);
    std::fs::write(&path, &bytes).unwrap();
    let server = Server::start(folder.path(), &[]);
    let mut socket = server.socket(TOKEN, &good);
    let saved = data(folder.path(), &["repair", "graph-db", "--apply"]);
    let actions = saved["actions"].as_array().unwrap();
    assert_eq!((actions.len(), &actions[0]["done"]), (1, &json!(true)), "{saved}");
    socket.send(&page(5, 5));
    assert_eq!(socket.receive(&["tx/batch/ok", "tx/reject"])["type"], "tx/batch/ok", "nobody noticed");
    let (_, verified) = told(folder.path(), &["verify"]);
    assert!(!verified.to_string().contains("\"sqlite\""), "{verified}");
}

#[test]
fn orphans_among_assets_are_found_once_nobody_can_bring_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let graph_id = graph_with_pages(&server, "notes", 1);
    let name = "9a8b7c6d-0000-4000-8000-000000000001.png";
    assert_eq!(server.ask("PUT", &format!("/assets/{graph_id}/{name}"), TOKEN, "png").0, 200);
    let assets = folder.path().join("assets").join(&graph_id);
    let meta = assets.join(format!("{name}.meta.json"));
    std::fs::remove_file(assets.join(name)).unwrap();
    assert_eq!(data(folder.path(), &["repair", "assets"])["actions"], json!([]), "it may be on its way");
    let old = std::time::SystemTime::now() - Duration::from_hours(2);
    std::fs::File::options().write(true).open(&meta).unwrap().set_modified(old).unwrap();
    std::fs::write(assets.join("bare.png"), "png").unwrap();
    let done = data(folder.path(), &["repair", "assets", "--apply"]);
    let mut what: Vec<_> = done["actions"].as_array().unwrap().iter().map(|it| it["what"].as_str().unwrap()).collect();
    what.sort_unstable();
    assert_eq!(what, ["meta-missing", "meta-orphan"]);
    assert!(!meta.exists() && assets.join("bare.png.meta.json").is_file());
}

#[test]
fn a_wrong_checksum_is_traced_through_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[("DB_SYNC_INITIAL_DATA", "false")]);
    let graph_id = server.create_graph(TOKEN, "notes");
    let mut socket = server.socket(TOKEN, &graph_id);
    let uuid = |n: u32| format!("~u66b8d8f0-0000-4000-8000-{n:012x}");
    for t in 0..3_u32 {
        let mut tx =
            vec![json!(["~:db/add", "b", "~:block/uuid", uuid(t)]), json!(["~:db/add", "b", "~:block/title", "x"])];
        if t > 0 {
            let page = json!(["~:block/uuid", uuid(0)]);
            tx.extend(["parent", "page"].map(|name| json!(["~:db/add", "b", format!("~:block/{name}"), page])));
            tx.push(json!(["~:db/add", "b", "~:block/order", format!("a{t}")]));
        }
        let tx = json!(tx).to_string();
        socket
            .send(&json!({ "type": "tx/batch", "t-before": t, "txs": [{ "tx": tx, "outliner-op": "insert-blocks" }] }));
        let answer = socket.receive(&["tx/batch/ok", "tx/reject"]);
        assert_eq!(answer["type"], "tx/batch/ok", "{answer}");
    }
    let (code, told_of) = told(folder.path(), &["checksum", "drift", "--graph-id", &graph_id]);
    let found = &told_of["data"];
    assert_eq!(
        (code, &found["replay"]["ok"], &found["different_blocks"]),
        (Some(0), &json!(true), &json!(0)),
        "{found}"
    );
    assert_eq!((&found["tx_log_count"], &found["current_blocks"]), (&json!(3), &found["replayed_blocks"]));
    let blocks = found["current_blocks"].as_u64().unwrap();
    assert!(blocks >= 2, "{found}");
    drop((socket, server));
    data(folder.path(), &["checkpoint"]);
    let path = graph_file(folder.path(), &graph_id);
    Connection::open(&path).unwrap().execute("DELETE FROM tx_log WHERE t = 2", ()).unwrap();
    let out = folder.path().join("diff.json");
    let drift = ["checksum", "drift", "--db", path.to_str().unwrap(), "--diff-out", out.to_str().unwrap()];
    let (_, told_of) = told(folder.path(), &drift);
    assert_eq!(told_of["data"]["different_blocks"], 1, "{told_of}");
    let written: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    assert_eq!((written.as_array().unwrap().len(), &written[0]["replayed"]), (1, &Value::Null));
    let said = String::from_utf8(binary(folder.path()).args(&drift[..4]).output().unwrap().stdout).unwrap();
    let counts = format!("current-blocks: {blocks}, replayed-blocks: {}, different-blocks: 1", blocks - 1);
    for line in ["stored-checksum: ", "recomputed-checksum: ", "tx-log-count: 2", &counts, "different-blocks-sample:"] {
        assert!(said.lines().any(|said| said.starts_with(line)), "{line}\n{said}");
    }
}

#[test]
fn a_logged_transaction_is_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server1.log");
    let datom = |e: u32, a: &str, v: &str| format!(r#"["~#datascript/Datom",[{e},"~:{a}",{v},536870913]]"#);
    let uuid = r#""~u66b8d8f0-0000-4000-8000-000000000001""#;
    let before = format!(
        r#"["~#datascript/DB",["^ ","~:schema",["^ "],"~:datoms",[{},{}]]]"#,
        datom(1, "block/uuid", uuid),
        datom(1, "block/title", "\"a\"")
    );
    let tx = r#"[["~:db/add",1,"~:block/title","b"]]"#;
    let line = |more: &str| {
        let text = |text: &str| Value::from(text).to_string();
        format!(":debug :before-checksum-error {{:db-before {}, :tx-data {} {more}}}", text(&before), text(tx))
    };
    let log = ["checksum", "log", "--log", path.to_str().unwrap()];
    std::fs::write(&path, line("")).unwrap();
    let (code, first) = told(folder.path(), &log);
    let sums = &first["data"];
    assert_eq!((code, &sums["incremental_from_full_before_eq_full"]), (Some(1), &json!(true)), "{first}");
    let (full, after) = (&sums["replayed_prev_full_checksum"], &sums["replayed_recomputed_after"]);
    std::fs::write(&path, line(&format!(":prev-checksum {full} :new-checksum {after} :full-checksum {after}")))
        .unwrap();
    let (code, right) = told(folder.path(), &log);
    let right = &right["data"];
    assert_eq!(code, Some(0), "{right}");
    for name in
        ["input_checksum_eq_replayed_prev_full", "match_logged_new", "match_logged_full_after", "incremental_eq_full"]
    {
        assert_eq!(right[name], true, "{name}: {right}");
    }
    std::fs::write(&path, line(r#":prev-checksum "00000000deadbeef""#)).unwrap();
    assert_eq!(told(folder.path(), &log).0, Some(1));
    for wrong in ["", "x", ":debug :before-checksum-error {", ":debug :before-checksum-error {:db-before \"[]\"}"] {
        std::fs::write(&path, wrong).unwrap();
        assert_eq!(refused(folder.path(), &log).1, "odd-log", "{wrong}");
    }
}
