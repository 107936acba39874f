//! What a session may use (agents.md 20.1): limits hold through crashes, and counts are the same after them.

use std::rc::Rc;

use serde_json::{Value, json};

use crate::world::World;
use crate::{database, settings, settings_with};

fn of_kind(world: &World, kind: &str) -> Vec<Value> {
    world.events().into_iter().filter(|event| event["type"] == kind).map(|event| event["data"].clone()).collect()
}

fn status(world: &World) -> String {
    world.ask("GET", "status", None).1["status"].as_str().unwrap().to_owned()
}

fn world(budget: &Value) -> World {
    let world = World::new(settings(), "local-dev");
    assert_eq!(world.create_within(Some(budget)).0, 200);
    world.agent.borrow_mut().heeds_cancel = true;
    world
}

fn turn(world: &World, text: &str) {
    world.message(text);
    world.pass(100);
    world.agent.borrow_mut().finish("end_turn");
    world.pass(100);
}

#[test]
fn allowed_turns_run_to_their_end_and_the_next_one_waits() {
    let world = world(&json!({"turns": 2}));
    turn(&world, "one");
    assert!(of_kind(&world, "session.budget_warning").is_empty());
    turn(&world, "two");
    let warning = json!({"scope": "session", "kind": "turns", "limit": 2, "used": 2});
    assert_eq!(of_kind(&world, "session.budget_warning"), std::slice::from_ref(&warning));
    assert!(of_kind(&world, "session.budget_reached").is_empty());
    world.message("three");
    world.pass(10_000);
    assert_eq!(of_kind(&world, "session.budget_reached"), [warning]);
    assert_eq!(of_kind(&world, "session.paused"), [json!({"by": "system", "reason": "budget"})]);
    assert_eq!(world.agent.borrow().prompts.len(), 2);
    assert_eq!(world.ask("POST", "resume", None), (409, json!({"error": "budget reached: turns"})));
    // Raised, it goes on where it was.
    let raised = world.ask("POST", "budget", Some(&json!({"turns": 3})));
    assert_eq!((raised.0, &raised.1["budget"], &raised.1["reached"]), (200, &json!({"turns": 3}), &json!([])));
    assert_eq!(of_kind(&world, "session.budget_raised"), [json!({"by": "ann", "budget": {"turns": 3}})]);
    assert_eq!(world.ask("POST", "resume", None), (200, json!({"ok": true, "flushed": 1})));
    world.pass(100);
    assert_eq!(world.agent.borrow().prompts.len(), 3);
}

#[test]
fn money_stops_a_turn_with_the_report_that_reaches_the_limit() {
    let world = world(&json!({"cost": {"amount": 1, "currency": "USD"}}));
    world.message("go");
    world.pass(100);
    for amount in [0.25, 0.5, 0.75] {
        world.agent.borrow_mut().report(1_000, amount);
        world.pass(100);
    }
    assert_eq!(status(&world), "running");
    world.agent.borrow_mut().report(1_000, 1.25);
    world.pass(100);
    assert_eq!(status(&world), "paused");
    let reached = json!({"scope": "session", "kind": "cost", "limit": 1, "used": 1.25, "currency": "USD"});
    assert_eq!(of_kind(&world, "session.budget_reached"), [reached]);
    assert_eq!(of_kind(&world, "turn.completed")[0]["stopped"], "agent", "the turn was stopped");
    let (_, shown) = world.ask("GET", "budget", None);
    assert_eq!(shown["used"]["cost"], json!([{"amount": 1.25, "currency": "USD"}]));
    assert_eq!((&shown["used"]["tokens"], &shown["used"]["estimated"]), (&json!(1_000), &json!(true)));
    assert_eq!(shown["reached"], json!(["cost"]));
    // Below what was used is refused; a message waits.
    let low = json!({"cost": {"amount": 1.2, "currency": "USD"}});
    assert_eq!(world.ask("POST", "budget", Some(&low)), (400, json!({"error": "budget below use"})));
    world.message("more");
    world.pass(10_000);
    assert_eq!(world.agent.borrow().prompts.len(), 1);
}

#[test]
fn minutes_are_those_in_which_the_agent_works() {
    let world = world(&json!({"minutes": 10}));
    world.message("go");
    world.pass(4 * 60_000);
    world.agent.borrow_mut().ask();
    // Somebody thinks about it; that costs nothing.
    world.pass(20 * 60_000);
    let id = world.ask("GET", "approvals", None).1["approvals"][0]["request-id"].as_str().unwrap().to_owned();
    world.ask("POST", &format!("approvals/{id}"), Some(&json!({"decision": "granted"})));
    world.pass(5 * 60_000);
    assert_eq!(status(&world), "running");
    assert_eq!(of_kind(&world, "session.budget_warning").len(), 1, "nine of ten minutes");
    world.pass(61_000);
    assert_eq!(status(&world), "paused");
    let reached = of_kind(&world, "session.budget_reached");
    assert_eq!((reached.len(), &reached[0]["kind"]), (1, &json!("minutes")));
    let used = reached[0]["used"].as_f64().unwrap();
    assert!((10.0..10.1).contains(&used), "{used}");
}

#[test]
fn counts_are_the_same_after_a_crash_and_a_replay() {
    let mut world = world(&json!({"cost": {"amount": 50, "currency": "USD"}, "turns": 50}));
    world.message("go");
    world.pass(100);
    for round in 1..=5_u32 {
        world.agent.borrow_mut().report(u64::from(round) * 1_000, f64::from(round));
        world.pass(100);
        let before = world.ask("GET", "budget", None).1["used"].clone();
        world.crash();
        world.session.load().unwrap();
        world.pass(0);
        let after = world.ask("GET", "budget", None).1["used"].clone();
        // The time goes on; what the agent reported does not count twice, though its stream is told again.
        for kind in ["turns", "tokens", "cost"] {
            assert_eq!(before[kind], after[kind], "{kind} in round {round}");
        }
    }
    let used = world.ask("GET", "budget", None).1["used"].clone();
    assert_eq!((&used["turns"], &used["tokens"]), (&json!(1), &json!(5_000)));
    assert_eq!(used["cost"], json!([{"amount": 5, "currency": "USD"}]));
}

#[test]
fn a_session_without_limits_counts_and_is_never_stopped() {
    let world = World::new(settings(), "local-dev");
    world.create();
    world.message("go");
    world.pass(100);
    world.agent.borrow_mut().report(1_000_000, 1e9);
    world.pass(100);
    assert_eq!(status(&world), "running");
    let (_, shown) = world.ask("GET", "budget", None);
    assert_eq!((&shown["budget"], &shown["reached"]), (&json!({}), &json!([])));
    assert_eq!(shown["used"]["tokens"], 1_000_000);
}

#[test]
fn the_operator_limits_sessions_and_days() {
    let set = [("AGENT_BUDGET_SESSION", r#"{"turns":7}"#), ("AGENT_BUDGET_USER_DAY", r#"{"turns":2}"#)];
    let db = database();
    let first = World::beside(Some(Rc::clone(&db)), settings_with(&set), "local-dev");
    first.create();
    assert_eq!(first.ask("GET", "budget", None).1["budget"], json!({"turns": 7}));
    turn(&first, "one");
    first.pass(1_000);
    // Another session of the same creator, with another id.
    pollster::block_on(database::Database::execute(&*db, "UPDATE usage_daily SET session_id = 'other'", &[])).unwrap();
    let second = World::beside(Some(Rc::clone(&db)), settings_with(&set), "local-dev");
    second.create();
    turn(&second, "two");
    let (_, shown) = second.ask("GET", "budget", None);
    assert_eq!((&shown["used"]["turns"], &shown["user-day"]["used"]["turns"]), (&json!(1), &json!(2)));
    second.message("three");
    second.pass(1_000);
    assert_eq!(status(&second), "paused");
    let reached = json!({"scope": "user-day", "kind": "turns", "limit": 2, "used": 2});
    assert_eq!(of_kind(&second, "session.budget_reached"), [reached]);
    assert_eq!(second.ask("POST", "resume", None).0, 409);
    // Midnight lets it go on.
    second.pass(24 * 60 * 60_000);
    assert_eq!(second.ask("POST", "resume", None).0, 200);
    second.pass(1_000);
    assert_eq!(second.agent.borrow().prompts.len(), 2);
}

#[test]
fn only_the_creator_sets_limits() {
    let world = world(&json!({"turns": 1}));
    let (status, _) = world.ask_as("eve", "POST", "budget", Some(&json!({"turns": 100})));
    assert_eq!(status, 403);
    assert_eq!(world.ask("GET", "budget", None).1["budget"], json!({"turns": 1}));
}
