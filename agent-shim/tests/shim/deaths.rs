use mailbox::host::HostMailbox as _;
use mailbox::message::Phase;
use mailbox::sweep::{Change, reasons};

use crate::runner::{Runner, exit, gone, runs, signal};

/// A program that takes long when it is run for the first time.
const ONCE: &str = "if [ -e \"$HOME/again\" ]; then exit; fi\ntouch \"$HOME/again\"\nsleep 100000\n";

#[test]
fn an_agent_that_dies_is_told_and_its_prompt_done_once_more_in_a_fresh_process_that_knows_the_conversation() {
    let mut runner = Runner::new();
    runner.prompt("zero", "say before");
    runner.spawn();
    runner.until_ended("zero");
    runner.prompt("one", "exit 3");
    let ended = runner.until_ended("one");
    assert_eq!((&ended["stop-reason"], &ended["attempt"]), (&"end_turn".into(), &2.into()));
    let died = runner.told("state").into_iter().find(|state| state["error"] == reasons::AGENT_DIED).unwrap();
    assert_eq!(died["message"], "the agent ended with code 3");
    assert!(runner.changes.contains(&("one".into(), Change::SendAgain)));
    assert!(runner.log().iter().any(|line| line.get("load").is_some() && line["refused"].is_null()));
    // The stand-in says back what it does not understand: it was told what had happened.
    assert!(runner.said().contains("An earlier attempt"));
    assert_eq!(runner.told("turn.ended").len(), 2);
}

#[test]
fn an_agent_that_cannot_load_is_not_sent_the_same_twice() {
    let mut runner = Runner::new();
    runner.load = false;
    runner.prompt("one", "exit 3");
    runner.spawn();
    let ended = runner.until_ended("one");
    assert_eq!((&ended["stop-reason"], &ended["error"]), (&"error".into(), &reasons::AGENT_DIED.into()));
    runner.prompt("two", "say on");
    assert_eq!(runner.until_ended("two")["stop-reason"], "end_turn");
    assert_eq!(runner.log().iter().filter(|line| line["text"] == "exit 3").count(), 1);
}

#[test]
fn a_shim_that_is_killed_leaves_an_agent_that_the_next_one_ends_before_it_begins() {
    let mut runner = Runner::new();
    runner.script("once.sh", ONCE);
    runner.prompt("one", "say running; run once.sh");
    let first = runner.spawn();
    runner.until("it runs", |runner| runner.said().contains("running") && runner.home().join("again").exists());
    let agent = u32::try_from(runner.log()[0]["pid"].as_u64().unwrap()).unwrap();
    runner.shim.as_mut().unwrap().kill().unwrap();
    runner.until("it is settled", |runner| runner.changes.contains(&("one".into(), Change::SendAgain)));
    assert!(runner.spawn() > first);
    gone(agent);
    runner.until_ended("one");
    let attempts: Vec<_> = runner.told("turn.started").iter().map(|started| started["attempt"].as_i64()).collect();
    assert_eq!(attempts, [Some(1), Some(2)]);
}

/// The fencing of docs/spec/session-mailbox.md 6: a process that was stopped, replaced, and goes on.
#[test]
fn a_process_that_comes_back_after_it_was_replaced_writes_nothing_more() {
    let mut runner = Runner::new();
    runner.script("once.sh", ONCE);
    runner.prompt("one", "say running; run once.sh");
    runner.spawn();
    runner.until("it runs", |runner| runner.said().contains("running") && runner.home().join("again").exists());
    let agent = u32::try_from(runner.log()[0]["pid"].as_u64().unwrap()).unwrap();
    let mut old = runner.shim.take().unwrap();
    signal(old.id(), "STOP");
    // As where locks do not hold.
    std::fs::remove_file(runner.host.places().outside().join("shim.lock")).unwrap();
    runner.until("it is settled", |runner| !runner.changes.is_empty());
    runner.spawn();
    gone(agent);
    runner.until_ended("one");
    let outputs = runner.host.outputs(0, 10_000, 1 << 30).unwrap().len();
    signal(old.id(), "CONT");
    assert_eq!(exit(&mut old), Some(76));
    runner.step();
    assert_eq!(runner.host.outputs(0, 10_000, 1 << 30).unwrap().len(), outputs);
    assert_eq!(runner.told("turn.ended").len(), 1);
    assert!(runner.worker.events.iter().all(|event| event.kind != "tombstone"));
}

#[test]
fn a_turn_goes_on_without_a_runner_and_what_was_said_meanwhile_comes_later() {
    let mut runner = Runner::new();
    runner.prompt("one", "wait 300; say alone; stream 50");
    runner.spawn();
    // Nobody reads until it is all said.
    let deadline = std::time::Instant::now() + crate::runner::SOON;
    while runner.state().is_none_or(|state| state.phase != Phase::Idle || state.progress_at.is_none()) {
        assert!(std::time::Instant::now() < deadline);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(runner.worker.events.is_empty());
    runner.until_ended("one");
    assert!(runner.said().starts_with("alone0 1 "));
    assert!(runs(runner.shim.as_ref().unwrap().id()));
}
