//! Members of a graph (sync.md 4.6) and what removal takes away.

use conformance::{Server, Socket, TestGraph, tokens, tx};
use serde_json::{Value, json};

super::cases![
    list_shows_everyone_in_order_of_arrival,
    add_by_id_and_by_email,
    add_checks_body_then_role,
    adding_again_changes_the_role,
    roles_change_by_managers_only,
    managers_remove_members_not_managers,
    members_leave_by_themselves,
    encoded_ids_are_decoded,
    removal_takes_the_key_and_closes_the_sockets,
    a_removed_member_cannot_write_through_an_old_socket,
];

fn members_path(graph: &TestGraph) -> String {
    format!("/graphs/{}/members", graph.id)
}

fn list_shows_everyone_in_order_of_arrival(server: &Server) {
    let (owner, guest) = (server.person("owner"), server.person("guest"));
    let graph = TestGraph::create(&owner);
    graph.invite(&guest, "member");
    graph.invite(&server.person("silent").anonymous(), "member");
    let list = guest.get(&members_path(&graph)).status(200).json();
    let rows = list["members"].as_array().unwrap();
    assert_eq!(rows.len(), 3);
    assert_eq!(
        rows[0],
        json!({
            "user-id": owner.user, "graph-id": graph.id, "role": "manager", "invited-by": owner.user,
            "created-at": rows[0]["created-at"], "email": tokens::email(&owner.user), "username": owner.user,
        })
    );
    assert_eq!((&rows[1]["user-id"], &rows[1]["role"]), (&json!(guest.user), &json!("member")));
    assert_eq!((&rows[2]["email"], &rows[2]["username"]), (&Value::Null, &Value::Null), "never seen by the index");
    server.person("stranger").get(&members_path(&graph)).error(403, "forbidden");
    server.anonymous().get(&members_path(&graph)).error(401, "unauthorized");
}

fn add_by_id_and_by_email(server: &Server) {
    let (owner, guest) = (server.person("owner"), server.person("guest"));
    let graph = TestGraph::create(&owner);
    let by_email = json!({ "email": tokens::email(&guest.user), "role": "member" });
    owner.post(&members_path(&graph), &by_email).error(400, "user not found");
    guest.get("/graphs").status(200);
    owner.post(&members_path(&graph), &by_email).expect(200, &json!({ "ok": true }));
    guest.get(&format!("/graphs/{}/access", graph.id)).status(200);
    // A user id counts before an e-mail address, and the user need not exist.
    let both = json!({ "user-id": "someone-else", "email": "nobody@example.test" });
    owner.post(&members_path(&graph), &both).expect(200, &json!({ "ok": true }));
    let rows = owner.get(&members_path(&graph)).json();
    let last = rows["members"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        (&last["user-id"], &last["role"]),
        (&json!("someone-else"), &json!("member")),
        "member is the default role"
    );
}

fn add_checks_body_then_role(server: &Server) {
    let (owner, guest) = (server.person("owner"), server.person("guest"));
    let graph = TestGraph::create(&owner);
    graph.invite(&guest, "member");
    let path = members_path(&graph);
    server.anonymous().post(&path, &json!({})).error(401, "unauthorized");
    owner.send("POST", &path, &[], None).error(400, "missing body");
    for body in [
        json!({}),
        json!({ "user-id": 5 }),
        json!({ "user-id": "x", "role": "owner" }),
        json!({ "role": "member" }),
        json!([]),
    ] {
        guest.post(&path, &body).error(400, "invalid body");
    }
    guest.post(&path, &json!({ "user-id": "x" })).error(403, "forbidden");
}

fn adding_again_changes_the_role(server: &Server) {
    let (owner, guest) = (server.person("owner"), server.person("guest"));
    let graph = TestGraph::create(&owner);
    graph.invite(&guest, "member");
    graph.invite(&guest, "manager");
    guest.post(&members_path(&graph), &json!({ "user-id": "x" })).status(200);
    assert_eq!(owner.get(&members_path(&graph)).json()["members"].as_array().unwrap().len(), 3);
}

fn roles_change_by_managers_only(server: &Server) {
    let (owner, guest) = (server.person("owner"), server.person("guest"));
    let graph = TestGraph::create(&owner);
    graph.invite(&guest, "member");
    let path = format!("{}/{}", members_path(&graph), guest.user);
    guest.put(&path, &json!({ "role": "manager" })).error(403, "forbidden");
    owner.send("PUT", &path, &[], None).error(400, "missing body");
    owner.put(&path, &json!({ "role": "king" })).error(400, "invalid body");
    owner.put(&path, &json!({})).error(400, "invalid body");
    server.anonymous().put(&path, &json!({ "role": "manager" })).error(401, "unauthorized");
    owner.put(&path, &json!({ "role": "manager" })).expect(200, &json!({ "ok": true }));
    owner
        .put(&format!("{}/nobody", members_path(&graph)), &json!({ "role": "member" }))
        .expect(200, &json!({ "ok": true }));
    assert_eq!(owner.get(&members_path(&graph)).json()["members"][1]["role"], "manager");
}

fn managers_remove_members_not_managers(server: &Server) {
    let (owner, manager, guest) = (server.person("owner"), server.person("manager"), server.person("guest"));
    let graph = TestGraph::create(&owner);
    graph.invite(&manager, "manager");
    graph.invite(&guest, "member");
    let path = |who: &str| format!("{}/{who}", members_path(&graph));
    guest.delete(&path(&manager.user)).error(403, "forbidden");
    owner.delete(&path(&manager.user)).error(403, "forbidden");
    server.anonymous().delete(&path(&guest.user)).error(401, "unauthorized");
    manager.delete(&path(&guest.user)).expect(200, &json!({ "ok": true }));
    manager.delete(&path("nobody")).expect(200, &json!({ "ok": true }));
    guest.get(&format!("/graphs/{}/access", graph.id)).error(403, "forbidden");
}

fn members_leave_by_themselves(server: &Server) {
    let (owner, guest) = (server.person("owner"), server.person("guest"));
    let graph = TestGraph::create(&owner);
    graph.invite(&guest, "member");
    let path = format!("{}/{}", members_path(&graph), guest.user);
    guest.delete(&path).expect(200, &json!({ "ok": true }));
    // Leaving again is allowed, as the first answer may have been lost (D-86).
    guest.delete(&path).expect(200, &json!({ "ok": true }));
    guest.get(&format!("/graphs/{}/access", graph.id)).error(403, "forbidden");
    let stranger = server.person("stranger");
    stranger.delete(&format!("{}/{}", members_path(&graph), stranger.user)).error(403, "forbidden");
}

fn encoded_ids_are_decoded(server: &Server) {
    let owner = server.person("owner");
    let graph = TestGraph::create(&owner);
    owner.post(&members_path(&graph), &json!({ "user-id": "us-east-1:a b/c" })).status(200);
    owner.put(&format!("{}/us-east-1%3Aa%20b%2Fc", members_path(&graph)), &json!({ "role": "manager" })).status(200);
    assert_eq!(owner.get(&members_path(&graph)).json()["members"][1]["role"], "manager");
}

fn removal_takes_the_key_and_closes_the_sockets(server: &Server) {
    let (owner, guest) = (server.person("owner"), server.person("guest"));
    let graph = TestGraph::initial(&owner);
    graph.invite(&guest, "member");
    let key = format!("/e2ee/graphs/{}/aes-key", graph.id);
    guest.post(&key, &json!({ "encrypted-aes-key": "old" })).status(200);
    let mut socket = Socket::open(&guest, &graph.id);
    owner.delete(&format!("{}/{}", members_path(&graph), guest.user)).status(200);
    let closed = loop {
        if let Err(closed) = socket.receive_or_closed() {
            break closed;
        }
    };
    assert_eq!(closed, conformance::socket::Closed(1008, "access revoked".to_owned()));
    graph.invite(&guest, "member");
    guest.get(&key).expect(200, &json!({ "encrypted-aes-key": null }));
}

fn a_removed_member_cannot_write_through_an_old_socket(server: &Server) {
    let (owner, guest) = (server.person("owner"), server.person("guest"));
    let graph = TestGraph::initial(&owner);
    graph.invite(&guest, "member");
    let mut socket = Socket::open(&guest, &graph.id);
    owner.delete(&format!("{}/{}", members_path(&graph), guest.user)).status(200);
    let page = tx::id();
    socket.send(&tx::batch(0, &[tx::entry(&tx::page(&page, "Late"), "create-page", &tx::id())]));
    while let Ok(message) = socket.receive_or_closed() {
        assert_ne!(message["type"], "tx/batch/ok");
    }
    assert_eq!(graph.t(), 0);
}
