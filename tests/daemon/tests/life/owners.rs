//! Whose daemon it is.

use crate::harness::{A, Place, exited, freeze, kill, runs, state, token};

const OWNERS: [&str; 4] = ["cli", "desktop", "service", "unknown"];

/// Facts 19, 20: who may not, changes nothing; and all sixteen combinations for each verb.
#[test]
fn facts_19_20_every_pair_of_holder_and_requester() {
    for holder in OWNERS {
        for requester in OWNERS {
            let may = holder == requester || (holder == "unknown" && requester == "cli");
            for verb in ["stop", "restart", "start"] {
                let place = Place::new();
                let mut child = place.serve_ready(&format!("--owner {holder}"), &[]);
                let ran = place.server(&format!("{verb} --owner {requester}"));
                let told = format!("{holder} {requester} {verb} {ran:?}");
                match (verb, may) {
                    ("start", _) => {
                        assert_eq!(ran.pid(), child.id(), "{told}");
                        assert_eq!(ran.data()["owned"], may, "{told}");
                        assert_eq!(ran.data()["owner"], holder, "{told}");
                    }
                    (_, true) => {
                        assert_eq!(exited(&mut child), Some(0), "{told}");
                        assert_eq!(ran.code, 0, "{told}");
                    }
                    (_, false) => {
                        assert_eq!((ran.code, ran.error()), (1, "server-owned-by-other"), "{told}");
                        assert_eq!(ran.json["error"]["owner"], holder);
                        assert_eq!(ran.json["error"]["requester"], requester);
                        assert!(ran.json["error"]["hint"].is_string());
                        // No signal, and nothing else was started.
                        assert!(state(child.id()).is_some_and(|state| state != 'Z'), "{told}");
                        assert_eq!(place.record()["pid"], child.id());
                    }
                }
                if verb == "restart" && may {
                    assert_ne!(place.record()["pid"], child.id());
                    assert_eq!(place.record()["owner"], requester);
                } else if runs(child.id()) {
                    kill(child.id(), "KILL");
                    child.wait().unwrap();
                }
            }
        }
    }
}

#[test]
fn fact_41_the_command_line_takes_over_what_is_nobodys() {
    let place = Place::new();
    let mut child = place.serve_ready("", &[]);
    assert_eq!(place.server("start --owner desktop --take-over").data()["owner"], "unknown");
    let taken = place.server("start --take-over");
    assert_eq!(
        (taken.pid(), taken.data()["owner"].as_str(), taken.data()["owned"].as_bool()),
        (child.id(), Some("cli"), Some(true))
    );
    // The daemon says so itself, in its file and in its health.
    assert_eq!(place.record()["owner"], "cli");
    let health = crate::harness::own(&place, "GET", "/healthz", Some(&token(&place)), "");
    assert_eq!((health.0, health.1["owner"].as_str()), (200, Some("cli")));
    assert_eq!(place.server("stop --owner desktop").error(), "server-owned-by-other");
    assert_eq!(place.server("stop").code, 0);
    assert_eq!(exited(&mut child), Some(0));
}

/// Metadata of an older hand-written form beside a held lock: its owner is unknown, and the open lock proves the process.
#[test]
fn fact_41_metadata_of_an_older_form_is_managed_by_the_command_line() {
    let place = Place::new();
    let mut child = place.serve_ready("--owner desktop", &[]);
    let legacy = serde_json::json!({ "repo": "x", "pid": child.id() });
    std::fs::write(place.data().join("daemon.json"), legacy.to_string()).unwrap();
    let status = place.server("status");
    assert_eq!(
        (status.data()["owner"].as_str(), status.data()["pid"].as_u64()),
        (Some("unknown"), Some(child.id().into()))
    );
    assert_eq!(place.server("stop --owner desktop").error(), "server-owned-by-other");
    let stopped = place.server("stop");
    assert_eq!(stopped.pid(), child.id(), "{stopped:?}");
    child.wait().unwrap();
}

#[test]
fn a_hung_daemon_is_replaced_by_its_owner_and_left_alone_by_others() {
    let place = Place::new();
    let started = place.server("start");
    freeze(started.pid());
    let begun = std::time::Instant::now();
    let refused = place.server("start --owner desktop");
    assert_eq!((refused.code, refused.error()), (1, "server-unresponsive"));
    assert_eq!(
        (refused.json["error"]["pid"].as_u64(), refused.json["error"]["owner"].as_str()),
        (Some(started.pid().into()), Some("cli"))
    );
    assert_eq!(place.server("status").code, 5);
    assert!(runs(started.pid()));
    let restarted = place.server("restart");
    assert_eq!(restarted.data()["stopped_pid"], started.pid());
    assert!(!runs(started.pid()) && runs(restarted.pid()));
    assert!(begun.elapsed() < std::time::Duration::from_secs(20));
    // The same by a start of the owner.
    freeze(restarted.pid());
    let again = place.server("start");
    assert_ne!(again.pid(), restarted.pid());
    assert!(!runs(restarted.pid()));
}

#[test]
fn a_service_is_referred_to_its_manager() {
    let place = Place::new();
    place.server("start --owner service");
    for verb in ["stop", "restart"] {
        let refused = place.server(verb);
        assert_eq!(refused.error(), "server-owned-by-other");
        assert!(refused.json["error"]["hint"].as_str().unwrap().contains("systemctl"));
    }
}

#[test]
fn metadata_of_a_newer_form_is_shown_and_its_process_left_alone() {
    let place = Place::new();
    let started = place.server("start");
    let mut record = place.record();
    record["v"] = 2.into();
    std::fs::write(place.data().join("daemon.json"), record.to_string()).unwrap();
    for verb in ["stop", "start", "restart"] {
        let refused = place.server(verb);
        assert_eq!((refused.code, refused.error()), (78, "metadata-too-new"), "{verb}");
    }
    let status = place.server("status");
    assert_eq!((status.code, status.data()["pid"].as_u64()), (7, Some(started.pid().into())));
    assert!(runs(started.pid()));
}

/// A zombie is dead: its parent never reaps it, and signals reach it still.
#[test]
fn a_zombie_is_no_daemon() {
    let place = Place::new();
    let mut first = place.serve_ready("--owner cli", &[]);
    let zombie = first.id();
    kill(zombie, "KILL");
    // Its first thread may be one before the others have let go of the lock.
    crate::harness::ended(zombie);
    assert_eq!(state(zombie), Some('Z'));
    assert_eq!(place.server("status").code, 3);
    assert_eq!(place.server("stop").error(), "server-not-found");
    assert_eq!(place.server("start").data()["started"], true);
    assert_eq!(state(zombie), Some('Z'));
    // And one that becomes a zombie while it is stopped.
    place.server("stop");
    let mut second = place.serve_ready("--owner cli", &[]);
    let stopped = place.with(A, "stop", &[]);
    assert_eq!((stopped.pid(), state(second.id())), (second.id(), Some('Z')));
    first.wait().unwrap();
    second.wait().unwrap();
}
