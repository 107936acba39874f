//! The verbs that look after a data directory: verify, repair, checkpoint, backup, restore and gc.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::operator::{data, graph_with_pages, refused, told};
use crate::support::{Server, TOKEN, page};

fn graph_file(folder: &Path, graph_id: &str) -> PathBuf {
    folder.join("graphs").join(graph_id).join("db.sqlite")
}

/// A directory with a graph of some pages, on which no server runs any more.
fn made(folder: &Path, pages: u64) -> String {
    let mut server = Server::start(folder, &[]);
    let graph_id = graph_with_pages(&server, "notes", pages);
    server.ask("PUT", &format!("/assets/{graph_id}/9a8b7c6d-0000-4000-8000-000000000001.png"), TOKEN, "png");
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    graph_id
}

fn sum(folder: &Path, graph_id: &str) -> Value {
    data(folder, &["checksum", "show", "--graph-id", graph_id])["recomputed"].clone()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn graphs_are_verified_alone_and_against_another_side() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let graph_id = graph_with_pages(&server, "notes", 5);
    let snapshot = folder.path().join("device.sqlite");
    let before = data(folder.path(), &["graph", "download", "--graph-id", &graph_id, "--output", text(&snapshot)]);
    assert!(before["rows"].as_u64().unwrap() > 3);
    let verified = data(folder.path(), &["verify"]);
    let graph = &verified["graphs"][0];
    assert_eq!((&graph["ok"], &graph["t"], &graph["checksum"]), (&json!(true), &json!(5), &graph["recomputed"]));
    let with_db = ["verify", "--graph-id", &graph_id, "--db", text(&snapshot)];
    assert_eq!(data(folder.path(), &with_db)["ok"], true);
    let base = server.base();
    let with = ["verify", "--with", &base, "--with-token", crate::support::ADMIN];
    assert_eq!(data(folder.path(), &with)["graphs"][0]["differences"], json!([]));
    let mut socket = server.socket(TOKEN, &graph_id);
    socket.send(&page(5, 5));
    socket.receive(&["tx/batch/ok"]);
    let (code, differs) = told(folder.path(), &with_db);
    assert_eq!((code, &differs["status"]), (Some(1), &json!("ok")));
    let difference = &differs["data"]["graphs"][0]["differences"][0];
    assert_eq!(
        (&difference["field"], &difference["left"], &difference["right"]),
        (&json!("block"), &json!(true), &json!(false))
    );
    assert_eq!(refused(folder.path(), &["verify", "--db", "x"]).0, 2);
}

#[test]
fn what_is_wrong_with_a_graph_is_told_and_put_right() {
    let folder = tempfile::tempdir().unwrap();
    let graph_id = made(folder.path(), 5);
    let path = graph_file(folder.path(), &graph_id);
    let good = sum(folder.path(), &graph_id);
    let connection = Connection::open(&path).unwrap();
    connection.execute("UPDATE sync_meta SET value = '00000000deadbeef' WHERE key = 'checksum'", ()).unwrap();
    connection.execute("DELETE FROM tx_log WHERE t = 3", ()).unwrap();
    drop(connection);
    let codes = || {
        let (_, verified) = told(folder.path(), &["verify"]);
        let problems = verified["data"]["graphs"][0]["problems"].as_array().unwrap().clone();
        problems.iter().map(|it| it["code"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(codes(), ["checksum", "log-gap"]);
    assert_eq!(told(folder.path(), &["checksum", "verify", "--graph-id", &graph_id]).0, Some(1));
    let dry = data(folder.path(), &["repair", "checksum"]);
    assert_eq!((&dry["actions"][0]["after"], &dry["actions"][0]["done"]), (&good, &json!(false)));
    assert_eq!(codes(), ["checksum", "log-gap"], "nothing was changed");
    data(folder.path(), &["repair", "checksum", "--apply"]);
    assert_eq!(codes(), ["log-gap"]);
    let kept = folder.path().join("quarantine").read_dir().unwrap().count();
    assert_eq!(kept, 1, "the file as it was");
    std::fs::create_dir(folder.path().join("graphs/nobody's")).unwrap();
    let moved = data(folder.path(), &["repair", "index", "--apply"]);
    assert_eq!(
        (&moved["actions"][0]["what"], moved["actions"].as_array().unwrap().len()),
        (&json!("graph-without-row"), 1)
    );
    assert!(!folder.path().join("graphs/nobody's").exists());
}

#[test]
fn a_damaged_file_is_told_and_what_can_be_read_is_saved() {
    let folder = tempfile::tempdir().unwrap();
    let graph_id = made(folder.path(), 300);
    let path = graph_file(folder.path(), &graph_id);
    let mut bytes = std::fs::read(&path).unwrap();
    let page = bytes.len() / 2 / 4096 * 4096;
    bytes[page..page + 4096].fill(0xEE);
    std::fs::write(&path, &bytes).unwrap();
    let (code, verified) = told(folder.path(), &["verify"]);
    assert_eq!((code, &verified["data"]["graphs"][0]["problems"][0]["code"]), (Some(1), &json!("sqlite")));
    let saved = data(folder.path(), &["repair", "graph-db", "--apply"]);
    assert_eq!(saved["actions"][0]["done"], true, "{saved}");
    let (_, verified) = told(folder.path(), &["verify"]);
    let codes = verified["data"]["graphs"][0]["problems"].to_string();
    assert!(!codes.contains("sqlite"), "{codes}");
    std::fs::write(folder.path().join("index.sqlite"), "no database, whatever it is called".repeat(200)).unwrap();
    assert_eq!(refused(folder.path(), &["graph", "list"]), (74, "index-damaged".into()));
}

#[test]
fn a_backup_under_load_is_restored_whole() {
    let folder = tempfile::tempdir().unwrap();
    let graph_id = made(folder.path(), 20);
    let server = Server::start(folder.path(), &[]);
    let backups = tempfile::tempdir().unwrap();
    let first = backups.path().join("first");
    let mut socket = server.socket(TOKEN, &graph_id);
    let writer = std::thread::spawn(move || {
        for number in 20..200 {
            socket.send(&page(number, number.try_into().unwrap()));
            assert_eq!(socket.receive(&["tx/batch/ok", "tx/reject"])["type"], "tx/batch/ok");
        }
    });
    let told_of = data(folder.path(), &["backup", "--output", text(&first)]);
    assert_eq!((&told_of["graphs"], &told_of["skipped"]), (&json!(1), &json!([])));
    writer.join().unwrap();
    assert_eq!(refused(folder.path(), &["backup", "--output", text(&first)]), (1, "exists".into()));
    let manifest: Value = serde_json::from_slice(&std::fs::read(first.join("manifest.json")).unwrap()).unwrap();
    let state = &manifest["graphs"][0];
    let t = state["t"].as_i64().unwrap();
    assert!((20..=200).contains(&t));
    assert!(!std::fs::read_to_string(first.join("manifest.json")).unwrap().contains(TOKEN));
    // Into another directory, over a log that was left there.
    let target = backups.path().join("restored");
    std::fs::create_dir_all(target.join("graphs").join(&graph_id)).unwrap();
    std::fs::write(graph_file(&target, &graph_id).with_extension("sqlite-wal"), "stale").unwrap();
    let restore = ["restore", "--from", text(&first), "--data-dir", text(&target)];
    assert_eq!(refused(folder.path(), &restore), (1, "not-empty".into()));
    let restored = data(folder.path(), &[&restore[..], &["--force"]].concat());
    assert!(Path::new(restored["previous"].as_str().unwrap()).is_dir());
    assert!(!graph_file(&target, &graph_id).with_extension("sqlite-wal").exists());
    let verified = data(&target, &["verify"]);
    let graph = &verified["graphs"][0];
    assert_eq!((&graph["t"], &graph["checksum"]), (&json!(t), &state["checksum"]));
    let copy = Server::start(&target, &[]);
    let asset = format!("/assets/{graph_id}/9a8b7c6d-0000-4000-8000-000000000001.png");
    assert_eq!(copy.ask_with("GET", &asset, &[&format!("authorization: Bearer {TOKEN}")], "").1, "png");
    drop(copy);
    // A later one links what is the same; a damaged one is refused.
    let second = backups.path().join("second.tar");
    data(folder.path(), &["backup", "--output", text(&second)]);
    let third = backups.path().join("third");
    let linked = ["backup", "--output", text(&third), "--link-dest", text(&first), "--keep", "1"];
    assert_eq!(data(folder.path(), &linked)["removed"], json!([first]));
    let from_tar = backups.path().join("from-tar");
    data(folder.path(), &["restore", "--from", text(&second), "--data-dir", text(&from_tar)]);
    assert_eq!(sum(&from_tar, &graph_id), sum(folder.path(), &graph_id));
    let damaged = third.join("graphs").join(&graph_id).join("db.sqlite");
    std::fs::write(&damaged, "x").unwrap();
    let never = backups.path().join("never");
    let again = ["restore", "--from", text(&third), "--data-dir", text(&never)];
    assert_eq!(refused(folder.path(), &again), (1, "bad-backup".into()));
    assert!(!never.exists());
}

#[test]
fn one_graph_comes_back_as_a_copy_or_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let graph_id = made(folder.path(), 5);
    let then = sum(folder.path(), &graph_id);
    let backup = folder.path().join("backup");
    data(folder.path(), &["backup", "--output", text(&backup)]);
    let server = Server::start(folder.path(), &[]);
    let mut socket = server.socket(TOKEN, &graph_id);
    socket.send(&page(5, 5));
    socket.receive(&["tx/batch/ok"]);
    let restore = ["restore", "--from", text(&backup), "--graph-id", &graph_id];
    let copy = data(folder.path(), &restore)["graphs"][0].clone();
    assert_eq!((&copy["checksum"], &copy["assets"]), (&then, &json!(1)));
    assert_ne!(copy["graph_id"], json!(graph_id));
    assert_eq!(sum(folder.path(), copy["graph_id"].as_str().unwrap()), then);
    assert_ne!(sum(folder.path(), &graph_id), then, "the graph itself is as it was");
    let in_place = [&restore[..], &["--in-place"]].concat();
    assert_eq!(refused(folder.path(), &in_place), (2, "confirmation-required".into()));
    data(folder.path(), &[&in_place[..], &["--yes"]].concat());
    assert_eq!(sum(folder.path(), &graph_id), then);
    assert_eq!(socket.closed().map(|(code, _)| code), Some(1012), "devices begin anew");
}

#[test]
fn rows_that_nothing_reaches_are_freed_and_one_file_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let graph_id = made(folder.path(), 5);
    let path = graph_file(folder.path(), &graph_id);
    let connection = Connection::open(&path).unwrap();
    for addr in 0..2_500 {
        let sql = "INSERT INTO kvs (addr, content, addresses) SELECT ?, content, addresses FROM kvs WHERE addr = 1";
        connection.execute(sql, [50_000_000 + addr]).unwrap();
    }
    drop(connection);
    let before = sum(folder.path(), &graph_id);
    let dry = data(folder.path(), &["gc", "--dry-run"]);
    assert_eq!(dry["graphs"][0]["deleted"], 2_500);
    let freed = &data(folder.path(), &["gc", "--vacuum", "--graph-id", &graph_id])["graphs"][0];
    assert_eq!(freed["deleted"], 2_500);
    assert!(freed["bytes_after"].as_u64() < freed["bytes_before"].as_u64());
    assert_eq!(sum(folder.path(), &graph_id), before);
    assert_eq!(data(folder.path(), &["gc"])["graphs"][0]["deleted"], 0);
    data(folder.path(), &["checkpoint", "--for-upstream"]);
    let files: Vec<_> = path.parent().unwrap().read_dir().unwrap().collect();
    assert_eq!(files.len(), 1);
    let mode: String = Connection::open(&path).unwrap().query_row("PRAGMA journal_mode", (), |row| row.get(0)).unwrap();
    assert_eq!(mode, "delete");
    assert_eq!(data(folder.path(), &["verify"])["ok"], true);
}
