use std::os::unix::fs::PermissionsExt as _;

use sessions::mailbox::desk::{self, Told};
use sessions::mailbox::runner;

use super::machine::Machine;
use super::plane::{RUNNER_TIMES, State, now};

#[test]
fn a_canceled_session_ends_its_agent_and_says_so_after_everything_else() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    let mut runner = machine.start(&[]);
    plane.say("s1", "one", "say begun; wait 600000");
    plane.told("s1", "it runs", |told| matches!(told, Told::TurnStarted { .. }).then_some(()));
    plane.change("s1", |desk, decide| desk::cancel(desk, decide, "cancel", 2_000)).unwrap();
    plane.told("s1", "it is closed", |told| matches!(told, Told::Closed { .. }).then_some(()));
    assert_eq!(plane.lock().sessions["s1"].endings("one"), ["cancelled"]);
    assert!(machine.processes().is_empty());
    // Nothing of it is there for the next runner.
    runner.stop();
    let mut runner = machine.start(&[]);
    assert!(machine.processes().is_empty());
    runner.stop();
}

#[test]
fn a_deleted_runner_ends_what_it_started_and_keeps_the_files() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    let mut first = machine.start(&[]);
    plane.say("s1", "one", "say begun; wait 600000");
    plane.told("s1", "it runs", |told| matches!(told, Told::TurnStarted { .. }).then_some(()));
    {
        let mut state = plane.lock();
        let State { runner: object, waiting, .. } = &mut *state;
        let mut decide = runner::Decide::new(now(), &RUNNER_TIMES);
        runner::revoke(object.as_mut().unwrap(), &mut decide);
        waiting.end(runner::Woken::Revoked);
    }
    plane.shared.1.notify_all();
    assert_eq!(first.ended(), Some(76), "{}", first.log());
    assert!(machine.processes().is_empty());
    assert!(machine.session("s1").inbound().is_file());
    assert!(!machine.state().join("token").exists());
}

#[test]
fn files_are_for_their_owner_alone() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    let mut runner = machine.start(&[]);
    plane.say("s1", "one", "say hello");
    assert_eq!(plane.ended("s1", "one"), "end_turn");
    runner.stop();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let (state, session) = (machine.state(), machine.session("s1"));
    for folder in [state.clone(), session.folder().to_owned(), session.inside(), session.outside(), session.home()] {
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
    }
    for file in [
        state.join("token"),
        state.join("instance.json"),
        session.folder().join("session.json"),
        session.folder().join("spawn.json"),
        session.inside().join("config.json"),
        session.folder().join("log/shim.log"),
    ] {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn each_failure_has_its_exit_code() {
    let machine = Machine::new("plain");
    assert_eq!(machine.begin(&[("TOKEN", "another")]).ended(), Some(77));
    assert_eq!(machine.begin(&[("RUNNER_SHIM", "/no/such/shim")]).ended(), Some(78));
    assert_eq!(machine.begin(&[("RUNNER_DRIVER", "container")]).ended(), Some(78));
    let mut off = machine.begin(&[]);
    machine.plane.lock().is_off = true;
    assert_eq!(off.ended(), Some(1), "{}", off.log());
}

#[test]
fn a_token_that_counts_no_more_is_followed_by_another_registration() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    let mut runner = machine.start(&[]);
    runner.stop();
    std::fs::write(machine.state().join("token"), "lrt_broken").unwrap();
    let _runner = machine.start(&[]);
    assert_eq!(plane.lock().registrations.len(), 2);
    plane.say("s1", "one", "say hello");
    assert_eq!(plane.ended("s1", "one"), "end_turn");
}

/// Rows of docs/spec/session-mailbox.md 8.2 and 8.3: `[allow]` is read again with SIGHUP, and `login`.
#[test]
fn a_hang_up_has_the_agents_and_who_may_use_them_read_again() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    let config = machine.state().with_file_name("config.toml");
    let before = std::fs::read_to_string(&config).unwrap();
    let login = machine.state().with_file_name("login.json");
    std::fs::write(&login, "secret").unwrap();
    std::fs::write(&config, format!("{before}login = [{login:?}]\n")).unwrap();
    let mut runner = machine.start(&[]);
    plane.say("s1", "one", "say hello");
    assert_eq!(plane.ended("s1", "one"), "end_turn");
    assert_eq!(std::fs::read_to_string(machine.session("s1").home().join("login.json")).unwrap(), "secret");
    let again = |text: &str, told: &str| {
        std::fs::write(&config, text).unwrap();
        assert!(
            std::process::Command::new("kill").args(["-HUP", &runner.pid().to_string()]).status().unwrap().success()
        );
        plane.until(told, |_| runner.log().contains(told).then_some(()));
    };
    again("[allow]\nusers = 1\n", "everything stays as it is set");
    plane.say("s1", "two", "say hello");
    assert_eq!(plane.ended("s1", "two"), "end_turn");
    again(&format!("{before}\n[allow]\nusers = [\"bob\"]\n"), "were read again");
    plane.say("s1", "three", "say hello");
    assert_eq!(plane.ended("s1", "three"), "not allowed by the runner");
    runner.stop();
    let log = std::fs::read_to_string(machine.state().join("log/runner.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["level"] == "info" && line["message"] == "stopping"), "{log}");
}

#[test]
fn what_hides_from_its_agent_ends_with_it_where_control_groups_can_be_made() {
    let machine = Machine::new("plain");
    if !machine.verb(&["doctor"]).1.contains("ok cgroup-missing") {
        eprintln!("no control group can be made here");
        return;
    }
    let plane = &machine.plane;
    let mut runner = machine.start(&[]);
    plane.say("s1", "one", "say ready");
    assert_eq!(plane.ended("s1", "one"), "end_turn");
    let home = machine.session("s1").home();
    // No mark, no parent, no session, no group of processes by which it could be found.
    let script = "env -i PATH=\"$PATH\" setsid sh -c 'echo $$ > \"$1\"; exec sleep 600' x \"$HOME/pid\" >/dev/null 2>&1 </dev/null &";
    std::fs::write(home.join("hide.sh"), script).unwrap();
    plane.say("s1", "two", "run hide.sh");
    assert_eq!(plane.ended("s1", "two"), "end_turn");
    let hidden =
        plane.until("it has hidden", |_| std::fs::read_to_string(home.join("pid")).ok()?.trim().parse::<u32>().ok());
    let lives = || {
        let stat = std::fs::read_to_string(format!("/proc/{hidden}/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| !matches!(rest.trim_start().chars().next(), Some('Z' | 'X')))
    };
    assert!(lives());
    for pid in machine.processes() {
        assert!(std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
    }
    plane.until("it is gone", |_| (!lives()).then_some(()));
    plane.say("s1", "three", "say fine");
    assert_eq!(plane.ended("s1", "three"), "end_turn");
    runner.stop();
}
