//! What the reference's own tests assert of a session (agents.md 17), as far as no other test here shows it: `session_test` and the
//! former tests of its object.

use database::{Database, ReadFrom};
use pollster::block_on;
use serde_json::{Value, json};
use sessions::registry::checkpoints::{self, Checkpoint};

use crate::agent::Fate;
use crate::world::World;
use crate::{database, settings, settings_with, world};

const DAY_MS: i64 = 86_400_000;

fn status(world: &World) -> Value {
    world.ask("GET", "status", None).1
}

fn done(world: &World) -> Vec<String> {
    world.agent.borrow().done.clone()
}

fn task_complete(world: &World) {
    world.agent.borrow_mut().say(&json!({"type": "event_msg",
        "payload": {"type": "task_complete", "turn_id": "t1", "last_agent_message": "Done."}}));
    world.pass(1_000);
}

/// `session_test`: the fields of a new session; the time of the last event is the time of the session; ids and times are given.
#[test]
fn a_new_session_tells_who_wanted_it_and_when() {
    let world = world();
    world.create();
    let (shown, events) = (status(&world), world.events());
    assert_eq!(shown["session-id"], "s");
    assert_eq!(shown["status"], "created");
    assert_eq!(shown["audit"], json!({"requested-by": "ann", "requested-at": shown["created-at"]}));
    assert_eq!(shown["task"]["intent"]["content"], "Do it.");
    assert_eq!(events[0]["type"], "session.created");
    assert_eq!(events[0]["ts"], shown["created-at"]);
    let mut ids: Vec<&str> = events.iter().map(|event| event["event-id"].as_str().unwrap()).collect();
    assert!(ids.iter().all(|id| uuid::Uuid::parse_str(id).is_ok()), "{ids:?}");
    ids.dedup();
    assert_eq!(ids.len(), events.len());
    world.pass(5_000);
    world.ask("POST", "pause", None);
    let (shown, events) = (status(&world), world.events());
    assert_eq!(shown["updated-at"], events.last().unwrap()["ts"]);
    assert!(shown["updated-at"].as_i64() > shown["created-at"].as_i64());
}

/// `session_test`: an event of a kind that nobody knows is kept and changes no status.
#[test]
fn an_unknown_event_keeps_the_status() {
    let world = world();
    world.create();
    world.message("hello");
    world.pass(100);
    world.agent.borrow_mut().say(&json!({"type": "weather.report", "sky": "blue"}));
    world.pass(100);
    assert!(world.events().iter().any(|event| event["type"] == "weather.report"));
    assert_eq!(status(&world)["status"], "running");
}

/// Brings a new session into a status.
fn brought_to(wanted: &str) -> World {
    let world = world();
    world.create();
    match wanted {
        "created" => {}
        "running" => drop(world.ask("POST", "resume", None)),
        "paused" => drop(world.ask("POST", "pause", None)),
        "completed" => task_complete(&world),
        "failed" => {
            world.agent.borrow_mut().say(&json!({"type": "session.failed", "error": "x"}));
            world.pass(1_000);
        }
        _ => drop(world.ask("POST", "cancel", None)),
    }
    assert_eq!(status(&world)["status"], wanted);
    world
}

/// `session_test`: the table of transitions (agents.md 3.5). Verbs go with every status but the terminal ones; cancelling goes with all.
#[test]
fn verbs_go_with_the_statuses_of_the_table() {
    for from in ["created", "running", "paused", "completed", "failed", "canceled"] {
        let is_terminal = ["completed", "failed", "canceled"].contains(&from);
        for (verb, to) in [("pause", "paused"), ("interrupt", "paused"), ("resume", "running"), ("cancel", "canceled")]
        {
            let world = brought_to(from);
            let (code, body) = world.ask("POST", verb, None);
            if is_terminal && verb != "cancel" {
                let error = format!("cannot transition from {from} to {to}");
                assert_eq!((code, &body["error"]), (409, &json!(error)));
                assert_eq!(status(&world)["status"], from);
            } else {
                assert_eq!(code, 200, "{verb} of {from}: {body}");
                assert_eq!(status(&world)["status"], to);
            }
        }
    }
}

/// `session_test`: orders leave the queue in the order in which they came, and then there are none.
#[test]
fn orders_are_carried_out_in_their_order() {
    let world = world();
    world.create();
    world.ask("POST", "pause", None);
    for text in ["one", "two", "three"] {
        world.message(text);
    }
    assert_eq!(world.ask("POST", "resume", None).1["flushed"], 3);
    for text in ["one", "two", "three"] {
        world.pass(100);
        assert_eq!(world.agent.borrow().working[0].1, text);
        world.agent.borrow_mut().finish("end_turn");
    }
    world.pass(100);
    assert_eq!(world.ask("POST", "resume", None).1["flushed"], 0);
}

/// `runtime_provider_test`: the session's own wish goes before the operator's; names that nobody knows are none; a terminal is for
/// sandboxes.
#[test]
fn a_provider_is_chosen_by_the_session_then_by_the_operator() {
    for (asked, set, chosen) in [
        (Some("local-dev"), Some("e2b"), "local-dev"),
        (Some(" E2B "), Some("local-dev"), "e2b"),
        (Some("daytona"), Some("local-dev"), "local-dev"),
        (None, Some(" Local-Dev "), "local-dev"),
        (Some("daytona"), Some("daytona"), "e2b"),
        (None, None, "e2b"),
    ] {
        let set: Vec<_> = set.map(|set| ("AGENT_RUNTIME_PROVIDER", set)).into_iter().collect();
        let world = World::new(settings_with(&set), "e2b");
        let (code, body) = world.create_with(|task| task["runtime-provider"] = json!(asked));
        assert_eq!(code, 200, "{body}");
        assert_eq!((&body["runtime-provider"], &body["terminal-enabled"]), (&json!(chosen), &json!(chosen == "e2b")));
    }
}

/// Former tests of the object: one stream is read for many messages.
#[test]
fn one_stream_is_read_for_many_messages() {
    let world = world();
    world.create();
    for text in ["one", "two", "three"] {
        world.message(text);
        world.pass(100);
        world.agent.borrow_mut().finish("end_turn");
        world.pass(100);
    }
    assert_eq!(done(&world), ["provision empty", "stream"]);
}

/// Former tests of the object: a message revives a completed session, whose runtime was ended and is woken again.
#[test]
fn a_message_revives_a_completed_session() {
    let world = World::new(settings(), "e2b");
    world.create();
    task_complete(&world);
    assert_eq!(status(&world)["status"], "completed");
    world.message("once more");
    world.pass(1_000);
    let revived = world.events().into_iter().rfind(|event| event["type"] == "session.running").unwrap();
    assert_eq!(revived["data"], json!({"by": "ann", "reason": "resume-after-completed"}));
    assert_eq!(world.agent.borrow().prompts["once more"], 1);
    // Of one that has no runtime any more another is made.
    let world = World::new(settings(), "e2b");
    world.create();
    world.agent.borrow_mut().next_prompt = Fate::Missing;
    world.message("lost");
    world.pass(1_000);
    world.message("once more");
    world.pass(1_000);
    assert_eq!(done(&world).iter().filter(|what| *what == "provision empty").count(), 2);
}

/// A session in a sandbox for a repository of which a snapshot is known.
fn with_snapshot(db: &std::rc::Rc<database::sqlite::Sqlite>) -> World {
    let world = World::beside(Some(std::rc::Rc::clone(db)), settings(), "e2b");
    let now = world.clock.now.get();
    let known = Checkpoint { provider: "e2b".into(), snapshot_id: "snap-9".into(), checkpoint_at: now - DAY_MS };
    block_on(checkpoints::upsert(&**db, "ann", "github/acme/app", "main", &known, now)).unwrap();
    let made = world.create_with(|task| {
        task["project"]["repo-url"] = json!("https://github.com/acme/app");
        // What a client says of snapshots counts only if it is known (B3).
        task["sandbox-checkpoint"] = json!({"provider": "e2b", "snapshot-id": "of-the-client"});
    });
    assert_eq!(made.0, 200, "{}", made.1);
    world
}

/// Former tests of the object: a snapshot comes from D1 and is handed to the provider, and what the object remembers of it does not take
/// its place.
#[test]
fn a_snapshot_is_what_the_database_says() {
    let db = database();
    let world = with_snapshot(&db);
    assert_eq!(done(&world)[0], "provision snap-9");
    assert_eq!(status(&world)["task"]["sandbox-checkpoint"]["snapshot-id"], "snap-9");
    assert_eq!(status(&world)["task"]["sandbox-checkpoint"]["reason"], "provisioned");
    block_on(db.execute("DELETE FROM sandbox_checkpoints", &[])).unwrap();
    world.agent.borrow_mut().next_prompt = Fate::Missing;
    world.message("lost");
    world.pass(1_000);
    world.message("again");
    world.pass(1_000);
    assert_eq!(done(&world).iter().rfind(|what| what.starts_with("provision")).unwrap(), "provision empty");
}

/// Former tests of the object: a completed task notes the known snapshot, once, and ends the runtime; nothing new is taken.
#[test]
fn a_completed_task_notes_its_snapshot_once() {
    let db = database();
    let world = with_snapshot(&db);
    for sql in [
        "CREATE TABLE written (id)",
        "CREATE TRIGGER inserted AFTER INSERT ON sandbox_checkpoints BEGIN INSERT INTO written VALUES (1); END",
        "CREATE TRIGGER updated AFTER UPDATE ON sandbox_checkpoints BEGIN INSERT INTO written VALUES (1); END",
    ] {
        block_on(db.execute(sql, &[])).unwrap();
    }
    task_complete(&world);
    assert_eq!(block_on(db.query(ReadFrom::Primary, "SELECT id FROM written", &[])).unwrap().len(), 1);
    assert_eq!(done(&world), ["provision snap-9", "stream", "end"]);
    let events = world.events();
    let noted = events.iter().find(|event| event["type"] == "sandbox.checkpoint.succeeded").unwrap();
    assert_eq!(
        noted["data"],
        json!({"reused": true, "by": "system", "reason": "session-completed", "snapshot-id": "snap-9", "provider": "e2b"})
    );
}

/// Former tests of the object: no value is longer than an object's database takes, which is 2 MB a row.
#[test]
fn no_row_is_longer_than_an_object_may_store() {
    let mut world = world();
    world.create();
    world.message(&"m".repeat(256 << 10));
    world.pass(100);
    let say = |world: &World, session: usize, kind: &str, text: &str| {
        world.agent.borrow_mut().say(&json!({"jsonrpc": "2.0", "method": "session/update", "params":
            {"sessionId": format!("r{session}"), "update": {"sessionUpdate": kind, "content": {"type": "text", "text": text}}}}));
        world.pass(10);
    };
    // Marks that are six times as long in JSON, from as many sessions of the agent as are followed; one of them at once.
    say(&world, 1, "agent_message_chunk", &"\u{1}".repeat(1 << 20));
    for session in 1..=8 {
        for kind in ["agent_message_chunk", "agent_thought_chunk"] {
            for _ in 0..20 {
                say(&world, session, kind, &"\u{1}é".repeat(20_000));
            }
        }
    }
    world.agent.borrow_mut().say(&json!({"type": "note", "data": "\u{1}".repeat(3 << 20)}));
    world.pass(1_000);
    assert!(world.longest_row() < 2_000_000, "{} bytes", world.longest_row());
    // All of it is there after the object has died.
    world.crash();
    world.pass(61_000);
    let (_, body) = world.ask("GET", "events?limit=10000", None);
    let live = body["events"].as_array().unwrap().iter().filter(|event| event.get("cursor").is_none()).count();
    assert_eq!(live, 8);
    world.agent.borrow_mut().finish("end_turn");
    world.pass(1_000);
    assert!(world.longest_row() < 2_000_000, "{} bytes", world.longest_row());
}
