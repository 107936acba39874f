//! A session that observes a database (pg-sync.md 4.9, 4.15): with real objects on both sides, whatever dies between any two steps.

use std::rc::Rc;

use database::sqlite::Sqlite;
use database::{Database, ReadFrom};
use http::Method;
use pollster::block_on;
use serde_json::{Value, json};
use web::Call;

use crate::world::World;
use crate::world::bridges::Fate;
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

#[test]
fn an_insert_wakes_the_agent() {
    let (mut world, db) = world();
    world.bridges.shapes.borrow_mut().insert("there before");
    let (status, body) = observe(&world);
    assert_eq!((status, &body["state"]), (201, &json!("live")), "{body}");
    let source = body["source_id"].as_str().unwrap().to_owned();
    assert_eq!(body["streamUrl"].as_str().unwrap().split('/').count(), 5, "{body}");
    assert_eq!(observe(&world).0, 200, "the same again");
    world.bridges.shapes.borrow_mut().insert("new");
    go_on(&mut world, 5 * SECOND);
    assert_eq!(heard(&world), ["new"]);
    let [told] = &of_type(&world, "pg_sync.change")[..] else { panic!() };
    assert_eq!((&told["source_id"], &told["counts"]["insert"]), (&json!(source), &json!(1)));
    assert!(told.get("type").is_none() && told["key"].as_str().unwrap().starts_with("pgsync:"));
    let prompts: Vec<String> = world.agent.borrow().prompts.keys().cloned().collect();
    assert_eq!(prompts.len(), 1, "{prompts:?}");
    assert!(
        prompts[0].contains("pg-sync: 1 changes of the table \"orders\"") && prompts[0].contains("\"key\":\"new\"")
    );
    assert_eq!(rows(&db), [(source.clone(), "active".to_owned())]);
    let (_, list) = world.ask("GET", "pg-sync", None);
    let shown = &list["observations"][0];
    assert_eq!((&shown["state"], &shown["sent_seq"], &shown["pending"]), (&json!("live"), &json!(1), &json!(0)));
    assert!(shown["cursor_age_ms"].as_i64().unwrap() <= 2 * SECOND, "{shown}");
    // Nobody wants it any more: the bridge rests, and is gone a day later, with its row.
    assert_eq!(world.ask("DELETE", &format!("pg-sync/{source}"), None), (200, json!({"removed": true})));
    assert_eq!(world.ask("DELETE", &format!("pg-sync/{source}"), None), (404, json!({"error": "not found"})));
    world.bridges.shapes.borrow_mut().insert("unheard");
    go_on(&mut world, MINUTE);
    assert_eq!(heard(&world), ["new"]);
    assert_eq!(rows(&db), [(source, "idle".to_owned())]);
    go_on(&mut world, DAY + MINUTE);
    assert_eq!((rows(&db), world.bridges.stored()), (Vec::new(), Vec::new()));
}

/// Each member that is wrong is named, and nothing is left behind.
#[test]
fn what_cannot_be_observed_is_refused() {
    let (mut world, db) = world_with(&[("PG_SYNC_ALLOW_URLS", "https://free.test")]);
    let ask = |body: Value| world.ask("POST", "pg-sync", Some(&body));
    for (body, status, answer) in [
        (json!({"connection": "main"}), 400, json!({"error": "invalid_options", "fields": ["table"]})),
        (json!({"table": "t"}), 400, json!({"error": "invalid_options", "fields": ["connection"]})),
        (
            json!({"connection": "main", "url": "https://free.test", "table": "t"}),
            400,
            json!({"error": "invalid_options", "fields": ["connection", "url"]}),
        ),
        (
            json!({"connection": "main", "table": "t", "wake": {"timeoutMs": 1}}),
            400,
            json!({"error": "invalid_options", "fields": ["wake.timeoutMs"]}),
        ),
        (
            json!({"connection": "main", "table": "t", "wake": {"filter": {"a": "b"}}}),
            400,
            json!({"error": "filter_needs_full_replica"}),
        ),
        (json!({"connection": "other", "table": "t"}), 404, json!({"error": "connection_not_found"})),
        (json!({"connection": "few", "table": "users"}), 403, json!({"error": "table_not_allowed"})),
        (
            json!({"connection": "few", "table": "orders", "where": "id in (select 1)"}),
            403,
            json!({"error": "table_not_allowed"}),
        ),
        (json!({"url": "https://free.test:444/v1/shape", "table": "t"}), 403, json!({"error": "url_not_allowed"})),
        (json!({"url": "https://free.test/v1/shape?secret=x", "table": "t"}), 403, json!({"error": "url_not_allowed"})),
    ] {
        assert_eq!(ask(body.clone()), (status, answer), "{body}");
    }
    assert!(world.bridges.stored().is_empty() && rows(&db).is_empty());
    for (fault, status) in [(401, 401), (404, 404), (503, 503)] {
        world.bridges.shapes.borrow_mut().faults = vec![fault; 3];
        let (found, body) = observe(&world);
        assert_eq!((found, &body["error"], &body["status"]), (422, &json!("probe_failed"), &json!(status)));
        world.bridges.shapes.borrow_mut().faults.clear();
        go_on(&mut world, MINUTE);
        assert!(world.bridges.stored().is_empty() && rows(&db).is_empty(), "{fault}");
    }
    assert_eq!(world.ask("GET", "pg-sync", None).1, json!({"observations": []}));
    world.bridges.is_bound.set(false);
    for (method, body) in [("POST", Some(orders())), ("GET", None)] {
        assert_eq!(world.ask(method, "pg-sync", body.as_ref()), (503, json!({"error": "pg_sync_disabled"})));
    }
}

/// Fact 30 of pg-sync.md 3, as the routes have it: what is observed is listed, one goes by its name, and an unknown one is not there.
#[test]
fn what_is_observed_is_listed_and_goes_by_its_name() {
    let (mut world, _) = world();
    assert_eq!(world.ask("GET", "pg-sync", None).1, json!({"observations": []}));
    let source = observe(&world).1["source_id"].as_str().unwrap().to_owned();
    let mut others = orders();
    others["where"] = json!("id > 5");
    assert_eq!(world.ask("POST", "pg-sync", Some(&others)).0, 201);
    let tables = |world: &World| {
        let (_, list) = world.ask("GET", "pg-sync", None);
        let list = list["observations"].as_array().unwrap().clone();
        list.into_iter()
            .map(|it| (it["source_id"].as_str().unwrap().to_owned(), it["table"].clone()))
            .collect::<Vec<_>>()
    };
    let before = tables(&world);
    assert_eq!(
        (before.len(), &before[0].1, &before[1].1),
        (2, &json!("orders"), &json!("orders")),
        "one table, two sources"
    );
    let unknown = "0".repeat(32);
    assert_eq!(world.ask("DELETE", &format!("pg-sync/{unknown}"), None).0, 404);
    assert_eq!(world.ask("DELETE", "pg-sync/orders", None).0, 404, "a table is no name");
    assert_eq!(world.ask("DELETE", &format!("pg-sync/{source}"), None), (200, json!({"removed": true})));
    go_on(&mut world, SECOND);
    let after = tables(&world);
    assert!(after.len() == 1 && after[0].0 != source);
    assert_eq!(world.ask("DELETE", &format!("pg-sync/{source}"), None).0, 404, "twice");
}

#[test]
fn another_wake_takes_its_place_only_if_that_is_wanted() {
    let (world, _) = world();
    assert_eq!(observe(&world).0, 201);
    let mut other = orders();
    other["wake"] = json!({"ops": ["delete"]});
    let (status, body) = world.ask("POST", "pg-sync", Some(&other));
    assert_eq!((status, &body["error"], &body["wake"]), (409, &json!("wake_conflict"), &json!({"debounce_ms": 0})));
    other["replace"] = json!(true);
    let (status, body) = world.ask("POST", "pg-sync", Some(&other));
    assert_eq!((status, &body["wake"]["ops"]), (200, &json!(["delete"])), "{body}");
    commit(&world, 0..3);
    world.pass(10 * SECOND);
    assert!(heard(&world).is_empty(), "only deletions wake it now");
}

#[test]
fn a_session_observes_so_much_and_a_user_so_many_sources() {
    let (world, db) = world();
    let table =
        |at: usize| world.ask("POST", "pg-sync", Some(&json!({"connection": "main", "table": format!("t{at}")})));
    (0..16).for_each(|at| assert_eq!(table(at).0, 201));
    assert_eq!(table(16), (429, json!({"error": "quota", "limit": 16, "scope": "session"})));
    assert_eq!(table(3).0, 200, "what is there stays");
    let others = "INSERT INTO pg_sync_bridges (source_id, user_id, connection, state, reserved_at, checked_at) VALUES \
        ('o' || hex(randomblob(8)), 'ann', 'main', 'active', 1, 1)";
    for _ in 0..84 {
        block_on(db.execute(others, &[])).unwrap();
    }
    let source = world.ask("GET", "pg-sync", None).1["observations"][0]["source_id"].as_str().unwrap().to_owned();
    assert_eq!(world.ask("DELETE", &format!("pg-sync/{source}"), None).0, 200);
    assert_eq!(table(16), (429, json!({"error": "quota", "limit": 100, "scope": "user"})));
    assert_eq!(table(3).0, 200, "a bridge that there is has its place");
}

/// The table of 4.9: what a wake does to a session, wherever it stands. One that has ended is a test of `decide::watches`.
#[test]
fn a_wake_in_every_state_of_the_session() {
    for (bring, expected_prompts, status) in
        [("created", 1, "running"), ("running", 1, "running"), ("paused", 0, "paused"), ("archived", 0, "running")]
    {
        let (mut world, _) = world();
        assert_eq!(observe(&world).0, 201);
        if bring != "created" {
            world.message("begin");
            go_on(&mut world, SECOND);
            world.agent.borrow_mut().finish("end_turn");
            go_on(&mut world, SECOND);
        }
        match bring {
            "paused" => assert_eq!(world.ask("POST", "pause", None).0, 200),
            "archived" => assert_eq!(world.ask("POST", "archive", None).0, 200),
            _ => {}
        }
        let before: usize = world.agent.borrow().prompts.values().sum();
        commit(&world, 0..1);
        go_on(&mut world, 3 * SECOND);
        commit(&world, 1..3);
        go_on(&mut world, 3 * SECOND);
        assert_eq!(heard(&world), expected(3), "{bring}");
        let after: usize = world.agent.borrow().prompts.values().sum();
        assert_eq!(after - before, expected_prompts, "{bring}");
        assert_eq!(world.ask("GET", "status", None).1["status"], json!(status), "{bring}");
        let waiting = world.waiting_orders();
        assert_eq!(waiting.len(), 1, "{bring}: the second wake waits, or both as one: {waiting:?}");
        let told = if expected_prompts == 1 { "pg-sync: 2 changes" } else { "pg-sync: 3 changes" };
        assert!(waiting[0].starts_with(told), "{bring}: {}", waiting[0]);
        if bring == "paused" {
            assert_eq!(world.ask("POST", "resume", None).0, 200);
            finish_turns(&mut world);
            assert!(world.agent.borrow().prompts.keys().any(|prompt| prompt.contains("pg-sync: 3 changes")));
        }
        if bring == "archived" {
            world.message("go on");
            finish_turns(&mut world);
            assert!(world.waiting_orders().is_empty());
        }
    }
}

#[test]
fn a_session_that_has_ended_hears_no_more_and_its_bridges_rest() {
    for end in ["cancel", "delete"] {
        let (mut world, db) = world();
        assert_eq!(observe(&world).0, 201);
        assert_eq!(world.ask("POST", end, None).0, 200);
        go_on(&mut world, MINUTE);
        assert_eq!(rows(&db)[0].1, "idle", "{end}");
        commit(&world, 0..1);
        go_on(&mut world, MINUTE);
        if end == "cancel" {
            assert!(heard(&world).is_empty());
            assert_eq!(observe(&world), (409, json!({"error": "session is not writable"})));
        }
    }
}

#[test]
fn a_gap_is_told_and_begins_a_run() {
    let (mut world, _) = world();
    assert_eq!(observe(&world).0, 201);
    world.bridges.shapes.borrow_mut().handle = 2;
    go_on(&mut world, 5 * SECOND);
    let [gap] = &of_type(&world, "pg_sync.gap")[..] else { panic!() };
    assert_eq!((&gap["reason"], &gap["from_seq"], &gap["count"]), (&json!("must_refetch"), &json!(0), &json!(1)));
    assert!(world.agent.borrow().prompts.keys().any(|prompt| prompt.contains("must_refetch after 0")));
    commit(&world, 0..2);
    go_on(&mut world, 5 * SECOND);
    assert_eq!(heard(&world), expected(2));
}

#[test]
fn a_bridge_that_is_refused_waits_for_somebody() {
    let (mut world, db) = world();
    let source = observe(&world).1["source_id"].as_str().unwrap().to_owned();
    world.bridges.shapes.borrow_mut().faults = vec![400; 3];
    go_on(&mut world, 30 * SECOND);
    let [blocked] = &of_type(&world, "pg_sync.blocked")[..] else { panic!("{:?}", world.events()) };
    assert_eq!((&blocked["reason"], &blocked["status"]), (&json!("refused"), &json!(400)));
    assert_eq!(rows(&db)[0].1, "blocked");
    assert!(world.agent.borrow().prompts.is_empty(), "it begins no run");
    commit(&world, 0..1);
    go_on(&mut world, 5 * MINUTE);
    assert!(heard(&world).is_empty());
    assert_eq!(world.ask("POST", &format!("pg-sync-retry/{source}"), None), (202, json!({"ok": true})));
    assert_eq!(world.ask("POST", "pg-sync-retry/unknown", None).0, 404);
    go_on(&mut world, 5 * SECOND);
    assert_eq!((heard(&world), of_type(&world, "pg_sync.recovered").len()), (expected(1), 1));
}

#[test]
fn too_many_wakes_are_merged() {
    let (mut world, _) = world_with(&[("PG_SYNC_MAX_WAKES", "3")]);
    assert_eq!(observe(&world).0, 201);
    for key in 0..10 {
        commit(&world, key..key + 1);
        go_on(&mut world, 5 * SECOND);
    }
    assert_eq!((heard(&world), of_type(&world, "pg_sync.throttled").len()), (expected(3), 1));
    go_on(&mut world, 61 * MINUTE);
    assert_eq!(heard(&world), expected(10));
    assert_eq!(of_type(&world, "pg_sync.change").last().unwrap()["throttled"], json!(true));
}

#[test]
fn one_shot_ends_with_its_wake() {
    let (mut world, db) = world();
    let mut wanted = orders();
    wanted["wake"] = json!({"one_shot": true});
    assert_eq!(world.ask("POST", "pg-sync", Some(&wanted)).0, 201);
    commit(&world, 0..1);
    go_on(&mut world, 5 * SECOND);
    commit(&world, 1..2);
    go_on(&mut world, 5 * SECOND);
    assert_eq!(heard(&world), expected(1));
    assert_eq!(of_type(&world, "pg_sync.ended")[0]["reason"], json!("one_shot"));
    assert_eq!(world.ask("GET", "pg-sync", None).1, json!({"observations": []}));
    assert_eq!(rows(&db)[0].1, "idle");
    assert_eq!(observe(&world).0, 201, "it can be observed anew");
    commit(&world, 2..3);
    go_on(&mut world, 5 * SECOND);
    assert_eq!(heard(&world).last().map(String::as_str), Some("r2"));
}

/// Rows 2 and 3 of the table: the session's row, the bridge's subscription, the answer. Whatever is lost, the observation is there
/// in the end, once, and misses nothing that is committed after a 201.
#[test]
fn crash_points_of_observing() {
    for fate in Fate::ALL {
        for at in 0..3 {
            let (mut world, _) = world();
            world.bridges.fuse.set(Some((at, fate)));
            let (status, _) = observe(&world);
            assert!(matches!(status, 0 | 201 | 503), "{fate:?} {at}: {status}");
            if world.is_dead() {
                world.crash();
            }
            if status == 201 {
                commit(&world, 0..1);
            }
            go_on(&mut world, 100 * SECOND);
            world.bridges.fuse.set(None);
            let (_, list) = world.ask("GET", "pg-sync", None);
            assert_eq!(list["observations"].as_array().unwrap().len(), 1, "{fate:?} {at}: {list}");
            assert_eq!(list["observations"][0]["state"], json!("live"), "{fate:?} {at}: {list}");
            assert_eq!(observe(&world).0, 200, "{fate:?} {at}");
            let from = heard(&world).len();
            commit(&world, from..5);
            go_on(&mut world, 10 * SECOND);
            assert_eq!(heard(&world), expected(5), "{fate:?} {at}");
        }
    }
}

/// Row 2: a bridge that stays away for two minutes is given up, and that is told.
#[test]
fn crash_points_of_a_bridge_that_stays_away() {
    let (mut world, _) = world();
    world.bridges.fuse.set(Some((0, Fate::Lost)));
    assert_eq!(observe(&world), (503, json!({"error": "bridge_unavailable"})));
    let end = world.clock.now.get() + 4 * MINUTE;
    while world.clock.now.get() < end {
        world.bridges.fuse.set(Some((0, Fate::Lost)));
        go_on(&mut world, SECOND);
    }
    assert_eq!(of_type(&world, "pg_sync.ended")[0]["reason"], json!("source_removed"));
    world.bridges.fuse.set(None);
    go_on(&mut world, 61 * MINUTE);
    assert_eq!(world.ask("GET", "pg-sync", None).1, json!({"observations": []}));
    assert_eq!(observe(&world).0, 201);
}

/// Row 4: the row `removing` and the bridge.
#[test]
fn crash_points_of_unobserving() {
    for fate in Fate::ALL {
        let (mut world, db) = world();
        let source = observe(&world).1["source_id"].as_str().unwrap().to_owned();
        go_on(&mut world, 2 * SECOND);
        world.bridges.fuse.set(Some((0, fate)));
        let (status, _) = world.ask("DELETE", &format!("pg-sync/{source}"), None);
        assert!(matches!(status, 0 | 200), "{fate:?}: {status}");
        if world.is_dead() {
            world.crash();
        }
        // A wake meanwhile is not wanted.
        commit(&world, 0..1);
        go_on(&mut world, 2 * MINUTE);
        assert!(heard(&world).is_empty(), "{fate:?}");
        assert_eq!(rows(&db)[0].1, "idle", "{fate:?}");
        assert_eq!(world.ask("GET", "pg-sync", None).1, json!({"observations": []}), "{fate:?}");
    }
}

/// Rows 5 to 8: response, commit, alarm, what is in flight, event and prompt. Each call between the objects is lost once in each
/// way: every change is an event once, and in one prompt.
#[test]
fn crash_points_of_wakes() {
    for fate in Fate::ALL {
        for at in 0..12 {
            let (mut world, _) = world();
            assert_eq!(observe(&world).0, 201);
            world.bridges.fuse.set(Some((at, fate)));
            for key in 0..6 {
                commit(&world, key * 2..key * 2 + 2);
                go_on(&mut world, 1_300);
            }
            go_on(&mut world, 20 * MINUTE);
            world.bridges.fuse.set(None);
            finish_turns(&mut world);
            assert_eq!(heard(&world), expected(12), "{fate:?} {at} {:?}", world.bridges.calls.borrow());
            let prompts = world.agent.borrow().prompts.clone();
            let prompts = prompts.iter().filter(|(prompt, _)| prompt.contains("pg-sync:"));
            let told: Vec<String> = prompts
                .flat_map(|(prompt, times)| {
                    assert_eq!(*times, 1, "{fate:?} {at}: {prompt}");
                    expected(12).into_iter().filter(|key| prompt.contains(&format!("\"key\":\"{key}\"")))
                })
                .collect();
            let mut unique = told.clone();
            unique.sort();
            unique.dedup();
            assert_eq!(told.len(), unique.len(), "{fate:?} {at}: {told:?}");
            // A prompt that was on its way when all died is never sent again, and that is told (agents.md 3.8).
            let is_told = !of_type(&world, "agent.runtime.error").is_empty();
            assert!(told.len() == 12 || is_told, "{fate:?} {at}: {told:?}");
        }
    }
}

/// Rows 5 and 6: the bridge dies at any moment, also between a commit and its alarm.
#[test]
fn crash_points_of_a_bridge_that_dies_again_and_again() {
    for pause in [1, 2, 3, 5, 170, 999, 1_000, 1_001, 1_003] {
        let (mut world, _) = world();
        world.bridges.shapes.borrow_mut().chunk = 3;
        assert_eq!(observe(&world).0, 201);
        for key in 0..10 {
            commit(&world, key * 2..key * 2 + 2);
            go_on(&mut world, pause);
            world.bridges.kill_all();
        }
        go_on(&mut world, 2 * MINUTE);
        assert_eq!(heard(&world), expected(20), "{pause}");
    }
}

/// Row 6: an alarm that is lost is set again when somebody pokes the bridge.
#[test]
fn crash_points_of_a_lost_alarm() {
    let (mut world, _) = world();
    let source = observe(&world).1["source_id"].as_str().unwrap().to_owned();
    go_on(&mut world, 3 * SECOND);
    world.bridges.lose_alarms();
    commit(&world, 0..1);
    go_on(&mut world, 10 * MINUTE);
    assert!(heard(&world).is_empty());
    let poke =
        || Call::new(Method::POST, "https://bridge/__bridge__/poke").with_header("x-source-id", &source).unwrap();
    assert_eq!(block_on(world.bridges.ask(&format!("pgsync:{source}"), poke())).0, 200);
    go_on(&mut world, 3 * SECOND);
    assert_eq!(heard(&world), expected(1));
    assert_eq!(block_on(world.bridges.ask("pgsync:unknown", poke())).0, 404, "a row without a bridge");
    assert_eq!(world.bridges.stored().len(), 1);
}

/// Row 9: a bridge that was collected although the session counts on it.
#[test]
fn crash_points_of_a_bridge_that_was_collected() {
    for by_hand in [true, false] {
        let (mut world, _) = world();
        assert_eq!(observe(&world).0, 201);
        commit(&world, 0..1);
        go_on(&mut world, 5 * SECOND);
        world.bridges.wipe();
        if by_hand {
            assert_eq!(world.ask("GET", "pg-sync", None).1["observations"][0]["state"], json!("pending"));
            go_on(&mut world, MINUTE);
        } else {
            go_on(&mut world, DAY + MINUTE);
        }
        let [gap] = &of_type(&world, "pg_sync.gap")[..] else { panic!("{by_hand}") };
        assert_eq!((&gap["reason"], &gap["from_seq"]), (&json!("source_lost"), &json!(1)));
        let prompts: Vec<String> = world.agent.borrow().prompts.keys().cloned().collect();
        let told = [world.waiting_orders(), prompts].concat();
        assert!(told.iter().any(|order| order.contains("source_lost after 1")), "{by_hand}");
        commit(&world, 1..3);
        go_on(&mut world, 5 * SECOND);
        assert_eq!(heard(&world), expected(3), "{by_hand}");
        assert_eq!(world.ask("GET", "pg-sync", None).1["observations"][0]["state"], json!("live"));
    }
}

/// Row 10: the row of the index is written again.
#[test]
fn crash_points_of_a_row_that_is_lost() {
    let (mut world, db) = world();
    assert_eq!(observe(&world).0, 201);
    block_on(db.execute("DELETE FROM pg_sync_bridges", &[])).unwrap();
    go_on(&mut world, 3 * SECOND);
    assert!(rows(&db).is_empty());
    world.bridges.kill_all();
    go_on(&mut world, 3 * SECOND);
    assert_eq!(rows(&db).len(), 1);
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

/// The log of a bridge as a stream (4.14): asked for, read, waited for, and not there for others. Facts 5 and 6: the answer
/// has the path of the stream, and before it is registered there is none.
#[test]
fn a_log_is_read_as_a_stream() {
    let (mut world, db) = world();
    let options =
        pg_sync::register::Registration::read(&json!({"options": {"url": "http://shapes.test", "table": "orders"}}));
    let options = options.unwrap().options;
    let source_id = pg_sync::identity::source_id("ann", pg_sync::identity::Origin::Connection("main"), &options);
    let source =
        pg_sync::bridge::Source { id: source_id.clone(), owner: "ann".into(), connection: "main".into(), options };
    let read = |query: &str, user: &str, source_ref: &str| {
        let call = Call::new(Method::GET, format!("https://bridge/__bridge__/stream{query}"));
        call.with_header("x-user-id", user).unwrap().with_header("x-source-ref", source_ref).unwrap()
    };
    let register = |source_ref: &str| {
        let body = json!({"source": source, "source_ref": source_ref}).to_string().into_bytes();
        Call { body, ..Call::new(Method::POST, "https://bridge/__bridge__/register") }
    };
    assert_eq!(ask_bridge(&mut world, &source_id, read("", "ann", "ref")).0, 404, "nobody has registered");
    let (status, body) = ask_bridge(&mut world, &source_id, register("ref"));
    let body: Value = serde_json::from_slice(&body).unwrap();
    let path = format!("/_electric/pg-sync/{}/ref", pg_sync::identity::owner_hash("ann"));
    assert_eq!((status, body), (200, json!({"sourceRef": "ref", "streamUrl": path})));
    assert_eq!(ask_bridge(&mut world, &source_id, read("", "ann", "ref")), (200, b"[]".to_vec()));
    commit(&world, 0..3);
    go_on(&mut world, 2 * SECOND);
    let (status, body) = ask_bridge(&mut world, &source_id, read("", "ann", "ref"));
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, body.as_array().unwrap().len()), (200, 3));
    // A long poll waits for its time, or for what comes.
    let begun = world.clock.now.get();
    assert_eq!(ask_bridge(&mut world, &source_id, read("?offset=now&live=long-poll", "ann", "ref")), (204, Vec::new()));
    assert!((20 * SECOND..22 * SECOND).contains(&(world.clock.now.get() - begun)));
    world.bridges.shapes.borrow_mut().insert("late");
    let (status, body) = ask_bridge(&mut world, &source_id, read("?offset=now&live=long-poll", "ann", "ref"));
    assert!(status == 200 && String::from_utf8(body).unwrap().contains("late"));
    for (user, source_ref) in [("bob", "ref"), ("ann", "other"), ("", "ref"), ("ann", "")] {
        assert_eq!(ask_bridge(&mut world, &source_id, read("", user, source_ref)).0, 404, "{user} {source_ref}");
    }
    // It is kept by whoever reads, across deaths, and rests a week after the last of them.
    world.bridges.kill_all();
    go_on(&mut world, 6 * DAY);
    assert_eq!(ask_bridge(&mut world, &source_id, read("", "ann", "ref")).0, 200);
    go_on(&mut world, 6 * DAY);
    assert_eq!(rows(&db)[0].1, "active");
    go_on(&mut world, DAY + DAY / 4);
    assert_eq!(rows(&db)[0].1, "idle");
    assert_eq!(ask_bridge(&mut world, &source_id, read("", "ann", "ref")).0, 404);
    go_on(&mut world, 2 * DAY);
    assert!(world.bridges.stored().is_empty() && rows(&db).is_empty());
}

/// One who died while waiting to be read leaves nothing that goes on for ever.
#[test]
fn a_registration_that_nobody_finishes_ends() {
    let (mut world, _) = world();
    let source_id = observe(&world).1["source_id"].as_str().unwrap().to_owned();
    let observers = |world: &mut World| world.ask("GET", "pg-sync", None).1["observations"][0]["observers"].clone();
    let wake = json!({"expires_in_s": 60});
    let subscribe = json!({"source": world.bridges.source(&source_id), "subscription_id": "registering", "session": "", "wake": wake});
    let body = subscribe.to_string().into_bytes();
    let call = Call { body, ..Call::new(Method::POST, "https://bridge/__bridge__/subscribe") };
    assert_eq!(ask_bridge(&mut world, &source_id, call).0, 201);
    world.bridges.kill_all();
    assert_eq!(observers(&mut world), json!(2));
    go_on(&mut world, 2 * MINUTE);
    assert_eq!(observers(&mut world), json!(1));
}

/// Everything that is stored is searched for the secret.
#[test]
fn the_secret_is_asked_with_and_stored_nowhere() {
    let (mut world, db) = world();
    assert_eq!(observe(&world).0, 201);
    commit(&world, 0..3);
    go_on(&mut world, 10 * SECOND);
    world.bridges.shapes.borrow_mut().faults = vec![500, 400];
    go_on(&mut world, 10 * SECOND);
    assert!(world.bridges.shapes.borrow().asked.iter().all(|url| url.contains(&format!("secret={SECRET}"))));
    let (bytes, told) =
        (world.bridges.bytes(), format!("{:?} {}", world.events(), world.ask("GET", "pg-sync", None).1));
    assert!(bytes.contains("orders") && !bytes.contains(SECRET) && !told.contains(SECRET));
    assert!(rows(&db).iter().all(|row| !format!("{row:?}").contains(SECRET)));
}
