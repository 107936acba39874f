//! `entity/pull` over sockets (sync.md 7.6): who is answered, by what version, and at which graph.

use database::local::Sql as _;
use serde_json::{Value, json};

use crate::world::{ADMIN, World, settings};

const PAGE: &str = "00000000-0000-4000-8000-000000000001";

/// A graph whose index row has that version.
fn create(world: &World, version: Option<&str>) -> String {
    let body = json!({ "graph-name": "g", "graph-e2ee?": false, "schema-version": version }).to_string();
    let body = if version.is_some() { body } else { json!({ "graph-name": "g", "graph-e2ee?": false }).to_string() };
    world.ok("owner", "POST", "/graphs", &body)["graph-id"].as_str().unwrap().to_owned()
}

fn write(world: &World, graph: &str, t: i64, items: &Value) -> i64 {
    let body = json!({ "t-before": t, "txs": [{ "tx": items.to_string(), "outliner-op": "save-block" }] }).to_string();
    let done = world.ok("owner", "POST", &format!("/sync/{graph}/tx/batch"), &body);
    assert_eq!(done["type"], "tx/batch/ok", "{done}");
    done["t"].as_i64().unwrap()
}

fn page() -> Value {
    json!([
        ["~:db/add", PAGE, "~:block/uuid", format!("~u{PAGE}")],
        ["~:db/add", PAGE, "~:block/name", "page"],
        ["~:db/add", PAGE, "~:block/title", "Page"],
    ])
}

fn since(t: i64) -> String {
    json!({ "type": "entity/pull", "since": t }).to_string()
}

fn error(message: &str) -> Value {
    json!({ "type": "error", "message": message })
}

fn required() -> Value {
    json!({ "type": "reset", "data": r#"["^ ","~:reason","snapshot-required","~:snapshot-required",true]"# })
}

#[test]
fn a_mirror_is_told_what_changed_under_the_graph_s_id_and_version() {
    let world = World::new();
    let id = create(&world, Some("65"));
    let socket = world.connect("owner", &id);
    let graph = world.graph(&id);
    let last = || socket.received.borrow().last().cloned().unwrap();
    let t = write(&world, &id, 0, &page());
    let asked = graph.db.as_ref().unwrap().asked.get();
    graph.frame(&socket, &since(0));
    let told = last();
    assert_eq!(told["type"], "graph-changes");
    let data: Value = serde_json::from_str(told["data"].as_str().unwrap()).unwrap();
    let head = json!([
        "^ ",
        "~:format-version",
        1,
        "~:graph-id",
        id,
        "~:schema-version",
        "65",
        "~:t-before",
        0,
        "~:t",
        t,
        "~:upserts",
    ]);
    assert_eq!(data.as_array().unwrap()[..12], head.as_array().unwrap()[..]);
    let id_of_page = json!(["~:block/uuid", format!("~u{PAGE}")]);
    assert_eq!(data.pointer("/12/0/2"), Some(&id_of_page), "{data}");
    assert_eq!(graph.db.as_ref().unwrap().asked.get(), asked + 1, "the version");
    graph.frame(&socket, &since(t));
    assert!(last()["data"].as_str().unwrap().ends_with(r#""~:upserts",[],"~:deleted",[]]"#), "{}", last());
    assert_eq!(graph.db.as_ref().unwrap().asked.get(), asked + 1, "asked once");
    graph.frame(&socket, &since(t + 1));
    assert!(last()["data"].as_str().unwrap().contains("cursor-ahead"));
    for (text, expected) in [
        (r#"{"type":"entity/pull","since":-1}"#, "invalid since"),
        (r#"{"type":"entity/pull"}"#, "invalid request"),
        (r#"{"type":"entity/pull","since":null}"#, "invalid request"),
        (r#"{"type":"entity/pull","since":"1"}"#, "invalid request"),
        (r#"{"type":"entity/pull","since":1.5}"#, "invalid request"),
    ] {
        graph.frame(&socket, text);
        assert_eq!(last(), error(expected), "{text}");
    }
    // An operator's socket is answered as well.
    let socket = world.connect(ADMIN, &id);
    graph.frame(&socket, &since(0));
    assert_eq!(socket.received.borrow().last().unwrap()["type"], "graph-changes");
}

#[test]
fn the_graph_s_own_version_stands_in_and_stays() {
    let world = World::new();
    let id = create(&world, None);
    let socket = world.connect("owner", &id);
    let graph = world.graph(&id);
    let last = || socket.received.borrow().last().cloned().unwrap();
    let t = write(&world, &id, 0, &page());
    graph.frame(&socket, &since(0));
    assert_eq!(last(), required(), "nobody knows a version");
    let version = |major: i64| {
        json!([
            ["~:db/add", "v", "~:db/ident", "~:logseq.kv/schema-version"],
            ["~:db/add", "v", "~:kv/value", ["^ ", "~:major", major, "~:minor", 33]],
        ])
    };
    let t = write(&world, &id, t, &version(65));
    graph.frame(&socket, &since(0));
    assert!(last()["data"].as_str().unwrap().contains(r#""~:schema-version","65.33""#), "{}", last());
    let listed = || world.ok("owner", "GET", "/graphs", "")["graphs"][0]["schema-version"].clone();
    assert_eq!(listed(), json!("65.33"));
    // A migration does not change it under the clients, whoever has to ask again.
    write(&world, &id, t, &version(66));
    let fresh = graph.restart();
    fresh.frame(&socket, &since(0));
    assert!(last()["data"].as_str().unwrap().contains(r#""~:schema-version","65.33""#), "{}", last());
    assert_eq!(listed(), json!("65.33"));
}

#[test]
fn an_index_that_does_not_answer_is_an_error_and_no_end() {
    let world = World::new();
    let id = create(&world, Some("65"));
    let socket = world.connect("owner", &id);
    let graph = world.graph(&id);
    let index = graph.db.as_ref().unwrap();
    index.hangs.set(true);
    graph.frame(&socket, &since(0));
    assert_eq!(*socket.received.borrow().last().unwrap(), error("server error"));
    assert_eq!(world.event_names().last().unwrap(), "db-sync/schema-version-failed");
    assert_eq!(*socket.closed.borrow(), None);
    index.hangs.set(false);
    graph.frame(&socket, &since(0));
    assert_eq!(socket.received.borrow().last().unwrap()["type"], "graph-changes");
}

#[test]
fn membership_is_asked_like_for_a_pull() {
    let world = World::new();
    let id = create(&world, Some("65"));
    world.ok("member", "GET", "/graphs", "");
    let body = json!({ "email": "member@example.test", "role": "member" }).to_string();
    world.ok("owner", "POST", &format!("/graphs/{id}/members"), &body);
    let socket = world.connect("member", &id);
    let graph = world.graph(&id);
    graph.frame(&socket, &since(0));
    assert_eq!(socket.received.borrow().last().unwrap()["type"], "graph-changes");
    // Behind the graph's back, so that only asking can tell.
    world.sql("DELETE FROM graph_members WHERE user_id = 'member'");
    graph.frame(&socket, &since(0));
    assert_eq!(*socket.closed.borrow(), None, "asked less than five seconds ago");
    world.time.advance(5_001);
    let heard = socket.received.borrow().len();
    graph.frame(&socket, &since(0));
    assert_eq!(*socket.closed.borrow(), Some((1008, "access revoked".into())));
    assert_eq!(socket.received.borrow().len(), heard);
}

#[test]
fn a_removal_while_the_version_is_asked_counts() {
    let world = World::new();
    let id = create(&world, Some("65"));
    let socket = world.connect("owner", &id);
    let graph = world.graph(&id);
    let doomed = graph.graph.clone();
    let delete = move || doomed.borrow_mut().delete().unwrap();
    world.db.as_ref().unwrap().before("schema_version", Box::new(delete));
    let heard = socket.received.borrow().len();
    graph.frame(&socket, &since(0));
    assert_eq!(*socket.closed.borrow(), Some((1000, "graph deleted".into())));
    assert_eq!(socket.received.borrow().len(), heard);
}

#[test]
fn a_socket_knows_its_graph_after_a_sleep_or_is_closed() {
    let world = World::new();
    let id = create(&world, Some("65"));
    let asleep = || {
        let mut graph = world.graph(&id).restart();
        graph.memory = sync_http::graph_routes::GraphState::new(settings(&[]), None);
        graph
    };
    let tagged = world.connect("owner", &id);
    let graph = asleep();
    graph.frame(&tagged, &since(0));
    let told = tagged.received.borrow().last().cloned().unwrap();
    assert!(told["data"].as_str().unwrap().contains(&id), "{told}");
    for text in [
        &since(0),
        r#"{"type":"tx/batch","t-before":0,"txs":[]}"#,
        r#"{"type":"pull","since":0}"#,
        r#"{"type":"hello","client":"c"}"#,
    ] {
        for user in ["owner", ADMIN] {
            // As a socket is that was accepted before tags were.
            let socket = world.connect(user, &id);
            socket.tag.replace(None);
            let graph = asleep();
            let heard = socket.received.borrow().len();
            graph.frame(&socket, r#"{"type":"ping"}"#);
            assert_eq!(*socket.closed.borrow(), None);
            graph.frame(&socket, text);
            assert_eq!(*socket.closed.borrow(), Some((1012, "reconnect required".into())), "{user} {text}");
            assert_eq!(socket.received.borrow().len(), heard + 1, "the pong alone");
        }
    }
}

#[test]
fn what_was_left_out_is_logged_once_without_values() {
    let world = World::new();
    let id = create(&world, Some("65"));
    let socket = world.connect("owner", &id);
    write(&world, &id, 0, &page());
    let graph = world.graph(&id);
    // Values that were there before their attribute became a reference: today that is refused, older graphs may have them.
    let place = json!(["~:block/uuid", format!("~u{PAGE}")]);
    let t = write(&world, &id, 1, &json!([["~:db/add", place, "~:user.property/x", "a secret"]]));
    let t = write(
        &world,
        &id,
        t,
        &json!([
            ["~:db/add", "p", "~:db/ident", "~:user.property/x"],
            ["~:db/add", "p", "~:db/valueType", "~:db.type/string"],
        ]),
    );
    graph.graph.borrow_mut().checkpoint().unwrap();
    let redefine = "UPDATE kvs SET content = replace(content, 'db.type/string', 'db.type/ref')";
    graph.graph.borrow().sql().execute(redefine, &[]).unwrap();
    let graph = graph.restart();
    graph.frame(&socket, &since(1));
    let told = socket.received.borrow().last().cloned().unwrap();
    assert!(!told["data"].as_str().unwrap().contains("secret"), "{told}");
    let warned = || world.events.borrow().iter().filter(|event| event["event"] == "db-sync/reference-left-out").count();
    assert_eq!(warned(), 1);
    let event = world.events.borrow().last().unwrap().to_string();
    assert!(event.contains("user.property/x") && !event.contains("secret"), "{event}");
    graph.frame(&socket, &since(t));
    assert_eq!(warned(), 1, "nothing is told, and nothing left out");
}

#[test]
fn while_an_upload_runs_nothing_is_told() {
    for version in [Some("65"), None] {
        let world = World::new();
        let id = create(&world, version);
        let socket = world.connect("owner", &id);
        let graph = world.graph(&id);
        let flag = "INSERT OR REPLACE INTO sync_meta VALUES ('snapshot-uploading?', 'true')";
        graph.graph.borrow().sql().execute(flag, &[]).unwrap();
        let graph = graph.restart();
        for cursor in [0, 7] {
            graph.frame(&socket, &since(cursor));
            assert_eq!(*socket.received.borrow().last().unwrap(), error("graph not ready"), "{version:?}");
        }
    }
}
