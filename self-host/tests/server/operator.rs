//! The operator's verbs over a data directory, with and without a server on it, and over a remote server.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{ADMIN, Server, TOKEN, binary, page, run, said};

/// What a verb says as JSON, and how it ends.
pub(crate) fn told(data: &Path, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = binary(data).args(arguments).arg("--json").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let value = serde_json::from_str(&text)
        .unwrap_or_else(|_| panic!("{arguments:?}: {text:?} {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), value)
}

/// The data of a verb that succeeds.
pub(crate) fn data(data: &Path, arguments: &[&str]) -> Value {
    let (code, value) = told(data, arguments);
    assert_eq!((code, &value["status"]), (Some(0), &json!("ok")), "{arguments:?}: {value}");
    value["data"].clone()
}

/// The exit code and the code of the error of a verb that fails.
pub(crate) fn refused(data: &Path, arguments: &[&str]) -> (i32, String) {
    let (code, value) = told(data, arguments);
    assert_eq!(value["status"], "error", "{arguments:?}: {value}");
    (code.unwrap(), value["error"]["code"].as_str().unwrap().to_owned())
}

/// A graph with some pages, on a server.
pub(crate) fn graph_with_pages(server: &Server, name: &str, pages: u64) -> String {
    let graph_id = server.create_graph(TOKEN, name);
    let mut socket = server.socket(TOKEN, &graph_id);
    for number in 0..pages {
        socket.send(&page(number.try_into().unwrap(), number));
        let answer = socket.receive(&["tx/batch/ok", "tx/reject"]);
        assert_eq!(answer["type"], "tx/batch/ok", "{answer}");
    }
    graph_id
}

#[test]
fn users_graphs_and_usage_are_shown_with_and_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path();
    assert_eq!(refused(data_dir, &["graphs", "--user-id", "user"]), (1, "no-data-dir".into()));
    let mut server = Server::start(data_dir, &[("DB_SYNC_STATIC_USERNAME", "ann")]);
    let graph_id = graph_with_pages(&server, "notes\u{1b}[31m", 1);
    let look = || {
        let shown = data(data_dir, &["graphs", "--username", "ann"]);
        assert_eq!(shown["user"]["id"], "user");
        let graph = &shown["graphs"][0];
        assert_eq!((&graph["graph_id"], &graph["access_role"]), (&json!(graph_id), &json!("owner")));
        assert!(graph["created_at"].as_str().unwrap().ends_with('Z') && graph["graph_ready_for_use"] == true);
        assert_eq!(shown["graphs"].as_array().unwrap().len(), 1);
        let usage = data(data_dir, &["usage", "--days", "2"]);
        assert_eq!((&usage["days"], &usage["total_users"], &usage["total_graphs"]), (&json!(2), &json!(1), &json!(1)));
        assert_eq!((&usage["active_users_last_n_days"], &usage["graphs_created_today"]), (&json!(1), &json!(1)));
        let info = data(data_dir, &["graph", "info", "--graph-id", &graph_id]);
        assert_eq!((&info["members"][0]["role"], &info["owner_username"]), (&json!("manager"), &json!("ann")));
        assert_eq!(data(data_dir, &["graph", "list"])["count"], 1);
    };
    look();
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    look();
    let words = said(data_dir, &["graphs", "--user-id", "user"]);
    assert!(words.contains(&graph_id) && words.contains("Count: 1"), "{words}");
    assert!(!words.contains('\u{1b}'), "a name moves no cursor");
    for (arguments, expected) in [
        (&["graphs"][..], (2, "usage")),
        (&["graphs", "--username", "a", "--user-id", "b"], (2, "usage")),
        (&["graphs", "--username", "nobody"], (1, "user-not-found")),
        (&["usage", "--days", "0"], (2, "usage")),
        (&["usage", "--env", "prod"], (2, "usage")),
        (&["usage", "--d1", "--data-dir", "x"], (2, "usage")),
        (&["graph", "info", "--graph-id", "nowhere"], (1, "graph-not-found")),
        (&["graph", "download", "--graph-id", "g", "--token", "x"], (2, "usage")),
    ] {
        assert_eq!(refused(data_dir, arguments), (expected.0, expected.1.to_owned()), "{arguments:?}");
    }
    let failed = run(data_dir, &["graphs"]);
    assert_eq!(failed.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("Pass exactly one of --username or --user-id."));
}

#[test]
fn an_index_moves_and_what_is_there_stays() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Server::start(old.path(), &[]);
    let graph_id = graph_with_pages(&server, "notes", 1);
    server.ask("POST", "/e2ee/user-keys", TOKEN, r#"{"public-key":"p'1","encrypted-private-key":"k"}"#);
    let file = old.path().join("index.jsonl");
    let path = file.to_str().unwrap();
    let rows = &data(old.path(), &["index", "export", "--output", path])["rows"];
    assert_eq!((&rows["users"], &rows["graphs"], &rows["user_rsa_keys"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!(refused(old.path(), &["index", "export", "--output", path]), (1, "exists".into()));
    let dry = data(new.path(), &["index", "import", "--from", path, "--dry-run"]);
    assert_eq!(dry["tables"]["graphs"]["added"], 1);
    let first = data(new.path(), &["index", "import", "--from", path]);
    assert_eq!((&first["tables"]["graph_members"]["added"], &first["dry_run"]), (&json!(1), &json!(false)));
    let second = data(new.path(), &["index", "import", "--from", path]);
    for table in ["users", "graphs", "graph_members", "user_rsa_keys"] {
        assert_eq!((&second["tables"][table]["added"], &second["tables"][table]["same"]), (&json!(0), &json!(1)));
    }
    let info = data(new.path(), &["graph", "info", "--graph-id", &graph_id]);
    assert_eq!(info["graph_ready_for_use"], false, "its rows are still elsewhere");
    let text = std::fs::read_to_string(&file).unwrap();
    let stolen = old.path().join("stolen.jsonl");
    let of_other = text.replace("\"user_id\":\"user\"", "\"user_id\":\"thief\"");
    std::fs::write(&stolen, of_other).unwrap();
    let error = refused(new.path(), &["index", "import", "--from", stolen.to_str().unwrap()]);
    assert_eq!(error, (1, "graph-owned-by-other".into()));
    std::fs::write(&stolen, text.lines().next().unwrap()).unwrap();
    assert_eq!(refused(new.path(), &["index", "import", "--from", stolen.to_str().unwrap()]).1, "bad-export");
}

#[test]
fn a_graph_is_downloaded_uploaded_and_deleted() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut server = Server::start(old.path(), &[]);
    let graph_id = graph_with_pages(&server, "notes", 40);
    let elsewhere = Server::start(new.path(), &[("DB_SYNC_STATIC_USER_ID", "other")]);
    let file = old.path().join("graph.sqlite");
    let path = file.to_str().unwrap();
    let download = ["graph", "download", "--graph-id", &graph_id, "--output", path];
    // Through the socket of the running server.
    let first = data(old.path(), &download);
    assert!(first["rows"].as_u64().unwrap() > 10, "{first}");
    assert_eq!(refused(old.path(), &download), (1, "exists".into()));
    let sums = data(old.path(), &["checksum", "show", "--graph-id", &graph_id]);
    assert_eq!((&sums["equal"], &sums["checksum"]), (&json!(true), &sums["recomputed"]));
    let of_file = data(old.path(), &["checksum", "recompute", "--db", path]);
    assert_eq!((&of_file["recomputed"], &of_file["checksum"]), (&sums["recomputed"], &Value::Null));
    // Over HTTP, with the operator's token and with a user's.
    let base = server.base();
    for (name, token) in [("--admin-token", ADMIN), ("--token", TOKEN)] {
        let again = [&download[..], &["--force", "--base-url", &base, name, token]].concat();
        assert_eq!(data(old.path(), &again)["rows"], first["rows"]);
    }
    let wrong = [&download[..], &["--force", "--base-url", &base, "--admin-token", "wrong"]].concat();
    assert_eq!(refused(old.path(), &wrong), (77, "token-refused".into()));
    // As a new graph of another server.
    let there = elsewhere.base();
    let upload = ["graph", "upload", "--db", path, "--base-url", &there];
    let made = data(new.path(), &[&upload[..], &["--name", "moved", "--token", TOKEN]].concat());
    assert_eq!((&made["checksum"], &made["rows"]), (&sums["recomputed"], &first["rows"]));
    let moved = made["graph_id"].as_str().unwrap();
    let stored = data(new.path(), &["checksum", "verify", "--graph-id", moved]);
    assert_eq!((&stored["checksum"], &stored["equal"]), (&sums["recomputed"], &json!(true)));
    assert_eq!(refused(new.path(), &[&upload[..], &["--name", "x", "--admin-token", ADMIN]].concat()).0, 2);
    let tested = data(new.path(), &["ws-test", "--graph-id", moved]);
    assert_eq!(tested["answers"][0]["checksum"], sums["recomputed"]);
    let over_http = ["ws-test", "--graph-id", moved, "--base-url", &there, "--token", TOKEN];
    assert_eq!(data(new.path(), &over_http)["answers"].as_array().unwrap().len(), 3);
    assert_eq!(
        refused(new.path(), &["ws-test", "--graph-id", "nowhere", "--base-url", &there, "--token", TOKEN]).0,
        77
    );
    drop(elsewhere);
    // Without a server the verb is one for as long as it takes.
    server.signal("TERM");
    server.wait();
    assert_eq!(data(old.path(), &[&download[..], &["--force"]].concat())["rows"], first["rows"]);
    let mine = data(old.path(), &["graph", "upload", "--db", path, "--name", "again", "--user-id", "user"]);
    assert_eq!(data(old.path(), &["graph", "list"])["count"], 2);
    let delete = ["graph", "delete", "--graph-id", mine["graph_id"].as_str().unwrap()];
    assert_eq!(refused(old.path(), &delete), (2, "confirmation-required".into()));
    data(old.path(), &[&delete[..], &["--yes"]].concat());
    assert_eq!(data(old.path(), &["graph", "list"])["count"], 1);
    data(old.path(), &["graph", "delete", "--owned-by", "user", "--yes"]);
    assert_eq!(data(old.path(), &["graph", "list"])["count"], 0);
    let server = Server::start(old.path(), &[]);
    assert_eq!(server.ask("GET", "/graphs", TOKEN, "").1["graphs"], json!([]));
    let gone = ["--base-url", "http://127.0.0.1:1", "--admin-token", ADMIN];
    assert_eq!(refused(old.path(), &[&download[..], &["--force"], &gone].concat()), (69, "unreachable".into()));
}

#[test]
fn of_a_deleted_user_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let token = said(folder.path(), &["user", "add", "ann", "--user-id", "ann-id", "--quiet"]).trim().to_owned();
    let server = Server::start(folder.path(), &[]);
    let own = server.create_graph(&token, "hers");
    let shared = server.create_graph(TOKEN, "shared");
    let member = json!({ "user-id": "ann-id", "role": "member" }).to_string();
    assert_eq!(server.ask("POST", &format!("/graphs/{shared}/members"), TOKEN, &member).0, 200);
    let mut socket = server.socket(&token, &shared);
    let removed = data(folder.path(), &["user", "delete", "--username", "ann", "--yes"]);
    assert_eq!((&removed["graphs"], &removed["users"]), (&json!([own]), &json!(1)));
    assert_eq!((&removed["memberships"], &removed["tokens"]), (&json!(1), &json!(1)));
    assert_eq!(socket.closed(), Some((1008, "revoked".into())));
    assert_eq!(server.ask("GET", "/graphs", &token, "").0, 401);
    assert_eq!(data(folder.path(), &["user", "list"])["users"], json!([]));
    let kept = server.ask("GET", &format!("/graphs/{shared}/members"), TOKEN, "").1;
    assert_eq!(kept["members"].as_array().unwrap().len(), 1);
}

#[test]
fn assets_move_with_their_graph() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let graph_id = graph_with_pages(&server, "notes", 1);
    let uuid = "66b8d8f0-0000-4000-8000-00000000aaaa";
    let items = [
        ("block/uuid", format!("\"~u{uuid}\"")),
        ("block/title", "\"a picture\"".into()),
        ("block/created-at", "1755000000000".into()),
        ("block/updated-at", "1755000000000".into()),
        ("block/order", "\"a0\"".into()),
        ("block/parent", "[\"~:block/uuid\",\"~u66b8d8f0-0000-4000-8000-000000000000\"]".into()),
        ("block/page", "[\"~:block/uuid\",\"~u66b8d8f0-0000-4000-8000-000000000000\"]".into()),
        ("block/tags", "\"~:logseq.class/Asset\"".into()),
        ("logseq.property.asset/type", "\"png\"".into()),
        ("logseq.property.asset/size", "3".into()),
        ("logseq.property.asset/checksum", format!("\"{}\"", "0".repeat(64))),
    ];
    let items: Vec<String> =
        items.iter().map(|(name, value)| format!(r#"["~:db/add","asset","~:{name}",{value}]"#)).collect();
    let mut socket = server.socket(TOKEN, &graph_id);
    socket.send(&json!({ "type": "tx/batch", "t-before": 1, "txs": [{ "tx": format!("[{}]", items.join(",")) }] }));
    let answer = socket.receive(&["tx/batch/ok", "tx/reject"]);
    assert_eq!(answer["type"], "tx/batch/ok", "{answer}");
    let (db, assets) = (folder.path().join("g.sqlite"), folder.path().join("pictures"));
    let (db, assets) = (db.to_str().unwrap(), assets.to_str().unwrap());
    let download = ["graph", "download", "--graph-id", &graph_id, "--output", db, "--force", "--assets", assets];
    let without = data(folder.path(), &download);
    assert_eq!(without["assets"]["missing"], json!([format!("{uuid}.png")]));
    let (status, _) = server.ask("PUT", &format!("/assets/{graph_id}/{uuid}.png"), TOKEN, "png");
    assert_eq!(status, 200);
    assert_eq!(data(folder.path(), &download)["assets"]["fetched"], 1);
    let resumed = data(folder.path(), &[&download[..], &["--resume"]].concat());
    assert_eq!((&resumed["assets"]["fetched"], &resumed["assets"]["left_out"]), (&json!(0), &json!(1)));
    let upload = ["graph", "upload", "--db", db, "--name", "copy", "--user-id", "user", "--assets", assets];
    let copy = data(folder.path(), &upload);
    assert_eq!(copy["assets"]["sent"], 1);
    let path = format!("/assets/{}/{uuid}.png", copy["graph_id"].as_str().unwrap());
    assert_eq!(server.ask_with("GET", &path, &[&format!("authorization: Bearer {TOKEN}")], "").1, "png");
}
