//! Daemons of other builds.

use daemon_lifecycle::ensure::{self, Request};
use daemon_lifecycle::{Error, Limits, Owner, Scope};

use crate::harness::{A, B, NEW, Place, runs};

#[test]
fn fact_22_the_owner_replaces_another_build_once() {
    let place = Place::new();
    let old = place.server("start");
    assert_eq!(place.with(B, "status", &[]).code, 6);
    let new = place.with(B, "start", &[]);
    assert_eq!((new.data()["started"].as_bool(), new.data()["revision"].as_str()), (Some(true), Some("revision-b")));
    assert_eq!(new.data()["replaced_pid"], old.pid());
    assert!(!runs(old.pid()));
    assert_eq!(place.with(B, "start", &[]).pid(), new.pid());
}

#[test]
fn fact_22_others_replace_it_only_without_clients_or_by_force() {
    let place = Place::new();
    let busy = place.with(A, "start --owner desktop", &[("DAEMON_CLIENTS", "1")]);
    let refused = place.with(B, "start", &[]);
    assert_eq!((refused.code, refused.error()), (1, "server-revision-mismatch"));
    assert_eq!(refused.json["error"]["expected_revision"], "revision-b");
    assert_eq!(refused.json["error"]["actual_revision"], "revision-a");
    assert!(runs(busy.pid()));
    let forced = place.with(B, "start --force", &[]);
    assert_eq!(
        (forced.data()["replaced_pid"].as_u64(), forced.data()["owner"].as_str()),
        (Some(busy.pid().into()), Some("cli"))
    );
    // Without clients, and the other way round.
    let idle = place.with(A, "start --owner desktop", &[]);
    assert_eq!(idle.data()["replaced_pid"], forced.pid());
}

#[test]
fn a_newer_daemon_is_not_replaced_by_an_older_tool() {
    let place = Place::new();
    let newer = place.with(NEW, "start", &[]);
    let refused = place.server("start");
    assert_eq!((refused.error(), refused.json["error"]["why"].as_str()), ("server-revision-mismatch", Some("newer")));
    assert!(runs(newer.pid()));
    assert_eq!(place.server("start --force").data()["revision"], "revision-a");
    // The newer tool takes the older daemon's place.
    assert_eq!(place.with(NEW, "start", &[]).data()["revision"], "revision-new");
}

/// A program whose daemons are never of its own build: there is one restart, and no loop.
#[test]
fn fact_23_still_another_build_after_a_restart() {
    let place = Place::new();
    let old = place.with(B, "start", &[]);
    let mut program = crate::harness::program();
    program.build.revision = "revision-x".into();
    let scope = Scope::new(place.data(), None).unwrap();
    let error = ensure::ensure(&Request {
        scope: &scope,
        requester: Owner::Cli,
        program: &program,
        flags: &[],
        limits: Limits::default(),
        take_over: false,
        force: false,
        attached: false,
    })
    .unwrap_err();
    let Error::MismatchAfterRestart { expected, actual, .. } = &error else { panic!("{error}") };
    assert_eq!((expected.as_str(), actual.as_str()), ("revision-x", "revision-a"));
    assert_eq!(error.code(), "server-revision-mismatch-after-restart");
    assert_eq!(error.members()["after_restart"], true);
    assert!(!runs(old.pid()));
    assert_eq!(place.server("status").code, 0);
}

#[test]
fn fact_38_cleanup_stops_what_the_command_line_started_and_lists_the_rest() {
    let place = Place::new();
    let (own, foreign) = (place.server("start --graph own"), place.server("start --graph foreign --owner desktop"));
    let present = place.with(B, "start --graph present", &[]);
    let dry = place.with(B, "cleanup --dry-run", &[]);
    assert_eq!((dry.data()["eligible"].as_u64(), dry.data()["killed"].as_array().map(Vec::len)), (Some(1), Some(0)));
    assert!(runs(own.pid()));
    let cleaned = place.with(B, "cleanup", &[]);
    let data = cleaned.data();
    assert_eq!(data["cli_revision"], "revision-b");
    assert_eq!(
        [&data["checked"], &data["mismatched"], &data["eligible"], &data["skipped_owner"]].map(|n| n.as_u64().unwrap()),
        [3, 2, 1, 1]
    );
    assert_eq!(data["killed"][0]["pid"], own.pid());
    assert_eq!(data["skipped_owner_targets"][0]["pid"], foreign.pid());
    assert_eq!(data["failed"].as_array().map(Vec::len), Some(0));
    assert_eq!([own, foreign, present].map(|ran| runs(ran.pid())), [false, true, true]);
}

/// Fact 38: failures are reported.
#[test]
fn fact_38_a_cleanup_that_fails_says_where() {
    let place = Place::new();
    let own = place.server("start");
    let ran = crate::harness::injected(
        &place,
        B,
        "cleanup",
        "pidfd_send_signal:error=EPERM",
        &[("DAEMON_IGNORES_SHUTDOWN", "1")],
    );
    // The daemon ends by the request; the signal is not needed.
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!runs(own.pid()));
    let own = place.with(A, "start --stop-timeout-ms 100", &[("DAEMON_IGNORES_SHUTDOWN", "1")]);
    let ran = crate::harness::injected(&place, B, "cleanup", "pidfd_send_signal:error=EPERM", &[]);
    assert_eq!((ran.code, ran.error()), (1, "server-cleanup-failed"));
    assert_eq!(ran.json["error"]["failed"][0]["code"], "server-stop-timeout");
    assert!(runs(own.pid()));
}
