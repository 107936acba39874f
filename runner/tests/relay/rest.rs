//! Sessions in which nothing goes on.

use std::time::{Duration, Instant};

use mailbox::doorbell::Watcher;

use super::machine::Machine;
use super::plane::PATIENCE;

/// A session at rest is looked at every ten seconds. What is waited for here comes in less, unless it waits for such a look.
const QUIET: Duration = Duration::from_secs(6);

#[test]
fn a_session_without_work_opens_its_files_seldom_and_answers_at_once() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    let _runner = machine.start(&[("IDLE_EXIT", "1s")]);
    plane.say("s1", "one", "say first");
    assert_eq!(plane.ended("s1", "one"), "end_turn");
    let deadline = Instant::now() + PATIENCE;
    while !machine.processes().is_empty() {
        assert!(Instant::now() < deadline, "an idle process ends");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Each look of the runner's opens this file for writing, and closes it.
    let mut looks = Watcher::new().unwrap();
    looks.add(1, &machine.session("s1").inbound());
    while !looks.wait(QUIET).unwrap().is_empty() {
        assert!(Instant::now() < deadline, "it opens its files again and again");
    }
    // The next look is a while ahead after this one: what is answered now has not waited for it.
    assert_eq!(looks.wait(PATIENCE).unwrap(), [1], "it looks now and then");
    plane.say("s1", "two", "say second");
    let asked = Instant::now();
    while machine.processes().is_empty() {
        assert!(asked.elapsed() < QUIET, "work waits until the session is looked at");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(plane.ended("s1", "two"), "end_turn");
}
