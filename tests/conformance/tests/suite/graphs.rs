//! Graphs in the index: list, create, access, delete (sync.md 4.1–4.5).

use conformance::{Server, Socket, TestGraph, frames, tx};
use serde_json::{Value, json};

super::cases![
    list_is_empty_for_a_new_person,
    create_defaults_to_ready_and_encrypted,
    create_answers_and_lists_every_field,
    create_checks_its_body,
    create_needs_keys_when_encrypted,
    create_refuses_a_second_graph_of_the_same_name,
    names_are_free_for_other_owners,
    list_shows_own_and_shared_graphs_newest_first,
    access_is_for_owner_and_members,
    delete_is_for_managers,
    delete_removes_everything,
    delete_closes_sockets,
    operators_delete_with_the_admin_token_only,
    options_and_head_are_answered_before_routing,
    unknown_index_paths_need_no_token,
    broken_escapes_in_paths_are_bad_requests,
    large_bodies_are_refused,
];

fn keys() -> Value {
    json!({ "public-key": "pub", "encrypted-private-key": "priv" })
}

fn list_is_empty_for_a_new_person(server: &Server) {
    server.person("a").get("/graphs").expect(200, &json!({ "graphs": [], "user-rsa-keys-exists?": false }));
    server.anonymous().get("/graphs").error(401, "unauthorized");
}

fn create_defaults_to_ready_and_encrypted(server: &Server) {
    let person = server.person("a");
    person.post("/e2ee/user-keys", &keys()).status(200);
    let made = person.post("/graphs", &json!({ "graph-name": "notes" })).status(200).json();
    assert_eq!((&made["graph-e2ee?"], &made["graph-ready-for-use?"]), (&json!(true), &json!(true)));
    let list = person.get("/graphs").json();
    assert_eq!(list["user-rsa-keys-exists?"], true);
    assert_eq!(list["graphs"][0]["schema-version"], Value::Null);
    assert_eq!(list["graphs"][0]["graph-e2ee?"], true);
}

fn create_answers_and_lists_every_field(server: &Server) {
    let person = server.person("a");
    let body = json!({ "graph-name": "notes", "schema-version": "65.33", "graph-e2ee?": false, "graph-ready-for-use?": false, "unknown": 1 });
    let made = person.post("/graphs", &body).status(200).json();
    let id = made["graph-id"].as_str().unwrap();
    assert_eq!(uuid::Uuid::parse_str(id).unwrap().get_version_num(), 4);
    assert_eq!(made, json!({ "graph-id": id, "graph-e2ee?": false, "graph-ready-for-use?": false }));
    let list = person.get("/graphs").status(200).json();
    let row = &list["graphs"][0];
    let created = row["created-at"].as_i64().unwrap();
    assert!((created / 1000 - conformance::tokens::now()).abs() < 600, "milliseconds since the epoch");
    assert_eq!(
        *row,
        json!({
            "graph-id": id, "graph-name": "notes", "schema-version": "65.33", "graph-e2ee?": false,
            "graph-ready-for-use?": false, "role": "manager", "invited-by": person.user,
            "created-at": created, "updated-at": row["updated-at"],
        })
    );
}

fn create_checks_its_body(server: &Server) {
    let person = server.person("a");
    let post = |text: &str| person.send("POST", "/graphs", &[], Some(text.as_bytes()));
    person.send("POST", "/graphs", &[], None).error(400, "missing body");
    post("").error(400, "missing body");
    post("null").error(400, "missing body");
    post("{").error(400, "invalid body");
    post("[]").error(400, "invalid body");
    post(r#"{"graph-name":5}"#).error(400, "invalid body");
    post(r#"{"graph-name":"a","graph-e2ee?":"no"}"#).error(400, "invalid body");
    post(r#"{"graph-name":"a","graph-e2ee?":null}"#).error(400, "invalid body");
    post(r#"{"graph-name":"a","schema-version":65}"#).error(400, "invalid body");
    server.anonymous().send("POST", "/graphs", &[], Some(b"{}")).error(401, "unauthorized");
}

fn create_needs_keys_when_encrypted(server: &Server) {
    let person = server.person("a");
    person.post("/graphs", &json!({ "graph-name": "secret" })).error(400, "missing user rsa key pair");
    person
        .post("/graphs", &json!({ "graph-name": "secret", "graph-e2ee?": true }))
        .error(400, "missing user rsa key pair");
    assert_eq!(person.get("/graphs").json()["graphs"], json!([]));
    person.post("/graphs", &json!({ "graph-name": "plain", "graph-e2ee?": false })).status(200);
}

fn create_refuses_a_second_graph_of_the_same_name(server: &Server) {
    let person = server.person("a");
    let body = json!({ "graph-name": "notes", "graph-e2ee?": false });
    person.post("/graphs", &body).status(200);
    person.post("/graphs", &body).error(400, "duplicate graph name");
    person.post("/graphs", &json!({ "graph-name": "Notes", "graph-e2ee?": false })).status(200);
}

fn names_are_free_for_other_owners(server: &Server) {
    let body = json!({ "graph-name": "notes", "graph-e2ee?": false });
    server.person("a").post("/graphs", &body).status(200);
    server.person("b").post("/graphs", &body).status(200);
}

fn list_shows_own_and_shared_graphs_newest_first(server: &Server) {
    let (owner, guest) = (server.person("owner"), server.person("guest"));
    let first = TestGraph::create(&owner);
    std::thread::sleep(std::time::Duration::from_millis(5));
    let second = TestGraph::create(&owner);
    first.invite(&guest, "member");
    let ids = |list: Value| -> Vec<String> {
        list["graphs"].as_array().unwrap().iter().map(|g| g["graph-id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(owner.get("/graphs").json()), [second.id, first.id.clone()]);
    let shared = guest.get("/graphs").json();
    assert_eq!(shared["graphs"][0]["role"], "member");
    assert_eq!(shared["graphs"][0]["invited-by"], owner.user);
    assert_eq!(ids(shared), [first.id]);
}

fn access_is_for_owner_and_members(server: &Server) {
    let (owner, guest, stranger) = (server.person("owner"), server.person("guest"), server.person("stranger"));
    let graph = TestGraph::create(&owner);
    graph.invite(&guest, "member");
    let path = format!("/graphs/{}/access", graph.id);
    owner.get(&path).expect(200, &json!({ "ok": true }));
    guest.get(&path).expect(200, &json!({ "ok": true }));
    stranger.get(&path).error(403, "forbidden");
    server.anonymous().get(&path).error(401, "unauthorized");
    owner.get("/graphs/unknown/access").error(403, "forbidden");
}

fn delete_is_for_managers(server: &Server) {
    let (owner, member, manager) = (server.person("owner"), server.person("member"), server.person("manager"));
    let graph = TestGraph::create(&owner);
    graph.invite(&member, "member");
    graph.invite(&manager, "manager");
    let path = format!("/graphs/{}", graph.id);
    member.delete(&path).error(403, "forbidden");
    server.person("stranger").delete(&path).error(403, "forbidden");
    server.anonymous().delete(&path).error(401, "unauthorized");
    manager.delete(&path).expect(200, &json!({ "graph-id": graph.id, "deleted": true }));
    owner.get(&format!("{path}/access")).error(403, "forbidden");
}

fn delete_removes_everything(server: &Server) {
    let owner = server.person("owner");
    let graph = TestGraph::initial(&owner);
    let page = tx::id();
    graph.batch(0, &[tx::entry(&tx::page(&page, "Gone"), "create-page", &tx::id())]).status(200);
    let asset = format!("/assets/{}/{}.txt", graph.id, tx::id());
    owner.send("PUT", &asset, &[], Some(b"bytes")).status(200);
    owner.delete(&format!("/graphs/{}", graph.id)).status(200);
    assert_eq!(owner.get("/graphs").json()["graphs"], json!([]));
    let operator = [("x-db-sync-admin-token", server.admin_token.as_str())];
    let anyone = server.anonymous();
    for (method, tail) in
        [("GET", "/pull"), ("GET", "/snapshot/stream"), ("DELETE", "/admin/reset"), ("GET", "/health")]
    {
        anyone.send(method, &graph.path(tail), &operator, None).error(404, "not found");
    }
    anyone.send("GET", &asset, &operator, None).error(404, "not found");
}

fn delete_closes_sockets(server: &Server) {
    let owner = server.person("owner");
    let graph = TestGraph::initial(&owner);
    let mut socket = Socket::open(&owner, &graph.id);
    owner.delete(&format!("/graphs/{}", graph.id)).status(200);
    let closed = loop {
        if let Err(closed) = socket.receive_or_closed() {
            break closed;
        }
    };
    assert_eq!(closed, conformance::socket::Closed(1000, "graph deleted".to_owned()));
}

fn operators_delete_with_the_admin_token_only(server: &Server) {
    let owner = server.person("owner");
    let graph = TestGraph::initial(&owner);
    let path = format!("/admin/graphs/{}", graph.id);
    owner.delete(&path).error(401, "unauthorized");
    let anyone = server.anonymous();
    anyone.send("DELETE", &path, &[("x-db-sync-admin-token", "wrong")], None).error(401, "unauthorized");
    let operator = [("x-db-sync-admin-token", server.admin_token.as_str())];
    let deleted = json!({ "graph-id": graph.id, "deleted": true });
    anyone.send("DELETE", &path, &operator, None).expect(200, &deleted);
    anyone.send("DELETE", &path, &operator, None).expect(200, &deleted);
    assert_eq!(owner.get("/graphs").json()["graphs"], json!([]));
    anyone.send("GET", &path, &operator, None).error(404, "not found");
}

fn options_and_head_are_answered_before_routing(server: &Server) {
    for path in [
        "/graphs",
        "/graphs/x/anything",
        "/e2ee/nothing",
        "/admin/graphs/x",
        "/sync/x/pull",
        "/assets/x/y.z",
        "/nowhere",
    ] {
        let answer = server.anonymous().send("OPTIONS", path, &[], None);
        assert_eq!((answer.status, answer.bytes.len()), (204, 0), "OPTIONS {path}");
        let methods = answer.header("access-control-allow-methods");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"] {
            assert!(methods.contains(method), "{methods}");
        }
    }
    for path in ["/graphs", "/graphs/x/anything", "/e2ee/nothing"] {
        server.anonymous().send("HEAD", path, &[], None).status(204);
    }
}

fn unknown_index_paths_need_no_token(server: &Server) {
    for (method, path) in [
        ("GET", "/graphs/"),
        ("PUT", "/graphs"),
        ("GET", "/graphs/x"),
        ("GET", "/graphs/x/members/y"),
        ("POST", "/graphs/x/access"),
        ("GET", "/e2ee"),
        ("GET", "/e2ee/user-keys/"),
        ("DELETE", "/e2ee/user-keys"),
        ("GET", "/e2eex"),
    ] {
        server.anonymous().send(method, path, &[], None).error(404, "not found");
    }
}

fn broken_escapes_in_paths_are_bad_requests(server: &Server) {
    let owner = server.person("owner");
    let graph = TestGraph::create(&owner);
    owner.get("/graphs/bad%zzescape/access").error(400, "invalid graph id");
    owner
        .put(&format!("/graphs/{}/members/bad%zzescape", graph.id), &json!({ "role": "member" }))
        .error(400, "invalid user id");
}

fn large_bodies_are_refused(server: &Server) {
    let person = server.person("a");
    let name = "x".repeat(1 << 20);
    person.post("/graphs", &json!({ "graph-name": name })).error(413, "request too large");
    let short = TestGraph::initial(&person);
    // The whole body is read although it is too long, so that simple clients, which read only after writing everything,
    // see the answer.
    let long = vec![b' '; (32 << 20) + 1];
    person.send("POST", &short.path("/tx/batch"), &[], Some(&long)).error(413, "request too large");
    assert_eq!(frames::rows(&person.get(&short.path("/snapshot/stream")).bytes).len(), 418);
}
