//! Stored users: what their tokens open, and how that ends.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::support::{ADMIN, Server, TOKEN, page, run, said};

fn add(data: &std::path::Path, name: &str) -> Value {
    serde_json::from_str::<Value>(&said(data, &["user", "add", name, "--json"])).unwrap()["data"].take()
}

#[test]
fn a_revoked_token_loses_its_sockets_within_two_seconds() {
    let data = tempfile::tempdir().unwrap();
    let ann = add(data.path(), "ann");
    let server = Server::start(data.path(), &[]);
    let token = ann["token"].as_str().unwrap();
    let phone: Value =
        serde_json::from_str(&said(data.path(), &["user", "token", "ann", "--label", "phone", "--json"])).unwrap();
    let phone = phone["data"]["token"].as_str().unwrap().to_owned();
    let graph = server.create_graph(token, "notes");
    let mut first = server.socket(token, &graph);
    // A token that was made while the server ran counts within a second.
    let until = Instant::now() + Duration::from_secs(5);
    while server.ask("GET", "/graphs", &phone, "").0 != 200 {
        assert!(Instant::now() < until, "the new token does not count");
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut second = server.socket(&phone, &graph);
    first.send(&page(0, 1));
    assert_eq!(first.receive(&["tx/batch/ok", "tx/reject"])["t"], 1);
    let revoked = Instant::now();
    said(data.path(), &["user", "revoke", "ann", "--token", ann["token_id"].as_str().unwrap()]);
    assert_eq!(first.closed(), Some((1008, "revoked".to_owned())));
    assert!(revoked.elapsed() < Duration::from_secs(3), "{:?}", revoked.elapsed());
    assert_eq!(server.ask("GET", &format!("/sync/{graph}/pull?since=0"), token, "").0, 401);
    second.send(&page(1, 2));
    assert_eq!(second.receive(&["tx/batch/ok", "tx/reject"])["t"], 2, "the other device goes on");
    said(data.path(), &["user", "revoke", "ann"]);
    assert_eq!(second.closed(), Some((1008, "revoked".to_owned())));
    assert_eq!(server.ask("GET", "/graphs", &phone, "").0, 401);
    assert_eq!(server.ask("GET", "/graphs", TOKEN, "").0, 200, "the static token counts beside them");
}

#[test]
fn users_are_listed_without_their_tokens() {
    let data = tempfile::tempdir().unwrap();
    let ann = add(data.path(), "ann");
    let listed = said(data.path(), &["user", "list", "--json"]);
    let secret = ann["token"].as_str().unwrap().rsplit('_').next().unwrap();
    assert!(listed.contains(ann["token_id"].as_str().unwrap()) && !listed.contains(secret) && !listed.contains("hash"));
    assert!(said(data.path(), &["user", "list"]).starts_with("USER"));
    let again = run(data.path(), &["user", "add", "ann", "--json"]);
    let told: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!((again.status.code(), &told["error"]["code"]), (Some(1), &"user-exists".into()));
    let rotated = said(data.path(), &["user", "rotate", "ann", "--quiet"]);
    assert!(rotated.starts_with("lgs_") && rotated.lines().count() == 1, "alone on its line");
}

#[test]
fn no_secret_lies_in_a_file_of_the_server() {
    let data = tempfile::tempdir().unwrap();
    let ann = add(data.path(), "ann");
    let mut server = Server::start(
        data.path(),
        &[("DB_SYNC_LOG_LEVEL", "debug"), ("DB_SYNC_LOG_FILE", data.path().join("log").to_str().unwrap())],
    );
    let token = ann["token"].as_str().unwrap();
    let graph = server.create_graph(token, "notes");
    server.socket(token, &graph).send(&page(0, 1));
    server.ask("GET", "/graphs?token=unknown-token", "", "");
    server.signal("TERM");
    server.wait();
    let secrets = [token.splitn(3, '_').last().unwrap(), TOKEN, ADMIN, "unknown-token"];
    let mut folders = vec![data.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            for secret in secrets {
                let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
                assert!(!found, "{secret} in {}", path.display());
            }
        }
    }
}
