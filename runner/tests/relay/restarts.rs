use sessions::mailbox::desk::{Told, Verdict};

use super::machine::Machine;

fn running(machine: &Machine, id: &str) {
    machine.plane.until("it runs", |state| {
        let is_it = |told: &Told| matches!(told, Told::TurnStarted { message_id } if message_id == id);
        state.sessions.get("s1")?.told.iter().any(is_it).then_some(())
    });
}

#[test]
fn a_runner_that_is_killed_or_stopped_in_a_turn_leaves_it_to_the_next() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    let mut runner = machine.start(&[]);
    plane.say("s1", "one", "say begun; wait 3000; stream 30");
    running(&machine, "one");
    let before = machine.processes();
    runner.kill();
    let mut runner = machine.start(&[]);
    assert_eq!(machine.processes(), before, "the same process goes on");
    assert_eq!(plane.ended("s1", "one"), "end_turn");
    plane.say("s1", "two", "say begun; wait 3000; say done");
    running(&machine, "two");
    runner.stop();
    assert_eq!(machine.processes(), before, "one that is stopped leaves it too");
    let _runner = machine.start(&[]);
    assert_eq!(plane.ended("s1", "two"), "end_turn");
    assert!(plane.said("s1").ends_with("begundone"), "{}", plane.said("s1"));
    assert_eq!((machine.noted("wait 3000; stream"), machine.noted("wait 3000; say")), (1, 1));
}

#[test]
fn a_shim_that_is_killed_in_a_turn_is_followed_by_another_one_that_is_told_so() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    let _runner = machine.start(&[]);
    plane.say("s1", "one", "say begun; wait 2000; say done");
    running(&machine, "one");
    for pid in machine.processes() {
        assert!(std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
    }
    assert_eq!(plane.ended("s1", "one"), "end_turn");
    assert_eq!(machine.noted("wait 2000"), 2);
    assert_eq!(machine.noted("interrupted"), 1, "the second time it is told what happened");
    assert_eq!(plane.lock().sessions["s1"].endings("one").len(), 1);
}

/// Row of docs/spec/session-mailbox.md 6: "Past".
#[test]
fn an_old_state_that_is_put_back_runs_nothing_twice() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    let mut runner = machine.start(&[("IDLE_EXIT", "1s")]);
    plane.say("s1", "one", "say first");
    assert_eq!(plane.ended("s1", "one"), "end_turn");
    runner.stop();
    let copy = machine.state().with_file_name("copy");
    let copied = |from: &std::path::Path, to: &std::path::Path| {
        assert!(std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
    };
    copied(&machine.state(), &copy);
    let mut runner = machine.start(&[("IDLE_EXIT", "1s")]);
    plane.say("s1", "two", "say second");
    assert_eq!(plane.ended("s1", "two"), "end_turn");
    runner.stop();
    let deadline = std::time::Instant::now() + super::plane::PATIENCE;
    while !machine.processes().is_empty() {
        assert!(std::time::Instant::now() < deadline, "an idle process ends");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    machine.lose();
    copied(&copy, &machine.state());
    let _runner = machine.start(&[]);
    plane.say("s1", "three", "say third");
    assert_eq!(plane.ended("s1", "three"), "end_turn");
    assert_eq!((plane.said("s1").as_str(), machine.noted("say second")), ("firstsecondthird", 1));
    assert_eq!(std::fs::read_dir(machine.state().join("stale")).unwrap().count(), 1);
    assert_ne!(Verdict::Stale, Verdict::Keep);
}

#[test]
fn of_two_runners_on_copies_one_ends_and_ends_what_it_started() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    let mut first = machine.start(&[]);
    plane.say("s1", "one", "say begun; wait 600000");
    running(&machine, "one");
    let copy = machine.state().with_file_name("copy");
    assert!(std::process::Command::new("cp").arg("-a").arg(machine.state()).arg(&copy).status().unwrap().success());
    let copy = copy.to_str().unwrap().to_owned();
    let _second = machine.start(&[("RUNNER_STATE_DIR", &copy)]);
    assert_eq!(first.ended(), Some(76), "{}", first.log());
    let state = machine.session("s1").inside().to_str().unwrap().to_owned();
    let left = machine.processes().into_iter().filter(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&state)
    });
    assert_eq!(left.count(), 0, "{}", first.log());
}
