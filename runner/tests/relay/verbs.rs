use super::machine::Machine;

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_runner_is_started_found_and_stopped_and_its_sessions_go_on() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    assert_eq!(machine.verb(&["status"]).0, 3);
    let (exit, text) = machine.verb(&["start", "--json"]);
    assert_eq!(exit, 0, "{text}");
    assert_eq!(json(&text)["data"]["started"], true, "{text}");
    let (exit, text) = machine.verb(&["status", "--json"]);
    assert_eq!((exit, &json(&text)["data"]["status"]), (0, &"ready".into()), "{text}");
    plane.say("s1", "one", "say begun; wait 4000; say done");
    plane.until("it runs", |state| {
        let told = &state.sessions["s1"].told;
        told.iter().any(|told| matches!(told, sessions::mailbox::desk::Told::TurnStarted { .. })).then_some(())
    });
    let (_, text) = machine.verb(&["sessions", "--json"]);
    let told = &json(&text)["data"]["sessions"][0];
    assert_eq!((&told["session-id"], &told["state"]), (&"s1".into(), &"running".into()));
    assert!(told["queued"].as_u64().unwrap() >= 1, "{told}");
    let (exit, text) = machine.verb(&["stop"]);
    assert_eq!(exit, 0, "{text}");
    assert_eq!(machine.processes().len(), 1, "the turn goes on");
    let (exit, text) = machine.verb(&["start"]);
    assert_eq!(exit, 0, "{text}");
    assert_eq!(plane.ended("s1", "one"), "end_turn");
    assert_eq!(machine.verb(&["stop"]).0, 0);
    assert_ne!(machine.verb(&["stop"]).0, 0, "there is none any more");
}

#[test]
fn a_start_that_fails_says_why() {
    let machine = Machine::new("plain");
    machine.plane.lock().is_off = true;
    let (exit, text) = machine.verb(&["start"]);
    assert_ne!(exit, 0);
    assert!(text.contains("the worker offers no mailbox"), "{text}");
    assert_eq!(machine.verb(&["status"]).0, 3);
}

#[test]
fn what_is_told_without_a_runner() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    assert_eq!(machine.verb(&["sessions"]).1, "SESSION  STATE  GEN  DRIVER  QUEUED  UNSENT  PID  LAST\nCount: 0\n");
    let mut runner = machine.start(&[]);
    plane.say("s1", "one", "say hello");
    assert_eq!(plane.ended("s1", "one"), "end_turn");
    runner.stop();
    assert_eq!(machine.verb(&["logs", "s1"]).0, 0);
    assert_eq!(machine.verb(&["logs", "another"]).0, 3);
    assert!(machine.verb(&["sessions"]).1.ends_with("Count: 1\n"));
    let (exit, text) = machine.verb(&["doctor"]);
    assert_eq!(exit, 0, "{text}");
    for line in ["ok driver-missing", "warn driver-is-no-boundary", "ok agent-missing claude", "ok inotify-limit"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!text.contains("tunnel-missing"), "{text}");
    let (exit, text) = machine.verb(&["unregister"]);
    assert_eq!((exit, text.as_str()), (0, "workstation: deleted\n"));
    assert!(!machine.state().join("token").exists());
    let (exit, text) = machine.verb(&["service", "install"]);
    assert!(exit == 0 && text.contains("systemctl --user enable --now logseq-runner.service"), "{text}");
}

#[test]
fn a_stop_that_drains_waits_for_the_turn_and_takes_no_other() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    assert_eq!(machine.verb(&["start"]).0, 0);
    plane.say("s1", "one", "say begun; wait 3000; say done");
    plane.until("it runs", |state| {
        let told = &state.sessions.get("s1")?.told;
        told.iter().any(|told| matches!(told, sessions::mailbox::desk::Told::TurnStarted { .. })).then_some(())
    });
    let began = std::time::Instant::now();
    let stopping = std::thread::scope(|scope| {
        let stopping = scope.spawn(|| machine.verb(&["stop", "--drain", "60"]));
        plane.ended("s1", "one");
        plane.say("s1", "two", "say late");
        stopping.join().unwrap()
    });
    assert_eq!(stopping.0, 0, "{}", stopping.1);
    assert!(began.elapsed() < std::time::Duration::from_secs(55), "it does not wait for longer than the turn");
    assert_eq!(plane.lock().sessions["s1"].endings("one"), ["end_turn"]);
    assert_eq!(machine.noted("say late"), 0);
    // Whoever comes next has it.
    assert_eq!(machine.verb(&["start"]).0, 0);
    assert_eq!(plane.ended("s1", "two"), "end_turn");
    let detached = plane.lock().asked.iter().filter(|(path, _)| path.ends_with("/detach")).count();
    assert_eq!(detached, 1);
}

#[test]
fn a_stop_that_is_to_kill_ends_what_works_for_sessions_and_a_restart_is_an_upgrade() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    assert_eq!(machine.verb(&["start"]).0, 0);
    plane.say("s1", "one", "say begun; wait 600000");
    plane.until("it runs", |state| {
        let told = &state.sessions.get("s1")?.told;
        told.iter().any(|told| matches!(told, sessions::mailbox::desk::Told::TurnStarted { .. })).then_some(())
    });
    let reason = |plane: &super::plane::Plane| {
        let state = plane.lock();
        let last = state.asked.iter().rfind(|(path, _)| path.ends_with("/detach")).unwrap();
        last.1["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(machine.verb(&["restart"]).0, 0);
    assert_eq!((reason(plane).as_str(), machine.processes().len()), ("upgrade", 1), "the turn goes on");
    // A turn that does not end in time is left alone, unless it is to end.
    let (exit, text) = machine.verb(&["stop", "--drain", "1"]);
    assert!(exit == 0 && text.contains("turns still run"), "{text}");
    assert_eq!(machine.processes().len(), 1);
    assert_eq!(machine.verb(&["start"]).0, 0);
    assert_eq!(machine.verb(&["stop", "--kill-sessions"]).0, 0);
    assert_eq!((reason(plane).as_str(), machine.processes().len()), ("stop", 0));
    let (exit, text) = machine.verb(&["stop", "--drain", "soon"]);
    assert_eq!(exit, 64, "{text}");
}
