//! Connections to shape services, and logs of sources (pg-sync.md 4.2, 4.11): who may ask, and what is answered.

use pollster::block_on;
use serde_json::{Value, json};

use crate::world::{Answer, World, request, signed};

const SEAL: (&str, &str) = ("MANAGED_AUTH_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
const CONFIGURED: (&str, &str) = (
    "PG_SYNC_CONNECTIONS",
    r#"{"house":{"url":"http://10.0.0.5:3000/v1/shape?source_id=1","secret_env":"HOUSE_SECRET","tables":["public.*"]},
        "bobs":{"url":"http://10.0.0.6/v1/shape","users":["bob"]}}"#,
);
const SOURCE: &str = "0123456789abcdef0123456789abcdef";

fn world() -> World {
    World::new(&[SEAL, CONFIGURED, ("HOUSE_SECRET", "house-secret"), ("AGENT_RATE_LIMITS", "off")])
}

fn answered(answer: &Answer) -> (u16, Value) {
    (answer.status, answer.json())
}

fn put(world: &World, name: &str, body: &Value) -> (u16, Value) {
    answered(&world.call("PUT", &format!("/pg-connections/{name}"), &body.to_string()))
}

#[test]
fn connections_are_their_users_alone() {
    let world = world();
    let wanted = json!({"url": "https://electric.example/v1/shape?source_id=2", "secret": "of-ann", "mode": "live", "tables": ["orders"]});
    let (status, made) = put(&world, "main", &wanted);
    assert_eq!(
        (status, &made["has_secret"], &made["url"]),
        (201, &json!(true), &json!("https://electric.example/v1/shape"))
    );
    // What a cursor belongs to raises the revision; a secret does not.
    let (status, again) =
        put(&world, "main", &json!({"url": "https://electric.example/v1/shape?source_id=2", "mode": "live"}));
    assert_eq!(
        (status, &again["has_secret"], &again["tables"]),
        (200, &json!(true), &json!(["*"])),
        "the secret stays"
    );
    assert_eq!(again["revision"], made["revision"]);
    let (_, moved) =
        put(&world, "main", &json!({"url": "https://other.example/v1/shape", "mode": "live", "secret": null}));
    assert_eq!(
        (moved["revision"].as_i64(), &moved["has_secret"]),
        (made["revision"].as_i64().map(|it| it + 1), &json!(false))
    );
    let (_, list) = answered(&world.call("GET", "/pg-connections", ""));
    let names: Vec<&str> =
        list["connections"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["main", "house"]);
    assert_eq!(
        (&list["connections"][1]["from"], &list["connections"][1]["url"]),
        (&json!("config"), &json!("http://10.0.0.5:3000/v1/shape"))
    );
    let told = list.to_string();
    assert!(!told.contains("secret\":\"") && !told.contains("house-secret") && !told.contains("source_id"), "{told}");
    let rows = block_on(database::Database::query(
        world.database(),
        database::ReadFrom::Primary,
        "SELECT * FROM pg_connections",
        &[],
    ));
    assert!(!format!("{rows:?}").contains("of-ann"));
    // One's own of that name wins.
    assert_eq!(put(&world, "house", &json!({"url": "https://mine.example/v1/shape"})).0, 201);
    assert_eq!(answered(&world.call("GET", "/pg-connections", "")).1["connections"].as_array().unwrap().len(), 2);
    assert_eq!(
        answered(&world.call("DELETE", "/pg-connections/house", "")),
        (200, json!({"removed": true, "sources": 0}))
    );
    assert_eq!(answered(&world.call("DELETE", "/pg-connections/house", "")), (403, json!({"error": "read_only"})));
    for unknown in ["bobs", "none", "..%2Fmain"] {
        let answer = world.call("DELETE", &format!("/pg-connections/{unknown}"), "");
        assert_eq!(answered(&answer), (404, json!({"error": "connection_not_found"})), "{unknown}");
    }
}

#[test]
fn what_is_no_connection_is_refused() {
    let world = world();
    for (name, body, answer) in [
        (
            "Main",
            json!({"url": "https://e.example"}),
            (400, json!({"error": "invalid_connection", "fields": ["name"]})),
        ),
        ("main", json!({"secret": 5}), (400, json!({"error": "invalid_connection", "fields": ["secret", "url"]}))),
        ("main", json!({"url": "http://e.example"}), (403, json!({"error": "url_not_allowed"}))),
        ("main", json!({"url": "https://127.0.0.1/v1/shape"}), (403, json!({"error": "url_not_allowed"}))),
        ("main", json!({"url": "https://0x7f.1/v1/shape"}), (403, json!({"error": "url_not_allowed"}))),
        ("main", json!({"url": "https://[::ffff:10.0.0.1]/"}), (403, json!({"error": "url_not_allowed"}))),
        ("main", json!({"url": "https://u:p@e.example/"}), (403, json!({"error": "url_not_allowed"}))),
        ("main", json!({"url": "https://e.example/?secret=x"}), (403, json!({"error": "url_not_allowed"}))),
    ] {
        assert_eq!(put(&world, name, &body), answer, "{name} {body}");
    }
    for at in 0..20 {
        assert_eq!(put(&world, &format!("c{at}"), &json!({"url": "https://e.example"})).0, 201);
    }
    let (status, body) = put(&world, "one-more", &json!({"url": "https://e.example"}));
    assert_eq!((status, body), (429, json!({"error": "quota", "limit": 20, "scope": "connections"})));
    assert_eq!(put(&world, "c3", &json!({"url": "https://e2.example"})).0, 200, "one that there is can be changed");
    let large = json!({"url": format!("https://e.example/{}", "x".repeat(16 * 1024))});
    assert_eq!(put(&world, "c3", &large).0, 413);
    let unsealed = World::new(&[("DB_SYNC_AUTH_DRIVER", "static"), ("AGENT_RATE_LIMITS", "off")]);
    assert_eq!(put(&unsealed, "main", &json!({"url": "https://e.example", "secret": "s"})).0, 201, "in development");
}

#[test]
fn a_connection_is_tried() {
    let world = world();
    let test = |name: &str, body: &Value| {
        answered(&world.call("POST", &format!("/pg-connections/{name}/test"), &body.to_string()))
    };
    let (status, body) = test("house", &json!({"table": "orders"}));
    assert_eq!(
        (status, &body["error"], &body["status"]),
        (422, &json!("probe_failed"), &json!(0)),
        "there is no network here"
    );
    assert_eq!(test("house", &json!({"table": "secret.orders"})), (403, json!({"error": "table_not_allowed"})));
    assert_eq!(test("house", &json!({})), (400, json!({"error": "invalid_options", "fields": ["table"]})));
    assert_eq!(test("none", &json!({"table": "t"})), (404, json!({"error": "connection_not_found"})));
}

#[test]
fn nobody_else_asks() {
    let world = world();
    for (method, path) in [
        ("GET", "/pg-connections".to_owned()),
        ("PUT", "/pg-connections/main".to_owned()),
        ("DELETE", "/pg-connections/main".to_owned()),
        ("POST", "/pg-connections/main/test".to_owned()),
        ("GET", format!("/pg-sync/{SOURCE}/changes")),
    ] {
        assert_eq!(world.send(request(method, &path, "{}")).status, 401, "{method} {path}");
        world.has_bridges.set(false);
        let answer = world.send(signed(method, &path, r#"{"url":"https://e.example","table":"t"}"#));
        assert_eq!(answered(&answer), (503, json!({"error": "pg_sync_disabled"})), "{method} {path}");
        world.has_bridges.set(true);
        let other = if method == "PUT" { "PATCH" } else { "PUT" };
        let other = if path == "/pg-connections/main" { "POST" } else { other };
        assert_eq!(world.send(signed(other, &path, "{}")).status, 404, "{other} {path}");
    }
    assert!(world.sent.borrow().is_empty());
}

#[test]
fn a_log_is_asked_of_its_object() {
    let world = world();
    world.call("GET", &format!("/pg-sync/{SOURCE}/changes?after=4&limit=2&wait=20&token=x&more=1"), "");
    {
        let sent = world.sent.borrow();
        let [sent] = &sent[..] else { panic!() };
        assert_eq!(sent.name, format!("pgsync:{SOURCE}"));
        assert_eq!(sent.line, "GET https://bridge/__bridge__/changes?after=4&limit=2&wait=20");
        assert_eq!((sent.header("x-source-id"), sent.header("x-user-id")), (Some(SOURCE), Some("ann%2F%C3%A9")));
        assert_eq!((sent.header("x-caller"), sent.header("authorization")), (None, None));
    }
    for unknown in ["short", "0123456789ABCDEF0123456789ABCDEF", "..%2F", &"a".repeat(33)] {
        assert_eq!(world.call("GET", &format!("/pg-sync/{unknown}/changes"), "").status, 404);
    }
    assert_eq!(world.sent.borrow().len(), 1, "whoever guesses makes no object");
}

/// Facts 7, 9, 10 of pg-sync.md 3 as 4.14 has them: who asks is known by the token, the object of the source is told, and nobody else's log is there.
#[test]
fn a_stream_is_asked_of_the_object_of_its_source() {
    let world = world();
    let register = |options: Value, metadata: Value| {
        let body = json!({"options": options, "metadata": metadata}).to_string();
        world.call("POST", "/_electric/pg-sync/register", &body).status
    };
    let url = "http://10.0.0.5:3000/v1/shape?source_id=1";
    assert_eq!(register(json!({"url": url, "table": "orders"}), json!({"principalId": "root", "tenantId": "x"})), 200);
    let (source, source_ref) = {
        let sent = world.sent.borrow();
        let [sent] = &sent[..] else { panic!() };
        assert_eq!(sent.line, "POST https://bridge/__bridge__/register");
        let body = sent.json();
        assert_eq!((&body["source"]["owner"], &body["source"]["connection"]), (&json!("ann/é"), &json!("house")));
        assert_eq!(sent.name, format!("pgsync:{}", body["source"]["id"].as_str().unwrap()));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&body["source"]["id"]), text(&body["source_ref"]))
    };
    let owner = pg_sync::identity::owner_hash("ann/é");
    let path = format!("/_electric/pg-sync/{owner}/{source_ref}");
    for (method, query, line) in [
        ("GET", "", "GET https://bridge/__bridge__/stream"),
        ("GET", "?offset=-1&live=sse&cursor=7", "GET https://bridge/__bridge__/stream?offset=-1&live=sse&cursor=7"),
        ("HEAD", "?offset=-1", "GET https://bridge/__bridge__/stream-head"),
    ] {
        assert_eq!(world.call(method, &format!("{path}{query}"), "").status, 200);
        let sent = world.sent.borrow();
        let sent = sent.last().unwrap();
        assert_eq!((sent.line.as_str(), sent.name.as_str()), (line, format!("pgsync:{source}").as_str()));
        assert_eq!((sent.header("x-user-id"), sent.header("x-source-ref")), (Some("ann%2F%C3%A9"), Some(&*source_ref)));
        assert_eq!((sent.header("x-source-id"), sent.header("authorization")), (Some(&*source), None));
    }
    let sent = world.sent.borrow().len();
    // The same again is the same source; another table, or what the operator closed, is none.
    assert_eq!(register(json!({"url": url, "table": "secret.orders"}), json!({})), 403);
    assert_eq!(register(json!({"url": "http://10.0.0.6/v1/shape", "table": "t"}), json!({})), 403, "bob's");
    assert_eq!(register(json!({"url": "http://10.0.0.5:3000/v1/shape", "table": "orders"}), json!({})), 403);
    assert_eq!(register(json!({"url": url, "table": "t", "tenant": "x"}), json!({})), 400);
    let other = path.replace(&owner, &pg_sync::identity::owner_hash("bob"));
    for (method, path) in [
        ("GET", other.clone()),
        ("HEAD", other),
        ("GET", path.replace(&source_ref, "0123456789abcdef")),
        ("POST", path.clone()),
        ("DELETE", path.clone()),
        ("GET", format!("{path}/")),
        ("GET", "/_electric/pg-sync/register".to_owned()),
        ("GET", "/_electric/pg-sync/".to_owned()),
    ] {
        let answer = world.call(method, &path, "");
        assert_eq!((answer.status, answer.header("cache-control")), (404, None), "{method} {path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    let stranger = world.send(request("GET", &path, ""));
    assert_eq!((stranger.status, stranger.header("cache-control")), (401, Some("private, no-store")));
    let asked = world.send(request("OPTIONS", &path, ""));
    assert_eq!((asked.status, asked.header("access-control-allow-methods")), (204, Some("GET, HEAD, OPTIONS")));
    assert_eq!(world.sent.borrow().len(), sent, "nothing of that reaches an object");
    world.has_bridges.set(false);
    assert_eq!(answered(&world.call("GET", &path, "")), (503, json!({"error": "pg_sync_disabled"})));
}

/// The clock looks after bridges: rows without a bridge go, places that were kept too long too.
#[test]
fn the_clock_looks_after_bridges() {
    let world = world();
    let row = |id: &str, state: &str, at: i64| {
        let put = format!("INSERT INTO pg_sync_bridges VALUES ('{id}', 'ann', 'main', '{state}', {at}, {at}, NULL)");
        block_on(database::Database::execute(world.database(), &put, &[])).unwrap();
    };
    let now = world.now.get();
    row("alive", "active", 1);
    row("absent", "active", 2);
    row("kept", "reserved", now - 1);
    row("stale", "reserved", now - 600_001);
    *world.answers.borrow_mut() = Box::new(|sent| {
        let status = if sent.header("x-source-id") == Some("alive") { 200 } else { 404 };
        Some((status, Vec::new()))
    });
    block_on(sessions::front::look_after_bridges(&world));
    let rows = block_on(database::Database::query(
        world.database(),
        database::ReadFrom::Primary,
        "SELECT source_id, checked_at FROM pg_sync_bridges ORDER BY source_id",
        &[],
    ));
    let left: Vec<_> = rows.unwrap().iter().map(|row| (row.string(0).unwrap(), row.int(1).unwrap())).collect();
    assert_eq!(left, [("alive".to_owned(), now), ("kept".to_owned(), now - 1)]);
}
