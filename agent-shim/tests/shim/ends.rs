use std::io::Write as _;
use std::process::{Command, Stdio};

use mailbox::host::HostMailbox as _;
use mailbox::message::Phase;
use mailbox::sweep::Change;
use serde_json::Value;

use crate::runner::{Runner, SHIM, exit};

#[test]
fn a_process_without_work_ends_and_says_so_first() {
    let mut runner = Runner::new();
    runner.limits.idle_exit_ms = 300;
    runner.prompt("one", "say hi");
    runner.spawn();
    runner.until_ended("one");
    assert_eq!(runner.exit(), Some(0));
    assert_eq!(runner.state().unwrap().phase, Phase::Stopping);
    // What comes then is done by the next one.
    runner.prompt("two", "recall");
    runner.step();
    runner.spawn();
    runner.until_ended("two");
    assert!(runner.said().ends_with("say hi | recall"));
}

#[test]
fn a_process_without_a_host_ends_after_a_while() {
    let mut runner = Runner::new();
    runner.limits.orphan_limit_ms = 500;
    runner.spawn();
    assert_eq!(runner.exit(), Some(0));
    assert!(runner.shim_log().contains("orphaned"));
}

#[test]
fn a_second_process_does_not_get_the_lock() {
    let mut runner = Runner::new();
    runner.prompt("one", "say hi");
    runner.spawn();
    runner.until_ended("one");
    assert_eq!(exit(&mut runner.start()), Some(75));
}

#[test]
fn what_is_wrong_with_the_configuration_or_the_input_is_no_start() {
    let mut runner = Runner::new();
    let code = |runner: &Runner, line: &str| {
        let mut child = runner.shim_command().spawn().unwrap();
        // One that ended at once reads nothing.
        let _ = writeln!(child.stdin.take().unwrap(), "{line}");
        exit(&mut child)
    };
    let good = r#"{"v":1,"env":{}}"#;
    assert_eq!(code(&runner, good), Some(78), "no configuration");
    let generation = runner.host.begin(&mailbox::host::Spawn::default(), 0).unwrap();
    let store = |runner: &Runner, generation| runner.config(generation).store(runner.host.inside()).unwrap();
    store(&runner, generation);
    for bad in ["", "{", "null", r#"{"env":{}}"#, r#"{"v":1}"#, r#"{"v":1,"env":{"A":1}}"#, r#"{"v":2,"env":{}}"#] {
        assert_eq!(code(&runner, bad), Some(78), "{bad}");
    }
    assert_eq!(code(&runner, &"x".repeat(70_000)), Some(78));
    store(&runner, generation + 1);
    assert_eq!(code(&runner, good), Some(78), "a generation that was never made");
    store(&runner, generation - 1);
    assert_eq!(code(&runner, good), Some(76), "one that is over");
    let mut config = runner.config(generation);
    config.mailbox_id = "other".into();
    config.store(runner.host.inside()).unwrap();
    assert_eq!(code(&runner, good), Some(65), "another mailbox");
    store(&runner, generation);
    let places = runner.host.places().clone();
    for (file, told) in [(places.inbound(), "host's"), (places.outbound(), "own")] {
        let newer = |version: i64| {
            rusqlite::Connection::open(&file).unwrap().pragma_update(None, "user_version", version).unwrap();
        };
        newer(2);
        assert_eq!(code(&runner, good), Some(65), "a later version of the {told} file");
        assert!(runner.shim_log().lines().last().unwrap().contains("mailbox_newer"), "{}", runner.shim_log());
        newer(1);
    }
}

#[test]
fn an_agent_that_is_not_there_is_tried_and_given_up() {
    let mut runner = Runner::new();
    runner.command = ("/nowhere/agent".into(), vec![]);
    runner.prompt("one", "say hi");
    runner.spawn();
    assert_eq!(runner.exit(), Some(69));
    assert_eq!(runner.shim_log().matches("agent-start").count(), 6);
}

/// Row of docs/spec/session-mailbox.md 5: "Full disk cannot be reported". The test runs itself once more, on a small disk.
#[test]
fn a_full_disk_ends_the_turn_and_is_told() {
    if std::env::var_os("SMALL_DISK").is_none() {
        let may = Command::new("unshare").args(["-Urm", "true"]).stderr(Stdio::null()).status();
        if !may.is_ok_and(|status| status.success()) {
            eprintln!("not run: no namespaces here");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let script = "mount -t tmpfs -o size=4m,mode=700 none \"$1\"; export TMPDIR=\"$1\" SMALL_DISK=1; \
                      exec \"$0\" --exact ends::a_full_disk_ends_the_turn_and_is_told";
        let mut again = Command::new("unshare");
        again.args(["-Urm", "sh", "-ec", script]).arg(std::env::current_exe().unwrap()).arg(folder.path());
        assert!(again.status().unwrap().success());
        return;
    }
    let mut runner = Runner::new();
    runner.load = false;
    // The agent speaks once the disk is full: what the reserve frees must not be filled too.
    let is_full = std::env::temp_dir().join("is-full");
    runner.prompt("one", &format!("until {}; stream 2000", is_full.display()));
    runner.spawn();
    runner.until_told("turn.started");
    let filler = std::env::temp_dir().join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    std::fs::File::create(is_full).unwrap();
    runner.until("it is told", |runner| runner.changes.contains(&("one".into(), Change::Fail("disk_full".into()))));
    drop(file);
    std::fs::remove_file(filler).unwrap();
    runner.prompt("two", "say on");
    assert_eq!(runner.until_ended("two")["stop-reason"], "end_turn");
    let outbound = rusqlite::Connection::open(runner.host.places().outbound()).unwrap();
    let check: String = outbound.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

#[test]
fn the_small_verbs() {
    let run = |words: &[&str]| Command::new(SHIM).args(words).stdin(Stdio::null()).output().unwrap();
    assert_eq!(run(&["go"]).status.code(), Some(64));
    assert!(String::from_utf8(run(&["--version"]).stdout).unwrap().starts_with("agent-shim "));
    let mut runner = Runner::new();
    let places = runner.host.places().clone();
    let out = places.outside().to_str().unwrap().to_owned();
    assert_eq!(run(&["recover", "--out", &out]).status.code(), Some(74), "there is nothing yet");
    runner.prompt("one", "say hi");
    runner.spawn();
    runner.until_ended("one");
    let told = run(&["check", "--in", places.inside().to_str().unwrap(), "--out", &out]);
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(
        (&told["out"]["lock"], &told["out"]["writable"], &told["in"]["config"]),
        (&"held".into(), &true.into(), &true.into())
    );
    assert_eq!(run(&["recover", "--out", &out]).status.code(), Some(75), "its process lives");
    runner.shim.as_mut().unwrap().kill().unwrap();
    runner.exit();
    assert_eq!(run(&["recover", "--out", &out]).status.code(), Some(0));
}
