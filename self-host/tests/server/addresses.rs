//! Under which address clients are answered, and who may read what is counted.

use super::support::{ADMIN, Server, TOKEN};

/// Where the snapshot is to be fetched, as the server tells it to a request with these headers.
fn told(server: &Server, graph: &str, lines: &[&str]) -> String {
    let token = format!("authorization: Bearer {TOKEN}");
    let lines: Vec<&str> = std::iter::once(&*token).chain(lines.iter().copied()).collect();
    let (status, body) = server.ask_with("GET", &format!("/sync/{graph}/snapshot/download"), &lines, "");
    assert_eq!(status, 200, "{body}");
    let url = serde_json::from_str::<serde_json::Value>(&body).unwrap()["url"].as_str().unwrap().to_owned();
    url.split("/sync/").next().unwrap().to_owned()
}

const PROXY: [&str; 3] =
    ["x-forwarded-for: 203.0.113.9", "x-forwarded-proto: https", "x-forwarded-host: notes.example"];

#[test]
fn a_trusted_proxy_says_what_was_called_and_a_stranger_does_not() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &[("DB_SYNC_TRUSTED_PROXIES", "loopback")]);
    let graph = server.create_graph(TOKEN, "notes");
    assert_eq!(told(&server, &graph, &[]), server.base());
    assert_eq!(told(&server, &graph, &PROXY), "https://notes.example");
    let lan = ["forwarded: for=10.0.0.7;proto=http;host=\"nas.lan:8080\""];
    assert_eq!(told(&server, &graph, &lan), "http://nas.lan:8080", "several names at once");
    let wrong = ["x-forwarded-for: 1.1.1.1", "x-forwarded-proto: gopher"];
    assert_eq!(server.ask_with("GET", "/graphs", &wrong, "").0, 400);
    drop(server);
    let server = Server::start(data.path(), &[("DB_SYNC_TRUSTED_PROXIES", "10.0.0.0/8")]);
    assert_eq!(told(&server, &graph, &PROXY), server.base(), "this peer is no proxy");
}

#[test]
fn only_the_servers_own_addresses_are_given_out() {
    let data = tempfile::tempdir().unwrap();
    let settings =
        [("DB_SYNC_TRUSTED_PROXIES", "loopback"), ("DB_SYNC_BASE_URLS", "https://main.example,https://notes.example")];
    let server = Server::start(data.path(), &settings);
    let graph = server.create_graph(TOKEN, "notes");
    assert_eq!(told(&server, &graph, &PROXY), "https://notes.example");
    let evil = ["x-forwarded-for: 203.0.113.9", "x-forwarded-proto: https", "x-forwarded-host: evil.example"];
    assert_eq!(told(&server, &graph, &evil), "https://main.example");
}

#[test]
fn metrics_are_for_the_operator() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &[]);
    let graph = server.create_graph(TOKEN, "a name that nobody else needs to know");
    let mut socket = server.socket(TOKEN, &graph);
    socket.send(&serde_json::json!({ "type": "ping" }));
    socket.receive(&["pong"]);
    assert_eq!(server.ask_with("GET", "/metrics", &[&format!("authorization: Bearer {TOKEN}")], "").0, 404);
    let admin = format!("x-db-sync-admin-token: {ADMIN}");
    let (status, text) = server.ask_with("GET", "/metrics", &[&admin], "");
    assert_eq!(status, 200);
    for line in ["logseq_sync_websocket_connections 1", "logseq_sync_graphs_open 1"] {
        assert!(text.lines().any(|other| other == line), "{line}: {text}");
    }
    assert!(text.contains("route=\"/graphs\",method=\"POST\",code=\"200\"} 1"), "{text}");
    for secret in [TOKEN, ADMIN, &graph, "nobody else"] {
        assert!(!text.contains(secret), "{secret}");
    }
    drop(server);
    let server = Server::start(data.path(), &[("DB_SYNC_METRICS_ALLOW", "loopback")]);
    assert_eq!(server.ask_with("GET", "/metrics", &["x-none: 1"], "").0, 200);
}

#[test]
fn proxies_and_limits_are_read_again() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("server.toml");
    std::fs::write(&file, "[proxy]\ntrusted = []\n").unwrap();
    let server = Server::start(data.path(), &[("DB_SYNC_CONFIG", file.to_str().unwrap())]);
    let graph = server.create_graph(TOKEN, "notes");
    assert_eq!(told(&server, &graph, &PROXY), server.base());
    let allowed =
        "[proxy]\ntrusted = [\"loopback\"]\n[metrics]\nallow = [\"203.0.113.9\"]\n[limits]\nfailed_logins = 1\n";
    std::fs::write(&file, allowed).unwrap();
    server.signal("HUP");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while told(&server, &graph, &PROXY) != "https://notes.example" {
        assert!(std::time::Instant::now() < until, "the proxies are those of the start");
    }
    assert_eq!(server.ask_with("GET", "/metrics", &PROXY, "").0, 200);
    let wrong = ["authorization: Bearer wrong", "x-forwarded-for: 198.51.100.7"];
    assert_eq!(server.ask_with("GET", "/graphs", &wrong, "").0, 401);
    assert_eq!(server.ask_with("GET", "/graphs", &wrong, "").0, 429);
}

#[test]
fn metrics_have_an_address_of_their_own() {
    let data = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut server = Server::start(data.path(), &[("DB_SYNC_METRICS_BIND", &free.to_string())]);
    let ask = |path: &str| {
        let mut stream = std::net::TcpStream::connect(free).unwrap();
        std::io::Write::write_all(&mut stream, format!("GET {path} HTTP/1.1\r\nhost: m\r\n\r\n").as_bytes()).unwrap();
        std::io::read_to_string(stream).unwrap()
    };
    assert!(ask("/metrics").contains("logseq_sync_build_info{"), "open, without a token");
    assert!(ask("/graphs").starts_with("HTTP/1.1 404"));
    let admin = format!("x-db-sync-admin-token: {ADMIN}");
    assert_eq!(server.ask_with("GET", "/metrics", &[&admin], "").0, 404, "only there");
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
}
