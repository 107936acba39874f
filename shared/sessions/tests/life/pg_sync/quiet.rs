//! What a bridge costs to which nothing happens, in the mode `interval` (pg-sync.md 4.7, 4.16): with an object that the platform puts away whenever
//! it rests, and that knows then what is stored, and nothing else.

use std::rc::Rc;

use database::sqlite::Sqlite;
use database::{Database, ReadFrom};
use pollster::block_on;
use serde_json::json;

use super::{MINUTE, SECOND, poke};
use crate::world::World;
use crate::{database, settings_with};

const HOUR: i64 = 60 * MINUTE;
/// After so long without a request an object is put away.
const RESTS_MS: i64 = 10 * SECOND;
/// How often the clock pokes bridges.
const POKED_MS: i64 = 15 * MINUTE;
const CONNECTIONS: &str = r#"{"main":{"url":"http://shapes.test/v1/shape","poll_ms":5000}}"#;

/// A session that observes, and the source.
fn observing() -> (World, Rc<Sqlite>, String) {
    let db = database();
    let settings = settings_with(&[("PG_SYNC_CONNECTIONS", CONNECTIONS)]);
    let world = World::beside(Some(Rc::clone(&db)), settings, "local-dev");
    assert_eq!(world.create().0, 200);
    let (status, body) = world.ask("POST", "pg-sync", Some(&json!({"connection": "main", "table": "orders"})));
    assert_eq!(status, 201, "{body}");
    let source = body["source_id"].as_str().unwrap().to_owned();
    (world, db, source)
}

/// What was asked of the shape service, what the object has written (an alarm that is set is a row), and what was written into the database of all
/// sessions.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cost {
    requests: u64,
    rows: u64,
    index_rows: i64,
}

fn cost(world: &World, db: &Sqlite) -> Cost {
    let found = block_on(db.query(ReadFrom::Primary, "SELECT total_changes()", &[])).unwrap();
    Cost {
        requests: world.bridges.shapes.borrow().asked.len() as u64,
        rows: world.bridges.rows_written(),
        index_rows: found[0].int(0).unwrap(),
    }
}

/// Lets time go by and says what it has cost. The object is put away when it rests; with a name, it is poked now and then.
fn cost_of(world: &World, db: &Sqlite, ms: i64, poked: Option<&str>) -> Cost {
    let before = cost(world, db);
    let begun = world.clock.now.get();
    let (mut asked, mut asked_at) = (before.requests, begun);
    for second in 1..=ms / SECOND {
        if let Some(source) = poked.filter(|_| (second * SECOND) % POKED_MS == 0) {
            // Between two looks: what follows then has its answer before the object is put away.
            world.pass(SECOND / 2);
            assert_eq!(block_on(world.bridges.ask(&format!("pgsync:{source}"), poke(source))).0, 200);
        }
        world.pass(begun + second * SECOND - world.clock.now.get());
        let now = cost(world, db).requests;
        if now > asked {
            (asked, asked_at) = (now, world.clock.now.get());
        }
        if world.clock.now.get() >= asked_at + RESTS_MS {
            world.bridges.kill_all();
        }
    }
    let after = cost(world, db);
    Cost {
        requests: after.requests - before.requests,
        rows: after.rows - before.rows,
        index_rows: after.index_rows - before.index_rows,
    }
}

/// Ten quiet minutes at the pause of the connection, then a twelfth of that: each request is one row, the alarm of the next, and every ten minutes it is
/// written that all is well. The index is told nothing by an object that only wakes to ask.
#[test]
fn a_quiet_bridge_asks_a_twelfth_although_its_object_is_put_away() {
    for is_poked in [false, true] {
        let (world, db, source) = observing();
        let poked = is_poked.then_some(source.as_str());
        let first = cost_of(&world, &db, 10 * MINUTE, poked);
        assert!((119..=121).contains(&first.requests), "{first:?}");
        assert!(first.rows <= first.requests + 4, "{first:?}");
        cost_of(&world, &db, 4 * MINUTE, poked);
        for hour in 0..3 {
            let quiet = cost_of(&world, &db, HOUR, poked);
            let pokes = if is_poked { 4 } else { 0 };
            assert!((60..=61 + pokes).contains(&quiet.requests), "{hour} {is_poked}: {quiet:?}");
            assert!(quiet.rows <= quiet.requests + 7, "{hour} {is_poked}: {quiet:?}");
            assert!(quiet.index_rows <= 7 + i64::try_from(pokes).unwrap(), "{hour} {is_poked}: {quiet:?}");
        }
        // A change is heard of within the long pause, and the next ones within the short one.
        world.bridges.shapes.borrow_mut().insert("r0");
        cost_of(&world, &db, MINUTE + SECOND, poked);
        let told = world.events().iter().filter(|event| event["type"] == "pg_sync.change").count();
        assert_eq!(told, 1, "{is_poked}");
        let busy = cost_of(&world, &db, 5 * MINUTE, poked);
        assert!((59..=61).contains(&busy.requests), "{is_poked}: {busy:?}");
    }
}
