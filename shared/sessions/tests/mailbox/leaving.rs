//! Sessions that cannot be opened, leave their runner, or are canceled (session-mailbox.md 7.4, 7.5, 7.7).

use serde_json::json;
use sessions::mailbox::desk::{self, NotTaken, Released, Told, Verdict};
use sessions::mailbox::{Offline, limits};

use crate::world::{Dies, World, key};

fn close(world: &mut World, force: bool) -> Result<(), NotTaken> {
    let id = world.id();
    world.change(Dies::No, |desk, decide| desk::close(desk, decide, &id, "moved", true, force)).unwrap()
}

fn cancel(world: &mut World) -> Result<(), NotTaken> {
    let id = world.id();
    world.change(Dies::No, |desk, decide| desk::cancel(desk, decide, &id, 2_000)).unwrap()
}

fn turn() -> World {
    let mut world = World::new();
    world.attach(0, Dies::No);
    world.message(Dies::No, "m");
    world.serve(0);
    world.machines[0].work(1, false);
    world.machines[0].work(1, false);
    world.deliver(0);
    world.serve(0);
    world
}

fn released(world: &World) -> Vec<Released> {
    let why = |told: &Told| match told {
        Told::Released(why) => Some(*why),
        _ => None,
    };
    world.told.iter().filter_map(why).collect()
}

#[test]
fn a_session_moves_when_its_runner_has_closed_it() {
    let mut world = World::new();
    world.attach(0, Dies::No);
    world.message(Dies::No, "m");
    world.calm();
    let lease = world.desk().lease;
    world.chosen = 1;
    close(&mut world, false).unwrap();
    world.message(Dies::No, "next");
    assert_eq!(world.desk().prompt, None, "it waits for the next one");
    world.calm();
    assert_eq!(released(&world), [Released::Moved]);
    assert_eq!(world.machines[1].runs["next"], 1);
    assert!(world.desk().lease > lease);
    assert_eq!(world.attach(0, Dies::No), Some(Verdict::Gone));
}

#[test]
fn a_turn_is_broken_off_only_by_force() {
    let mut world = turn();
    assert_eq!(close(&mut world, false), Err(NotTaken::TurnRunning));
    world.chosen = 1;
    close(&mut world, true).unwrap();
    assert_eq!(close(&mut world, true), Err(NotTaken::Closing));
    world.goes(0, Offline::Timeout, Dies::No);
    world.wait(limits::CLOSE_MS);
    assert_eq!((released(&world), world.ending("m")), (vec![Released::Moved], "turn-interrupted"));
}

#[test]
fn without_an_answer_and_without_force_it_stays() {
    let mut world = World::new();
    world.attach(0, Dies::No);
    world.message(Dies::No, "m");
    world.calm();
    world.goes(0, Offline::Timeout, Dies::No);
    close(&mut world, false).unwrap();
    world.wait(limits::CLOSE_MS - 1);
    assert_eq!(world.count(|told| *told == Told::NotMoved), 0);
    world.wait(1);
    assert_eq!((world.count(|told| *told == Told::NotMoved), released(&world).len()), (1, 0));
    world.message(Dies::No, "next");
    world.calm();
    assert_eq!(world.ending("next"), "end_turn");
}

#[test]
fn what_no_agent_had_moves_along() {
    let mut world = World::new();
    world.attach(0, Dies::No);
    world.message(Dies::No, "m");
    world.calm();
    world.message(Dies::No, "next");
    world.chosen = 1;
    close(&mut world, false).unwrap();
    world.calm();
    assert_eq!((world.ending("next"), world.machines[1].runs["next"]), ("end_turn", 1));
    assert_eq!(world.machines[0].runs.get("next"), None);
}

#[test]
fn where_nothing_was_given_out_nobody_is_asked() {
    let mut world = World::new();
    world.goes(0, Offline::Timeout, Dies::No);
    world.message(Dies::No, "m");
    world.chosen = 1;
    close(&mut world, false).unwrap();
    assert_eq!(released(&world), [Released::Moved]);
    world.calm();
    assert_eq!(world.machines[1].runs["m"], 1);
    let mut world = World::new();
    world.message(Dies::No, "m");
    cancel(&mut world).unwrap();
    assert_eq!((released(&world), world.ending("m")), (vec![Released::Canceled], "canceled"));
    assert_eq!(cancel(&mut world), Err(NotTaken::NotHeld));
}

#[test]
fn canceling_ends_the_turn_and_the_session_is_nobodys() {
    let mut world = turn();
    cancel(&mut world).unwrap();
    cancel(&mut world).unwrap();
    assert_eq!(world.desk().items.len(), 1, "twice is once");
    let refused = world.change(Dies::No, |desk, decide| desk::interrupt(desk, decide, "i")).unwrap();
    assert_eq!(refused, Err(NotTaken::Closing));
    world.calm();
    assert_eq!((world.endings("m"), world.ending("m")), (1, "cancelled"));
    assert_eq!(released(&world), [Released::Canceled]);
}

#[test]
fn canceling_does_not_wait_for_a_runner_that_is_away() {
    let mut world = turn();
    cancel(&mut world).unwrap();
    world.goes(0, Offline::Timeout, Dies::No);
    world.wait(limits::CLOSE_MS + 2_000);
    assert_eq!((world.endings("m"), released(&world)), (1, vec![Released::Canceled]));
    assert_eq!(world.attach(0, Dies::No), Some(Verdict::Gone));
}

#[test]
fn a_session_that_cannot_be_opened_ends_the_prompt_and_the_next_one_tries_again() {
    let mut world = World::new();
    world.attach(0, Dies::No);
    world.message(Dies::No, "m");
    world.serve(0);
    let lease = Some(world.desk().lease);
    let data = Some(json!({"reason": "agent-missing", "message": "no such agent"}));
    let notice = desk::Notice { code: "open.failed".into(), message: String::new(), lease, data };
    world.change(Dies::No, |desk, decide| desk::on_notice(desk, decide, &key(0), notice)).unwrap().unwrap();
    assert_eq!((world.ending("m"), world.endings("m")), ("agent-missing", 1));
    assert_eq!(world.count(|told| matches!(told, Told::OpenFailed { .. })), 1);
    world.machines[0].copy = None;
    world.machines[0].die();
    world.attach(0, Dies::No);
    world.message(Dies::No, "next");
    world.calm();
    assert_eq!(world.ending("next"), "end_turn");
}

#[test]
fn a_runner_that_is_there_opens_a_session_in_time() {
    let mut world = World::new();
    world.attach(0, Dies::No);
    world.message(Dies::No, "m");
    world.serve(0);
    world.poll(0, Dies::No).unwrap();
    world.wait(limits::OPEN_MS - 1);
    assert_eq!(world.endings("m"), 0);
    world.goes(0, Offline::Timeout, Dies::No);
    world.wait(limits::OPEN_MS);
    assert_eq!(world.endings("m"), 0, "while it is away its time stands still");
    world.seen(0);
    let lease = world.desk().lease;
    world.wait(limits::OPEN_MS);
    assert_eq!((world.ending("m"), world.desk().lease), ("open-timeout", lease + 1));
}

#[test]
fn a_session_that_its_runner_closes_is_opened_again_for_the_next_message() {
    let mut world = World::new();
    world.attach(0, Dies::No);
    world.message(Dies::No, "m");
    world.calm();
    let lease = Some(world.desk().lease);
    let closed =
        desk::Notice { code: "closed".into(), message: String::new(), lease, data: Some(json!({"transcript": null})) };
    world.change(Dies::No, |desk, decide| desk::on_notice(desk, decide, &key(0), closed)).unwrap().unwrap();
    world.message(Dies::No, "next");
    world.calm();
    let opened = world.count(|told| matches!(told, Told::Opened { .. }));
    assert_eq!((world.ending("next"), opened, released(&world).len()), ("end_turn", 2, 0));
}

#[test]
fn files_of_a_session_are_counted() {
    use desk::{Files, FilesRefused};
    let files = |count, bytes| Files { count, bytes };
    let cases = [
        (files(0, 0), limits::MAX_FILE_BYTES, Ok(())),
        (files(0, 0), limits::MAX_FILE_BYTES + 1, Err(FilesRefused::TooLarge)),
        (files(limits::MAX_FILES - 1, 0), 1, Ok(())),
        (files(limits::MAX_FILES, 0), 1, Err(FilesRefused::Quota)),
        (files(1, limits::MAX_FILES_BYTES - 1), 1, Ok(())),
        (files(1, limits::MAX_FILES_BYTES - 1), 2, Err(FilesRefused::Quota)),
        (files(1, u64::MAX), 2, Err(FilesRefused::Quota)),
    ];
    for (files, size, expected) in cases {
        assert_eq!(files.admit(size), expected, "{files:?} {size}");
    }
}
