//! What a graph does when it is idle (datascript.md 13.5).

use database::local::Sql;
use serde_json::json;

use crate::world::{TestBody, TestGraph, World, request};

fn edit(world: &World, graph: &str, t_before: i64) {
    let uuid = format!("00000000-0000-4000-8000-{t_before:012x}");
    let items =
        json!([["~:db/add", uuid, "~:block/uuid", format!("~u{uuid}")], ["~:db/add", uuid, "~:block/title", "x"]]);
    let body = json!({ "t-before": t_before, "txs": [{ "tx": items.to_string(), "outliner-op": "save-block" }] });
    let done = world.ok("owner", "POST", &format!("/sync/{graph}/tx/batch"), &body.to_string());
    assert_eq!(done["type"], "tx/batch/ok", "{done}");
}

fn waits(object: &TestGraph) -> bool {
    object.graph.borrow().waits_for_checkpoint().is_some()
}

#[test]
fn an_idle_graph_writes_its_nodes() {
    let world = World::new();
    let graph = world.create("owner", "g");
    world.ok("owner", "GET", &format!("/sync/{graph}/pull?since=0"), "");
    let object = world.graph(&graph);
    assert_eq!(object.rest(), None, "there is nothing to write");
    edit(&world, &graph, 0);
    object.time.advance(1_000);
    edit(&world, &graph, 1);
    assert!(waits(&object));
    object.time.advance(3_000);
    assert_eq!(object.rest(), Some(4_000), "asked once for both");
    assert!(waits(&object), "the second batch was three seconds ago");
    object.time.advance(1_000);
    assert_eq!(object.rest(), Some(1_000));
    assert!(!waits(&object));
    assert_eq!(object.rest(), None);
    // It asks again with the next batch.
    edit(&world, &graph, 2);
    object.time.advance(4_000);
    assert_eq!(object.rest(), Some(4_000));
    assert!(!waits(&object));
}

#[test]
fn an_object_that_was_woken_for_it_writes_what_another_left() {
    let world = World::new();
    let graph = world.create("owner", "g");
    edit(&world, &graph, 0);
    let woken = world.graph(&graph).restart();
    assert!(!waits(&woken), "it has read nothing yet");
    pollster::block_on(sync_http::graph_routes::on_rest(&woken, &woken.memory));
    let stored =
        woken
            .graph
            .borrow()
            .sql()
            .connection()
            .query_row("SELECT value FROM sync_meta WHERE key = 't'", [], |row| row.get::<_, String>(0));
    assert_eq!(stored.unwrap(), "1");
    assert_eq!(woken.rest(), None);
}

#[test]
fn a_checkpoint_that_fails_is_told_and_tried_again() {
    let world = World::new();
    let graph = world.create("owner", "g");
    edit(&world, &graph, 0);
    let object = world.graph(&graph);
    let run = |statement: &str| object.graph.borrow().sql().connection().execute_batch(statement).unwrap();
    run("CREATE TRIGGER refuse BEFORE INSERT ON kvs BEGIN SELECT RAISE(ABORT, 'no'); END");
    object.time.advance(4_000);
    assert_eq!(object.rest(), Some(4_000));
    assert!(object.events.borrow().iter().any(|event| event.to_string().contains("graph-checkpoint-failed")));
    run("DROP TRIGGER refuse");
    edit(&world, &graph, 1);
    object.time.advance(60_000);
    assert_eq!(object.rest(), Some(60_000));
    assert!(!waits(&object));
}

#[test]
fn what_an_upload_replaced_goes_when_the_graph_is_idle() {
    let world = World::new();
    let graph = world.create("owner", "g");
    edit(&world, &graph, 0);
    let rows = world.call(Some("owner"), "GET", &format!("/sync/{graph}/snapshot/stream"), "").bytes;
    let object = world.graph(&graph);
    object.time.advance(4_000);
    object.rest();
    let path = format!("/sync/{graph}/snapshot/upload?reset=true&finished=true");
    let mut upload = request(Some("owner"), "POST", &path, "");
    *upload.body_mut() = TestBody::chunks([rows]);
    assert_eq!(world.send(upload).status, 200);
    let left = || {
        let mut left = 0;
        let graph = object.graph.borrow();
        let tables = "SELECT count(*) FROM sqlite_master WHERE name LIKE 'discarded_%'";
        graph
            .sql()
            .query(tables, &[], &mut |row| {
                left = row.int(0)?.unwrap();
                Ok(std::ops::ControlFlow::Break(()))
            })
            .unwrap();
        left
    };
    assert!(left() > 0);
    object.time.advance(4_000);
    assert_eq!(object.rest(), Some(4_000));
    assert_eq!(left(), 0);
    edit(&world, &graph, 0);
}
