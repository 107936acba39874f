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
