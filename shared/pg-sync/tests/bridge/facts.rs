//! The facts of pg-sync.md 3 that are about a bridge and what it asks, as pg-sync.md 4 decides them. Facts 12 and 13 are tests of
//! `decode`, 15 to 26 are also told by the tests of states, 27 and 28 by those of wakes. `named.rs` has where all are.

use pg_sync::bridge::{Action, Event, Mode, State};
use pg_sync::fields::Fields;
use pg_sync::identity::{Origin, owner_hash, source_id, subscription_id};
use pg_sync::options::{Options, Params, Replica};
use pg_sync::paths::Place;
use pg_sync::reference::{canonical, stream_path};
use pg_sync::shape::{Ask, Cursor, LogMode, ShapeRequest};
use pg_sync::wake::{Wake, WakeError};
use serde_json::{Value as Json, json};
use url::Url;

use crate::rig::{Rig, answer, inserts, options, places};

fn read(body: &Json) -> Result<Options, Vec<String>> {
    let mut fields = Fields::of(body).unwrap();
    let options = Options::read(&mut fields, Replica::Default);
    fields.finish().map(|()| options)
}

fn id(body: &Json) -> String {
    source_id("owner", Origin::Connection("main"), &read(body).unwrap())
}

/// What is left out, and the order of parameters, make no other source.
#[test]
fn fact_01_canonical_form() {
    let base = json!({"table": "t"});
    assert_eq!(id(&base), id(&json!({"replica": "default", "on_gap": "event", "table": "t"})));
    let of = |params: &str| id(&serde_json::from_str(&format!(r#"{{"table":"t","params":{params}}}"#)).unwrap());
    assert_eq!(of(r#"{"1":"a","10":"b","2":"c"}"#), of(r#"{"10":"b","2":"c","1":"a"}"#));
    let order = read(&json!({"table": "t", "params": {"10": "b", "2": "c", "1": "a"}})).unwrap().params.unwrap();
    assert_eq!(order.numbered().iter().map(|(number, _)| number.as_str()).collect::<Vec<_>>(), ["1", "2", "10"]);
    for metadata in [None, Some(json!({})), Some(json!({"wakeId": "w", "runtimeConsumerId": "r", "streamPath": "s"}))] {
        assert_eq!(canonical(&base, metadata.as_ref()), r#"{"table":"t","replica":"default"}"#);
    }
}

/// Everything else does.
#[test]
fn fact_02_what_makes_another_source() {
    let bodies = [
        json!({"table": "t"}),
        json!({"table": "u"}),
        json!({"table": "t", "columns": ["a", "b"]}),
        json!({"table": "t", "columns": ["b", "a"]}),
        json!({"table": "t", "where": ""}),
        json!({"table": "t", "where": "a = 1"}),
        json!({"table": "t", "where": "a = $1", "params": ["1"]}),
        json!({"table": "t", "where": "a = $1", "params": {"1": "1"}}),
        json!({"table": "t", "where": "a = $1", "params": ["2"]}),
        json!({"table": "t", "params": []}),
        json!({"table": "t", "replica": "full"}),
        json!({"table": "t", "on_gap": "diff"}),
    ];
    let mut ids: Vec<String> = bodies.iter().map(id).collect();
    ids.push(source_id("owner", Origin::Connection("other"), &read(&bodies[0]).unwrap()));
    ids.push(source_id("owner", Origin::Url("main"), &read(&bodies[0]).unwrap()));
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

/// Owners share nothing; sessions of one owner share a source, and have subscriptions of their own.
#[test]
fn fact_03_owners_are_apart() {
    let of = |owner: &str| source_id(owner, Origin::Connection("main"), &options());
    assert_ne!(of("a"), of("b"));
    assert_ne!(subscription_id("s1", &of("a")), subscription_id("s2", &of("a")));
    assert_eq!(subscription_id("s1", &of("a")), subscription_id("s1", &of("a")));
    assert_ne!(owner_hash("a"), owner_hash("b"));
    // What stands in one member cannot be made to look like two.
    assert_ne!(of("a\",\"connection\":\"main"), of("a"));
}

/// Identities do not change from one version to the next.
#[test]
fn identities_stay() {
    let full = Options {
        columns: Some(vec!["a".into()]),
        filter: Some("x = $1".into()),
        params: Some(Params::List(vec!["😀".into()])),
        ..options()
    };
    assert_eq!(source_id("u", Origin::Connection("main"), &options()), "4b4af6892d0113d17c63b960a6e3ddca");
    assert_eq!(source_id("u", Origin::Url("https://e.example/v1/shape"), &full), "1230664e81c6b5cf0958459255b5eb0b");
    assert_eq!(subscription_id("s", "x"), "68f01fd9d749a7ccfad6c3b9f4cbe496");
}

/// Fact 8, and the limits of pg-sync.md 4.2: what is wrong is named.
#[test]
fn fact_08_options_are_checked() {
    let long = "x".repeat(4 * 1024 + 1);
    for (body, wrong) in [
        (json!({}), vec!["table"]),
        (json!({"table": ""}), vec!["table"]),
        (json!({"table": " \t\n"}), vec!["table"]),
        (json!({"table": 7}), vec!["table"]),
        (json!({"table": "x".repeat(1_025)}), vec!["table"]),
        (json!({"table": "t", "columns": []}), vec!["columns"]),
        (json!({"table": "t", "columns": [""]}), vec!["columns"]),
        (json!({"table": "t", "columns": vec!["c"; 101]}), vec!["columns"]),
        (json!({"table": "t", "columns": "c"}), vec!["columns"]),
        (json!({"table": "t", "where": long}), vec!["where"]),
        (json!({"table": "t", "where": null}), vec!["where"]),
        (json!({"table": "t", "params": vec!["p"; 33]}), vec!["params"]),
        (json!({"table": "t", "params": ["x".repeat(1_025)]}), vec!["params"]),
        (json!({"table": "t", "params": [1]}), vec!["params"]),
        (json!({"table": "t", "params": {"a]&offset": "x"}}), vec!["params"]),
        (json!({"table": "t", "params": {"01": "x"}}), vec!["params"]),
        (json!({"table": "t", "replica": "half"}), vec!["replica"]),
        (json!({"table": "t", "on_gap": "hope"}), vec!["on_gap"]),
        (json!({"table": "t", "log": "full", "Table": "x"}), vec!["Table", "log"]),
        (json!({"replica": 1, "zzz": 1}), vec!["replica", "table", "zzz"]),
    ] {
        assert_eq!(read(&body).unwrap_err(), wrong, "{body}");
    }
    assert!(read(&json!({"table": "t", "columns": vec!["c"; 100], "where": "x".repeat(4 * 1024), "params": vec!["p".repeat(1024); 32]})).is_ok());
    assert!(Fields::of(&json!([])).is_none());
}

/// Fact 29: a wake knows its members and no others; a pause of 0 is kept.
#[test]
fn fact_29_wakes_are_checked() {
    let read = |wake: Json| Wake::read(&wake, Replica::Full);
    assert_eq!(read(json!({})), Ok(Wake::default()));
    assert_eq!(read(json!({"debounce_ms": 0})).map(|wake| wake.debounce_ms), Ok(0));
    assert_eq!(
        read(json!({"ops": ["insert", "insert"], "debounce_ms": 86_400_000})).map(|wake| wake.ops.unwrap().len()),
        Ok(1)
    );
    for (wake, wrong) in [
        (json!({"ops": []}), "ops"),
        (json!({"ops": ["truncate"]}), "ops"),
        (json!({"ops": "insert"}), "ops"),
        (json!({"timeoutMs": 1}), "timeoutMs"),
        (json!({"debounceMs": 1}), "debounceMs"),
        (json!({"debounce_ms": -1}), "debounce_ms"),
        (json!({"debounce_ms": 86_400_001}), "debounce_ms"),
        (json!({"debounce_ms": 1.5}), "debounce_ms"),
        (json!({"max_wait_ms": -1}), "max_wait_ms"),
        (json!({"filter": {}}), "filter"),
        (json!({"filter": {"a": 1}}), "filter"),
        (json!({"one_shot": 1}), "one_shot"),
        (json!({"expires_in_s": 0}), "expires_in_s"),
    ] {
        assert_eq!(read(wake), Err(WakeError::Fields(vec![wrong.to_owned()])));
    }
    let filter = json!({"filter": {"status": "paid", "error": null}});
    assert!(Wake::read(&filter, Replica::Full).is_ok());
    assert_eq!(Wake::read(&filter, Replica::Default), Err(WakeError::FilterNeedsFullReplica));
}

/// Fact 11: parameters are numbered from 1, columns joined by commas, and who asks stands under a prefix.
#[test]
fn fact_11_parameters_of_a_request() {
    let base = Url::parse("https://electric.example:8443/v1/shape?source_id=1#x").unwrap();
    let options = Options {
        table: "public.\"To Dos\"".into(),
        columns: Some(vec!["id".into(), "b".into()]),
        filter: Some("a = $1 AND b = $2".into()),
        params: Some(Params::List(vec!["x&y".into(), "ä".into()])),
        ..options()
    };
    let request = ShapeRequest {
        base: &base,
        options: &options,
        owner: "u 1",
        secret: None,
        cache_buster: "77",
        ask: &Ask::Now(LogMode::ChangesOnly),
    };
    let url = request.url().unwrap();
    assert_eq!(url.origin(), base.origin());
    assert_eq!((url.path(), url.fragment()), ("/v1/shape", None));
    let pairs: Vec<_> = url.query_pairs().map(|(name, value)| format!("{name}={value}")).collect();
    let expected = [
        "source_id=1",
        "table=public.\"To Dos\"",
        "columns=\"id\",\"b\"",
        "where=a = $1 AND b = $2",
        "params[1]=x&y",
        "params[2]=ä",
        "replica=full",
        "offset=now",
        "log=changes_only",
        "cache-buster=77",
        "electric_agents_principal_kind=user",
        "electric_agents_principal_id=u 1",
    ];
    assert_eq!(pairs, expected);
    let long = Options { filter: Some("ä".repeat(2_000)), ..options.clone() };
    assert_eq!(ShapeRequest { options: &long, ..request }.url(), None, "an address has a greatest length");
}

/// Facts 14 and 16: one source, one log, for all who observe it, and a wake comes after its changes were stored.
#[test]
fn fact_14_observers_share_a_log() {
    let mut rig = Rig::live(options(), Mode::Live, Wake::default());
    rig.subscribe("b", Wake::default());
    rig.answer(200, "h1", "5_0", &inserts(&[(5, 0)]));
    assert_eq!(rig.storage.rows.len(), 1, "stored before anything is sent");
    assert_eq!(rig.told().len(), 2);
}

/// Facts 15 and 22: rows that were there before are no changes, whatever the answer to the first request holds.
#[test]
fn fact_15_rows_that_are_there_wake_nobody() {
    let mut rig = Rig::new(options(), Mode::Live);
    rig.subscribe("a", Wake::default());
    rig.restart();
    rig.connect();
    rig.answered(answer(200, "h1", "5_0", &inserts(&[(4, 0), (5, 0)]), true));
    assert_eq!(rig.bridge.stored().ring.last_seq, 0);
    rig.connect();
    rig.answer(200, "h1", "6_0", &inserts(&[(6, 0)]));
    assert_eq!(places(&rig.told()[0]), [(6, 0)]);
}

/// Facts 18, 19, 23, 24: a bridge goes on from what is stored, also after a second registration.
#[test]
fn fact_19_a_bridge_goes_on_from_what_is_stored() {
    let mut rig = Rig::live(options(), Mode::Live, Wake::default());
    rig.answer(200, "h1", "5_0", &inserts(&[(5, 0)]));
    rig.subscribe("a", Wake::default());
    rig.restart();
    rig.connect();
    let Ask::Live(cursor, echo) = rig.ask() else { panic!() };
    assert_eq!((cursor.handle.as_str(), cursor.offset.as_str(), echo.as_str()), ("h1", "5_0", ""));
    rig.answer(200, "h1", "6_0", "[]");
    rig.happens(Event::Due);
    let Ask::Live(_, echo) = rig.ask() else { panic!() };
    assert_eq!(echo, "7", "later ones echo what the service said");
}

/// Fact 20: a stored cursor that means nothing is a gap that is told, and the end of the log is asked for.
#[test]
fn fact_20_an_unreadable_cursor_is_a_gap() {
    for cursor in [
        json!({"handle": "h1", "offset": "now", "log_mode": "changes_only"}),
        json!({"handle": 7}),
        json!("h1_0"),
        json!([]),
    ] {
        let mut rig = Rig::live(options(), Mode::Live, Wake::default());
        rig.answer(200, "h1", "5_0", &inserts(&[(5, 0)]));
        rig.told();
        let mut stored: Json = serde_json::from_str(&rig.storage.bridge).unwrap();
        stored["cursor"] = cursor.clone();
        rig.storage.bridge = stored.to_string();
        rig.restart();
        rig.connect();
        assert_eq!(rig.ask(), Ask::Now(LogMode::ChangesOnly), "{cursor}");
        rig.answer(200, "h2", "9_0", "[]");
        let told = rig.told();
        assert_eq!((&told[0]["type"], &told[0]["reason"]), (&json!("pg_sync.gap"), &json!("source_lost")), "{cursor}");
        rig.connect();
        rig.answer(200, "h2", "10_0", &inserts(&[(10, 0)]));
        assert_eq!(places(&rig.told()[0]), [(10, 0)]);
    }
}

/// Fact 21: a replaced log is asked for its end, from which on it is followed.
#[test]
fn fact_21_a_replaced_log_is_followed_from_its_end() {
    let mut rig = Rig::live(options(), Mode::Live, Wake::default());
    rig.answer(200, "h1", "5_0", &inserts(&[(5, 0)]));
    rig.answer(409, "", "", "[]");
    assert_eq!((rig.ask(), &rig.bridge.stored().cursor), (Ask::Now(LogMode::ChangesOnly), &None));
    rig.restart();
    rig.connect();
    assert_eq!(rig.ask(), Ask::Now(LogMode::ChangesOnly), "a new process does not go back");
    rig.answer(200, "h2", "0_inf", "[]");
    assert_eq!(rig.bridge.stored().cursor.as_ref().map(|cursor| cursor.handle.as_str()), Some("h2"));
}

/// Fact 17: the path of a stream holds its owner, as a hash.
#[test]
fn fact_17_paths_hold_the_owner() {
    let path = stream_path(Some(&owner_hash("ann")), "0123456789abcdef");
    assert_eq!(path, format!("/_electric/pg-sync/{}/0123456789abcdef", owner_hash("ann")));
    assert!(matches!(Place::of(&path), Some(Place::Stream { owner, .. }) if owner == owner_hash("ann")));
    assert_ne!(path, stream_path(Some(&owner_hash("bob")), "0123456789abcdef"));
}

/// Fact 10: whatever options and addresses say, who asks is what the server knows.
#[test]
fn fact_10_who_asks_is_said_by_the_server_alone() {
    let base =
        Url::parse("https://e.example/v1/shape?electric_agents_principal_id=root&electric_agents_tenant_id=t").unwrap();
    for ask in [Ask::Now(LogMode::ChangesOnly), Ask::Rows(Cursor::new("h", "1_0", LogMode::ChangesOnly).unwrap())] {
        let (options, secret, cache_buster) = (options(), Some("s"), "b");
        let request = ShapeRequest { base: &base, options: &options, owner: "ann", secret, cache_buster, ask: &ask };
        let url = request.url().unwrap();
        let said = url.query_pairs().filter(|(name, _)| name.starts_with("electric_agents_"));
        let said: Vec<_> = said.map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(said, ["electric_agents_principal_kind=user", "electric_agents_principal_id=ann"]);
    }
    assert_eq!(read(&json!({"table": "t", "owner": "root", "tenantId": "x"})).unwrap_err(), ["owner", "tenantId"]);
}

/// Fact 25: a source whose first request fails does not exist.
#[test]
fn fact_25_a_failed_probe_leaves_nothing() {
    let mut rig = Rig::new(options(), Mode::Live);
    rig.subscribe("a", Wake::default());
    rig.connect();
    rig.answer(400, "", "", r#"{"errors":{"table":["is unknown"]}}"#);
    assert_eq!(rig.actions.back(), Some(&Action::Remove));
}

/// Fact 26: a pause comes before the next request.
#[test]
fn fact_26_a_pause_comes_before_the_next_request() {
    let mut rig = Rig::live(options(), Mode::Live, Wake::default());
    rig.answer(500, "", "", "");
    assert_eq!(rig.bridge.stored().state, State::Backoff { until: rig.now + 1_000 });
    assert!(!rig.is_asking());
    rig.restart();
    rig.connect();
    assert!(!rig.is_asking(), "a new process keeps it");
}

/// The log keeps the newest 10,000 rows, 16 MiB and seven days, and wakes count what it has no room for.
#[test]
fn the_log_is_bounded() {
    let mut rig = Rig::live(options(), Mode::Live, Wake::default());
    let many: Vec<(u64, u64)> = (0..10_050).map(|op| (5, op)).collect();
    rig.answer(200, "h1", "5_10050", &inserts(&many));
    let told = rig.told();
    assert_eq!((&told[0]["counts"]["insert"], &told[0]["available_from"]), (&json!(10_050), &json!(51)));
    assert_eq!((rig.storage.rows.len(), rig.bridge.stored().overrun), (10_000, 50));
    assert_eq!(places(&told[0])[0], (5, 50));
    rig.answer(200, "h1", "6_0", &inserts(&[(6, 0)]));
    rig.told();
    let ring = rig.bridge.stored().ring;
    assert_eq!((rig.storage.rows.len(), ring.first_seq, ring.last_seq), (10_000, 52, 10_051));
    let bytes = |rig: &Rig| rig.storage.rows.values().map(pg_sync::change::Change::bytes).sum::<u64>();
    assert_eq!(bytes(&rig), ring.bytes);

    // Size: rows of 200 KB.
    let large = |tx: u64| {
        let value = json!({"text": "x".repeat(200_000)});
        Json::Array((0..20).map(|op| crate::rig::message("insert", "k", tx, op, &value)).collect()).to_string()
    };
    for tx in 7..13 {
        rig.answer(200, "h1", &format!("{tx}_20"), &large(tx));
        rig.told();
        let ring = rig.bridge.stored().ring;
        assert_eq!(bytes(&rig), ring.bytes);
        assert!(ring.bytes <= 16 * 1024 * 1024);
        assert!(rig.storage.rows.values().all(|row| row.seq >= ring.first_seq));
    }
    assert_eq!(rig.storage.rows.len(), 83);

    // Age.
    rig.now += 7 * 86_400_000 + 1;
    rig.happens(Event::Retry);
    rig.happens(Event::Due);
    rig.connect();
    rig.pass(400_000);
    rig.happens(Event::Due);
    rig.connect();
    rig.answer(200, "h1", "20_0", &inserts(&[(20, 0)]));
    assert_eq!((rig.storage.rows.len(), rig.bridge.stored().ring.first_seq), (1, rig.bridge.stored().ring.last_seq));
}
