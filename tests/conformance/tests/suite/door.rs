//! Requests that must be refused at the front: names too long, refused bodies, odd handshakes, unverified addresses.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use conformance::client::repeated;
use conformance::{Client, Server, Socket, TestGraph, raw, tokens};
use serde_json::{Value, json};

super::cases![
    names_have_limits,
    an_unverified_address_stands_for_nobody,
    short_refused_bodies_are_heard_out,
    a_handshake_is_a_get_with_everything,
    an_upgrade_counts_only_where_there_are_sockets,
    private_answers_are_kept_by_nobody;
    alone: refused_bodies_hold_nobody_up, oversized_bodies_hold_nobody_up,
];

fn names_have_limits(server: &Server) {
    let (owner, guest) = (server.person("owner"), server.person("guest"));
    let graph = TestGraph::create(&owner);
    let members = format!("/graphs/{}/members", graph.id);
    let create = |name: &str| owner.post("/graphs", &json!({ "graph-name": name, "graph-e2ee?": false }));
    create(&"日".repeat(1_024)).status(200);
    for name in ["日".repeat(1_025), "x".repeat(1_025), "x".repeat(1_000_000)] {
        create(&name).error(400, "invalid body");
    }
    let version = json!({ "graph-name": "v", "graph-e2ee?": false, "schema-version": "6".repeat(1_000_000) });
    owner.post("/graphs", &version).error(400, "invalid body");
    for body in [
        json!({ "user-id": "u".repeat(513) }),
        json!({ "user-id": "u".repeat(513), "email": tokens::email(&guest.user) }),
        json!({ "email": "e".repeat(321) }),
        json!({ "user-id": "u", "role": "r".repeat(33) }),
    ] {
        owner.post(&members, &body).error(400, "invalid body");
    }
    let long = "k".repeat((64 << 10) + 1);
    owner
        .post("/e2ee/user-keys", &json!({ "public-key": long, "encrypted-private-key": "e" }))
        .error(400, "invalid body");
    let key = format!("/e2ee/graphs/{}/aes-key", graph.id);
    owner.post(&key, &json!({ "encrypted-aes-key": long })).error(400, "invalid body");
    let id = "i".repeat(513);
    owner.get(&format!("/graphs/{id}/access")).error(400, "invalid graph id");
    owner.delete(&format!("{members}/{id}")).error(400, "invalid user id");
    owner.get(&format!("/sync/{id}/pull")).error(400, "invalid graph id");
    let listed = owner.get("/graphs").json();
    assert_eq!(listed["graphs"].as_array().map(Vec::len), Some(2), "nothing that was refused is there");
    let list = owner.get(&members).json();
    assert_eq!(list["members"].as_array().map(Vec::len), Some(1));
    server.person(&id).get("/graphs").error(401, "unauthorized");
}

/// A user whose token has this address and this `email_verified`.
fn claiming(server: &Server, email: &str, verified: &Value) -> Client {
    let person = server.person("claiming");
    let mut claims = server.issuer.claims(&person.user);
    claims["email"] = json!(email);
    match verified {
        Value::Null => drop(claims.as_object_mut().unwrap().remove("email_verified")),
        verified => claims["email_verified"] = verified.clone(),
    }
    let person = person.with_token(&server.issuer.sign(&claims));
    person.get("/graphs").status(200);
    let keys = json!({ "public-key": person.user, "encrypted-private-key": "e" });
    person.post("/e2ee/user-keys", &keys).status(200);
    person
}

fn an_unverified_address_stands_for_nobody(server: &Server) {
    let owner = server.person("owner");
    let invite = |graph: &TestGraph, email: &str| {
        owner.post(&format!("/graphs/{}/members", graph.id), &json!({ "email": email }))
    };
    let address = || format!("{}@example.test", conformance::tx::id());
    let grant = |graph: &TestGraph, email: &str| {
        let grants =
            json!({ "target-user-email+encrypted-aes-key-coll": [{ "email": email, "encrypted-aes-key": "k" }] });
        owner.post(&format!("/e2ee/graphs/{}/grant-access", graph.id), &grants).status(200).json()
    };
    let public_key = |email: &str| owner.get(&format!("/e2ee/user-public-key?email={email}")).json();

    let (graph, email) = (TestGraph::create(&owner), address());
    let thief = claiming(server, &email, &json!(false));
    invite(&graph, &email).error(400, "user not found");
    assert_eq!(public_key(&email), json!({}));
    assert_eq!(grant(&graph, &email)["missing-users"], json!([email]));
    let other_thief = claiming(server, &email, &Value::Null);
    let victim = claiming(server, &email, &json!(true));
    assert_eq!(public_key(&email)["public-key"], victim.user);
    invite(&graph, &email).status(200);
    assert_eq!(grant(&graph, &email), json!({ "ok": true }));
    let access = format!("/graphs/{}/access", graph.id);
    victim.get(&access).status(200);
    thief.get(&access).error(403, "forbidden");
    other_thief.get(&access).error(403, "forbidden");

    let (graph, email) = (TestGraph::create(&owner), address());
    let first = claiming(server, &email, &Value::Null);
    invite(&graph, &email).status(200);
    first.get(&format!("/graphs/{}/access", graph.id)).status(200);
    claiming(server, &email, &Value::Null);
    invite(&graph, &email).error(400, "user not found");
}

fn refused_bodies_hold_nobody_up(server: &Server) {
    let owner = server.person("owner");
    let graph = TestGraph::create(&owner);
    let paths = [
        graph.path("/snapshot/upload?reset=true"),
        graph.path("/tx/batch"),
        "/graphs".to_owned(),
        format!("/assets/{}/a.bin", graph.id),
    ];
    flood(server, &owner, &owner.anonymous(), &paths);
}

/// The bodies of known senders are read to the end, but not all at once.
fn oversized_bodies_hold_nobody_up(server: &Server) {
    let owner = server.person("owner");
    let graph = TestGraph::create(&owner);
    let paths = [graph.path("/nothing"), "/graphs".to_owned()];
    flood(server, &owner, &owner, &paths);
}

/// Twenty connections send for as long as the server reads, while `bystander` says hello on another graph.
fn flood(server: &Server, bystander: &Client, client: &Client, paths: &[String]) {
    const SENDERS: usize = 20;
    let quiet = TestGraph::initial(bystander);
    let mut socket = Socket::open(bystander, &quiet.id);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            let (path, over) = (&paths[sender % paths.len()], &over);
            scope.spawn(move || {
                let length = ["content-length: 268435456", "transfer-encoding: chunked"][sender % 2];
                let method = if path.starts_with("/assets") { "PUT" } else { "POST" };
                let block = vec![b'x'; 64 << 10];
                let head = raw::head(client, method, path, &[length]);
                while !over.load(Ordering::Relaxed) {
                    let mut stream = raw::connect(client);
                    let mut sent = stream.write_all(head.as_bytes());
                    // Sends at most the announced length; ends earlier when the server or the case ends.
                    for _ in 0..4_096 {
                        if sent.is_err() || over.load(Ordering::Relaxed) {
                            break;
                        }
                        if sender % 2 == 1 {
                            sent = stream.write_all(b"10000\r\n");
                        }
                        sent = sent.and_then(|()| stream.write_all(&block));
                        if sender % 2 == 1 {
                            sent = sent.and_then(|()| stream.write_all(b"\r\n"));
                        }
                    }
                }
            });
        }
        let mut slowest = Duration::ZERO;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(5) {
            let asked = Instant::now();
            assert_eq!(socket.ask(&json!({ "type": "hello", "client": "bystander" }))["type"], "hello");
            slowest = slowest.max(asked.elapsed());
        }
        over.store(true, Ordering::Relaxed);
        // Behind `wrangler dev` everything goes through its proxy, which takes the bodies in.
        let patience = Duration::from_secs(if server.proxied { 5 } else { 1 });
        assert!(slowest < patience, "a hello took {slowest:?}");
    });
}

fn short_refused_bodies_are_heard_out(server: &Server) {
    let owner = server.person("owner");
    let graph = TestGraph::create(&owner);
    // Writes everything before it reads, as simple clients do; afterwards the connection can be used again.
    for bytes in [1, 10_000, 60_000] {
        let anonymous = owner.anonymous();
        let mut stream = raw::connect(&anonymous);
        let path = graph.path("/snapshot/upload?reset=true");
        let head = raw::head(&anonymous, "POST", &path, &[&format!("content-length: {bytes}")]);
        let head = head.replace("connection: close\r\n", "");
        for _ in 0..2 {
            let answer = repeated(|| {
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(&vec![b'x'; bytes]).unwrap();
                raw::receive(&mut stream)
            });
            answer.error(401, "unauthorized");
        }
    }
    // A client that waits for `100 Continue` is refused at once.
    let waits = ["content-length: 100000000", "expect: 100-continue"];
    raw::send(&owner.anonymous(), "POST", &graph.path("/tx/batch"), &waits).error(401, "unauthorized");
}

const HANDSHAKE: [&str; 3] =
    ["upgrade: websocket", "sec-websocket-version: 13", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="];

/// Sends a request head that asks for a socket in its own way.
fn upgrade(client: &Client, method: &str, path: &str, lines: &[&str]) -> conformance::Answer {
    let head = raw::head(client, method, path, lines).replace("connection: close", "connection: upgrade");
    let mut stream = raw::connect(client);
    stream.write_all(head.as_bytes()).unwrap();
    raw::receive(&mut stream)
}

fn a_handshake_is_a_get_with_everything(server: &Server) {
    let owner = server.person("owner");
    let graph = TestGraph::create(&owner);
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        for tail in ["", "/tx/batch", "/snapshot/upload?reset=true", "/admin/reset"] {
            for body in ["content-length: 0", "x-no-body: really"] {
                let lines = [&HANDSHAKE[..], &[body]].concat();
                let answer = upgrade(&owner, method, &graph.path(tail), &lines);
                // The proxy of `wrangler dev` fails over a handshake that is no GET before the worker sees it.
                if server.proxied && answer.status == 500 {
                    continue;
                }
                assert!([400, 403, 404, 426].contains(&answer.status), "{method} {tail}: {}", answer.status);
                assert!(!answer.json()["error"].is_null(), "{method} {tail} says why");
            }
        }
    }
    // No malformed handshake is a 5xx.
    for left_out in HANDSHAKE {
        let lines: Vec<&str> = HANDSHAKE.into_iter().filter(|line| *line != left_out).collect();
        let status = upgrade(&owner, "GET", &graph.path(""), &lines).status;
        assert!(status < 500, "without {left_out}: {status}");
    }
    for wrong in ["sec-websocket-version: 7", "sec-websocket-key: short", "upgrade: h2c", "upgrade: websocket, h2c"] {
        let lines: Vec<&str> = HANDSHAKE
            .into_iter()
            .filter(|line| line.split(':').next() != wrong.split(':').next())
            .chain([wrong])
            .collect();
        let status = upgrade(&owner, "GET", &graph.path(""), &lines).status;
        assert!(status < 500, "{wrong}: {status}");
    }
    let status = raw::send(&owner, "GET", &graph.path(""), &HANDSHAKE).status;
    assert!(status < 500, "without connection: upgrade: {status}");
}

fn an_upgrade_counts_only_where_there_are_sockets(server: &Server) {
    let owner = server.person("owner");
    for (method, path, status) in
        [("GET", "/health", 200), ("GET", "/graphs", 200), ("GET", "/nothing", 404), ("POST", "/graphs", 400)]
    {
        // The proxy of `wrangler dev` makes a GET of every handshake.
        if server.proxied && method != "GET" {
            continue;
        }
        let answer = upgrade(&owner, method, path, &HANDSHAKE);
        assert_eq!(answer.status, status, "{method} {path}: {}", String::from_utf8_lossy(&answer.bytes));
    }
}

fn private_answers_are_kept_by_nobody(server: &Server) {
    let owner = server.person("owner");
    let graph = TestGraph::initial(&owner);
    owner.post("/e2ee/user-keys", &json!({ "public-key": "p", "encrypted-private-key": "e" })).status(200);
    for path in [
        "/graphs".to_owned(),
        format!("/graphs/{}/members", graph.id),
        "/e2ee/user-keys".to_owned(),
        format!("/e2ee/user-public-key?email={}", tokens::email(&owner.user)),
        format!("/e2ee/graphs/{}/aes-key", graph.id),
        graph.path("/pull?since=0"),
        graph.path("/checksum/diagnostics"),
        graph.path("/snapshot/download"),
        graph.path("/snapshot/stream"),
        graph.path("/nothing"),
    ] {
        assert_eq!(owner.get(&path).header("cache-control"), "no-store", "{path}");
    }
    assert_eq!(owner.anonymous().get("/graphs").header("cache-control"), "no-store");
}
