//! What an operator is told of a session (agents.md 20.10).

use std::rc::Rc;

use database::sqlite::Sqlite;
use database::{Database, ReadFrom};
use pollster::block_on;
use serde_json::Value;

use crate::world::World;
use crate::{database, settings};

fn world() -> (World, Rc<Sqlite>) {
    let db = database();
    let world = World::beside(Some(Rc::clone(&db)), settings(), "e2b");
    world.agent.borrow_mut().heeds_cancel = true;
    assert_eq!(world.create().0, 200);
    world.pass(100);
    (world, db)
}

/// What the database says that sessions wait for.
fn waits(db: &Sqlite) -> Vec<(String, i64)> {
    let rows = block_on(db.query(ReadFrom::Primary, "SELECT state, deadline FROM session_deadlines", &[])).unwrap();
    rows.iter().map(|row| (row.text(0).unwrap().to_owned(), row.int(1).unwrap())).collect()
}

fn line(transition: &Value) -> String {
    let text = |name: &str| transition[name].as_str().unwrap().to_owned();
    format!("{} {} {} {} {}", text("session-id"), text("user-id"), text("from"), text("to"), text("cause"))
}

#[test]
fn each_transition_is_one_line() {
    let (mut world, _) = world();
    world.message("Text of a person.");
    world.pass(100);
    world.agent.borrow_mut().speak("Text of an agent.");
    world.agent.borrow_mut().finish("end_turn");
    world.pass(5_000);
    world.crash();
    assert_eq!(world.ask("POST", "pause", None).0, 200);
    world.pass(7_000);
    assert_eq!(world.ask("POST", "resume", None).0, 200);
    assert_eq!(world.ask("POST", "cancel", None).0, 200);
    world.pass(100);
    world.delete();
    world.pass(100);
    let told = world.reported("agents/transition");
    let lines: Vec<String> = told.iter().map(line).collect();
    assert_eq!(
        lines,
        [
            "s ann none created user-create",
            "s ann created running prompt-started",
            "s ann running paused user-pause",
            "s ann paused running user-resume",
            "s ann running canceled canceled",
            "s ann canceled deleted user-delete",
        ]
    );
    assert_eq!((told[0]["provider"].as_str(), told[1]["provider"].as_str()), (Some("none"), Some("e2b")));
    let lasted = |number: usize| told[number]["duration-ms"].as_i64().unwrap();
    assert!((5_000..8_000).contains(&lasted(2)), "{}", lasted(2));
    assert!((7_000..7_500).contains(&lasted(3)), "{}", lasted(3));
    assert!(!format!("{told:?}").contains("Text of"), "nothing of what was said");
}

#[test]
fn a_session_says_what_it_waits_for_until_it_is_settled() {
    let (mut world, db) = world();
    assert_eq!(waits(&db), []);
    world.message("go");
    world.pass(6_000);
    let [(state, first)] = <[_; 1]>::try_from(waits(&db)).unwrap();
    assert_eq!(state, "turn");
    assert!(first > world.clock.now.get());
    // The agent works for hours: what is told is never over.
    for _ in 0..60 {
        world.agent.borrow_mut().speak("…");
        world.pass(2 * 60_000);
        let [(state, deadline)] = <[_; 1]>::try_from(waits(&db)).unwrap();
        assert_eq!(state, "turn");
        assert!(deadline > world.clock.now.get() - 60_000, "{deadline}");
    }
    // Who has forgotten what was told tells it again.
    world.crash();
    world.session.load().unwrap();
    world.agent.borrow_mut().finish("end_turn");
    world.pass(60_000);
    assert_eq!(waits(&db), []);
    world.message("again");
    world.pass(6_000);
    assert_eq!(waits(&db).len(), 1);
    world.delete();
    world.pass(60_000);
    assert_eq!(waits(&db), []);
}

#[test]
fn a_telling_that_failed_is_made_up_for() {
    let (world, db) = world();
    block_on(db.execute("ALTER TABLE session_deadlines RENAME TO elsewhere", &[])).unwrap();
    world.message("go");
    world.pass(6_000);
    assert!(!world.reported("agents/wait-not-told").is_empty());
    block_on(db.execute("ALTER TABLE elsewhere RENAME TO session_deadlines", &[])).unwrap();
    world.agent.borrow_mut().speak("…");
    world.pass(6_000);
    assert_eq!(waits(&db).len(), 1);
}

#[test]
fn a_turn_that_is_over_at_once_costs_the_operators_table_nothing() {
    let (world, db) = world();
    for sql in [
        "CREATE TABLE told (state TEXT)",
        "CREATE TRIGGER told AFTER INSERT ON session_deadlines BEGIN INSERT INTO told VALUES (new.state); END",
    ] {
        block_on(db.execute(sql, &[])).unwrap();
    }
    let told = || block_on(db.query(ReadFrom::Primary, "SELECT state FROM told", &[])).unwrap().len();
    for message in ["first, which starts the session", "short"] {
        world.message(message);
        world.pass(100);
        world.agent.borrow_mut().finish("end_turn");
        world.pass(6_000);
        assert_eq!((waits(&db), told()), (Vec::new(), 0));
    }
    world.message("long");
    world.pass(6_000);
    assert_eq!(told(), 1);
}
