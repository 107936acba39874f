//! Sessions are put away and removed, with everything that belongs to them (agents.md 20.5).

use std::rc::Rc;

use database::sqlite::Sqlite;
use database::{Database, ReadFrom};
use pollster::block_on;
use serde_json::json;

use crate::agent::Fate;
use crate::world::World;
use crate::{database, settings};

fn world() -> (World, Rc<Sqlite>) {
    let db = database();
    let world = World::beside(Some(Rc::clone(&db)), settings(), "e2b");
    assert_eq!(world.create().0, 200);
    (world, db)
}

fn row(db: &Sqlite) -> (String, i64, i64) {
    let rows =
        block_on(db.query(ReadFrom::Primary, "SELECT status, active, archived FROM agent_sessions", &[])).unwrap();
    (rows[0].text(0).unwrap().to_owned(), rows[0].int(1).unwrap(), rows[0].int(2).unwrap())
}

fn last_events(world: &World, count: usize) -> Vec<String> {
    let events = world.events();
    let kinds = events.iter().map(|event| event["type"].as_str().unwrap().to_owned());
    kinds.skip(events.len() - count).collect()
}

#[test]
fn an_archived_session_has_no_sandbox_and_comes_back_with_a_message() {
    let (world, db) = world();
    world.pass(100);
    assert_eq!(world.ask("POST", "archive", None), (200, json!({"ok": true})));
    world.pass(100);
    assert_eq!(world.agent.borrow().destroyed, ["box1"]);
    assert_eq!(last_events(&world, 1), ["session.archived"]);
    assert_eq!(row(&db), ("created".to_owned(), 0, 1));
    world.pass(24 * 60 * 60_000);
    assert_eq!(world.alarm(), None, "an archived session waits for nothing");
    // Again changes nothing.
    assert_eq!(world.ask("POST", "archive", None).0, 200);
    assert_eq!(last_events(&world, 1), ["session.archived"]);
    world.message("back");
    world.pass(1_000);
    assert_eq!(world.agent.borrow().prompts.len(), 1, "in a new sandbox");
    assert!(last_events(&world, 4).contains(&"session.unarchived".to_owned()));
    assert_eq!(row(&db), ("running".to_owned(), 1, 0));
}

#[test]
fn a_session_that_works_is_not_archived() {
    let (world, _) = world();
    world.message("go");
    world.pass(100);
    assert_eq!(world.ask("POST", "archive", None), (409, json!({"error": "session is running"})));
    assert!(world.agent.borrow().destroyed.is_empty());
}

#[test]
fn a_deleted_session_is_gone_at_once_and_for_good() {
    let (world, db) = world();
    world.message("go");
    world.pass(100);
    world.message("later");
    world.delete();
    for (method, path) in
        [("GET", "status"), ("GET", "events"), ("GET", "budget"), ("POST", "resume"), ("POST", "delete")]
    {
        assert_eq!(world.ask(method, path, None).0, 404, "{path}");
    }
    world.pass(100);
    assert_eq!(world.agent.borrow().destroyed, ["box1"]);
    assert_eq!(row(&db), ("deleted".to_owned(), 0, 0));
    assert_eq!(world.tables(), Vec::<String>::new(), "nothing is left in its database");
    // Whatever the agent still says, nobody hears it.
    world.agent.borrow_mut().speak("late");
    world.pass(60_000);
    assert_eq!(world.tables(), Vec::<String>::new());
    // The id may be used again.
    assert_eq!(world.create().0, 200);
    world.delete();
    // Also at once: whoever creates waits until the earlier session is gone.
    assert_eq!(world.create().0, 200);
    assert_eq!(last_events(&world, 2), ["session.created", "session.provisioned"]);
    world.pass(100);
    assert_eq!(row(&db).0, "created");
}

#[test]
fn a_deletion_goes_on_after_crashes_and_failures() {
    let (mut world, db) = world();
    world.agent.borrow_mut().next_destroy = vec![Fate::Broken, Fate::Broken, Fate::Never];
    world.delete();
    world.pass(1_000);
    assert_eq!(row(&db).0, "created", "the sandbox could not be removed yet");
    for _ in 0..4 {
        world.crash();
        world.session.load().unwrap();
        assert_eq!(world.ask("GET", "status", None).0, 404);
        world.pass(5 * 60_000);
    }
    assert_eq!(world.agent.borrow().destroyed, ["box1"]);
    assert_eq!(row(&db).0, "deleted");
    assert_eq!(world.tables(), Vec::<String>::new());
    assert_eq!(world.alarm(), None);
}

#[test]
fn a_sandbox_that_cannot_be_removed_does_not_keep_its_session() {
    let (world, db) = world();
    world.agent.borrow_mut().next_destroy = vec![Fate::Broken; 100];
    world.delete();
    world.pass(24 * 60 * 60_000);
    assert_eq!(row(&db).0, "deleted", "the search for orphans takes over");
    assert_eq!(world.tables(), Vec::<String>::new());
}

#[test]
fn only_the_creator_and_the_owner_of_the_graph_delete() {
    let (world, _) = world();
    assert_eq!(world.ask_as("eve", "POST", "delete", None).0, 403);
    assert_eq!(world.ask("GET", "status", None).0, 200);
}
