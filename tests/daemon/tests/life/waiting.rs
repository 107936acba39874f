//! Daemons that are not ready, or not heard, yet.

use std::time::Duration;

use daemon_lifecycle::lock::{Lock, Mode};

use crate::harness::{A, Place, exited, kill, until};

#[test]
fn fact_27_late_metadata_is_waited_for() {
    let place = Place::new();
    let mut child = place.serve("--owner cli", &[("DAEMON_DELAY_AT", "after-lock:1000")]);
    until("the lock", || place.lock().exists());
    let found = place.server("start");
    assert_eq!((found.pid(), found.data()["started"].as_bool()), (child.id(), Some(false)));
    kill(child.id(), "KILL");
    child.wait().unwrap();
}

#[test]
fn fact_27_a_lock_that_is_freed_without_a_word_is_started_over() {
    let place = Place::new();
    place.server("start");
    place.server("stop");
    let (lock, _) = Lock::take(&place.lock(), Mode::Exclusive).unwrap();
    let started = std::thread::scope(|threads| {
        threads.spawn(|| {
            std::thread::sleep(Duration::from_millis(600));
            drop(lock);
        });
        place.server("start")
    });
    assert_eq!(started.data()["started"], true);
}

#[test]
fn fact_28_a_missed_probe_starts_no_second_daemon_and_keeps_the_record() {
    let place = Place::new();
    let started = place.with(A, "start", &[("DAEMON_SLOW_HEALTH", "1500"), ("DAEMON_SLOW_FIRST", "2")]);
    let record = place.record();
    let found = place.server("start");
    assert_eq!((found.pid(), found.data()["started"].as_bool()), (started.pid(), Some(false)));
    assert_eq!(place.record(), record);
}

#[test]
fn fact_29_a_slow_endpoint_is_tolerated() {
    let place = Place::new();
    let started = place.with(A, "start", &[("DAEMON_SLOW_HEALTH", "400")]);
    assert_eq!(place.server("start").pid(), started.pid());
    assert_eq!(place.server("status").code, 0);
}

/// One that answers to nobody, without being frozen, hangs after the limit: its owner replaces it.
#[test]
fn who_never_answers_hangs_after_the_limit() {
    let place = Place::new();
    let started = place.with(A, "start", &[("DAEMON_SLOW_HEALTH", "600000")]);
    assert_eq!(place.server("status").code, 4);
    let watched = place.server("status --hang-limit 2");
    assert_eq!((watched.code, watched.data()["status"].as_str()), (5, Some("hung")));
    let refused = place.server("start --owner desktop --hang-limit 2");
    assert_eq!(refused.error(), "server-unresponsive");
    let replaced = place.server("start --hang-limit 2");
    assert_ne!(replaced.pid(), started.pid());
}

#[test]
fn fact_35_a_daemon_that_starts_or_ends_is_told_so() {
    let place = Place::new();
    let mut child = place.serve("", &[("DAEMON_STICK_AT", "after-listen")]);
    until("metadata", || place.record()["status"] == "starting");
    let status = place.server("status");
    assert_eq!((status.code, status.data()["status"].as_str()), (4, Some("starting")));
    let refused = place.server("start --timeout 1");
    assert_eq!((refused.code, refused.error()), (1, "server-unresponsive"));
    child.kill().unwrap();
    child.wait().unwrap();
    let mut child = place.serve_ready("--owner cli", &[("DAEMON_DELAY_AT", "during-stop:1500")]);
    kill(child.id(), "TERM");
    until("stopping", || place.record()["status"] == "stopping");
    assert_eq!(place.server("status").data()["status"], "stopping");
    // Its end is waited for, then another one starts.
    let next = place.server("start");
    assert_eq!((next.data()["started"].as_bool(), exited(&mut child)), (Some(true), Some(0)));
}
