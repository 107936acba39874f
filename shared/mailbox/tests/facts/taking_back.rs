use mailbox::host::{HostMailbox as _, Inserted, TakeBack};
use mailbox::message::AckStatus;
use mailbox::sweep::{Change, Process, reasons};
use mailbox::{AgentMailbox as _, FileHost};

use crate::scene::{Scene, prompt, says, take};

fn below(work_seq: i64, process: Process) -> TakeBack<'static> {
    TakeBack::Below { work_seq, process }
}

#[test]
fn what_nobody_has_is_taken_back_and_the_session_is_told_once() {
    let mut scene = Scene::new();
    scene.prompt("a", 1);
    assert_eq!(scene.host.take_back(TakeBack::One("a"), 5).unwrap(), ["a"]);
    assert!(scene.host.take_back(TakeBack::One("a"), 5).unwrap().is_empty());
    assert!(scene.host.take_back(TakeBack::One("nothing"), 5).unwrap().is_empty());
    let notes = scene.host.notes().unwrap();
    assert_eq!((notes.len(), notes[0].data.as_str()), (1, r#"{"message-id":"a","reason":"withdrawn"}"#));
    let mut agent = scene.spawn();
    assert!(agent.look(0).unwrap().fresh.is_empty());
}

#[test]
fn what_the_agents_side_has_is_not_taken_back_before_its_process_is_gone() {
    for status in [AckStatus::Processing, AckStatus::Sent] {
        let mut scene = Scene::new();
        scene.prompt("a", 1);
        let mut agent = scene.spawn();
        let message = take(&mut agent, 0);
        agent.commit(&says(&message, status), 0).unwrap();
        assert!(scene.host.take_back(TakeBack::One("a"), 5).unwrap().is_empty());
        assert!(scene.host.take_back(below(9, Process::MayLive), 5).unwrap().is_empty());
        assert_eq!(scene.status("a"), "pending");
        assert_eq!(scene.host.take_back(below(9, Process::Gone), 5).unwrap(), ["a"]);
        assert_eq!(scene.status("a"), "cancelled");
        agent.commit(&says(&message, AckStatus::Completed), 0).unwrap();
        assert!(scene.sweep(Process::MayLive).is_empty(), "later words are ignored");
    }
}

/// Each side stores first and looks then, so that at least one sees the other.
#[test]
fn a_message_that_is_taken_while_it_is_taken_back_has_one_end() {
    // The agent's side took it after the host has looked, and looks before it begins: it is not wanted any more.
    let mut scene = Scene::new();
    scene.prompt("a", 1);
    let mut agent = scene.spawn();
    let message = agent.look(0).unwrap().fresh.remove(0);
    assert_eq!(scene.host.take_back(TakeBack::One("a"), 5).unwrap(), ["a"]);
    agent.commit(&says(&message, AckStatus::Processing), 0).unwrap();
    assert!(!agent.is_wanted("a").unwrap());
    let mut skipped = says(&message, AckStatus::Skipped);
    skipped.acks[0].error = Some(reasons::CANCELLED.into());
    agent.commit(&skipped, 0).unwrap();
    assert!(scene.sweep(Process::MayLive).is_empty());
    assert_eq!(scene.host.notes().unwrap().len(), 1);
    // The host saw that it was taken and left it alone, and the agent's side had seen it taken back.
    let mut scene = Scene::new();
    scene.prompt("a", 1);
    let mut agent = scene.spawn();
    let message = take(&mut agent, 0);
    assert!(scene.host.take_back(TakeBack::One("a"), 5).unwrap().is_empty());
    let mut skipped = says(&message, AckStatus::Skipped);
    skipped.acks[0].error = Some(reasons::CANCELLED.into());
    agent.commit(&skipped, 0).unwrap();
    assert_eq!(scene.sweep(Process::MayLive)[0].1, Change::Cancel(reasons::CANCELLED));
    assert_eq!(scene.host.notes().unwrap().len(), 1);
}

#[test]
fn a_host_that_dies_while_it_takes_back_finishes_at_its_next_start() {
    let mut scene = Scene::new();
    scene.prompt("a", 1);
    scene.inbound().execute("UPDATE messages_in SET status = 'cancelled'", []).unwrap();
    let places = scene.host.places().clone();
    let host = FileHost::open(places, scene.host.settings(), 9).unwrap();
    assert_eq!(host.notes().unwrap().len(), 1);
    assert_eq!(scene.told::<i64>("SELECT ended_at FROM messages_in"), 9);
}

#[test]
fn the_higher_number_wins_whichever_comes_first() {
    let mut scene = Scene::new();
    scene.host.interrupt(5).unwrap();
    scene.host.interrupt(3).unwrap();
    assert_eq!(scene.host.control().unwrap().interrupt_seq, 5);
    assert!(matches!(scene.host.insert(&prompt("late", 4), 0).unwrap(), Inserted::Cancelled(_)));
    assert!(matches!(scene.host.insert(&prompt("next", 6), 0).unwrap(), Inserted::New(_)));
    assert_eq!(scene.host.insert(&prompt("late", 4), 0).unwrap(), Inserted::Known);
    let notes = scene.host.notes().unwrap();
    assert_eq!((notes.len(), notes[0].data.as_str()), (1, r#"{"message-id":"late","reason":"cancelled"}"#));
    let mut agent = scene.spawn();
    assert_eq!(agent.look(0).unwrap().control.interrupt_seq, 5);
    // A cancellation of the session counts for what comes later, too.
    assert_eq!(scene.host.take_back(below(8, Process::MayLive), 0).unwrap(), ["next"]);
    assert!(matches!(scene.host.insert(&prompt("later", 7), 0).unwrap(), Inserted::Cancelled(_)));
}
