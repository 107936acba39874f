//! A data directory as upstream's Node adapter lays it out (sync.md 15.3) is served as it is, and handed back (self-host.md 8.2): what that
//! adapter wrote stays, it can go on from what this server wrote, and an independent reader finds the same facts in the rows.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use flate2::read::GzDecoder;
use graph::snapshot::FrameReader;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::operator::data;
use crate::support::{Server, TOKEN, page};

const GRAPH: &str = "0f6c3a10-0000-4000-8000-00000000a001";
const ASSET: &str = "9a8b7c6d-0000-4000-8000-000000000001.png";

/// The folder of the repository.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The rows of a new graph, as a client uploads them.
fn first_rows() -> Vec<datascript::Row> {
    let packed = std::fs::read(root().join("tests/reference/golden/server/bodies/base.frames.gz")).unwrap();
    let mut frames = Vec::new();
    GzDecoder::new(packed.as_slice()).read_to_end(&mut frames).unwrap();
    let (mut reader, mut rest) = (FrameReader::new(), frames.as_slice());
    std::iter::from_fn(|| reader.next_row(&mut rest).unwrap()).collect()
}

/// Makes the directory: an index of upstream's schema, in which nothing tells which migrations there are, a graph and an asset.
fn lay_out(folder: &Path) {
    let index = Connection::open(folder.join("index.sqlite")).unwrap();
    let mut steps: Vec<_> =
        root().join("migrations/sync").read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    steps.sort();
    for step in steps.iter().filter(|step| step.file_name().unwrap().to_str().unwrap() < "0007") {
        index.execute_batch(&std::fs::read_to_string(step).unwrap()).unwrap();
    }
    // A column and a table of a later upstream.
    index.execute_batch("ALTER TABLE graphs ADD COLUMN colour TEXT; CREATE TABLE later (id TEXT)").unwrap();
    let graph = "INSERT INTO graphs (graph_id, graph_name, user_id, schema_version, created_at, updated_at, graph_e2ee, \
                 graph_ready_for_use, colour) VALUES (?, 'notes', 'user', '65', 1755000000000, 1755000000000, 0, 1, 'red')";
    index.execute(graph, [GRAPH]).unwrap();
    index.execute("INSERT INTO users (id, username) VALUES ('user', 'user')", ()).unwrap();

    let place = folder.join("graphs").join(GRAPH);
    std::fs::create_dir_all(&place).unwrap();
    let graph = Connection::open(place.join("db.sqlite")).unwrap();
    graph
        .execute_batch(
            "CREATE TABLE kvs (addr INTEGER PRIMARY KEY, content TEXT, addresses JSON); \
             CREATE TABLE tx_log (t INTEGER PRIMARY KEY, tx TEXT NOT NULL, created_at INTEGER, outliner_op TEXT); \
             CREATE TABLE sync_meta (key TEXT PRIMARY KEY, value TEXT)",
        )
        .unwrap();
    for row in first_rows() {
        graph.execute("INSERT INTO kvs VALUES (?, ?, ?)", (row.addr, row.content, row.addresses)).unwrap();
    }
    graph.execute("INSERT INTO sync_meta VALUES ('checksum', '0000000000000000'), ('t', '0')", ()).unwrap();

    let assets = folder.join("assets").join(GRAPH);
    std::fs::create_dir_all(&assets).unwrap();
    std::fs::write(assets.join(ASSET), "bytes").unwrap();
    let meta =
        r#"{"contentType":"image/png","contentEncoding":null,"cacheControl":null,"customMetadata":{"checksum":"x"}}"#;
    std::fs::write(assets.join(format!("{ASSET}.meta.json")), meta).unwrap();
}

/// The number that stands behind a name in a graph's root.
fn number(graph: &Connection, name: &str) -> i64 {
    let root: String = graph.query_row("SELECT content FROM kvs WHERE addr = 0", (), |row| row.get(0)).unwrap();
    let root: Vec<Value> = serde_json::from_str(&root).unwrap();
    let at = root.iter().position(|part| part == name).unwrap();
    root[at + 1].as_i64().unwrap()
}

fn open(folder: &Path) -> Connection {
    Connection::open(folder.join("graphs").join(GRAPH).join("db.sqlite")).unwrap()
}

/// A transaction as upstream's adapter stores it: into the tail, the log, the counter and the checksum.
fn upstream_transacts(folder: &Path, title: &str) {
    let graph = open(folder);
    let (e, tx) = (number(&graph, "~:max-eid") + 1, number(&graph, "~:max-tx") + 1);
    let uuid = format!("66b8d8f0-0000-4000-9000-{e:012x}");
    let facts = [
        ("uuid", json!(format!("~u{uuid}"))),
        ("name", json!(title.to_lowercase())),
        ("title", json!(title)),
        ("created-at", json!(1_755_000_000_000_i64)),
        ("updated-at", json!(1_755_000_000_000_i64)),
    ];
    let datoms: Vec<Value> =
        facts.iter().map(|(name, value)| json!([e, format!("~:block/{name}"), value, tx])).collect();
    graph.execute("UPDATE kvs SET content = ? WHERE addr = 1", [json!([datoms]).to_string()]).unwrap();
    let log = json!([["~:db/add", ["~:block/uuid", format!("~u{uuid}")], "~:block/title", title]]).to_string();
    let t = "(SELECT CAST(value AS INTEGER) + 1 FROM sync_meta WHERE key = 't')";
    graph.execute(&format!("INSERT INTO tx_log VALUES ({t}, ?, 1755000000000, NULL)"), [log]).unwrap();
    graph.execute(&format!("UPDATE sync_meta SET value = {t} WHERE key = 't'"), ()).unwrap();
    drop(graph);
    let file = folder.join("graphs").join(GRAPH).join("db.sqlite");
    let checksum = data(folder, &["checksum", "recompute", "--db", file.to_str().unwrap()])["recomputed"].clone();
    open(folder)
        .execute("UPDATE sync_meta SET value = ? WHERE key = 'checksum'", [checksum.as_str().unwrap()])
        .unwrap();
}

/// What a reader that shares no code with the server finds in rows: digests of the facts of each index.
fn independently(rows: &[Value]) -> Value {
    let mut reader = Command::new("node");
    reader.current_dir(root()).arg("tests/reader/odd-rows.mjs").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut reader = reader.spawn().unwrap();
    writeln!(reader.stdin.take().unwrap(), "{}", json!({ "rows": rows })).unwrap();
    let found: Value = serde_json::from_slice(&reader.wait_with_output().unwrap().stdout).unwrap();
    assert!(found["eavt"].is_string(), "{found}");
    found
}

/// The rows of the file, as upstream reads them.
fn rows_of(folder: &Path) -> Vec<Value> {
    let graph = open(folder);
    let mut rows = graph.prepare("SELECT addr, content, addresses FROM kvs ORDER BY addr").unwrap();
    let rows = rows.query_map((), |row| {
        Ok(json!([row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, Option<String>>(2)?]))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

/// The counter and the number of logged transactions, as upstream reads them.
fn position(folder: &Path) -> (String, i64) {
    let graph = open(folder);
    let t = graph.query_row("SELECT value FROM sync_meta WHERE key = 't'", (), |row| row.get(0)).unwrap();
    let logged = graph.query_row("SELECT count(*) FROM tx_log WHERE t <= ?", [&t], |row| row.get(0)).unwrap();
    (t, logged)
}

/// Ends a server; everything lies in one file of each database then, and all is right with it.
fn hand_over(mut server: Server, folder: &Path) {
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    let place = folder.join("graphs").join(GRAPH);
    for file in [folder.join("index.sqlite"), place.join("db.sqlite")] {
        assert!(!file.with_extension("sqlite-wal").exists(), "{}", file.display());
        // Upstream's journal, so that its adapter finds what it left.
        let mode: String =
            Connection::open(&file).unwrap().query_row("PRAGMA journal_mode = delete", (), |row| row.get(0)).unwrap();
        assert_eq!(mode, "delete");
    }
    assert_eq!(data(folder, &["verify"])["ok"], true);
}

#[test]
fn a_directory_of_upstreams_adapter_is_served_and_handed_back() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    lay_out(folder);
    upstream_transacts(folder, "Written there");
    let before = independently(&rows_of(folder));

    let server = Server::start(folder, &[]);
    let (_, graphs) = server.ask("GET", "/graphs", TOKEN, "");
    assert_eq!(
        (&graphs["graphs"][0]["graph-id"], &graphs["graphs"][0]["graph-name"]),
        (&json!(GRAPH), &json!("notes"))
    );
    let (status, asset) =
        server.ask_with("GET", &format!("/assets/{GRAPH}/{ASSET}"), &[&format!("authorization: Bearer {TOKEN}")], "");
    assert_eq!((status, asset.as_str()), (200, "bytes"));
    let mut socket = server.socket(TOKEN, GRAPH);
    socket.send(&page(1, 1));
    assert_eq!(socket.receive(&["tx/batch/ok", "tx/reject"])["t"], 2);
    drop(socket);
    hand_over(server, folder);

    assert_eq!(position(folder), ("2".to_owned(), 2));
    let after = independently(&rows_of(folder));
    assert_ne!(before["eavt"], after["eavt"]);
    let index = Connection::open(folder.join("index.sqlite")).unwrap();
    let colour: String =
        index.query_row("SELECT colour FROM graphs WHERE graph_id = ?", [GRAPH], |row| row.get(0)).unwrap();
    assert_eq!(colour, "red", "what upstream wrote stays");
    drop(index);

    // Upstream goes on, knowing nothing of our tables, and then we do: what we once held in the journal is not played over it.
    upstream_transacts(folder, "Written there again");
    let theirs = independently(&rows_of(folder));
    let server = Server::start(folder, &[]);
    let (_, pulled) = server.ask("GET", &format!("/sync/{GRAPH}/pull?since=0"), TOKEN, "");
    assert_eq!((&pulled["t"], pulled["txs"].as_array().unwrap().len()), (&json!(3), 3));
    let mut socket = server.socket(TOKEN, GRAPH);
    socket.send(&page(3, 2));
    assert_eq!(socket.receive(&["tx/batch/ok", "tx/reject"])["t"], 4);
    drop(socket);
    hand_over(server, folder);
    assert_eq!(position(folder), ("4".to_owned(), 4));
    let rows = rows_of(folder);
    for title in ["Written there", "Page 1", "Written there again", "Page 2"] {
        assert!(rows.iter().any(|row| row[1].as_str().unwrap().contains(title)), "{title}");
    }
    assert_ne!(independently(&rows)["eavt"], theirs["eavt"]);
}
