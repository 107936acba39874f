//! What restores order, whatever dies (pg-sync.md 4.15): the rows of its table, by name.

use database::Database as _;
use pollster::block_on;
use serde_json::json;

use super::{DAY, MINUTE, SECOND, commit, expected, finish_turns, go_on, heard, observe, of_type, poke, rows, world};
use crate::bridges::Fate;

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
    assert_eq!(block_on(world.bridges.ask(&format!("pgsync:{source}"), poke(&source))).0, 200);
    go_on(&mut world, 3 * SECOND);
    assert_eq!(heard(&world), expected(1));
    assert_eq!(block_on(world.bridges.ask("pgsync:unknown", poke(&source))).0, 404, "a row without a bridge");
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

/// Row 10: the row of the index is written again, by the next life of the object when that writes, or at once when it is poked.
#[test]
fn crash_points_of_a_row_that_is_lost() {
    for is_poked in [true, false] {
        let (mut world, db) = world();
        let source = observe(&world).1["source_id"].as_str().unwrap().to_owned();
        block_on(db.execute("DELETE FROM pg_sync_bridges", &[])).unwrap();
        go_on(&mut world, 3 * SECOND);
        assert!(rows(&db).is_empty());
        world.bridges.kill_all();
        if is_poked {
            assert_eq!(block_on(world.bridges.ask(&format!("pgsync:{source}"), poke(&source))).0, 200);
            go_on(&mut world, SECOND);
        } else {
            go_on(&mut world, 10 * MINUTE + 2 * SECOND);
        }
        assert_eq!(rows(&db), [(source, "active".to_owned())], "{is_poked}");
    }
}
