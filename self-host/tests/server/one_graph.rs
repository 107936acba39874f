//! Servers for one graph each (docs/spec/daemon.md 4.1): they share the directory, and nobody serves all of it beside them.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::operator::{data, graph_with_pages, refused};
use crate::support::{ADMIN, Server, TOKEN, binary, page};

/// A server for a graph.
fn serve(folder: &Path, graph_id: &str) -> Server {
    let mut command = binary(folder);
    command.args(["serve", "--port", "0", "--bind", "127.0.0.1", "--json", "--graph", graph_id]);
    command.envs([
        ("DB_SYNC_AUTH_DRIVER", "static"),
        ("DB_SYNC_AUTH_TOKEN", TOKEN),
        ("DB_SYNC_ADMIN_TOKEN", ADMIN),
        ("DB_SYNC_GRAPH_IDLE", "1"),
        ("DB_SYNC_INITIAL_DATA", "true"),
    ]);
    Server::of(command)
}

/// The exit code of a start that fails at once.
fn exit_of(folder: &Path, more: &[&str]) -> Option<i32> {
    let mut command = binary(folder);
    command.args(["serve", "--port", "0", "--bind", "127.0.0.1"]).args(more);
    command.env("DB_SYNC_AUTH_DRIVER", "static").env("DB_SYNC_AUTH_TOKEN", TOKEN).output().unwrap().status.code()
}

#[test]
fn each_graph_has_a_server_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut whole = Server::start(folder.path(), &[]);
    let (first, second) = (graph_with_pages(&whole, "first", 2), whole.create_graph(TOKEN, "second"));
    assert_eq!(exit_of(folder.path(), &["--graph", &first]), Some(75), "the directory has a server");
    whole.signal("TERM");
    assert_eq!(whole.wait(), Some(0));

    let (mut one, mut two) = (serve(folder.path(), &first), serve(folder.path(), &second));
    assert!(one.ready.contains(&format!("\"graph\":\"{first}\"")), "{}", one.ready);
    assert_eq!(exit_of(folder.path(), &[]), Some(75), "its graphs have servers");
    assert_eq!(exit_of(folder.path(), &["--graph", &format!("logseq_db_{first}")]), Some(75), "it has one");
    for (server, graph_id, t) in [(&one, &first, 2), (&two, &second, 0)] {
        let mut socket = server.socket(TOKEN, graph_id);
        socket.send(&page(t, 77));
        assert_eq!(socket.receive(&["tx/batch/ok", "tx/reject"])["t"], t + 1);
        assert_eq!(server.ask("GET", "/graphs", TOKEN, "").1["graphs"].as_array().map(Vec::len), Some(2));
        assert_eq!(server.ask("PUT", &format!("/assets/{graph_id}/a.png"), TOKEN, "png").0, 200);
    }
    let elsewhere = (409, json!({ "error": "repo-mismatch" }));
    let body = json!({ "graph-name": "third", "graph-e2ee?": false }).to_string();
    for (method, path, body) in [
        ("GET", format!("/sync/{second}/pull"), ""),
        ("PUT", format!("/assets/{second}/b.png"), "png"),
        ("GET", format!("/graphs/{second}/access"), ""),
        ("POST", "/graphs".to_owned(), &*body),
        ("DELETE", format!("/graphs/{first}"), ""),
    ] {
        assert_eq!(one.ask(method, &path, TOKEN, body), elsewhere, "{method} {path}");
    }
    // Who looks after the directory finds both, and what needs all of it alone waits for them.
    assert_eq!(data(folder.path(), &["verify"])["ok"], true);
    assert_eq!(refused(folder.path(), &["repair", "index-db"]), (75, "repo-locked".into()));
    let list = data(folder.path(), &["server", "list"]);
    let graphs: Vec<_> = list["servers"].as_array().unwrap().iter().map(|it| it["graph"].as_str().unwrap()).collect();
    assert!(graphs.len() == 2 && graphs.contains(&&*first) && graphs.contains(&&*second), "{list}");

    one.signal("TERM");
    assert_eq!(one.wait(), Some(0));
    assert_eq!(exit_of(folder.path(), &[]), Some(75), "the other one still runs");
    let again = serve(folder.path(), &first);
    assert_eq!(again.ask("GET", &format!("/sync/{first}/pull"), TOKEN, "").1["t"], 3);
    drop(again);
    two.signal("TERM");
    assert_eq!(two.wait(), Some(0));
    let whole = Server::start(folder.path(), &[]);
    assert_eq!(whole.ask("GET", &format!("/sync/{second}/pull"), TOKEN, "").1["t"], 1);
}

#[test]
fn a_graph_that_is_not_there_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(exit_of(folder.path(), &["--graph", "nobody"]), Some(1), "there is no directory yet");
    drop(Server::start(folder.path(), &[]));
    assert_eq!(exit_of(folder.path(), &["--graph", "nobody"]), Some(1));
    assert!(!folder.path().join("graphs/nobody").exists());
    assert_eq!(exit_of(folder.path(), &["--graph", ".."]), Some(2));
}

#[test]
fn an_idle_graph_is_closed_and_its_server_stays() {
    let folder = tempfile::tempdir().unwrap();
    let whole = Server::start(folder.path(), &[]);
    let graph_id = whole.create_graph(TOKEN, "notes");
    drop(whole);
    assert!(!folder.path().join("graphs").join(&graph_id).exists(), "nobody has opened it");
    let server = serve(folder.path(), &graph_id);
    server.ask("GET", &format!("/sync/{graph_id}/pull"), TOKEN, "");
    let open = || {
        let metrics = server.ask_with("GET", "/metrics", &[&format!("x-db-sync-admin-token: {ADMIN}")], "").1;
        metrics.lines().find_map(|line| line.strip_prefix("logseq_sync_graphs_open ")).unwrap().to_owned()
    };
    let begun = Instant::now();
    while open() != "0" {
        assert!(begun.elapsed() < Duration::from_mins(1), "it is closed after a second");
    }
    assert!(folder.path().join("graphs").join(&graph_id).join(".daemon.lock").exists());
    assert_eq!(server.ask("GET", "/health", TOKEN, "").0, 200);
}
