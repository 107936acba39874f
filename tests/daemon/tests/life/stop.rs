//! Stopping.

use crate::harness::{A, Place, freeze, kill, rounds, rows, runs, write};

#[test]
fn fact_18_an_ended_daemon_has_closed_its_database() {
    let place = Place::new();
    let started = place.server("start");
    assert_eq!(write(place.address(), "x"), Some(200));
    assert!(place.data().join("rows.sqlite-wal").exists());
    let stopped = place.server("stop");
    assert_eq!((stopped.pid(), stopped.data()["ended_by"].as_str()), (started.pid(), Some("shutdown")));
    assert!(!runs(started.pid()));
    assert!(!place.data().join("rows.sqlite-wal").exists());
    for name in ["daemon.json", "daemon.token", "sync.sock"] {
        assert!(!place.data().join(name).exists(), "{name}");
    }
    assert!(place.lock().exists());
    let again = place.server("stop");
    assert_eq!((again.code, again.error()), (1, "server-not-found"));
}

/// When `stop` returns, the process is gone, and whoever starts at once gets the lock.
#[test]
fn stop_returns_when_the_process_is_gone() {
    let place = Place::new();
    for _ in 0..rounds(200, 8) {
        let started = place.server("start");
        assert_eq!(started.data()["started"], true);
        assert_eq!(place.server("stop").code, 0);
        assert!(!runs(started.pid()));
        let mut direct = place.serve_ready("", &[]);
        kill(direct.id(), "TERM");
        assert_eq!(direct.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn fact_37_signals_come_one_after_the_other_and_the_output_says_which_ended_it() {
    let place = Place::new();
    place.with(A, "start", &[("DAEMON_IGNORES_SHUTDOWN", "1")]);
    let stopped = place.server("stop --timeout 0");
    assert_eq!(stopped.data()["ended_by"], "sigterm");
    let variables = [("DAEMON_IGNORES_SHUTDOWN", "1"), ("DAEMON_IGNORES_TERM", "1")];
    let started = place.with(A, "start", &variables);
    let stopped = place.server("stop --timeout 0");
    assert_eq!(stopped.data()["ended_by"], "sigkill");
    // SIGKILL only after the wait for SIGTERM.
    assert!(stopped.data()["ms"].as_u64().unwrap() >= 5000, "{stopped:?}");
    assert!(!runs(started.pid()));
    assert_eq!(place.server("status").code, 3);
}

#[test]
fn a_frozen_daemon_is_ended() {
    let place = Place::new();
    let started = place.server("start");
    freeze(started.pid());
    let stopped = place.server("stop");
    assert_eq!(stopped.data()["ended_by"], "sigterm");
    assert!(!runs(started.pid()));
}

#[test]
fn sigterm_while_clients_write_loses_nothing_that_was_acknowledged() {
    let place = Place::new();
    let pid = place.server("start").pid();
    let address = place.address();
    let acknowledged: Vec<String> = std::thread::scope(|threads| {
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                threads.spawn(move || {
                    let mut acknowledged = Vec::new();
                    // Until the daemon is gone.
                    for number in 0.. {
                        let text = format!("{writer}-{number}");
                        match write(address, &text) {
                            Some(200) => acknowledged.push(text),
                            _ => break,
                        }
                        if writer == 0 && number == 20 {
                            kill(pid, "TERM");
                        }
                    }
                    acknowledged
                })
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    crate::harness::ended(pid);
    assert!(acknowledged.len() > 20);
    let rows = rows(place.data());
    assert!(acknowledged.iter().all(|text| rows.contains(text)));
}

/// Whoever deletes, moves or restores a directory ends its daemons first, all or none.
#[test]
fn what_stands_in_the_way_is_ended_if_all_of_it_may_be() {
    let place = Place::new();
    let (own, foreign) = (place.server("start --graph a"), place.server("start --graph b --owner desktop"));
    let scope = daemon_lifecycle::Scope::new(place.data(), None).unwrap();
    let here = daemon_lifecycle::process::here().unwrap();
    let clear = || {
        let limits = daemon_lifecycle::Limits::default();
        daemon_lifecycle::stop::make_way(&scope, daemon_lifecycle::Owner::Cli, &here, &limits)
    };
    assert_eq!(clear().unwrap_err().code(), "server-owned-by-other");
    assert!(runs(own.pid()) && runs(foreign.pid()));
    place.server("stop --graph b --owner desktop");
    let stopped: Vec<u32> = clear().unwrap().iter().map(|one| one.pid).collect();
    assert_eq!((stopped, runs(own.pid())), (vec![own.pid()], false));
    assert!(clear().unwrap().is_empty());
}

#[test]
fn an_unresponsive_endpoint_is_ended_by_signals() {
    let place = Place::new();
    place.with(A, "start", &[]);
    std::fs::remove_file(place.data().join("sync.sock")).unwrap();
    assert_eq!(place.server("stop").data()["ended_by"], "sigterm");
}
