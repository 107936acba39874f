//! Snapshots of sandboxes whose sessions end, where the operator wants them (`AGENT_SNAPSHOT_ON_STOP`, agents.md 3.13).

use serde_json::{Value, json};

use crate::agent::Fate;
use crate::world::World;
use crate::{database, settings_with};

fn ends(world: &World, how: &str) {
    match how {
        "cancel" => drop(world.ask("POST", "cancel", None)),
        "complete" => world.agent.borrow_mut().say(&json!({"type": "event_msg", "payload": {"type": "task_complete"}})),
        _ => world.pass(16 * 60_000),
    }
    world.pass(5_000);
}

fn told(world: &World) -> Vec<Value> {
    let of_snapshots = |event: &Value| event["type"].as_str().unwrap().starts_with("sandbox.");
    world.events().into_iter().filter(of_snapshots).collect()
}

fn world(setting: &str, provider: &'static str) -> World {
    World::beside(Some(database()), settings_with(&[("AGENT_SNAPSHOT_ON_STOP", setting)]), provider)
}

#[test]
fn a_snapshot_is_taken_before_the_sandbox_of_an_ended_session_is_paused() {
    for (setting, provider, how, taken) in [
        ("1", "e2b", "cancel", true),
        ("1", "e2b", "complete", true),
        ("1", "e2b", "idle", false),
        ("1", "local-dev", "cancel", false),
        ("0", "e2b", "cancel", false),
        ("", "e2b", "complete", false),
    ] {
        let world = world(setting, provider);
        world.create();
        ends(&world, how);
        let done = world.agent.borrow().done.clone();
        let expected: &[&str] = if taken { &["snapshot", "end"] } else { &["end"] };
        assert!(done.ends_with(&expected.iter().map(|what| (*what).to_owned()).collect::<Vec<_>>()), "{how}: {done:?}");
        assert_eq!(done.contains(&"snapshot".to_owned()), taken, "{setting} {provider} {how}");
        let told: Vec<Value> = told(&world).into_iter().map(|event| event["type"].clone()).collect();
        if taken {
            let expected = [
                "sandbox.snapshot.started",
                "sandbox.snapshot.succeeded",
                "sandbox.checkpoint.started",
                "sandbox.checkpoint.succeeded",
            ];
            assert_eq!(told, expected, "{how}");
            let known = world.ask("GET", "status", None).1["task"]["sandbox-checkpoint"].clone();
            assert_eq!(known["snapshot-id"], "snap");
        }
    }
}

#[test]
fn a_turn_that_is_stopped_first_does_not_keep_it_from_being_taken() {
    let world = world("1", "e2b");
    world.create();
    world.message("hello");
    world.pass(100);
    ends(&world, "cancel");
    let done = world.agent.borrow().done.clone();
    let at = |what: &str| done.iter().rposition(|it| it == what).unwrap();
    assert!(at("snapshot") < at("end"), "{done:?}");
}

#[test]
fn a_sandbox_is_paused_although_its_snapshot_fails_or_never_comes() {
    let world = world("1", "e2b");
    world.create();
    world.agent.borrow_mut().next_snapshot = Fate::Broken;
    ends(&world, "cancel");
    assert_eq!(world.agent.borrow().done.last().unwrap(), "end");
    assert_eq!(told(&world)[1]["type"], "sandbox.snapshot.failed");

    let mut world = self::world("1", "e2b");
    world.create();
    world.agent.borrow_mut().next_snapshot = Fate::Never;
    ends(&world, "cancel");
    world.crash();
    world.pass(10 * 60_000);
    let done = world.agent.borrow().done.clone();
    assert_eq!(done.iter().filter(|what| *what == "snapshot").count(), 1, "it is not tried again");
    assert_eq!(done.last().unwrap(), "end");
    assert_eq!(told(&world)[1]["data"]["reason"], "interrupted");
    assert_eq!(world.alarm(), None);
}
