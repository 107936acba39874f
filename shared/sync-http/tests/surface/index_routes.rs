//! Graphs, members, keys.

use serde_json::json;

use crate::world::{ADMIN, TestBody, World, request};

#[test]
fn creating_graphs() {
    let world = World::new();
    for (body, expected) in [
        ("", (400, "missing body")),
        ("null", (400, "missing body")),
        ("{", (400, "invalid body")),
        ("[]", (400, "invalid body")),
        (r#"{"graph-name":5}"#, (400, "invalid body")),
        (r#"{"graph-name":"x","graph-e2ee?":"no"}"#, (400, "invalid body")),
        (r#"{"graph-name":"x"}"#, (400, "missing user rsa key pair")),
    ] {
        let answer = world.call(Some("u"), "POST", "/graphs", body).refusal();
        assert_eq!((answer.0, answer.1.as_str()), expected, "{body}");
    }
    assert_eq!(world.ok("u", "GET", "/graphs", ""), json!({ "graphs": [], "user-rsa-keys-exists?": false }));
    let created = world.ok("u", "POST", "/graphs", r#"{"graph-name":"x","graph-e2ee?":false,"other":1}"#);
    assert_eq!((&created["graph-e2ee?"], &created["graph-ready-for-use?"]), (&json!(false), &json!(true)));
    let again = world.call(Some("u"), "POST", "/graphs", r#"{"graph-name":"x","graph-e2ee?":false}"#);
    assert_eq!(again.refusal(), (400, "duplicate graph name".into()));
    world.ok("u", "POST", "/e2ee/user-keys", r#"{"public-key":"p","encrypted-private-key":"e"}"#);
    let secret = world.ok("u", "POST", "/graphs", r#"{"graph-name":"y","graph-ready-for-use?":false}"#);
    assert_eq!((&secret["graph-e2ee?"], &secret["graph-ready-for-use?"]), (&json!(true), &json!(false)));
    let list = world.ok("u", "GET", "/graphs", "");
    assert_eq!(list["user-rsa-keys-exists?"], true);
    assert_eq!(list["graphs"][0]["graph-name"], "y");
    assert_eq!(list["graphs"][1]["role"], "manager");
}

#[test]
fn bodies_are_bounded() {
    let world = World::new();
    let mut declared = request(Some("u"), "POST", "/graphs", "{}");
    declared.headers_mut().insert("content-length", "1048577".parse().unwrap());
    assert_eq!(world.send(declared).refusal(), (413, "request too large".into()));
    let mut counted = request(Some("u"), "POST", "/graphs", "");
    *counted.body_mut() = TestBody::chunks((0..20).map(|_| vec![b' '; 64 << 10]));
    assert_eq!(world.send(counted).refusal(), (413, "request too large".into()));
    let mut broken = request(Some("u"), "POST", "/graphs", "{");
    broken.body_mut().broken = true;
    assert_eq!(world.send(broken).status, 400);
}

#[test]
fn unknown_paths_need_no_credentials_and_broken_escapes_are_refused() {
    let world = World::new();
    for (method, path, expected) in [
        ("GET", "/graphs/", (404, "not found")),
        ("PATCH", "/graphs", (404, "not found")),
        ("GET", "/e2eeX", (404, "not found")),
        ("GET", "/openapi.json", (404, "not found")),
        ("GET", "/api/v1/graphs", (404, "not found")),
    ] {
        let answer = world.call(None, method, path, "").refusal();
        assert_eq!((answer.0, answer.1.as_str()), expected, "{method} {path}");
    }
    for (path, expected) in
        [("/graphs/g/members/bad%zzescape", "invalid user id"), ("/graphs/%ff/members/x", "invalid graph id")]
    {
        assert_eq!(world.call(Some("u"), "DELETE", path, "").refusal(), (400, expected.into()), "D-38");
    }
    for (method, path) in [("OPTIONS", "/graphs"), ("HEAD", "/graphs"), ("HEAD", "/e2ee/user-keys"), ("OPTIONS", "/x")]
    {
        assert_eq!(world.call(None, method, path, "").status, 204, "{method} {path}");
    }
}

#[test]
fn path_parameters_are_decoded() {
    let world = World::new();
    let graph = world.create("owner", "g");
    world.ok("owner", "POST", &format!("/graphs/{graph}/members"), r#"{"user-id":"us-east-1:x/a b+c%"}"#);
    let encoded = format!("/graphs/{graph}/members/us-east-1%3Ax%2Fa%20b%2Bc%25");
    world.ok("owner", "PUT", &encoded, r#"{"role":"manager"}"#);
    let members = world.ok("owner", "GET", &format!("/graphs/{graph}/members"), "");
    assert_eq!(members["members"][1]["role"], "manager");
}

#[test]
fn members_are_found_by_email_once_they_have_called() {
    let world = World::new();
    let graph = world.create("owner", "g");
    let path = format!("/graphs/{graph}/members");
    let body = r#"{"email":"bob@example.test"}"#;
    assert_eq!(world.call(Some("owner"), "POST", &path, body).refusal(), (400, "user not found".into()));
    world.ok("bob", "GET", "/graphs", "");
    world.ok("owner", "POST", &path, body);
    let members = world.ok("bob", "GET", &path, "");
    assert_eq!(members["members"][1]["username"], "bob");
}

#[test]
fn grants_name_those_without_access() {
    let world = World::new();
    for user in ["bob", "carol"] {
        world.ok(user, "GET", "/graphs", "");
    }
    let graph = world.create("owner", "g");
    world.ok("owner", "POST", &format!("/graphs/{graph}/members"), r#"{"user-id":"bob"}"#);
    let key = |email: &str| json!({ "email": email, "encrypted-aes-key": "k" });
    let body = json!({ "target-user-email+encrypted-aes-key-coll":
        [key("bob@example.test"), key("carol@example.test"), key("nobody@example.test")] });
    let path = format!("/e2ee/graphs/{graph}/grant-access");
    let answer = world.ok("owner", "POST", &path, &body.to_string());
    assert_eq!(answer, json!({ "ok": true, "missing-users": ["carol@example.test", "nobody@example.test"] }));
    let key_path = format!("/e2ee/graphs/{graph}/aes-key");
    assert_eq!(world.ok("bob", "GET", &key_path, ""), json!({ "encrypted-aes-key": "k" }));
    // D-04
    world.ok("owner", "DELETE", &format!("/graphs/{graph}/members/bob"), "");
    world.ok("owner", "POST", &format!("/graphs/{graph}/members"), r#"{"user-id":"bob"}"#);
    assert_eq!(world.ok("bob", "GET", &key_path, ""), json!({ "encrypted-aes-key": null }));
}

#[test]
fn removal_closes_sockets_and_forgets_access() {
    let world = World::new();
    let graph = world.create("owner", "g");
    world.ok("owner", "POST", &format!("/graphs/{graph}/members"), r#"{"user-id":"bob"}"#);
    let (owner, bob) = (world.connect("owner", &graph), world.connect("bob", &graph));
    world.ok("owner", "DELETE", &format!("/graphs/{graph}/members/bob"), "");
    assert_eq!(*bob.closed.borrow(), Some((1008, "access revoked".into())), "D-04");
    assert_eq!(*owner.closed.borrow(), None);
    assert_eq!(world.call(Some("bob"), "GET", &format!("/sync/{graph}/health"), "").status, 403);
    // A graph that cannot be told does not keep the member.
    world.ok("owner", "POST", &format!("/graphs/{graph}/members"), r#"{"user-id":"bob"}"#);
    world.graph(&graph).broken.set(true);
    world.ok("owner", "DELETE", &format!("/graphs/{graph}/members/bob"), "");
    assert!(world.event_names().contains(&"db-sync/revoke-access-failed".into()));
}

#[test]
fn deletion_goes_in_an_order_that_can_be_retried() {
    let world = World::new();
    let graph = world.create("owner", "g");
    world.ok("owner", "POST", &format!("/graphs/{graph}/members"), r#"{"user-id":"bob"}"#);
    for name in ["a.txt", "b.txt", "c.txt", "d/e.txt", "f.txt"] {
        assert_eq!(world.call(Some("owner"), "PUT", &format!("/assets/{graph}/{name}"), "x").status, 200);
    }
    let other = world.create("owner", "other");
    assert_eq!(world.call(Some("owner"), "PUT", &format!("/assets/{other}/a.txt"), "x").status, 200);
    let socket = world.connect("owner", &graph);

    let path = format!("/graphs/{graph}");
    let members = || {
        let sql = format!("SELECT user_id FROM graph_members WHERE graph_id = '{graph}'");
        let rows = database::Database::query(&**world.db.as_ref().unwrap(), database::ReadFrom::Primary, &sql, &[]);
        pollster::block_on(rows).unwrap().len()
    };
    // Each step fails once, and the owner repeats the deletion.
    world.graph(&graph).broken.set(true);
    assert_eq!(world.call(Some("owner"), "DELETE", &path, "").refusal(), (500, "server error".into()));
    assert_eq!(members(), 2, "nothing was begun");
    world.graph(&graph).broken.set(false);
    world.sql("ALTER TABLE graph_aes_keys RENAME TO away");
    assert_eq!(world.call(Some("owner"), "DELETE", &path, "").status, 500);
    assert_eq!(*socket.closed.borrow(), Some((1000, "graph deleted".into())), "closed to everyone first");
    for user in ["owner", "bob"] {
        assert_eq!(world.call(Some(user), "GET", &format!("/sync/{graph}/pull"), "").status, 404, "{user}");
    }
    world.sql("ALTER TABLE away RENAME TO graph_aes_keys");
    world.graph(&graph).answers_left.set(Some(1));
    assert_eq!(world.call(Some("owner"), "DELETE", &path, "").status, 500, "the rows could not be erased");
    assert_eq!(members(), 0);
    assert_eq!(world.ok("owner", "GET", "/graphs", "")["graphs"].as_array().unwrap().len(), 2, "the row survives");
    assert_eq!(world.call(Some("bob"), "GET", &format!("{path}/access"), "").status, 403);

    world.graph(&graph).broken.set(false);
    // Somebody was invited while the deletion ran.
    world.ok("owner", "POST", &format!("{path}/members"), r#"{"user-id":"bob"}"#);
    assert_eq!(world.ok("owner", "DELETE", &path, ""), json!({ "graph-id": graph, "deleted": true }));
    assert_eq!(members(), 0);
    let left: Vec<String> = world.assets.as_ref().unwrap().objects.borrow().keys().cloned().collect();
    assert_eq!(left, [format!("{other}/a.txt")], "D-03");
    assert_eq!(world.call(Some("owner"), "DELETE", &path, "").status, 403);
    assert_eq!(world.call(Some("owner"), "GET", &format!("/sync/{graph}/health"), "").status, 403);
}

#[test]
fn the_operator_deletes_without_looking() {
    let world = World::new();
    let unknown = world.call(Some(ADMIN), "DELETE", "/admin/graphs/unknown", "");
    assert_eq!(unknown.json(), json!({ "graph-id": "unknown", "deleted": true }));
    let graph = world.create("owner", "g");
    assert_eq!(world.call(Some(ADMIN), "DELETE", &format!("/admin/graphs/{graph}"), "").status, 200);
    assert_eq!(world.ok("owner", "GET", "/graphs", "")["graphs"], json!([]));
}

#[test]
fn failures_are_reported_under_the_id_that_the_client_sees() {
    let mut world = World::new();
    world.db = None;
    let answer = world.call(Some("u"), "GET", "/graphs", "");
    assert_eq!(answer.text(), r#"{"error":"server error"}"#);
    let event = world.events.borrow()[0].clone();
    assert_eq!(event["event"], "db-sync/index-db-missing");
    assert_eq!(event["correlation-id"].as_str(), answer.header("x-correlation-id"));
}

#[test]
fn without_a_key_set_the_failure_is_internal() {
    let world = World::with(&[("DB_SYNC_ALLOW_UNVERIFIED_JWT_CLAIMS", "")]);
    for path in ["/graphs", "/sync/g/pull", "/assets/g/a.png"] {
        assert_eq!(world.call(Some("u"), "GET", path, "").refusal(), (500, "server error".into()), "{path}");
    }
}

#[test]
fn drivers_without_tokens_of_a_provider() {
    let world = World::with(&[
        ("DB_SYNC_AUTH_DRIVER", "none"),
        ("DB_SYNC_STATIC_USER_ID", "me"),
        ("DB_SYNC_ALLOW_HOSTS", "sync.test"),
    ]);
    let created = world.call(None, "POST", "/graphs", r#"{"graph-name":"x","graph-e2ee?":false}"#).json();
    let graph = created["graph-id"].as_str().unwrap().to_owned();
    assert_eq!(world.call(None, "GET", &format!("/sync/{graph}/pull"), "").status, 200);
    let world = World::with(&[("DB_SYNC_AUTH_DRIVER", "static"), ("DB_SYNC_AUTH_TOKEN", "t")]);
    assert_eq!(world.call(None, "GET", "/graphs", "").status, 401);
    assert_eq!(world.call(None, "GET", "/graphs?token=wrong", "").status, 401);
    assert_eq!(world.call(None, "GET", "/graphs?token=t", "").status, 200);
}

#[test]
fn activity_that_cannot_be_noted_fails_nothing() {
    let world = World::new();
    let db = world.db.clone().unwrap();
    pollster::block_on(database::Database::execute(&*db, "DROP TABLE daily_active_entities", &[])).unwrap();
    world.create("owner", "g");
    assert!(world.event_names().contains(&"db-sync/activity-touch-failed-user-failed".into()));
}
