//! The daemon's own routes.

use std::io::{Read as _, Write as _};

use crate::harness::{Place, own, runs, token};

#[test]
fn fact_13_a_graphs_daemon_refuses_other_graphs() {
    let place = Place::new();
    let started = place.server("start --graph notes");
    let folder = place.data().join("graphs/notes");
    let record = crate::harness::record(&folder);
    let endpoint = daemon_lifecycle::endpoint::Endpoint::read(record["endpoint"].as_str().unwrap()).unwrap();
    let token = std::fs::read_to_string(folder.join("daemon.token")).unwrap();
    let ask = |path: &str| {
        let limit = crate::harness::SOON;
        let answer = daemon_lifecycle::endpoint::request(&endpoint, "POST", path, Some(&token), b"", limit).unwrap();
        (answer.status, String::from_utf8(answer.body).unwrap())
    };
    let (status, body) = ask("/shutdown?graph=other");
    assert_eq!(status, 409);
    assert!(body.contains("repo-mismatch"));
    assert!(runs(started.pid()));
    assert_eq!(ask("/shutdown?graph=logseq_db_notes").0, 200);
    crate::harness::ended(started.pid());
}

#[test]
fn fact_35_and_what_needs_a_token() {
    let place = Place::new();
    let started = place.server("start");
    let secret = token(&place);
    let (status, bare) = own(&place, "GET", "/healthz", None, "");
    assert_eq!(
        (status, bare["status"].as_str(), bare["lock_id"].clone()),
        (200, Some("ready"), place.record()["lock_id"].clone())
    );
    assert!(bare["pid"].is_null());
    assert_eq!(own(&place, "GET", "/healthz", Some(&secret), "").1["pid"], started.pid());
    for (method, path, token, status) in [
        ("POST", "/shutdown", None, 401),
        ("POST", "/shutdown", Some("wrong"), 401),
        ("POST", "/admin/owner", None, 401),
        ("GET", "/shutdown", Some(secret.as_str()), 405),
        ("GET", "/elsewhere", Some(secret.as_str()), 404),
        ("POST", "/admin/owner", Some(secret.as_str()), 409),
    ] {
        assert_eq!(own(&place, method, path, token, r#"{"owner":"desktop"}"#).0, status, "{method} {path}");
    }
    assert!(runs(started.pid()));
    // A new start has a new token.
    place.server("restart");
    assert_ne!(token(&place), secret);
    assert_eq!(own(&place, "POST", "/shutdown", Some(&secret), "").0, 401);
}

/// Over loopback a page in a browser could ask, by a name that it had resolved to it.
#[test]
fn over_tcp_the_host_has_to_be_loopback() {
    let place = Place::new();
    place.server("start --tcp");
    let endpoint = place.record()["endpoint"].as_str().unwrap().to_owned();
    let address = endpoint.strip_prefix("http://").unwrap();
    let ask = |host: &str| {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "GET /healthz HTTP/1.1\r\nhost: {host}\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(ask(address), "200");
    assert_eq!(ask("evil.example"), "403");
    assert_eq!(place.server("status").code, 0);
    assert_eq!(place.server("stop").data()["ended_by"], "shutdown");
}
