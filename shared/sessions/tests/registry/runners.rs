//! Runners and their places.

use database::Database;
use pollster::block_on;
use sessions::error::Error;
use sessions::registry::Runner;
use sessions::registry::runners::{self, MAX_RUNNERS};
use sessions::request::Register;
use sessions::secrets::Seal;

use crate::support::{db, rows, run, seal};

const TTL: i64 = 60_000;

fn request(runner_id: &str, max_sessions: i64) -> Register {
    let body = format!(
        r#"{{"runner-id":"{runner_id}","base-url":"https://{runner_id}.test/","max-sessions":{max_sessions},
        "agent-token":"token-{runner_id}","access-client-id":"cid","access-client-secret":"csec"}}"#
    );
    Register::read(body.as_bytes()).unwrap()
}

fn register(db: &impl Database, user: &str, runner_id: &str, max_sessions: i64, now: i64) -> Runner {
    block_on(runners::register(db, &seal(), user, &request(runner_id, max_sessions), Some(MAX_RUNNERS), now)).unwrap()
}

fn choose(db: &impl Database, user: &str, wanted: Option<&str>, now: i64) -> Option<String> {
    block_on(runners::choose(db, &seal(), user, wanted, now, TTL)).unwrap().map(|runner| runner.runner_id)
}

fn active(db: &impl Database, user: &str, runner_id: &str) -> i64 {
    block_on(runners::get(db, user, runner_id)).unwrap().unwrap().active_sessions
}

#[test]
fn registering_again_keeps_counters_and_birthday() {
    let db = db();
    let first = register(&db, "u", "a", 2, 1_000);
    assert_eq!((first.max_sessions, first.active_sessions, first.created_at, &*first.status), (2, 0, 1_000, "online"));
    assert_eq!((&*first.base_url, &*first.user_id), ("https://a.test", "u"));
    assert!(block_on(runners::heartbeat(&db, "u", "a", Some(2), 2_000)).unwrap().is_some());
    run(&db, "UPDATE agent_runners SET status = 'offline'");
    let again = register(&db, "u", "a", 4, 3_000);
    assert_eq!((again.max_sessions, again.active_sessions, again.created_at), (4, 2, 1_000), "B36");
    assert_eq!((&*again.status, again.updated_at, again.last_heartbeat_at), ("online", 3_000, 3_000));
    let bare = Register { agent_token: None, access_client_id: None, access_client_secret: None, ..request("a", 4) };
    block_on(runners::register(&db, &seal(), "u", &bare, None, 4_000)).unwrap();
    let opened = block_on(runners::open(&db, &seal(), "u", "a")).unwrap().unwrap();
    assert_eq!((opened.agent_token, opened.access_client_id), (None, None), "what is not sent is gone");
}

#[test]
fn secrets_lie_sealed_and_come_back_where_they_are_asked_for() {
    let db = db();
    let shown = register(&db, "u", "a", 1, 1).shown().to_string();
    assert!(!shown.contains("token-a") && !shown.contains("csec") && !shown.contains("agent-token"), "{shown}");
    let stored = rows(&db, "SELECT agent_token, access_client_id, access_client_secret FROM agent_runners");
    for column in 0..3 {
        assert!(stored[0].text(column).unwrap().starts_with("v1:"), "{column}");
    }
    assert!(block_on(runners::get(&db, "u", "a")).unwrap().unwrap().agent_token.is_none());
    let opened = block_on(runners::open(&db, &seal(), "u", "a")).unwrap().unwrap();
    assert_eq!(opened.agent_token.as_deref(), Some("token-a"));
    assert_eq!(
        (opened.access_client_id.as_deref(), opened.access_client_secret.as_deref()),
        (Some("cid"), Some("csec"))
    );
    // A row that was given to another user does not open there.
    run(&db, "UPDATE agent_runners SET user_id = 'v'");
    assert!(matches!(block_on(runners::open(&db, &seal(), "v", "a")), Err(Error::Internal(_))));
    assert!(matches!(block_on(runners::choose(&db, &seal(), "v", None, 1, TTL)), Err(Error::Internal(_))));
    assert_eq!(active(&db, "v", "a"), 0, "no place stays taken");
}

#[test]
fn without_a_key_only_runners_without_secrets_register() {
    let db = db();
    let no_key = Seal { key: None, allows_clear: false };
    let refused = block_on(runners::register(&db, &no_key, "u", &request("a", 1), None, 1));
    assert_eq!(refused, Err(Error::SecretsKey));
    let bare = Register::read(br#"{"runner-id":"a","base-url":"https://a.test"}"#).unwrap();
    assert!(block_on(runners::register(&db, &no_key, "u", &bare, None, 1)).is_ok());
    assert!(block_on(runners::open(&db, &no_key, "u", "a")).unwrap().is_some());
}

#[test]
fn a_user_has_at_most_fifty() {
    let db = db();
    for number in 0..MAX_RUNNERS {
        register(&db, "u", &format!("r{number}"), 1, 1);
    }
    let one_more = |limit| block_on(runners::register(&db, &seal(), "u", &request("more", 1), limit, 2));
    assert_eq!(one_more(Some(MAX_RUNNERS)), Err(Error::TooManyRunners));
    register(&db, "u", "r0", 5, 2);
    register(&db, "v", "r0", 1, 2);
    assert!(one_more(None).is_ok(), "where no limits are set");
}

#[test]
fn a_database_that_fails_is_told_as_such() {
    let db = db();
    run(&db, "DROP TABLE agent_runners");
    let failed = block_on(runners::register(&db, &seal(), "u", &request("a", 1), None, 1));
    assert!(matches!(failed, Err(Error::Register(_))));
}

#[test]
fn heartbeats_change_the_number_only_when_they_say_one() {
    let db = db();
    register(&db, "u", "a", 1, 1_000);
    let beat = |active, now| block_on(runners::heartbeat(&db, "u", "a", active, now)).unwrap().unwrap();
    for (said, expected) in [(Some(1), 1), (None, 1), (Some(-4), 0), (Some(7), 7)] {
        let runner = beat(said, 2_000);
        assert_eq!((runner.active_sessions, runner.last_heartbeat_at, runner.updated_at), (expected, 2_000, 2_000));
    }
    assert!(block_on(runners::heartbeat(&db, "u", "b", None, 1)).unwrap().is_none());
    assert!(block_on(runners::heartbeat(&db, "v", "a", None, 1)).unwrap().is_none(), "another user's");
}

#[test]
fn lists_are_of_one_user_last_updated_first() {
    let db = db();
    for (user, id, now) in [("u", "a", 1), ("u", "b", 3), ("u", "c", 3), ("v", "a", 9)] {
        register(&db, user, id, 1, now);
    }
    let ids = |user| {
        let list = block_on(runners::list(&db, user)).unwrap();
        list.into_iter().map(|runner| runner.runner_id).collect::<Vec<_>>()
    };
    assert_eq!((ids("u"), ids("v"), ids("w").len()), (vec!["c".into(), "b".into(), "a".into()], vec!["a".into()], 0));
    run(&db, "UPDATE agent_runners SET base_url = ' ', max_sessions = 0 WHERE runner_id = 'b'");
    run(&db, "UPDATE agent_runners SET max_sessions = 0, active_sessions = -3, status = '' WHERE runner_id = 'c'");
    assert_eq!(ids("u"), ["c", "a"], "a row without an address is left out");
    let odd = block_on(runners::get(&db, "u", "c")).unwrap().unwrap();
    assert_eq!((odd.max_sessions, odd.active_sessions, &*odd.status), (1, 0, "online"));
}

#[test]
fn the_freshest_runner_with_a_place_is_chosen() {
    let db = db();
    let now = 1_000_000;
    register(&db, "u", "old", 2, now - TTL - 1);
    register(&db, "u", "one", 2, now - 10);
    register(&db, "u", "two", 1, now - 5);
    register(&db, "v", "foreign", 9, now);
    assert_eq!(choose(&db, "u", None, now).as_deref(), Some("two"));
    assert_eq!(choose(&db, "u", None, now).as_deref(), Some("one"), "two is full");
    assert_eq!(choose(&db, "u", Some("two"), now), None);
    assert_eq!(choose(&db, "u", Some("foreign"), now), None);
    assert_eq!(choose(&db, "u", Some("old"), now), None, "not heard of");
    assert_eq!(choose(&db, "u", Some("one"), now).as_deref(), Some("one"));
    assert_eq!(choose(&db, "u", None, now), None, "all full");
    block_on(runners::free_place(&db, "u", "two", now)).unwrap();
    assert_eq!(choose(&db, "u", None, now).as_deref(), Some("two"));
    run(&db, "UPDATE agent_runners SET status = 'offline', active_sessions = 0");
    assert_eq!(choose(&db, "u", None, now), None);
}

#[test]
fn a_heartbeat_counts_to_the_last_millisecond() {
    let db = db();
    register(&db, "u", "a", 9, 1_000);
    assert!(choose(&db, "u", None, 1_000 + TTL).is_some());
    assert!(choose(&db, "u", None, 1_001 + TTL).is_none());
}

#[test]
fn places_are_never_more_than_there_are() {
    let db = db();
    register(&db, "u", "a", 3, 1_000);
    let taken = (0..10).filter(|_| block_on(runners::take_place(&db, "u", "a", 1_000, TTL)).unwrap()).count();
    assert_eq!((taken, active(&db, "u", "a")), (3, 3));
    for _ in 0..10 {
        block_on(runners::free_place(&db, "u", "a", 1_000)).unwrap();
    }
    assert_eq!(active(&db, "u", "a"), 0);
    assert!(!block_on(runners::take_place(&db, "u", "b", 1_000, TTL)).unwrap());
}

#[test]
fn silent_runners_go_offline_and_come_back() {
    let db = db();
    register(&db, "u", "a", 3, 0);
    block_on(runners::heartbeat(&db, "u", "a", Some(2), 0)).unwrap();
    let mark = |now| block_on(runners::mark_offline(&db, now, TTL)).unwrap();
    assert_eq!((mark(10 * TTL), mark(10 * TTL + 1), mark(10 * TTL + 2)), (0, 1, 0));
    let gone = block_on(runners::get(&db, "u", "a")).unwrap().unwrap();
    assert_eq!((&*gone.status, gone.active_sessions), ("offline", 0));
    let back = block_on(runners::heartbeat(&db, "u", "a", None, 11 * TTL)).unwrap().unwrap();
    assert_eq!(&*back.status, "online");
}

#[test]
fn deleting_is_of_own_runners() {
    let db = db();
    register(&db, "u", "a", 1, 1);
    let delete = |user| block_on(runners::delete(&db, user, "a")).unwrap();
    assert_eq!((delete("v"), delete("u"), delete("u")), (false, true, false));
}
