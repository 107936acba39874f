//! What the reference does wrong, by the numbers of pg-sync.md 5: one test each.

use crate::rig::{Rig, inserts, keys, message, options, places};
use pg_sync::bridge::{Event, Mode, Outcome, State};
use pg_sync::identity::{Origin, source_id};
use pg_sync::options::Options;
use pg_sync::reference::{canonical, source_ref};
use pg_sync::shape::{Ask, Cursor, LogMode, ShapeRequest};
use pg_sync::wake::Wake;
use serde_json::json;
use url::Url;

fn cursor(offset: &str) -> Cursor {
    Cursor::new("h1", offset, LogMode::ChangesOnly).unwrap()
}

fn request(base: &str, options: &Options, ask: &Ask) -> Url {
    let base = Url::parse(base).unwrap();
    let request =
        ShapeRequest { base: &base, options, owner: "owner", secret: Some("hunter2"), cache_buster: "b", ask };
    request.url().unwrap()
}

fn query(url: &Url, name: &str) -> Vec<String> {
    url.query_pairs().filter(|(given, _)| given == name).map(|(_, value)| value.into_owned()).collect()
}

const BASE: &str = "https://electric.example/v1/shape";

/// The reference resumes with another log mode than that of its handle: 409, and everything of the meantime is lost.
#[test]
fn bug_01_the_log_mode_is_that_of_the_cursor() {
    let mut rig = Rig::live(options(), Mode::Live, Wake::default());
    rig.restart();
    rig.connect();
    let Ask::Live(resumed, _) = rig.ask() else { panic!("{:?}", rig.ask()) };
    assert_eq!(resumed, cursor("0_inf"));
    for log_mode in [LogMode::ChangesOnly, LogMode::Full] {
        let cursor = Cursor { log_mode, ..cursor("5_0") };
        let expected = if log_mode == LogMode::Full { "full" } else { "changes_only" };
        for ask in [Ask::CatchUp(cursor.clone()), Ask::Live(cursor.clone(), String::new())] {
            assert_eq!(query(&request(BASE, &options(), &ask), "log"), [expected]);
        }
    }
}

/// The reference does not take `0_inf`, which a quiet table has, for a cursor.
#[test]
fn bug_02_every_offset_that_was_given_is_one() {
    for offset in ["0_inf", "0_0", "-2", "26800584_6", "anything"] {
        assert!(Cursor::new("h", offset, LogMode::ChangesOnly).is_some(), "{offset}");
    }
    for offset in ["", "now", "-1", "a b", &"1".repeat(257)] {
        assert!(Cursor::new("h", offset, LogMode::ChangesOnly).is_none(), "{offset}");
    }
    let mut rig = Rig::live(options(), Mode::Live, Wake::default());
    rig.restart();
    rig.connect();
    rig.answer(200, "h1", "5_2", &inserts(&[(5, 0), (5, 2)]));
    assert_eq!(places(&rig.told()[0]), [(5, 0), (5, 2)]);
}

/// The reference stores the end of an answer before it has stored what the answer holds.
#[test]
fn bug_03_cursor_and_changes_are_stored_as_one() {
    let mut rig = Rig::live(options(), Mode::Live, Wake::default());
    let body = inserts(&[(5, 0), (5, 2), (6, 0)]);
    let decision = {
        let epoch = rig
            .actions
            .iter()
            .find_map(|a| if let pg_sync::bridge::Action::Ask { epoch, .. } = a { Some(*epoch) } else { None });
        rig.decide(Event::Answered { epoch: epoch.unwrap(), answer: crate::rig::answer(200, "h1", "6_0", &body, true) })
    };
    assert_eq!(decision.commit.changes.len(), 3);
    assert!(decision.commit.bridge, "the new cursor is in the same commit");
    // That commit fails: nothing of it is known to the next process, which asks for the same again.
    rig.restart();
    rig.connect();
    assert_eq!(rig.ask(), Ask::Live(cursor("0_inf"), String::new()));
    rig.answer(200, "h1", "6_0", &body);
    assert_eq!(places(&rig.told()[0]), [(5, 0), (5, 2), (6, 0)]);
    assert_eq!(rig.bridge.stored().cursor, Some(cursor("6_0")));
}

/// In the reference the second update of a row has the key of the first, and is not delivered.
#[test]
fn bug_04_each_change_of_a_row_wakes() {
    let mut rig = Rig::live(options(), Mode::Live, Wake::default());
    let mut wake_keys = Vec::new();
    for tx in 1..=3_u64 {
        let body = json!([message("update", "row", tx, 0, &json!({"id": "1", "n": tx.to_string()}))]).to_string();
        rig.answer(200, "h1", &format!("{tx}_0"), &body);
        let told = rig.told();
        assert_eq!(keys(&told[0]), ["row"]);
        wake_keys.push(told[0]["key"].as_str().unwrap().to_owned());
    }
    wake_keys.dedup();
    assert_eq!(wake_keys.len(), 3);
}

/// In the reference a caller can say that it is another tenant.
#[test]
fn bug_05_nobody_says_who_they_are() {
    let base = "https://electric.example/v1/shape?electric_agents_principal_id=x&Electric_Agents_tenant_id=y&a=b&secret=z&table=users";
    let url = request(base, &options(), &Ask::Now(LogMode::ChangesOnly));
    assert_eq!(query(&url, "electric_agents_principal_id"), ["owner"]);
    assert_eq!(query(&url, "Electric_Agents_tenant_id"), Vec::<String>::new());
    assert_eq!(
        (query(&url, "a"), query(&url, "secret"), query(&url, "table")),
        (vec!["b".into()], vec!["hunter2".into()], vec!["orders".into()])
    );
    assert!(
        url.as_str().ends_with("&electric_agents_principal_kind=user&electric_agents_principal_id=owner"),
        "last: {url}"
    );
}

/// The reference loses changes without a word when the log is replaced.
#[test]
fn bug_06_a_replaced_log_is_told() {
    for body in ["[]", r#"[{"headers":{"control":"must-refetch"}}]"#] {
        let status = if body == "[]" { 409 } else { 200 };
        let mut rig = Rig::live(options(), Mode::Live, Wake::default());
        rig.answer(200, "h1", "5_0", &inserts(&[(5, 0)]));
        assert_eq!(rig.told_types(), ["pg_sync.change"]);
        rig.answer(status, "h1", "5_0", body);
        assert_eq!(rig.ask(), Ask::Now(LogMode::ChangesOnly));
        assert_eq!(rig.told(), Vec::<serde_json::Value>::new(), "not before there is a cursor again");
        rig.answer(200, "h2", "9_0", "[]");
        let told = rig.told();
        assert_eq!(
            (told.len(), &told[0]["type"], &told[0]["reason"]),
            (1, &json!("pg_sync.gap"), &json!("must_refetch"))
        );
        assert_eq!((&told[0]["from_seq"], &told[0]["count"]), (&json!(1), &json!(1)));
        assert_eq!(rig.storage.gaps.len(), 1);
    }
}

/// The reference keeps bridges that nobody wants.
#[test]
fn bug_07_bridges_are_collected() {
    let mut rig = Rig::live(options(), Mode::Live, Wake::default());
    rig.happens(Event::Unsubscribe { id: "a".into() });
    rig.actions.clear();
    assert!(matches!(rig.bridge.stored().state, State::Idle { .. }));
    rig.pass(86_400_000 - 1);
    assert!(!rig.is_asking(), "nothing is asked meanwhile");
    assert!(rig.actions.is_empty());
    rig.now += 1;
    rig.happens(Event::Due);
    assert_eq!(rig.actions, [pg_sync::bridge::Action::Remove]);
}

/// In the reference a table that is never quiet never wakes, and a restart forgets what waits.
#[test]
fn bug_08_a_busy_table_wakes() {
    let wake = Wake { debounce_ms: 10_000, max_wait_ms: Some(25_000), ..Wake::default() };
    let mut rig = Rig::live(options(), Mode::Live, wake);
    let start = rig.now;
    for tx in 1..=4_u64 {
        rig.answer(200, "h1", &format!("{tx}_0"), &inserts(&[(tx, 0)]));
        assert_eq!(rig.told_types(), Vec::<String>::new());
        rig.restart();
        rig.connect();
        rig.pass(5_000);
    }
    rig.pass(5_000);
    let told = rig.told();
    assert_eq!(rig.now - start, 25_000);
    assert_eq!((told.len(), places(&told[0])), (1, vec![(1, 0), (2, 0), (3, 0), (4, 0)]));
}

/// In the reference only a change makes the pause after a failure short again.
#[test]
fn bug_09_being_up_to_date_ends_a_failure() {
    let mut rig = Rig::live(options(), Mode::Live, Wake::default());
    for attempt in 0..5_u32 {
        rig.answered(pg_sync::answer::Answer::Broken("no connection".into()));
        assert_eq!(rig.bridge.stored().state, State::Backoff { until: rig.now + (1_000 << attempt) });
        rig.pass(1_000 << attempt);
        rig.happens(Event::Due);
        rig.connect();
    }
    rig.answer(200, "h1", "0_inf", r#"[{"headers":{"control":"up-to-date"}}]"#);
    rig.pass(1_000);
    rig.answered(pg_sync::answer::Answer::Broken("no connection".into()));
    assert_eq!(rig.bridge.stored().state, State::Backoff { until: rig.now + 1_000 });
}

/// In the reference the secret is a part of the address, which is stored, hashed and told.
#[test]
fn bug_10_no_secret_is_stored_or_told() {
    let mut rig = Rig::live(options(), Mode::Live, Wake::default());
    let failures = ["no: https://electric.example/v1/shape?secret=hunter2", "secret=%68unter2"];
    for (status, body) in [400, 401, 503, 400, 401, 404, 400].iter().zip(failures.iter().cycle()) {
        if !rig.is_asking() {
            rig.happens(Event::Retry);
            rig.connect();
        }
        rig.answer(*status, "h1", "", body);
    }
    let told = serde_json::to_string(&rig.told()).unwrap();
    let view = rig.bridge.observation(&rig.bridge.observers()["a"], rig.now).to_string();
    let stored = format!("{}{:?}{:?}{told}{view}", rig.storage.bridge, rig.storage.observers, rig.storage.gaps);
    assert!(stored.contains("blocked") && stored.contains("is not shown"));
    assert!(!stored.contains("unter2"), "{stored}");
}

/// In the reference the probe and the stream quote columns differently, and ask for two shapes.
#[test]
fn bug_11_columns_are_quoted_in_one_way() {
    let columns = Some(vec!["id".into(), "Odd \"one\"".into(), "a,b".into()]);
    let options = Options { columns, ..options() };
    let asks = [Ask::Now(LogMode::ChangesOnly), Ask::CatchUp(cursor("1_0")), Ask::Live(cursor("1_0"), "7".into())];
    for ask in asks {
        assert_eq!(query(&request(BASE, &options, &ask), "columns"), [r#""id","Odd ""one""","a,b""#]);
    }
}

/// In the reference 64 bits that anybody can collide decide who shares a source.
#[test]
fn bug_12_sharing_is_decided_by_a_cryptographic_hash_of_everything() {
    let of = |owner: &str| source_id(owner, Origin::Connection("main"), &options());
    assert_eq!(of("u").len(), 32);
    assert_ne!(of("u"), of("v"));
    assert_ne!(of("u"), source_id("u", Origin::Url("main"), &options()));
    let body = json!({"url": "https://e.example", "table": "orders"});
    assert_eq!(source_ref(&canonical(&body, None)).len(), 16, "the reference's own is for its route alone");
}

/// In the reference a wake that fails is logged, and its changes are passed over.
#[test]
fn bug_13_a_wake_that_fails_is_sent_again() {
    let mut rig = Rig::live(options(), Mode::Live, Wake::default());
    rig.answer(200, "h1", "5_0", &inserts(&[(5, 0)]));
    let first = rig.sends();
    for _ in 0..20 {
        let (id, key, _) = first[0].clone();
        rig.happens(Event::Sent { id, key, outcome: Outcome::Failed });
        rig.pass(400_000);
        let again = rig.sends();
        assert!(!again.is_empty() && again.iter().all(|again| *again == first[0]), "the same bytes: {again:?}");
    }
    // What comes meanwhile waits, and is not lost.
    rig.happens(Event::Retry);
    rig.connect();
    rig.answer(200, "h1", "6_0", &inserts(&[(6, 0)]));
    assert_eq!(rig.sends(), []);
    let (id, key, _) = first[0].clone();
    rig.happens(Event::Sent { id, key, outcome: Outcome::Taken });
    assert_eq!(places(&rig.told()[0]), [(6, 0)]);
}
