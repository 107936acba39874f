//! Which process it is: reused pids, odd names, containers.

use std::process::{Command, Stdio};

use daemon_lifecycle::lock::{Lock, Mode};
use serde_json::json;

use crate::harness::{A, Place, Ran, kill, ready, runs, state, until};

/// A process that started later than every one before it, by more than the difference that is allowed for rounding.
fn sleeper() -> std::process::Child {
    std::thread::sleep(std::time::Duration::from_millis(60));
    Command::new("sleep").arg("300").spawn().unwrap()
}

#[test]
fn an_unrelated_process_of_the_pid_lives_on() {
    let place = Place::new();
    let started = place.server("start");
    kill(started.pid(), "KILL");
    crate::harness::ended(started.pid());
    let mut sleep = sleeper();
    let mut record = place.record();
    record["pid"] = json!(sleep.id());
    std::fs::write(place.data().join("daemon.json"), record.to_string()).unwrap();
    // Whether the lock is free or somebody's who has not said what it is.
    assert_eq!(place.server("status").code, 3);
    let (lock, _) = Lock::take(&place.lock(), Mode::Exclusive).unwrap();
    assert_eq!(place.server("status").data()["status"], "starting");
    let refused = place.server("stop");
    assert_eq!((refused.code, refused.error()), (1, "server-unmanageable"));
    drop(lock);
    assert_eq!(place.server("start").data()["started"], true);
    assert!(sleep.try_wait().unwrap().is_none());
    sleep.kill().unwrap();
    sleep.wait().unwrap();
}

/// A pid that is really used again: the kernel is told the number before the next process.
#[test]
fn a_pid_that_is_used_again_is_another_process() {
    let place = Place::new();
    let script = r#"
        "$A" server start --data-dir "$D" --json > first || exit 10
        pid=$(sed -n 's/.*"pid":\([0-9]*\).*/\1/p' first)
        kill -9 "$pid"
        while [ -e "/proc/$pid" ]; do sleep 0.02; done
        # Starts are compared in clock ticks, and two ticks count as rounding.
        sleep 0.06
        echo $((pid - 1)) > /proc/sys/kernel/ns_last_pid
        sleep 300 &
        [ "$!" = "$pid" ] || exit 11
        "$A" server status --data-dir "$D" > /dev/null; [ $? = 3 ] || exit 12
        # Somebody holds the lock, and the metadata names the pid still.
        DAEMON_STICK_AT=before-metadata "$A" serve --data-dir "$D" 2> holder &
        while ! "$A" server status --data-dir "$D" | grep -q 'status: starting'; do sleep 0.02; done
        "$A" server stop --data-dir "$D" --json > stop; [ $? = 1 ] || exit 13
        grep -q server-unmanageable stop || exit 14
        kill -0 "$pid" || exit 15
        kill -9 $!
        "$A" server start --data-dir "$D" --json > second || exit 16
        grep -q '"started":true' second || exit 17
        [ "$(cat "/proc/$pid/comm")" = sleep ] || exit 18
    "#;
    let mut command = place.command("unshare");
    command.args(["-Urpf", "--mount-proc", "sh", "-c", script]).env("A", A).env("D", place.data());
    let ran = place.run(command);
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn a_program_with_an_odd_name_is_found_and_ended() {
    let place = Place::new();
    let odd = place.root().join("a) R 1 (b");
    std::fs::copy(A, &odd).unwrap();
    let odd = odd.to_str().unwrap();
    let started = place.with(odd, "start", &[]);
    assert!(std::fs::read_to_string(format!("/proc/{}/stat", started.pid())).unwrap().contains("(a) R 1 (b)"));
    assert_eq!(place.with(odd, "status", &[]).code, 0);
    assert_eq!(place.with(odd, "stop", &[]).pid(), started.pid());
    assert!(!runs(started.pid()));
}

/// An upgrade replaces the executable's file while the daemon runs.
#[test]
fn a_daemon_whose_executable_was_replaced_is_still_ours() {
    let place = Place::new();
    let program = place.root().join("program");
    std::fs::copy(A, &program).unwrap();
    let program_text = program.to_str().unwrap();
    let started = place.with(program_text, "start", &[]);
    let next = place.root().join("next");
    std::fs::copy(A, &next).unwrap();
    std::fs::rename(&next, &program).unwrap();
    assert!(
        std::fs::read_link(format!("/proc/{}/exe", started.pid())).unwrap().to_string_lossy().ends_with(" (deleted)")
    );
    assert_eq!(place.with(program_text, "start", &[]).pid(), started.pid());
    crate::harness::freeze(started.pid());
    std::fs::remove_file(place.lock()).unwrap();
    let new = place.with(program_text, "start", &[]);
    assert_eq!(new.data()["recovered_pids"], json!([started.pid()]));
}

/// A daemon in a container of this machine.
fn contained(place: &Place, flags: &str, words: &[&str]) -> (std::process::Child, u32) {
    let mut command = place.command("unshare");
    command.args([flags, "--mount-proc", A, "serve", "--owner", "cli"]).args(words);
    command.arg("--data-dir").arg(place.data()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    ready(&mut child);
    let inner = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
    (child, inner.trim().parse().unwrap())
}

/// In a time namespace of its own a process's start is counted from elsewhere.
#[test]
fn a_daemon_with_another_clock_is_known_by_its_lock() {
    let place = Place::new();
    let mut command = place.command("unshare");
    command.args(["-UrTf", "--boottime", "100000", A, "serve", "--owner", "cli", "--data-dir"]).arg(place.data());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    ready(&mut child);
    let pid = u32::try_from(place.record()["pid"].as_u64().unwrap()).unwrap();
    let start = |stat: String| stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().to_owned();
    let seen = start(std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap());
    assert_ne!(place.record()["pid_start"].to_string(), seen);
    let status = place.server("status");
    assert_eq!((status.code, status.data()["manageable"].as_bool()), (0, Some(true)), "{status:?}");
    assert_eq!(place.server("stop").data()["ended_by"], "shutdown");
    child.wait().unwrap();
}

fn refused(place: &Place, verb: &str) -> Ran {
    let ran = place.server(verb);
    assert_eq!((ran.code, ran.error()), (1, "server-unmanageable"), "{verb} {ran:?}");
    assert_eq!(ran.json["error"]["reason"], "namespace");
    ran
}

#[test]
fn a_daemon_in_a_container_is_reused_while_it_answers_and_never_ended() {
    let place = Place::new();
    let (mut child, inner) = contained(&place, "-Urpf", &[]);
    let status = place.server("status");
    assert_eq!((status.code, status.data()["status"].as_str()), (0, Some("remote")));
    assert_eq!(
        (status.data()["reason"].as_str(), status.data()["manageable"].as_bool()),
        (Some("namespace"), Some(false))
    );
    let found = place.server("start");
    assert_eq!((found.data()["started"].as_bool(), found.data()["owned"].as_bool()), (Some(false), Some(false)));
    for verb in ["stop", "restart"] {
        refused(&place, verb);
    }
    assert!(runs(inner));
    kill(inner, "KILL");
    child.wait().unwrap();
    // Its lock is free: what is left of it is dead, whatever its pid says.
    until("free", || place.server("status").code == 3);
    assert_eq!(place.server("start").data()["started"], true);
}

#[test]
fn a_daemon_in_a_container_that_cannot_be_reached_refuses_the_start() {
    let place = Place::new();
    // Without a network of ours, and answering on its own loopback.
    let (mut child, inner) = contained(&place, "-Urpfn", &["--tcp", "--unreachable"]);
    assert_eq!(place.server("status").code, 7);
    for verb in ["start", "stop", "restart"] {
        refused(&place, verb);
    }
    assert!(runs(inner) && state(inner) != Some('T'));
    kill(inner, "KILL");
    child.wait().unwrap();
}
