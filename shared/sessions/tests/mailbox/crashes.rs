//! The table of crash points (session-mailbox.md 7.11), as far as the worker decides what comes of them. What shims and agents do is the
//! runner's part: here they are told of, as the runner tells it.

use serde_json::json;
use sessions::mailbox::Offline;
use sessions::mailbox::desk::{self, AckResult, Notice, Told, Verdict};

use crate::world::{Dies, HOUR, World, key};

/// A session with a runner that has its first message in a turn.
fn running() -> World {
    let mut world = World::new();
    world.attach(0, Dies::No);
    world.message(Dies::No, "m");
    for _ in 0..2 {
        world.serve(0);
        world.machines[0].work(1, false);
        world.machines[0].work(1, false);
    }
    world.deliver(0);
    assert_eq!(world.count(|told| matches!(told, Told::TurnStarted { .. })), 1);
    world
}

#[test]
fn worker_before_the_transaction_of_the_message() {
    let mut world = World::new();
    world.message(Dies::Before, "m");
    assert_eq!((world.desk().prompt, world.told.len()), (None, 0));
    world.message(Dies::No, "m");
    world.calm();
    assert_eq!((world.endings("m"), world.machines[0].runs["m"]), (1, 1));
}

#[test]
fn worker_after_it_and_before_the_ring() {
    let mut world = World::new();
    world.message(Dies::After, "m");
    assert!(!world.rung);
    world.wait(999);
    assert!(!world.rung);
    world.wait(1);
    assert!(world.rung, "the alarm rings");
    world.calm();
    assert_eq!((world.endings("m"), world.machines[0].runs["m"]), (1, 1));
}

#[test]
fn the_alarm_rings_less_and_less_often_until_the_item_is_acknowledged() {
    let mut world = World::new();
    world.message(Dies::No, "m");
    let mut rings = Vec::new();
    world.rung = false;
    for _ in 0..200 {
        world.wait(1_000);
        if std::mem::take(&mut world.rung) {
            rings.push(world.now / 1_000);
        }
    }
    assert_eq!(rings, [1, 3, 7, 15, 31, 63, 123, 183]);
    world.serve(0);
    world.serve(0);
    assert_eq!(world.desk().ring, None);
}

#[test]
fn runner_before_its_commit() {
    let mut world = World::new();
    world.message(Dies::No, "m");
    let lost = world.poll(0, Dies::No).unwrap();
    assert_eq!(lost.len(), 2);
    assert_eq!(world.poll(0, Dies::No).unwrap(), [], "not before 30 s");
    world.wait(30_000);
    let again = world.poll(0, Dies::No).unwrap();
    let ids =
        |items: &[(desk::Given, String)]| items.iter().map(|(given, _)| given.item.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&again), ids(&lost));
    world.now += 30_000;
    world.calm();
    assert_eq!((world.endings("m"), world.machines[0].runs["m"]), (1, 1));
}

#[test]
fn runner_or_worker_when_the_acknowledgement_is_lost() {
    let mut world = World::new();
    world.message(Dies::No, "m");
    world.serve(0);
    world.machines[0].acks.clear();
    world.wait(30_000);
    world.serve(0);
    assert_eq!(world.machines[0].acks.len(), 2, "acknowledged again");
    assert_eq!(world.machines[0].copy.as_ref().unwrap().rows.len(), 2, "and inserted once");
    world.calm();
    assert_eq!((world.endings("m"), world.machines[0].runs["m"]), (1, 1));
}

#[test]
fn shim_or_agent_after_sent_ends_the_message_once() {
    let mut world = running();
    let lease = world.desk().lease;
    let data = json!({"message-id": "m", "reason": "turn_interrupted"});
    let notice = Notice { code: "message.failed".into(), message: String::new(), lease: Some(lease), data: Some(data) };
    for _ in 0..2 {
        let notice = notice.clone();
        world.change(Dies::No, |desk, decide| desk::on_notice(desk, decide, &key(0), notice)).unwrap().unwrap();
    }
    assert_eq!((world.endings("m"), world.ending("m")), (1, "turn_interrupted"));
    let old = Notice { lease: Some(lease - 1), ..notice };
    let refused = world.change(Dies::No, |desk, decide| desk::on_notice(desk, decide, &key(0), old)).unwrap();
    assert_eq!(refused, Err(desk::Refused::LeaseLost(lease)));
}

#[test]
fn message_failed_after_the_turn_ended_says_nothing() {
    let mut world = running();
    world.machines[0].work(2, true);
    world.deliver(0);
    let data = json!({"message-id": "m", "reason": "agent_died"});
    let lease = Some(world.desk().lease);
    let notice = Notice { code: "message.failed".into(), message: String::new(), lease, data: Some(data) };
    world.change(Dies::No, |desk, decide| desk::on_notice(desk, decide, &key(0), notice)).unwrap().unwrap();
    assert_eq!((world.endings("m"), world.ending("m")), (1, "end_turn"));
}

#[test]
fn runner_during_a_turn_the_next_process_goes_on() {
    let mut world = running();
    world.machines[0].work(5, false);
    let lease = world.desk().lease;
    world.machines[0].die();
    assert_eq!(world.attach(0, Dies::No), Some(Verdict::Keep));
    world.calm();
    assert_eq!((world.desk().lease, world.ending("m"), world.machines[0].runs["m"]), (lease, "end_turn", 1));
    assert!(world.words().iter().any(|(_, word)| *word == 5), "what was not sent is sent");
}

#[test]
fn events_stored_and_the_answer_lost() {
    let mut world = running();
    world.machines[0].work(7, false);
    world.machines[0].work(8, true);
    let from = world.machines[0].copy.as_ref().unwrap().delivered;
    world.send(0, from, 10, Dies::After);
    assert_eq!(world.ending("m"), "end_turn");
    let told = world.told.clone();
    world.send(0, from, 10, Dies::No);
    assert_eq!(world.told, told, "known ones say nothing");
    assert_eq!(world.machines[0].copy.as_ref().unwrap().delivered, from + 2);
}

#[test]
fn events_not_stored() {
    let mut world = running();
    world.machines[0].work(7, true);
    let from = world.machines[0].copy.as_ref().unwrap().delivered;
    world.send(0, from, 10, Dies::Before);
    assert_eq!(world.endings("m"), 0);
    world.send(0, from, 10, Dies::No);
    assert_eq!(world.ending("m"), "end_turn");
}

#[test]
fn a_day_without_network() {
    let mut world = running();
    let lease = world.desk().lease;
    world.goes(0, Offline::Timeout, Dies::No);
    world.message(Dies::No, "later");
    for _ in 0..23 {
        world.machines[0].work(3, false);
        world.wait(HOUR);
    }
    world.machines[0].work(4, true);
    let renewed = world.change(Dies::No, |desk, decide| desk::renew(desk, decide, &key(0), lease, None)).unwrap();
    assert!(matches!(renewed, desk::Renewed::Held { .. }), "held again");
    world.calm();
    assert_eq!((world.ending("m"), world.ending("later")), ("end_turn", "end_turn"));
    assert_eq!(world.count(|told| matches!(told, Told::Offline { .. })), 1);
    let away = |told: &Told| matches!(told, Told::Online { offline_ms, .. } if *offline_ms == 23 * HOUR);
    assert_eq!(world.count(away), 1);
    let online = world.told.iter().position(away).unwrap();
    assert!(world.told[online..].iter().any(|told| matches!(told, Told::Update(_))), "before any later event");
}

#[test]
fn an_old_copy_of_the_disk_before_the_message() {
    let mut world = World::new();
    world.message(Dies::No, "first");
    world.calm();
    let old = world.machines[0].copy.clone();
    world.message(Dies::No, "m");
    world.serve(0);
    world.serve(0);
    // The agent has it, and the worker does not know.
    world.machines[0].work(1, false);
    world.machines[0].copy = old;
    world.machines[0].die();
    assert_eq!(world.attach(0, Dies::No), Some(Verdict::Stale));
    world.calm();
    assert_eq!((world.endings("m"), world.ending("m")), (1, "end_turn"), "queued again");
}

#[test]
fn an_old_copy_of_the_disk_during_the_turn() {
    let mut world = World::new();
    world.attach(0, Dies::No);
    world.message(Dies::No, "m");
    world.serve(0);
    let old = world.machines[0].copy.clone();
    world.machines[0].work(1, false);
    world.machines[0].work(1, false);
    world.deliver(0);
    world.machines[0].copy = old;
    world.machines[0].die();
    let lease = world.desk().lease;
    assert_eq!(world.attach(0, Dies::No), Some(Verdict::Stale));
    assert_eq!((world.endings("m"), world.ending("m")), (1, "turn-interrupted"));
    assert_eq!(world.desk().lease, lease + 1);
    world.calm();
    assert_eq!(world.machines[0].runs["m"], 1, "interrupted, so not run again");
}

#[test]
fn runner_deleted_during_a_turn() {
    let mut world = running();
    world.message(Dies::No, "next");
    world.chosen = 1;
    world.goes(0, Offline::Revoked, Dies::No);
    assert_eq!(world.ending("m"), "turn-interrupted");
    let lease = world.desk().lease;
    let renewed = world.change(Dies::No, |desk, decide| desk::renew(desk, decide, &key(0), lease, None)).unwrap();
    assert_eq!(renewed, desk::Renewed::Lost);
    world.calm();
    assert_eq!((world.ending("next"), world.machines[1].runs["next"]), ("end_turn", 1), "the session is free");
}

#[test]
fn a_prompt_on_its_way_is_canceled() {
    let mut world = World::new();
    world.attach(0, Dies::No);
    world.message(Dies::No, "m");
    let given = world.poll(0, Dies::No).unwrap();
    world.change(Dies::No, |desk, decide| desk::interrupt(desk, decide, "i")).unwrap().unwrap();
    // The interrupt overtakes the prompt that it is about.
    world.serve(0);
    for (given, body) in &given {
        world.store(0, given, body);
    }
    world.calm();
    assert_eq!((world.ending("m"), world.machines[0].runs.get("m")), ("cancelled", None));
    world.message(Dies::No, "next");
    world.calm();
    assert_eq!(world.ending("next"), "end_turn", "a late interrupt does not hit the next prompt");
}

#[test]
fn refused_items_end_what_waits_for_them() {
    let mut world = World::new();
    world.message(Dies::No, "m");
    let given = world.poll(0, Dies::No).unwrap();
    let ack = |id: &str, work_seq, result| desk::Ack { item_id: id.to_owned(), work_seq, result };
    let prompt = &given[1].0.item;
    let late = ack(&prompt.id, prompt.work_seq - 1, AckResult::Refused("disk_full".into()));
    world.change(Dies::No, |desk, decide| desk::on_ack(desk, decide, &key(0), &late));
    assert_eq!(world.endings("m"), 0, "another copy's");
    let refused = ack(&prompt.id, prompt.work_seq, AckResult::Refused("disk_full".into()));
    world.change(Dies::No, |desk, decide| desk::on_ack(desk, decide, &key(1), &refused));
    assert_eq!(world.endings("m"), 0, "not the holder's");
    for _ in 0..2 {
        world.change(Dies::No, |desk, decide| desk::on_ack(desk, decide, &key(0), &refused));
    }
    assert_eq!((world.endings("m"), world.ending("m")), (1, "disk_full"));
}
