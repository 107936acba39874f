//! What holds when the platform fails, answers late, or loses its answers: nobody is locked out, nothing is left half done for
//! good, and everything can be repeated.

use std::rc::Rc;

use serde_json::json;

use crate::world::{Fault, TestBody, World, request};

const HELLO: &str = r#"{"type":"hello","client":"c"}"#;

fn shared() -> (World, String) {
    let world = World::new();
    for user in ["owner", "bob"] {
        world.ok(user, "GET", "/graphs", "");
    }
    let graph = world.create("owner", "g");
    world.ok("owner", "POST", &format!("/graphs/{graph}/members"), r#"{"user-id":"bob"}"#);
    (world, graph)
}

fn count(world: &World, sql: &str) -> usize {
    pollster::block_on(database::Database::query(world.index(), database::ReadFrom::Primary, sql, &[])).unwrap().len()
}

#[test]
fn nobody_owns_a_ghost() {
    let (world, graph) = shared();
    let (path, asset) = (format!("/graphs/{graph}"), format!("/assets/{graph}/a.png"));
    world.ok("owner", "PUT", &asset, "x");
    world.ok("owner", "DELETE", &path, "");
    // Rows that an invitation, a key and a grant would have left while the graph went.
    world.sql(&format!("INSERT INTO graph_members (user_id, graph_id, role) VALUES ('bob', '{graph}', 'manager')"));
    for (method, path, body) in [
        ("GET", format!("{path}/access"), ""),
        ("GET", format!("{path}/members"), ""),
        ("POST", format!("{path}/members"), r#"{"user-id":"eve"}"#),
        ("PUT", format!("{path}/members/bob"), r#"{"role":"member"}"#),
        ("DELETE", path.clone(), ""),
        ("POST", format!("/e2ee/graphs/{graph}/aes-key"), r#"{"encrypted-aes-key":"k"}"#),
        ("POST", format!("/e2ee/graphs/{graph}/grant-access"), r#"{"target-user-email+encrypted-aes-key-coll":[]}"#),
        ("PUT", asset.clone(), "x"),
        ("GET", asset, ""),
        ("GET", format!("/sync/{graph}/pull"), ""),
    ] {
        assert_eq!(world.call(Some("bob"), method, &path, body).status, 403, "{method} {path}");
    }
    assert_eq!(world.upgrade(&world.service, "bob", &graph), 403);
    assert_eq!(count(&world, "SELECT 1 FROM graph_aes_keys"), 0);
    assert_eq!(world.ok("bob", "GET", "/graphs", "")["graphs"], json!([]));
}

#[test]
fn an_invitation_that_races_a_deletion_writes_nothing() {
    let (world, graph) = shared();
    let world = Rc::new(world);
    // The body of the invitation arrives when the graph is gone, whose access was good before.
    let told = Rc::clone(&world);
    let body = TestBody::chunks([br#"{"user-id":"eve"}"#.to_vec()])
        .before_chunk(0, Box::new(move || told.sql("DELETE FROM graphs")));
    let mut invitation = request(Some("owner"), "POST", &format!("/graphs/{graph}/members"), "");
    *invitation.body_mut() = body;
    assert_eq!(world.send(invitation).status, 403);
    assert_eq!(count(&world, "SELECT 1 FROM graph_members WHERE user_id = 'eve'"), 0);
}

#[test]
fn a_deletion_tries_again_and_fails_before_the_graph_is_gone() {
    let (world, graph) = shared();
    for name in ["a.png", "b.png", "c.png"] {
        world.ok("owner", "PUT", &format!("/assets/{graph}/{name}"), "x");
    }
    let path = format!("/graphs/{graph}");
    // A moment's failure is nobody's business.
    world.store().failures.set(2);
    assert_eq!(world.ok("owner", "DELETE", &path, ""), json!({ "graph-id": graph, "deleted": true }));
    assert!(world.store().keys().is_empty());

    let graph = world.create("owner", "h");
    let path = format!("/graphs/{graph}");
    world.ok("owner", "PUT", &format!("/assets/{graph}/a.png"), "x");
    for failing in [true, false] {
        // Either every call fails, or there is more than one request deletes.
        world.store().broken.set(failing);
        if !failing {
            let stored = world.store().objects.borrow()[&format!("{graph}/a.png")].clone();
            let many = (0..250).map(|n| (format!("{graph}/{n}.png"), stored.clone()));
            world.store().objects.borrow_mut().extend(many);
        }
        assert_eq!(world.call(Some("owner"), "DELETE", &path, "").refusal(), (500, "server error".into()));
        assert_eq!(
            world.ok("owner", "GET", "/graphs", "")["graphs"].as_array().unwrap().len(),
            1,
            "it can be repeated"
        );
        assert!(!world.store().keys().is_empty());
    }
    world.ok("owner", "DELETE", &path, "");
    assert!(world.store().keys().is_empty());
    assert_eq!(count(&world, "SELECT 1 FROM graphs"), 0);
}

#[test]
fn a_file_that_comes_after_its_graph_is_gone_goes_too() {
    // The deletion is done, or has only begun, when the last byte arrives.
    for whole in [true, false] {
        let (world, graph) = shared();
        let world = Rc::new(world);
        let (told, path) = (Rc::clone(&world), format!("/graphs/{graph}"));
        let body = TestBody::chunks([b"x".to_vec(), b"y".to_vec()]).before_chunk(
            1,
            Box::new(move || {
                if !whole {
                    told.index().fault("DELETE FROM graph_aes_keys", Fault::Fails, 1);
                }
                let status = told.call(Some("owner"), "DELETE", &path, "").status;
                assert_eq!(status, if whole { 200 } else { 500 });
            }),
        );
        let mut put = request(Some("owner"), "PUT", &format!("/assets/{graph}/a.png"), "");
        *put.body_mut() = body;
        assert_eq!(world.send(put).refusal(), (404, "not found".into()));
        assert!(world.store().keys().is_empty());
    }
    // A graph that cannot be asked keeps nobody from storing.
    let (world, graph) = shared();
    world.graph(&graph).broken.set(true);
    world.ok("owner", "PUT", &format!("/assets/{graph}/a.png"), "x");
    assert_eq!(world.event_names(), ["db-sync/asset-graph-unknown"]);
}

#[test]
fn a_sender_that_goes_away_is_no_failure() {
    let (world, graph) = shared();
    let mut put = request(Some("owner"), "PUT", &format!("/assets/{graph}/a.png"), "x");
    put.body_mut().broken = true;
    assert_eq!(world.send(put).refusal(), (400, "request interrupted".into()));
    assert!(world.store().keys().is_empty());
    assert!(world.events.borrow().is_empty());
    world.store().failures.set(1);
    assert_eq!(world.call(Some("owner"), "PUT", &format!("/assets/{graph}/a.png"), "x").status, 500);
    assert_eq!(world.event_names(), ["db-sync/http-error"]);
}

#[test]
fn a_copy_that_is_behind_closes_nobodys_socket() {
    let (world, graph) = shared();
    let (owner, object) = (world.connect("owner", &graph), world.graph(&graph));
    for _ in 0..3 {
        world.time.advance(5_000);
        world.index().fault("graph_members", Fault::Stale, 1);
        object.frame(&owner, HELLO);
        assert_eq!(owner.received.borrow().last().unwrap()["type"], "hello");
    }
    assert_eq!(*owner.closed.borrow(), None);
    // The same at the front, for each way in.
    for (method, path) in [
        ("GET", format!("/sync/{graph}/health")),
        ("GET", format!("/graphs/{graph}/access")),
        ("GET", format!("/graphs/{graph}/members")),
        ("DELETE", format!("/assets/{graph}/a.png")),
        ("GET", format!("/e2ee/graphs/{graph}/aes-key")),
    ] {
        world.index().fault("graph_members", Fault::Stale, 1);
        let answer = world.send_by(&world.isolate(), request(Some("bob"), method, &path, ""));
        assert_eq!(answer.status, 200, "{method} {path}");
        world.index().heal();
    }
}

#[test]
fn a_refusal_is_not_remembered() {
    let (world, graph) = shared();
    let other = world.isolate();
    let carol = |path: &str| world.send_by(&other, request(Some("carol"), "GET", path, "")).status;
    let paths = [format!("/sync/{graph}/health"), format!("/assets/{graph}/a.png")];
    assert_eq!(paths.each_ref().map(|path| carol(path)), [403, 403]);
    world.ok("owner", "POST", &format!("/graphs/{graph}/members"), r#"{"user-id":"carol"}"#);
    assert_eq!(paths.each_ref().map(|path| carol(path)), [200, 404], "let in at once, elsewhere too");
}

#[test]
fn leaving_is_finished_whatever_answers_get_lost() {
    let leave =
        |world: &World, graph: &str| world.call(Some("bob"), "DELETE", &format!("/graphs/{graph}/members/bob"), "");
    // The index has done it and says nothing, or nothing more for a while, or did not do it.
    for (fault, falls_silent, statuses) in
        [(Fault::Loses, false, [200, 200]), (Fault::Loses, true, [500, 200]), (Fault::Fails, false, [500, 200])]
    {
        let (world, graph) = shared();
        let (bob, owner) = (world.connect("bob", &graph), world.connect("owner", &graph));
        world.index().fault("DELETE FROM graph_members", fault, 1);
        if falls_silent {
            // After the question whether bob may, it is asked the same to learn what holds.
            world.index().fault_after("SELECT (SELECT 1", 1, Fault::Fails, 1);
        }
        assert_eq!(leave(&world, &graph).status, statuses[0], "{fault:?}");
        assert_eq!(bob.closed.borrow().as_ref().map(|(code, _)| *code), Some(1008), "{fault:?}: it reads no more");
        assert_eq!(leave(&world, &graph).status, statuses[1], "{fault:?}: and can be repeated");
        assert_eq!(count(&world, "SELECT 1 FROM graph_members WHERE user_id = 'bob'"), 0);
        assert_eq!(world.upgrade(&world.isolate(), "bob", &graph), 403);
        assert_eq!(*owner.closed.borrow(), None);
    }
}

#[test]
fn a_graph_that_was_not_told_is_told_by_the_repetition() {
    let (world, graph) = shared();
    let (bob, object) = (world.connect("bob", &graph), world.graph(&graph));
    let leave = || world.call(Some("bob"), "DELETE", &format!("/graphs/{graph}/members/bob"), "").status;
    object.broken.set(true);
    assert_eq!(leave(), 200);
    assert_eq!(*bob.closed.borrow(), None);
    assert_eq!(world.event_names(), ["db-sync/revoke-access-failed"]);
    assert_eq!(leave(), 500, "the graph cannot be asked");
    object.broken.set(false);
    assert_eq!(leave(), 200);
    assert_eq!(*bob.closed.borrow(), Some((1008, "access revoked".into())));
    assert_eq!(leave(), 200, "as often as one likes");
    // Of those who never were there it remembers nothing.
    let carol = format!("/graphs/{graph}/members/carol");
    for _ in 0..2 {
        assert_eq!(world.call(Some("carol"), "DELETE", &carol, "").status, 403);
    }
    assert!(object.graph.borrow_mut().revocation("carol").unwrap().is_none());
    world.time.advance(10 * 60_000);
    assert_eq!(leave(), 403, "long ago");
    assert_eq!(world.call(Some("bob"), "DELETE", "/graphs/unknown/members/bob", "").status, 403);
}

#[test]
fn a_removal_that_was_not_done_locks_nobody_out() {
    let (world, graph) = shared();
    let path = format!("/graphs/{graph}/members/bob");
    world.index().fault("DELETE FROM graph_members", Fault::Fails, 1);
    assert_eq!(world.call(Some("owner"), "DELETE", &path, "").status, 500);
    assert_eq!(world.upgrade(&world.service, "bob", &graph), 101, "the index says that bob is a member");
    world.ok("bob", "GET", &format!("/sync/{graph}/pull"), "");
    // Bob is made a manager while he is removed.
    let world = Rc::new(world);
    let told = Rc::clone(&world);
    world.index().before(
        "DELETE FROM graph_members",
        Box::new(move || {
            told.sql("UPDATE graph_members SET role = 'manager' WHERE user_id = 'bob'");
        }),
    );
    assert_eq!(world.call(Some("owner"), "DELETE", &path, "").status, 403);
    assert_eq!(world.upgrade(&world.service, "bob", &graph), 101);
}

#[test]
fn what_is_deleted_or_made_is_so_although_the_answer_got_lost() {
    let (world, graph) = shared();
    world.index().fault("DELETE FROM graphs", Fault::Loses, 1);
    world.ok("owner", "DELETE", &format!("/graphs/{graph}"), "");
    world.index().fault("INSERT INTO graphs", Fault::Loses, 1);
    let graph = world.create("owner", "g");
    world.ok("owner", "GET", &format!("/sync/{graph}/pull"), "");
    world.index().fault("INSERT INTO graphs", Fault::Fails, 1);
    let body = r#"{"graph-name":"x","graph-e2ee?":false}"#;
    assert_eq!(world.call(Some("owner"), "POST", "/graphs", body).status, 500);
    world.ok("owner", "POST", "/graphs", body);
}

#[test]
fn no_answer_waits_for_the_activity_note() {
    let (world, graph) = shared();
    world.time.advance(86_400_000);
    world.index().fault("daily_active_entities", Fault::Hangs, 100);
    let batch = r#"{"t-before":0,"txs":[{"tx":"[[\"~:db/add\",-1,\"~:kv/value\",1]]"}]}"#;
    for _ in 0..20 {
        let answer = world.ok("bob", "POST", &format!("/sync/{graph}/tx/batch"), batch);
        assert!(answer["type"].as_str().unwrap().starts_with("tx/"), "{answer}");
        world.ok("bob", "GET", "/graphs", "");
    }
    assert_eq!(world.go_on(), 2, "one note of each is under way, not one of each request");
    let (world, graph) = shared();
    world.time.advance(86_400_000);
    world.index().fault("daily_active_entities", Fault::Fails, 2);
    for _ in 0..2 {
        world.ok("bob", "GET", &format!("/sync/{graph}/pull"), "");
    }
    let names = world.event_names();
    assert_eq!(names.len(), 2, "{names:?}");
    let day = "SELECT 1 FROM daily_active_entities WHERE day_utc = '2023-11-15'";
    assert_eq!(count(&world, day), 2, "and the next request makes up for it");
}
