//! What a session may observe, and what a wake does to it (pg-sync.md 4.2, 4.9).

use database::Database as _;
use pollster::block_on;
use serde_json::{Value, json};

use super::{
    DAY, MINUTE, SECOND, commit, expected, finish_turns, go_on, heard, observe, of_type, orders, rows, world,
    world_with,
};
use crate::world::World;

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
