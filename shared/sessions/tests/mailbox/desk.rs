//! Work on a desk (session-mailbox.md 7.4, 7.5, 7.8).

use serde_json::json;
use sessions::mailbox::desk::{self, Given, ItemKind, NewItem, NotTaken, Renewed, Told};
use sessions::mailbox::{Offline, limits};

use crate::world::{Dies, HOUR, TIMES, World, key};

fn kinds(given: &[(Given, String)]) -> Vec<&'static str> {
    given.iter().map(|(given, _)| given.item.kind.as_str()).collect()
}

fn answer(world: &mut World, id: &str) -> Result<(), NotTaken> {
    let outcome = json!({"outcome": "cancelled"});
    world.change(Dies::No, |desk, decide| desk::answer(desk, decide, id, "1.1", &outcome)).unwrap()
}

fn push(world: &mut World, id: &str) -> Result<(), NotTaken> {
    let item = NewItem::new(id, "{}".into());
    world.change(Dies::No, |desk, decide| desk::push(desk, decide, item)).unwrap()
}

#[test]
fn open_goes_before_the_first_prompt_and_numbers_grow() {
    let mut world = World::new();
    world.message(Dies::No, "m");
    let given = world.poll(0, Dies::No).unwrap();
    assert_eq!(kinds(&given), ["session.open", "prompt"]);
    assert!(given[0].0.item.work_seq < given[1].0.item.work_seq);
    assert!(given.iter().all(|(given, _)| given.lease == 1));
    assert_eq!((given[1].0.run, given[1].0.expires_in_ms), (Some((1, 1)), Some(TIMES.order_ttl_ms)));
    assert_eq!((given[0].0.run, given[0].0.expires_in_ms), (None, None));
}

#[test]
fn one_prompt_at_a_time_and_messages_wait_in_order() {
    let mut world = World::new();
    for id in ["a", "b", "c"] {
        world.message(Dies::No, id);
    }
    assert_eq!(world.orders.len(), 2);
    world.calm();
    let ends: Vec<_> = world
        .told
        .iter()
        .filter_map(|told| match told {
            Told::TurnEnded { message_id, .. } => Some(message_id.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(ends, ["a", "b", "c"]);
    assert_eq!(world.count(|told| matches!(told, Told::Opened { is_new: true, .. })), 1, "opened once");
}

#[test]
fn controls_go_first_and_do_not_wait_for_lost_ones() {
    let mut world = World::new();
    world.message(Dies::No, "m");
    world.poll(0, Dies::No).unwrap();
    push(&mut world, "p").unwrap();
    answer(&mut world, "x").unwrap();
    assert_eq!(kinds(&world.poll(0, Dies::No).unwrap()), ["permission.answer"]);
    answer(&mut world, "y").unwrap();
    world.wait(limits::REDELIVER_MS - 1);
    assert_eq!(kinds(&world.poll(0, Dies::No).unwrap()), ["permission.answer"], "not behind the one that may be lost");
    world.wait(limits::REDELIVER_MS);
    let all = ["permission.answer", "permission.answer", "session.open", "prompt", "push"];
    assert_eq!(kinds(&world.poll(0, Dies::No).unwrap()), all);
}

#[test]
fn answers_are_bounded_in_items_and_bytes() {
    let mut world = World::new();
    world.message(Dies::No, "m");
    world.calm();
    for number in 0..14 {
        let body = "x".repeat(100 << 10);
        let item = NewItem::new(&format!("p{number}"), body);
        world.change(Dies::No, |desk, decide| desk::push(desk, decide, item)).unwrap().unwrap();
    }
    let mut take = |items, bytes| {
        let given = world.change(Dies::Before, |_, _| ());
        assert_eq!(given, None);
        let change = |desk: &mut desk::Desk, decide: &mut desk::Decide<'_>| {
            let mut copy = desk.clone();
            desk::fetch(&mut copy, decide, &key(0), items, bytes).unwrap().len()
        };
        world.change(Dies::No, change).unwrap()
    };
    assert_eq!(take(50, limits::MAX_ANSWER_BYTES), limits::MAX_SESSION_ITEMS);
    assert_eq!(take(3, limits::MAX_ANSWER_BYTES), 3);
    assert_eq!(take(50, 250 << 10), 2);
    assert_eq!(take(0, limits::MAX_ANSWER_BYTES), 0);
}

#[test]
fn a_desk_is_bounded_and_its_end_has_a_place() {
    let mut world = World::new();
    world.message(Dies::No, "m");
    let too_large = NewItem::new("p", "x".repeat(limits::MAX_ITEM_BYTES + 1));
    let refused = world.change(Dies::No, |desk, decide| desk::push(desk, decide, too_large)).unwrap();
    assert_eq!(refused, Err(NotTaken::TooLarge));
    world.poll(0, Dies::No).unwrap();
    let mut taken = 2;
    while push(&mut world, &format!("p{taken}")).is_ok() {
        taken += 1;
    }
    assert_eq!(taken, limits::MAX_WAITING_ITEMS);
    assert_eq!(answer(&mut world, "x"), Err(NotTaken::Full));
    world.change(Dies::No, |desk, decide| desk::cancel(desk, decide, "c", 2_000)).unwrap().unwrap();
    assert_eq!(world.desk().items.len(), 1);
    assert_eq!(world.count(|told| matches!(told, Told::PushDone { ok: false, .. })), taken - 2);
}

#[test]
fn nobody_else_gets_anything() {
    let mut world = World::new();
    world.message(Dies::No, "m");
    let fetched = world.change(Dies::No, |desk, decide| desk::fetch(desk, decide, &key(1), 50, 1 << 20)).unwrap();
    assert_eq!(fetched, None);
    assert!(!world.desk().prompt.unwrap().was_given);
}

#[test]
fn interrupting_what_was_not_given_out_needs_no_runner() {
    let mut world = World::new();
    world.message(Dies::No, "m");
    world.change(Dies::No, |desk, decide| desk::interrupt(desk, decide, "i")).unwrap().unwrap();
    assert_eq!(world.ending("m"), "withdrawn");
    world.calm();
    assert_eq!(world.endings("m"), 1);
    assert!(world.machines[0].runs.is_empty());
}

#[test]
fn interrupting_names_the_prompt_and_twice_is_once() {
    let mut world = World::new();
    world.attach(0, Dies::No);
    world.message(Dies::No, "m");
    world.serve(0);
    for _ in 0..2 {
        world.machines[0].work(1, false);
    }
    world.deliver(0);
    let prompt = world.desk().prompt.unwrap();
    for _ in 0..2 {
        let id = world.id();
        world.change(Dies::No, |desk, decide| desk::interrupt(desk, decide, &id)).unwrap().unwrap();
    }
    let given = world.poll(0, Dies::No).unwrap();
    assert_eq!(kinds(&given), ["interrupt"], "no withdrawal of what is acknowledged");
    assert_eq!(given[0].1, json!({"through-work-seq": prompt.work_seq}).to_string());
    world.now += limits::REDELIVER_MS;
    world.calm();
    assert_eq!(world.ending("m"), "cancelled");
}

#[test]
fn a_prompt_that_is_never_fetched_expires() {
    let mut world = World::new();
    world.goes(0, Offline::Timeout, Dies::No);
    world.message(Dies::No, "m");
    world.wait(TIMES.order_ttl_ms - 1);
    assert_eq!(world.endings("m"), 0);
    world.wait(1);
    assert_eq!(world.ending("m"), "order-expired");
    world.calm();
    assert!(world.machines[0].runs.is_empty());
}

#[test]
fn a_turn_outlives_its_runner_by_a_day() {
    let mut world = World::new();
    world.attach(0, Dies::No);
    world.message(Dies::No, "m");
    world.serve(0);
    world.machines[0].work(1, false);
    world.serve(0);
    world.goes(0, Offline::Timeout, Dies::No);
    world.wait(24 * HOUR - 1);
    assert_eq!(world.endings("m"), 0);
    world.wait(1);
    assert_eq!(world.ending("m"), "runner-offline");
    // The agent goes on with it; what it says is stored, and changes nothing.
    world.machines[0].work(8, false);
    world.machines[0].work(9, false);
    world.machines[0].work(9, true);
    world.deliver(0);
    assert_eq!((world.endings("m"), world.words().len()), (1, 1));
    world.message(Dies::No, "next");
    world.calm();
    assert_eq!(world.ending("next"), "end_turn");
}

#[test]
fn what_waits_at_the_runner_for_a_day_is_withdrawn() {
    let mut world = World::new();
    world.attach(0, Dies::No);
    world.message(Dies::No, "m");
    world.serve(0);
    world.poll(0, Dies::No).unwrap();
    world.goes(0, Offline::Timeout, Dies::No);
    world.wait(24 * HOUR);
    world.serve(0);
    world.calm();
    assert_eq!((world.endings("m"), world.ending("m")), (1, "runner-offline"));
    assert!(world.machines[0].runs.is_empty(), "it had not begun, so it does not");
}

#[test]
fn an_outage_is_told_once_and_late_news_are_ignored() {
    let mut world = World::new();
    world.message(Dies::No, "m");
    world.now = 10_000;
    let before = world.presence[0];
    for _ in 0..2 {
        world.goes(0, Offline::Timeout, Dies::No);
    }
    let gone = world.presence[0];
    world.now = 50_000;
    world.seen(0);
    world.seen(0);
    for old in [before, gone] {
        world.change(Dies::No, |desk, decide| desk::on_presence(desk, decide, &key(0), old));
        world.change(Dies::No, |desk, decide| desk::on_presence(desk, decide, &key(1), gone));
    }
    assert_eq!(world.count(|told| matches!(told, Told::Offline { reason: Offline::Timeout, .. })), 1);
    assert_eq!(world.count(|told| matches!(told, Told::Online { .. })), 1);
}

#[test]
fn a_session_can_be_given_to_a_runner_that_is_away() {
    let mut world = World::new();
    world.goes(0, Offline::Stopped, Dies::No);
    world.message(Dies::No, "m");
    assert_eq!(world.count(|told| matches!(told, Told::Offline { reason: Offline::Stopped, .. })), 1);
    world.now += 9 * HOUR;
    world.calm();
    assert_eq!(world.ending("m"), "end_turn");
    assert!(matches!(world.told[1], Told::OpenNeeded));
    assert!(world.told.iter().any(|told| matches!(told, Told::Online { .. })));
}

#[test]
fn leases_are_held_by_number_and_tokens_given_for_runs_of_this_runner() {
    let mut world = World::new();
    world.attach(0, Dies::No);
    world.message(Dies::No, "m");
    let renew = |world: &mut World, machine, lease, run| {
        world.change(Dies::No, |desk, decide| desk::renew(desk, decide, &key(machine), lease, run)).unwrap()
    };
    let held = |token_for| Renewed::Held { expires_in_ms: 60_000, token_for };
    assert_eq!(renew(&mut world, 0, 1, Some((1, 1))), held(None), "not given out yet");
    world.serve(0);
    assert_eq!(renew(&mut world, 0, 1, Some((1, 1))), held(Some((1, 1))));
    assert_eq!(renew(&mut world, 0, 1, Some((2, 1))), held(None));
    assert_eq!(renew(&mut world, 0, 1, Some((1, 2))), held(None));
    assert_eq!(renew(&mut world, 0, 1, None), held(None));
    assert_eq!(renew(&mut world, 0, 2, Some((1, 1))), Renewed::Lost);
    assert_eq!(renew(&mut world, 1, 1, Some((1, 1))), Renewed::Lost);
    world.now += 100 * HOUR;
    assert_eq!(renew(&mut world, 0, 1, None), held(None), "its lapse gave the session to nobody");
}

#[test]
fn what_the_worker_gives_up_does_not_count_any_more() {
    let mut world = World::new();
    world.attach(0, Dies::No);
    world.message(Dies::No, "m");
    world.serve(0);
    world.machines[0].work(1, false);
    world.machines[0].work(1, false);
    world.deliver(0);
    world.change(Dies::No, |desk, decide| desk::abandon(desk, decide, "turn-timeout")).unwrap();
    assert_eq!(world.ending("m"), "turn-timeout");
    world.machines[0].work(2, false);
    world.send(0, world.machines[0].copy.as_ref().unwrap().delivered, 9, Dies::No);
    assert_eq!((world.words().len(), world.machines[0].copy.is_none()), (0, true), "the lease is lost");
    world.message(Dies::No, "next");
    world.calm();
    assert_eq!(world.ending("next"), "end_turn");
}

#[test]
fn kinds_have_their_names() {
    let kinds = [
        (ItemKind::Open, false),
        (ItemKind::Prompt, false),
        (ItemKind::Withdraw, true),
        (ItemKind::Answer, true),
        (ItemKind::Interrupt, true),
        (ItemKind::Cancel, true),
        (ItemKind::Close, false),
        (ItemKind::Push, false),
    ];
    for (kind, is_control) in kinds {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        assert_eq!(kind.is_control(), is_control, "{kind:?}");
    }
}
