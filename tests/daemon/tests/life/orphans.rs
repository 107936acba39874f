//! Daemons without a lock.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use crate::harness::{A, Place, ended, injected, kill, runs};

/// Somebody removes the lock file, and the metadata.
fn bereave(place: &Place) {
    std::fs::remove_file(place.lock()).unwrap();
    std::fs::remove_file(place.data().join("daemon.json")).unwrap();
}

#[test]
fn fact_40_a_daemon_that_lost_its_lock_is_ended_and_told() {
    for variables in [&[][..], &[("DAEMON_IGNORES_SHUTDOWN", "1")]] {
        let place = Place::new();
        let old = place.with(A, "start --stop-timeout-ms 100", variables);
        // Frozen: it cannot notice by itself meanwhile.
        crate::harness::freeze(old.pid());
        bereave(&place);
        assert_eq!(place.server("status").code, 5);
        let new = place.server("start");
        assert_eq!(new.data()["recovered_pids"], serde_json::json!([old.pid()]), "{new:?}");
        assert!(!runs(old.pid()) && runs(new.pid()));
        assert_eq!(place.server("start").pid(), new.pid());
    }
}

/// The daemon itself looks, too, when nobody's `start` did.
#[test]
fn fact_40_a_daemon_started_directly_recovers_as_well() {
    let place = Place::new();
    let old = place.server("start");
    crate::harness::freeze(old.pid());
    bereave(&place);
    let mut child = place.serve_ready("", &[]);
    assert!(!runs(old.pid()));
    kill(child.id(), "KILL");
    child.wait().unwrap();
}

/// One that answers is asked first.
#[test]
fn an_orphan_that_answers_ends_by_itself() {
    let place = Place::new();
    let old = place.server("start");
    bereave(&place);
    let new = place.server("start");
    assert_eq!(new.data()["started"], true);
    ended(old.pid());
    assert!(place.log().lines().any(|line| line == "ended" || line == "the lock is lost"), "{}", place.log());
}

#[test]
fn fact_26_an_orphan_that_cannot_be_ended_is_named() {
    let place = Place::new();
    let old = place.with(A, "start --stop-timeout-ms 100", &[("DAEMON_IGNORES_SHUTDOWN", "1")]);
    crate::harness::freeze(old.pid());
    bereave(&place);
    let refused = injected(&place, A, "start", "pidfd_send_signal:error=EPERM", &[]);
    assert_eq!((refused.code, refused.error()), (1, "server-start-timeout-orphan"), "{refused:?}");
    assert_eq!(refused.json["error"]["pids"], serde_json::json!([old.pid()]));
    let process = &refused.json["error"]["processes"][0];
    assert_eq!(process["owner"], "cli");
    assert!(process["command"].as_str().unwrap().contains("serve --data-dir"));
    assert!(runs(old.pid()));
    kill(old.pid(), "KILL");
}

/// A daemon that holds the lock and never says what it is.
#[test]
fn a_silent_holder_is_an_orphan_after_a_while() {
    let place = Place::new();
    let mut silent = place.serve("", &[("DAEMON_STICK_AT", "after-lock")]);
    crate::harness::until("the lock", || place.lock().exists());
    let begun = std::time::Instant::now();
    let started = place.server("start");
    assert!(begun.elapsed() >= std::time::Duration::from_secs(4));
    assert_eq!(started.data()["recovered_pids"], serde_json::json!([silent.id()]));
    silent.wait().unwrap();
}

/// Processes that look like daemons of this directory and are none: other executables with the same words, the daemon of
/// another directory, somebody who has the lock file open.
#[test]
fn processes_that_look_alike_survive() {
    let (place, other) = (Place::new(), Place::new());
    let old = place.server("start");
    let words = ["serve", "--data-dir", place.data().to_str().unwrap()];
    let mut same_words = Command::new("sleep");
    same_words.arg0(A).arg("300");
    let mut same_words = same_words.spawn().unwrap();
    let mut open = Command::new("sh");
    open.args(["-c", "exec 9<\"$1\"; exec sleep 300", "serve", place.lock().to_str().unwrap()]).stdin(Stdio::null());
    let mut open = open.spawn().unwrap();
    let mut script = Command::new("python3");
    script.args(["-c", "import time; time.sleep(300)"]).args(words);
    let mut script = script.spawn().unwrap();
    let elsewhere = other.server("start");
    crate::harness::until("open", || std::fs::read_link(format!("/proc/{}/fd/9", open.id())).is_ok());
    crate::harness::freeze(old.pid());
    bereave(&place);
    let new = place.server("start");
    assert_eq!(new.data()["recovered_pids"], serde_json::json!([old.pid()]));
    for child in [&mut same_words, &mut open, &mut script] {
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(runs(elsewhere.pid()));
}

/// A starter that takes its time to end an orphan is none itself for those who wait behind it.
#[test]
fn whoever_recovers_an_orphan_is_left_in_peace() {
    let place = Place::new();
    let variables =
        ["DAEMON_IGNORES_SHUTDOWN", "DAEMON_IGNORES_TERM", "DAEMON_STAYS_WHEN_LOST"].map(|name| (name, "1"));
    let old = place.with(A, "start --stop-timeout-ms 1000", &variables);
    bereave(&place);
    // Directly, so that the daemon itself is the one who ends it: three seconds, then five, then a kill. That is longer than a
    // lock may be held by somebody who has not said what he is.
    let mut slow = place.serve("--owner cli", &[]);
    crate::harness::until("the lock", || place.lock().exists());
    let found = place.server("start");
    assert_eq!((found.pid(), found.data()["started"].as_bool()), (slow.id(), Some(false)), "{found:?}");
    assert!(!runs(old.pid()) && runs(slow.id()));
    kill(slow.id(), "KILL");
    slow.wait().unwrap();
}
