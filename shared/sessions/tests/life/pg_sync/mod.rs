//! A session that observes a database (pg-sync.md 4.9, 4.15): with real objects on both sides, whatever dies between any two steps.

mod crash_points;
mod observing;
mod quiet;
mod secrets;
mod streams;

use std::rc::Rc;

use database::sqlite::Sqlite;
use database::{Database, ReadFrom};
use http::Method;
use pollster::block_on;
use serde_json::{Value, json};
use web::Call;

use crate::world::World;
use crate::{database, settings_with};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const DAY: i64 = 86_400_000;
const SECRET: &str = "opens-the-shapes";
const CONNECTIONS: &str = r#"{"main":{"url":"http://shapes.test/v1/shape","secret_env":"SHAPES_SECRET","poll_ms":1000},
    "few":{"url":"http://shapes.test/v1/shape","tables":["public.orders"]}}"#;

fn world_with(more: &[(&str, &str)]) -> (World, Rc<Sqlite>) {
    let db = database();
    let own = [("PG_SYNC_CONNECTIONS", CONNECTIONS), ("SHAPES_SECRET", SECRET)];
    let world = World::beside(Some(Rc::clone(&db)), settings_with(&[more, &own].concat()), "local-dev");
    world.agent.borrow_mut().heeds_cancel = true;
    assert_eq!(world.create().0, 200);
    (world, db)
}

fn world() -> (World, Rc<Sqlite>) {
    world_with(&[])
}

fn orders() -> Value {
    json!({"connection": "main", "table": "orders"})
}

fn observe(world: &World) -> (u16, Value) {
    world.ask("POST", "pg-sync", Some(&orders()))
}

/// Lets time go by, with a new life for whatever died.
fn go_on(world: &mut World, ms: i64) {
    let end = world.clock.now.get() + ms;
    // Each life has its fuse: it dies once.
    while world.clock.now.get() < end {
        world.pass(end - world.clock.now.get());
        if world.is_dead() {
            world.crash();
        }
    }
}

fn of_type(world: &World, kind: &str) -> Vec<Value> {
    world.events().into_iter().filter(|event| event["type"] == kind).map(|event| event["data"].clone()).collect()
}

/// Keys of all rows of which the session has heard, in order.
fn heard(world: &World) -> Vec<String> {
    let keys = |data: &Value| {
        let changes = data["changes"].as_array().unwrap().clone();
        changes.into_iter().map(|change| change["key"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    of_type(world, "pg_sync.change").iter().flat_map(keys).collect()
}

fn commit(world: &World, keys: std::ops::Range<usize>) {
    keys.for_each(|key| world.bridges.shapes.borrow_mut().insert(&format!("r{key}")));
}

fn expected(count: usize) -> Vec<String> {
    (0..count).map(|key| format!("r{key}")).collect()
}

fn rows(db: &Sqlite) -> Vec<(String, String)> {
    let query = "SELECT source_id, state FROM pg_sync_bridges";
    let rows = block_on(db.query(ReadFrom::Primary, query, &[])).unwrap();
    rows.iter().map(|row| (row.string(0).unwrap(), row.string(1).unwrap())).collect()
}

fn finish_turns(world: &mut World) {
    for _ in 0..20 {
        let is_working = !world.agent.borrow().working.is_empty();
        if is_working {
            world.agent.borrow_mut().finish("end_turn");
        }
        go_on(world, SECOND);
    }
}

/// The clock looks after a bridge.
fn poke(source: &str) -> Call {
    Call::new(Method::POST, "https://bridge/__bridge__/poke").with_header("x-source-id", source).unwrap()
}

/// Asks the object of a bridge, while time goes by.
fn ask_bridge(world: &mut World, source: &str, call: Call) -> (u16, Vec<u8>) {
    let slot = Rc::new(std::cell::RefCell::new(None));
    let (bridges, told, name) = (Rc::clone(&world.bridges), Rc::clone(&slot), format!("pgsync:{source}"));
    let call = call.with_header("x-source-id", source).unwrap();
    world.tasks.spawn(async move {
        let answer = bridges.ask(&name, call).await;
        *told.borrow_mut() = Some(answer);
    });
    for _ in 0..1_000 {
        if let Some(answer) = slot.borrow_mut().take() {
            return answer;
        }
        go_on(world, 100);
    }
    panic!("no answer");
}
