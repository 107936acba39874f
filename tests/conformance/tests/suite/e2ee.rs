//! Keys for end-to-end encryption (sync.md 4.7).

use conformance::{Server, TestGraph, tokens};
use serde_json::json;

super::cases![
    own_pair_is_stored_and_replaced,
    public_keys_are_found_by_email,
    every_member_has_a_copy_of_the_graph_key,
    managers_grant_keys_to_members,
    bodies_are_checked_first,
];

fn own_pair_is_stored_and_replaced(server: &Server) {
    let person = server.person("a");
    person.get("/e2ee/user-keys").expect(200, &json!({}));
    let pair = json!({ "public-key": "p1", "encrypted-private-key": "s1" });
    person.post("/e2ee/user-keys", &pair).expect(200, &pair);
    person.get("/e2ee/user-keys").expect(200, &pair);
    let next = json!({ "public-key": "p2", "encrypted-private-key": "s2" });
    let body = json!({ "public-key": "p2", "encrypted-private-key": "s2", "reset-private-key": true });
    person.post("/e2ee/user-keys", &body).expect(200, &next);
    person.get("/e2ee/user-keys").expect(200, &next);
    server.anonymous().get("/e2ee/user-keys").error(401, "unauthorized");
}

fn public_keys_are_found_by_email(server: &Server) {
    let (person, other) = (server.person("a"), server.person("b"));
    let path = format!("/e2ee/user-public-key?email={}", tokens::email(&person.user).replace('@', "%40"));
    other.get(&path).expect(200, &json!({}));
    person.post("/e2ee/user-keys", &json!({ "public-key": "p", "encrypted-private-key": "s" })).status(200);
    other.get(&path).expect(200, &json!({ "public-key": "p" }));
    other.get("/e2ee/user-public-key?email=nobody%40example.test").expect(200, &json!({}));
    server.anonymous().get(&path).error(401, "unauthorized");
}

fn every_member_has_a_copy_of_the_graph_key(server: &Server) {
    let (owner, guest) = (server.person("owner"), server.person("guest"));
    let graph = TestGraph::create(&owner);
    graph.invite(&guest, "member");
    let path = format!("/e2ee/graphs/{}/aes-key", graph.id);
    owner.get(&path).expect(200, &json!({ "encrypted-aes-key": null }));
    owner
        .post(&path, &json!({ "encrypted-aes-key": "k-owner" }))
        .expect(200, &json!({ "encrypted-aes-key": "k-owner" }));
    guest.get(&path).expect(200, &json!({ "encrypted-aes-key": null }));
    guest.post(&path, &json!({ "encrypted-aes-key": "k-guest" })).status(200);
    owner.get(&path).expect(200, &json!({ "encrypted-aes-key": "k-owner" }));
    let stranger = server.person("stranger");
    stranger.get(&path).error(403, "forbidden");
    stranger.post(&path, &json!({ "encrypted-aes-key": "x" })).error(403, "forbidden");
}

fn managers_grant_keys_to_members(server: &Server) {
    let (owner, guest, stranger) = (server.person("owner"), server.person("guest"), server.person("stranger"));
    let graph = TestGraph::create(&owner);
    guest.get("/graphs").status(200);
    stranger.get("/graphs").status(200);
    graph.invite(&guest, "member");
    let path = format!("/e2ee/graphs/{}/grant-access", graph.id);
    let grant = |emails: &[&str]| {
        let entries: Vec<_> =
            emails.iter().map(|e| json!({ "email": e, "encrypted-aes-key": format!("for {e}") })).collect();
        json!({ "target-user-email+encrypted-aes-key-coll": entries })
    };
    let email = tokens::email(&guest.user);
    owner.post(&path, &grant(&[&email])).expect(200, &json!({ "ok": true }));
    guest
        .get(&format!("/e2ee/graphs/{}/aes-key", graph.id))
        .expect(200, &json!({ "encrypted-aes-key": format!("for {email}") }));
    let answer =
        owner.post(&path, &grant(&[&tokens::email(&stranger.user), "nobody@example.test", &email])).status(200).json();
    let mut missing: Vec<_> =
        answer["missing-users"].as_array().unwrap().iter().map(|e| e.as_str().unwrap().to_owned()).collect();
    missing.sort();
    let mut expected = vec![tokens::email(&stranger.user), "nobody@example.test".to_owned()];
    expected.sort();
    assert_eq!(missing, expected);
    guest.post(&path, &grant(&[])).error(403, "forbidden");
}

fn bodies_are_checked_first(server: &Server) {
    let person = server.person("a");
    for path in ["/e2ee/user-keys", "/e2ee/graphs/x/aes-key", "/e2ee/graphs/x/grant-access"] {
        person.send("POST", path, &[], None).error(400, "missing body");
        person.send("POST", path, &[], Some(b"{oops")).error(400, "invalid body");
        person.post(path, &json!({ "public-key": 1, "encrypted-aes-key": 1 })).error(400, "invalid body");
        server.anonymous().post(path, &json!({})).error(401, "unauthorized");
    }
}
