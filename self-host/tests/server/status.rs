//! The status page and what it is made of (docs/spec/self-host.md 4.5), and the metrics.

use serde_json::{Value, json};

use crate::operator::graph_with_pages;
use crate::support::{ADMIN, Server, TOKEN, page, said};

/// Head and body of an answer.
fn exchange(server: &Server, method: &str, path: &str, lines: &[&str], body: &str) -> (u16, String, String) {
    let all = server.whole(method, path, lines, body);
    let (head, body) = all.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_lowercase(), body.to_owned())
}

/// Signs in; the cookie.
fn sign_in(server: &Server, token: &str) -> String {
    let form = ["content-type: application/x-www-form-urlencoded"];
    let (status, head, _) = exchange(server, "POST", "/status/login", &form, &format!("token={token}"));
    assert_eq!(status, 303, "{head}");
    assert!(head.contains("\r\nlocation: ../\r\n"), "{head}");
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    for part in ["httponly", "samesite=strict", "path=/", "max-age=43200"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("secure") && !cookie.contains(&token.to_lowercase()), "{cookie}");
    // The head was made lower case: the value is not.
    let all = server.whole("POST", "/status/login", &form, &format!("token={token}"));
    let cookie = all.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    format!("cookie: {}", cookie.split(';').next().unwrap())
}

fn status_of(server: &Server, line: &str) -> Value {
    let (status, text) = server.ask_with("GET", "/status.json", &[line], "");
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn only_whoever_signs_in_sees_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let html = "accept: text/html";
    let (status, head, body) = exchange(&server, "GET", "/", &[html], "");
    assert_eq!(status, 200);
    assert!(body.contains("<form method=\"post\" action=\"status/login\">") && !body.contains("All devices agree"));
    for line in ["cache-control: no-store", "x-content-type-options: nosniff", "referrer-policy: no-referrer"] {
        assert!(head.contains(line), "{line}\n{head}");
    }
    let policy = "content-security-policy: default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                  form-action 'self'; frame-ancestors 'none'\r\n";
    assert!(head.contains(policy) && !head.contains("access-control"), "{head}");
    assert_eq!(server.ask_with("GET", "/", &["accept: */*"], "").0, 404, "as upstream");
    assert_eq!(server.ask_with("GET", "/status.json", &[], "").0, 401);
    assert_eq!(server.ask_with("GET", "/status.json?token=x", &[], "").0, 400);
    assert_eq!(server.ask_with("GET", &format!("/?token={TOKEN}"), &[html], "").0, 400);
    for token in [TOKEN, ADMIN] {
        let cookie = sign_in(&server, token);
        let (_, _, body) = exchange(&server, "GET", "/", &[html, &cookie], "");
        assert!(body.contains("All devices agree") && !body.contains(token), "{body}");
        let (status, head, _) = exchange(&server, "POST", "/status/logout", &[&cookie], "");
        assert!(status == 303 && head.contains("max-age=0"), "{head}");
        assert_eq!(server.ask_with("GET", "/status.json", &[&cookie], "").0, 401, "the session has ended");
    }
    let foreign = ["origin: https://evil.example"];
    assert_eq!(server.ask_with("POST", "/status/login", &foreign, &format!("token={TOKEN}")).0, 403);
    let own = format!("origin: {}", server.base());
    assert_eq!(server.ask_with("POST", "/status/login", &[&own], &format!("token={TOKEN}")).0, 303);
    drop(server);
    let server = Server::start(folder.path(), &[("DB_SYNC_STATUS_PAGE", "false")]);
    assert_eq!(server.ask_with("GET", "/", &[html], "").0, 404);
}

#[test]
fn wrong_tokens_are_refused_and_soon_not_even_read() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let tried = |token: &str| server.ask_with("POST", "/status/login", &[], &format!("token={token}")).0;
    assert_eq!((0..5).map(|_| tried("wrong")).collect::<Vec<_>>(), [401; 5]);
    assert_eq!((tried("wrong"), tried(TOKEN)), (429, 429));
    let (_, head, _) = exchange(&server, "POST", "/status/login", &[], "token=x");
    assert!(head.contains("retry-after: "), "{head}");
}

#[test]
fn a_revoked_token_ends_its_session() {
    let folder = tempfile::tempdir().unwrap();
    let token = said(folder.path(), &["user", "add", "ann", "--quiet"]).trim().to_owned();
    let server = Server::start(folder.path(), &[]);
    let cookie = sign_in(&server, &token);
    assert_eq!(status_of(&server, &cookie)["graphs"], json!([]));
    said(folder.path(), &["user", "revoke", "ann"]);
    let begun = std::time::Instant::now();
    while server.ask_with("GET", "/status.json", &[&cookie], "").0 != 401 {
        assert!(begun.elapsed().as_secs() < 30);
        std::thread::yield_now();
    }
}

#[test]
fn the_operator_sees_all_graphs_and_a_user_those_of_her_own() {
    let folder = tempfile::tempdir().unwrap();
    let ann = said(folder.path(), &["user", "add", "ann", "--quiet"]).trim().to_owned();
    let server = Server::start(folder.path(), &[]);
    let (hers, others) = (server.create_graph(&ann, "<b>hers</b>"), graph_with_pages(&server, "others", 3));
    let ids = |line: &str| -> Vec<String> {
        let told = status_of(&server, line);
        told["graphs"].as_array().unwrap().iter().map(|it| it["graph_id"].as_str().unwrap().to_owned()).collect()
    };
    let bearer = |token: &str| format!("authorization: Bearer {token}");
    assert_eq!(ids(&bearer(&ann)), std::slice::from_ref(&hers));
    let mut all = ids(&bearer(ADMIN));
    all.sort();
    let mut both = vec![hers, others.clone()];
    both.sort();
    assert_eq!(all, both);
    let told = status_of(&server, &bearer(ADMIN));
    let graph = told["graphs"].as_array().unwrap().iter().find(|it| it["graph_id"] == json!(others)).unwrap();
    assert_eq!((&graph["graph_name"], &graph["t"], &graph["ready"]), (&json!("others"), &json!(3), &json!(true)));
    assert!(graph["checksum"].is_string() && graph["size_bytes"].as_u64() > Some(0), "{graph}");
    assert_eq!((&graph["members"], &graph["e2ee"]), (&json!(["user"]), &json!(false)));
    assert_eq!(told["server"]["auth"], json!(["static"]));
    assert!(told["server"]["free_bytes"].as_u64() > Some(0) && told["server"]["last_backup"].is_null());
    let cookie = sign_in(&server, &ann);
    let (_, _, body) = exchange(&server, "GET", "/", &["accept: text/html", &cookie], "");
    assert!(body.contains("&lt;b&gt;hers&lt;/b&gt;") && !body.contains("<b>hers"), "{body}");
}

#[test]
fn devices_are_told_with_what_they_have_seen() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let graph_id = graph_with_pages(&server, "notes", 2);
    let line = format!("authorization: Bearer {ADMIN}");
    let devices = || status_of(&server, &line)["graphs"][0]["devices"].as_array().unwrap().clone();
    let until = |wanted: &[(bool, i64, i64)]| {
        let begun = std::time::Instant::now();
        loop {
            let mut found: Vec<(bool, i64, i64)> = devices()
                .iter()
                .map(|it| (it["connected"] == true, it["seen_t"].as_i64().unwrap(), it["behind"].as_i64().unwrap()))
                .collect();
            found.sort_unstable();
            if found == wanted {
                return;
            }
            assert!(begun.elapsed().as_secs() < 30, "{found:?} is not {wanted:?}");
        }
    };
    // The one that made the pages has gone.
    until(&[(false, 2, 0)]);
    let mut writer = server.socket(TOKEN, &graph_id);
    until(&[(true, 0, 2)]);
    writer.send(&json!({ "type": "pull", "since": 1 }));
    writer.receive(&["pull/ok"]);
    until(&[(true, 2, 0)]);
    let mut reader = server.socket(TOKEN, &graph_id);
    reader.send(&json!({ "type": "hello", "client": "x" }));
    reader.receive(&["hello"]);
    writer.send(&page(2, 2));
    writer.receive(&["tx/batch/ok"]);
    reader.receive(&["changed"]);
    until(&[(true, 3, 0), (true, 3, 0)]);
    drop(reader);
    writer.send(&page(3, 3));
    writer.receive(&["tx/batch/ok"]);
    until(&[(false, 3, 1), (true, 4, 0)]);
    assert!(devices().iter().all(|it| it["user"] == "user" && it["client"] == "other" && it["since"].is_string()));
}

#[test]
fn what_passes_through_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [("DB_SYNC_METRICS_GRAPHS", "true"), ("DB_SYNC_AUTH_DRIVER", "cognito,static")];
    let server = Server::start(folder.path(), &settings);
    let graph_id = graph_with_pages(&server, "notes", 2);
    let asset = format!("/assets/{graph_id}/9a8b7c6d-0000-4000-8000-000000000001.png");
    server.ask("PUT", &asset, TOKEN, "12345");
    server.ask("GET", &asset, TOKEN, "");
    server.ask("GET", &format!("/sync/{graph_id}/snapshot/stream"), TOKEN, "");
    server.ask("GET", "/graphs", "lgs_abcdefg2_x", "");
    server.ask("GET", "/graphs", "no-token-at-all", "");
    let mut socket = server.socket(TOKEN, &graph_id);
    socket.send(&page(0, 9));
    socket.receive(&["tx/reject"]);
    let token = format!("x-db-sync-admin-token: {ADMIN}");
    let read = || server.ask_with("GET", "/metrics", &[&token], "").1;
    let wanted = [
        "logseq_sync_websocket_messages_total{direction=\"in\",type=\"tx/batch\"} 3".to_owned(),
        "logseq_sync_websocket_messages_total{direction=\"out\",type=\"tx/batch/ok\"} 2".into(),
        "logseq_sync_websocket_messages_total{direction=\"out\",type=\"tx/reject\"} 1".into(),
        "logseq_sync_transactions_total{result=\"ok\"} 2".into(),
        "logseq_sync_transactions_total{result=\"stale\"} 1".into(),
        "logseq_sync_commit_entries_count 2".into(),
        "logseq_sync_asset_transfers_total{direction=\"upload\",result=\"ok\"} 1".into(),
        "logseq_sync_asset_transfers_total{direction=\"download\",result=\"ok\"} 1".into(),
        "logseq_sync_snapshot_transfers_total{direction=\"download\",result=\"ok\"} 1".into(),
        "logseq_sync_transfer_bytes_total{direction=\"upload\"} 5".into(),
        "logseq_sync_auth_failures_total{reason=\"revoked\"} 1".into(),
        "logseq_sync_auth_failures_total{reason=\"malformed\"} 1".into(),
        "logseq_sync_websocket_connections 1".into(),
    ];
    let begun = std::time::Instant::now();
    // What was written is counted a moment later.
    while let Some(missing) = {
        let text = read();
        wanted.iter().find(|line| !text.lines().any(|it| it == **line)).cloned()
    } {
        assert!(begun.elapsed().as_secs() < 30, "{missing}\n{}", read());
    }
    let text = read();
    assert!(!text.contains(TOKEN) && !text.contains(ADMIN));
    drop((socket, server));
    // What lies there is looked at when a server starts.
    let server = Server::start(folder.path(), &settings);
    let read = || server.ask_with("GET", "/metrics", &[&token], "").1;
    let begun = std::time::Instant::now();
    while !read().contains(&format!("logseq_sync_graph_bytes{{graph=\"{graph_id}\"}} ")) {
        assert!(begun.elapsed().as_secs() < 30, "{}", read());
    }
    let text = read();
    assert!(
        text.contains("logseq_sync_graphs 1\n") && text.contains("logseq_sync_storage_bytes{kind=\"assets\"}"),
        "{text}"
    );
}
