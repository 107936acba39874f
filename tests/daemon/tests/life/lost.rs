//! Daemons whose lock file somebody replaced.

use std::sync::atomic::{AtomicBool, Ordering};

use daemon_lifecycle::endpoint::{self, Endpoint};

use crate::harness::{Place, SOON, exited, freeze, kill, rows, write};

fn replace(place: &Place) {
    std::fs::remove_file(place.lock()).unwrap();
    std::fs::write(place.lock(), "").unwrap();
}

#[test]
fn facts_09_10_11_who_lost_the_lock_acknowledges_nothing_more_and_nothing_is_lost() {
    let place = Place::new();
    let mut child = place.serve_ready("", &[]);
    let address = place.address();
    assert_eq!(write(address, "first"), Some(200));
    let replaced = AtomicBool::new(false);
    let acknowledged: Vec<String> = std::thread::scope(|threads| {
        let writers: Vec<_> = (0..20)
            .map(|writer| {
                let replaced = &replaced;
                threads.spawn(move || {
                    let mut acknowledged = Vec::new();
                    // Until the daemon refuses, or is gone.
                    for number in 0.. {
                        let after = replaced.load(Ordering::SeqCst);
                        let text = format!("{writer}-{number}");
                        match write(address, &text) {
                            Some(200) => {
                                assert!(!after, "acknowledged by a daemon that had lost its lock");
                                acknowledged.push(text);
                            }
                            Some(status) => {
                                assert_eq!(status, 503);
                                break;
                            }
                            None => break,
                        }
                    }
                    acknowledged
                })
            })
            .collect();
        std::thread::sleep(std::time::Duration::from_millis(300));
        replace(&place);
        replaced.store(true, Ordering::SeqCst);
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    assert_eq!(exited(&mut child), Some(76));
    assert!(acknowledged.len() > 20);
    // It left the metadata alone, and the next start finds everything.
    assert_eq!(place.record()["pid"], child.id());
    place.server("start");
    place.server("stop");
    let rows = rows(place.data());
    assert!(rows.contains("first") && acknowledged.iter().all(|text| rows.contains(text)));
}

/// Fact 10: reads need not fail, and the daemon's own changes do.
#[test]
fn fact_10_reads_may_be_answered_when_writes_are_refused() {
    let place = Place::new();
    let mut child = place.serve_ready("", &[("DAEMON_STAYS_WHEN_LOST", "1")]);
    let address = place.address();
    let token = crate::harness::token(&place);
    replace(&place);
    assert_eq!(write(address, "late"), Some(503));
    let health = endpoint::request(&Endpoint::Loopback(address), "GET", "/health", None, b"", SOON).unwrap();
    assert_eq!(health.status, 200);
    assert_eq!(crate::harness::own(&place, "GET", "/healthz", None, "").0, 503);
    let change = crate::harness::own(&place, "POST", "/admin/owner", Some(&token), r#"{"owner":"cli"}"#);
    assert_eq!((change.0, change.1["error"].as_str()), (409, Some("repo-locked")));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn an_idle_daemon_notices_by_itself() {
    let place = Place::new();
    let mut child = place.serve_ready("", &[]);
    replace(&place);
    assert_eq!(exited(&mut child), Some(76));
}

/// A laptop that slept: somebody else came meanwhile.
#[test]
fn a_daemon_that_wakes_up_without_its_lock_refuses_to_write() {
    let place = Place::new();
    let mut child = place.serve_ready("", &[]);
    let address = place.address();
    freeze(child.id());
    replace(&place);
    kill(child.id(), "CONT");
    assert_ne!(write(address, "late"), Some(200));
    assert_eq!(exited(&mut child), Some(76));
}

/// The other sign: the metadata is another daemon's.
#[test]
fn another_id_in_the_metadata_is_noticed_within_ten_writes() {
    let place = Place::new();
    let mut child = place.serve_ready("", &[]);
    let address = place.address();
    let mut record = place.record();
    record["lock_id"] = "another".into();
    std::fs::write(place.data().join("daemon.json"), record.to_string()).unwrap();
    assert!((0..10).any(|number| write(address, &number.to_string()) != Some(200)));
    assert_eq!(exited(&mut child), Some(76));
    assert_eq!(place.record(), record);
}
