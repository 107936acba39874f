//! A server that asks nobody for a token: which web pages it lets in (sync.md 3.6).

use http::Request;

use crate::world::{TestBody, World, request};

const PAGE: &str = "http://localhost:3001";
const STRANGER: &str = "https://evil.example";

fn open_door(extra: &[(&str, &str)]) -> World {
    World::with(&[&[("DB_SYNC_AUTH_DRIVER", "none")], extra].concat())
}

/// A request by this name of the server, from a page of this origin.
fn from(host: &str, origin: Option<&str>, method: &str, path: &str) -> Request<TestBody> {
    let mut request = request(None, method, path, "");
    *request.uri_mut() = format!("http://{host}{path}").parse().unwrap();
    request.headers_mut().insert("host", host.parse().unwrap());
    if let Some(origin) = origin {
        request.headers_mut().insert("origin", origin.parse().unwrap());
    }
    request
}

/// Every kind of route, whether or not a browser asks before it sends.
const ROUTES: [(&str, &str); 12] = [
    ("GET", "/health"),
    ("GET", "/graphs"),
    ("POST", "/graphs"),
    ("DELETE", "/graphs/g"),
    ("OPTIONS", "/graphs"),
    ("OPTIONS", "/sync/g/tx/batch"),
    ("GET", "/sync/g/pull"),
    ("POST", "/sync/g/tx/batch"),
    ("GET", "/assets/g/a.png"),
    ("PUT", "/assets/g/a.png"),
    ("POST", "/sessions"),
    ("GET", "/e2ee/user-keys"),
];

#[test]
fn pages_that_are_not_known_reach_nothing() {
    let world = open_door(&[]);
    world.agents.set(|_| panic!("a stranger reached the agents"));
    for (method, path) in ROUTES {
        for origin in [STRANGER, "null", "file://", "http://localhost.evil.example", ""] {
            let answer = world.send(from("localhost:8787", Some(origin), method, path));
            assert_eq!(answer.refusal(), (403, "origin not allowed".into()), "{method} {path} {origin}");
            assert_eq!(answer.header("access-control-allow-origin"), None, "{method} {path} {origin}");
        }
        for host in ["evil.example:8787", "localhost.evil.example", "192.168.1.5:8787"] {
            for origin in [None, Some(PAGE)] {
                let answer = world.send(from(host, origin, method, path));
                assert_eq!(answer.refusal(), (403, "host not allowed".into()), "{method} {path} {host}");
            }
        }
    }
    let mut upgrade = from("localhost:8787", Some(STRANGER), "GET", "/sync/g");
    upgrade.headers_mut().insert("upgrade", "websocket".parse().unwrap());
    assert_eq!(world.send(upgrade).refusal(), (403, "origin not allowed".into()));
    let mut two = from("localhost:8787", Some(PAGE), "GET", "/graphs");
    two.headers_mut().append("origin", STRANGER.parse().unwrap());
    assert_eq!(world.send(two).status, 403, "one known origin does not vouch for another");
    let mut other_name = from("localhost:8787", None, "GET", "/graphs");
    other_name.headers_mut().insert("host", "evil.example".parse().unwrap());
    assert_eq!(world.send(other_name).status, 403, "address and header must both be ours");
    assert!(world.calls.borrow().is_empty());
}

#[test]
fn known_pages_are_named_in_the_answer() {
    let world = open_door(&[("DB_SYNC_ALLOW_ORIGINS", "https://notes.example"), ("DB_SYNC_ALLOW_HOSTS", "nas.local")]);
    let mut create = from("localhost", None, "POST", "/graphs");
    *create.body_mut() = TestBody::chunks([br#"{"graph-name":"g","graph-e2ee?":false}"#.to_vec()]);
    let graph = world.send(create).json()["graph-id"].as_str().unwrap().to_owned();
    for host in ["localhost:8787", "127.0.0.1", "[::1]:8787", "nas.local:8787"] {
        for origin in
            [PAGE, "https://test.logseq.com", "lsp://logseq.com", "capacitor://localhost", "https://notes.example"]
        {
            for (method, path, status) in [
                ("GET", "/graphs".to_owned(), 200),
                ("OPTIONS", "/graphs".to_owned(), 204),
                ("GET", format!("/sync/{graph}/pull"), 200),
                ("GET", format!("/sync/{graph}/snapshot/stream"), 200),
                ("GET", format!("/sync/{graph}/nothing"), 404),
            ] {
                let answer = world.send(from(host, Some(origin), method, &path));
                assert_eq!(answer.status, status, "{host} {origin} {method} {path}");
                assert_eq!(answer.header("access-control-allow-origin"), Some(origin), "{method} {path}");
                assert_eq!(answer.header("vary"), Some("origin"), "caches keep the answers apart");
            }
        }
    }
    let native = world.send(from("localhost", None, "GET", "/graphs"));
    assert_eq!((native.status, native.header("access-control-allow-origin")), (200, None), "no page asked");
}

#[test]
fn where_callers_have_tokens_all_origins_may_try_theirs() {
    let world = World::with(&[("DB_SYNC_ALLOW_ORIGINS", "https://notes.example")]);
    let mut foreign = request(Some("u"), "GET", "/graphs", "");
    foreign.headers_mut().insert("origin", STRANGER.parse().unwrap());
    let answer = world.send(foreign);
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some("*")));
    assert_eq!(answer.header("vary"), None);
}
