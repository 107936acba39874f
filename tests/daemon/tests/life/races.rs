//! Many at once, and kills at bad moments.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use daemon_lifecycle::survey::Survey;
use daemon_lifecycle::{Limits, Owner, Scope};

use crate::harness::{A, Place, ended, kill, rounds, rows, runs, write};

#[test]
fn fact_42_any_number_of_starters_get_one_daemon() {
    let place = Place::new();
    for _ in 0..rounds(50, 2) {
        let starters = 32;
        let together = Barrier::new(starters);
        let ran: Vec<_> = std::thread::scope(|threads| {
            let starter = |_| {
                threads.spawn(|| {
                    together.wait();
                    place.server("start")
                })
            };
            let threads: Vec<_> = (0..starters).map(starter).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(ran.iter().all(|ran| ran.code == 0), "{ran:?}");
        let pids: BTreeSet<u32> = ran.iter().map(crate::harness::Ran::pid).collect();
        assert_eq!(pids.len(), 1, "{ran:?}");
        assert_eq!(ran.iter().filter(|ran| ran.data()["started"] == true).count(), 1);
        assert!(ran.iter().all(|ran| ran.data()["recovered_pids"].as_array().unwrap().is_empty()), "{ran:?}");
        assert_eq!(place.server("stop").pid(), *pids.first().unwrap());
    }
}

#[test]
fn fact_42_two_owners_race_and_one_of_them_owns() {
    for _ in 0..rounds(50, 4) {
        let place = Place::new();
        let together = Barrier::new(2);
        let owners = ["cli", "desktop"];
        let ran = std::thread::scope(|threads| {
            owners
                .map(|owner| {
                    let (place, together) = (&place, &together);
                    threads.spawn(move || {
                        together.wait();
                        place.server(&format!("start --owner {owner}"))
                    })
                })
                .map(|thread| thread.join().unwrap())
        });
        assert_eq!(ran[0].pid(), ran[1].pid());
        let owner = place.record()["owner"].as_str().unwrap().to_owned();
        for (ran, name) in ran.iter().zip(owners) {
            assert_eq!(ran.data()["owned"], name == owner);
        }
    }
}

/// Clients that look while daemons start never make one fail.
#[test]
fn probers_are_in_nobodys_way() {
    let place = Place::new();
    place.server("start");
    place.server("stop");
    let scope = Scope::new(place.data(), None).unwrap();
    let (program, limits) = (crate::harness::program(), Limits::default());
    let done = AtomicBool::new(false);
    let looks = std::thread::scope(|threads| {
        let prober = threads.spawn(|| {
            let mut survey = Survey::new(&scope, &program, Owner::Cli, &limits).unwrap();
            let mut looks = 0;
            while !done.load(Ordering::Relaxed) {
                survey.look().unwrap();
                looks += 1;
            }
            looks
        });
        for _ in 0..rounds(50, 6) {
            let started = place.server("start");
            assert_eq!(started.code, 0, "{started:?}");
            assert_eq!(place.server("stop").code, 0);
        }
        done.store(true, Ordering::Relaxed);
        prober.join().unwrap()
    });
    assert!(looks > 50, "{looks}");
}

/// A kill at each named point of a start and of an end: the next start succeeds, and what was acknowledged is there.
#[test]
fn a_kill_at_any_point_is_no_obstacle() {
    let place = Place::new();
    place.server("start");
    assert_eq!(write(place.address(), "kept"), Some(200));
    assert_eq!(place.server("stop").code, 0);
    for point in ["before-lock", "after-lock", "before-metadata", "after-metadata", "after-listen"] {
        let ran = place.with(A, "start", &[("DAEMON_CRASH_AT", point)]);
        assert_eq!(
            (ran.error(), ran.json["error"]["signal"].as_i64()),
            ("server-start-failed", Some(9)),
            "{point} {ran:?}"
        );
        let next = place.server("start");
        assert_eq!((next.code, next.data()["started"].as_bool()), (0, Some(true)), "{point} {next:?}");
        assert_eq!(write(place.address(), point), Some(200));
        assert_eq!(place.server("stop").code, 0);
    }
    let started = place.with(A, "start", &[("DAEMON_CRASH_AT", "during-stop")]);
    assert_eq!(write(place.address(), "during-stop"), Some(200));
    // It dies while it ends: gone it is.
    assert_eq!(place.server("stop").pid(), started.pid());
    assert!(!runs(started.pid()));
    assert_eq!(place.server("start").data()["started"], true);
    place.server("stop");
    let rows = rows(place.data());
    for text in
        ["kept", "before-lock", "after-lock", "before-metadata", "after-metadata", "after-listen", "during-stop"]
    {
        assert!(rows.contains(text), "{text}");
    }
}

/// Starters whose winner is killed before it answers: somebody else wins, and everybody gets a daemon.
#[test]
fn a_winner_that_dies_is_followed_by_another() {
    let place = Place::new();
    let mut winner = place.serve("--owner cli", &[("DAEMON_STICK_AT", "after-metadata")]);
    crate::harness::until("metadata", || place.record()["status"] == "starting");
    let ran: Vec<_> = std::thread::scope(|threads| {
        let waiting: Vec<_> = (0..4).map(|_| threads.spawn(|| place.server("start"))).collect();
        std::thread::sleep(std::time::Duration::from_millis(500));
        kill(winner.id(), "KILL");
        waiting.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    winner.wait().unwrap();
    let pids: BTreeSet<u32> = ran.iter().map(crate::harness::Ran::pid).collect();
    assert_eq!(pids.len(), 1, "{ran:?}");
    kill(*pids.first().unwrap(), "KILL");
    ended(*pids.first().unwrap());
}
