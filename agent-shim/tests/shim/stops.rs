use crate::runner::{Runner, gone, runs};
use mailbox::HostMailbox as _;

/// A program that leaves its group and its session, and whose parent is dead.
const ESCAPE: &str = "setsid sh -c 'sleep 100000 & echo $! > \"$HOME/pid\"' </dev/null >/dev/null 2>&1\nwhile [ ! -s \"$HOME/pid\" ]; do sleep 0.05; done\n";

fn escaped(runner: &Runner) -> u32 {
    std::fs::read_to_string(runner.home().join("pid")).unwrap().trim().parse().unwrap()
}

/// Row of docs/spec/session-mailbox.md 5: "Tools survive the kill".
#[test]
fn an_interrupt_ends_what_the_turn_has_started_and_proves_it() {
    let mut runner = Runner::new();
    runner.script("escape.sh", ESCAPE);
    runner.prompt("one", "run escape.sh; say running; wait 600000");
    runner.spawn();
    runner.until("it runs", |runner| runner.said().contains("running"));
    let pid = escaped(&runner);
    assert!(runs(pid));
    runner.host.interrupt(runner.work_seq()).unwrap();
    let ended = runner.until_ended("one");
    assert_eq!((&ended["stop-reason"], &ended["stopped"]), (&"cancelled".into(), &"killed".into()));
    assert!(!runs(pid), "proven before it is told");
    assert_eq!(runner.state().unwrap().interrupted_through, runner.work_seq());
    // The agent itself lives, and the next prompt is not hit by the same interrupt, however often it comes.
    runner.host.interrupt(runner.work_seq()).unwrap();
    runner.prompt("two", "say next");
    assert_eq!(runner.until_ended("two")["stop-reason"], "end_turn");
    assert_eq!(runner.told("opened").len(), 1);
}

#[test]
fn an_agent_that_does_not_stop_is_ended_with_its_tools_and_the_next_prompt_loads_the_conversation() {
    let mut runner = Runner::new();
    runner.script("escape.sh", ESCAPE);
    runner.prompt("zero", "say before");
    runner.spawn();
    runner.until_ended("zero");
    runner.prompt("one", "run escape.sh; deaf; say running; wait 600000");
    runner.until("it runs", |runner| runner.said().contains("running"));
    let pid = escaped(&runner);
    runner.host.interrupt(runner.work_seq()).unwrap();
    let ended = runner.until_ended("one");
    assert_eq!((&ended["stop-reason"], &ended["stopped"]), (&"cancelled".into(), &"killed".into()));
    gone(pid);
    runner.prompt("two", "recall");
    runner.until_ended("two");
    assert!(runner.said().contains("say before | run escape.sh"), "{}", runner.said());
    assert_eq!(runner.told("opened")[1]["loaded"], true);
}

#[test]
fn an_interrupt_that_comes_before_its_prompt_is_taken_ends_it() {
    let mut runner = Runner::new();
    runner.prompt("one", "say never");
    runner.host.interrupt(runner.work_seq()).unwrap();
    runner.prompt("two", "say next");
    runner.spawn();
    assert_eq!(runner.until_ended("one")["stop-reason"], "cancelled");
    assert_eq!(runner.until_ended("two")["stop-reason"], "end_turn");
    assert_eq!((runner.said().as_str(), runner.log().len()), ("next", 1));
}

#[test]
fn a_turn_that_takes_longer_than_a_person_allows_is_ended() {
    let mut runner = Runner::new();
    runner.limits.turn_limit_ms = 300;
    runner.prompt("one", "wait 600000");
    runner.spawn();
    assert_eq!(runner.until_ended("one")["stop-reason"], "cancelled");
}

#[test]
fn a_wish_to_end_ends_the_agent_with_its_tools() {
    let mut runner = Runner::new();
    runner.script("escape.sh", ESCAPE);
    runner.prompt("one", "run escape.sh; say running; wait 600000");
    runner.spawn();
    runner.until("it runs", |runner| runner.said().contains("running"));
    let pid = escaped(&runner);
    runner.host.ask_to_stop(1).unwrap();
    assert_eq!(runner.exit(), Some(0));
    gone(pid);
}
