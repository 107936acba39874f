//! Users: their rows, addresses and activity.

use database::Row;
use database::sqlite::Sqlite;
use index::activity::{ActivitySeen, Entity};
use index::users::{User, UserThrottle};
use index::{keys, users};
use pollster::block_on;

use crate::support::{Recorder, db, rows, run};

#[test]
fn absent_claims_keep_what_is_stored() {
    let db = db();
    let id_token = User { id: "u", email: Some("e@x"), email_verified: Some(true), username: Some("U") };
    let access_token = User { id: "u", username: Some("U"), ..User::default() };
    block_on(users::upsert(&db, &UserThrottle::default(), &id_token, 1)).unwrap();
    block_on(users::upsert(&db, &UserThrottle::default(), &access_token, 2)).unwrap();
    let row = rows(&db, "SELECT email, email_verified, username, created_at FROM users").remove(0);
    assert_eq!((row.text(0), row.int(1), row.text(2), row.int(3)), (Some("e@x"), Some(1), Some("U"), Some(1)));
    assert_eq!(block_on(users::id_by_email(&db, "e@x")).unwrap().as_deref(), Some("u"));
    assert_eq!(block_on(users::id_by_email(&db, "E@x")).unwrap(), None);
}

#[test]
fn the_throttle_slides_and_sees_changes() {
    let db = Recorder::new();
    let throttle = UserThrottle::default();
    let writes = |user: &User<'_>, now_ms: i64| {
        block_on(users::upsert(&db, &throttle, user, now_ms)).unwrap();
        db.take().len()
    };
    let minute = 60_000;
    let user = User { id: "u", email: Some("e@x"), ..User::default() };
    let changed = User { email: Some("f@x"), ..user };
    assert_eq!(writes(&user, 0), 1);
    assert_eq!(writes(&user, 59 * minute), 0);
    assert_eq!(writes(&user, 118 * minute), 0, "a hit renews the time");
    assert_eq!(writes(&User { id: "u", ..User::default() }, 119 * minute), 0, "absent claims change nothing");
    assert_eq!(writes(&changed, 120 * minute), 1);
    assert_eq!(writes(&changed, 180 * minute), 1, "the hour is over");
    for other in 0..1024 {
        writes(&User { id: &other.to_string(), ..User::default() }, 181 * minute);
    }
    assert_eq!(writes(&changed, 181 * minute), 1, "the oldest was dropped");
}

#[test]
fn a_failed_write_is_not_remembered() {
    let db = db();
    let (throttle, seen) = (UserThrottle::default(), ActivitySeen::default());
    run(&db, "ALTER TABLE users RENAME TO users_away");
    run(&db, "ALTER TABLE daily_active_entities RENAME TO days_away");
    let user = User { id: "u", ..User::default() };
    block_on(users::upsert(&db, &throttle, &user, 1)).unwrap_err();
    let note = seen.note(Entity::User("u"), 1).unwrap();
    assert!(seen.note(Entity::User("u"), 1).is_none(), "it is about to be written");
    block_on(note.write(&db)).unwrap_err();
    run(&db, "ALTER TABLE users_away RENAME TO users");
    run(&db, "ALTER TABLE days_away RENAME TO daily_active_entities");
    block_on(users::upsert(&db, &throttle, &user, 1)).unwrap();
    drop(seen.note(Entity::User("u"), 1).unwrap());
    block_on(seen.note(Entity::User("u"), 1).unwrap().write(&db)).unwrap();
    assert!(seen.note(Entity::User("u"), 1).is_none());
    assert_eq!(rows(&db, "SELECT * FROM users").len(), 1);
    assert_eq!(rows(&db, "SELECT * FROM daily_active_entities").len(), 1);
}

#[test]
fn activity_is_written_once_a_day() {
    let db = Recorder::new();
    let seen = ActivitySeen::default();
    let day = 86_400_000;
    for (entity, now_ms) in
        [(Entity::User("x"), 5), (Entity::User("x"), 6), (Entity::Graph("x"), 7), (Entity::User("x"), day + 1)]
    {
        if let Some(note) = seen.note(entity, now_ms) {
            block_on(note.write(&db)).unwrap();
        }
    }
    assert_eq!(db.take().len(), 3);
    block_on(ActivitySeen::default().note(Entity::User("x"), 9).unwrap().write(&db)).unwrap();
    let stored =
        rows(&db, "SELECT day_utc, entity_type, first_seen_at FROM daily_active_entities ORDER BY first_seen_at");
    let stored: Vec<_> =
        stored.iter().map(|row| (row.text(0).unwrap(), row.text(1).unwrap(), row.int(2).unwrap())).collect();
    assert_eq!(stored, [("1970-01-01", "user", 5), ("1970-01-01", "graph", 7), ("1970-01-02", "user", day + 1)]);
}

/// A row of a user: id, whether the address is verified, and when it was made.
type Registered = (&'static str, &'static str, &'static str);

/// An index in which these users have one address, and each has a key named after them.
fn registered(users: &[Registered]) -> Sqlite {
    let db = db();
    for (id, verified, created_at) in users {
        run(
            &db,
            &format!(
                "INSERT INTO users (id, email, email_verified, created_at) \
                 VALUES ('{id}', 'x@example.test', {verified}, {created_at})"
            ),
        );
        run(&db, &format!("INSERT INTO user_rsa_keys (user_id, public_key) VALUES ('{id}', 'key of {id}')"));
    }
    db
}

#[test]
fn an_address_stands_for_the_oldest_verified_user() {
    let cases: &[(&[Registered], Option<&str>)] = &[
        (&[], None),
        (&[("a", "1", "5")], Some("a")),
        (&[("a", "NULL", "5")], Some("a")),
        (&[("a", "0", "5")], None),
        // Users who registered the address, earlier or later, but cannot receive its mail.
        (&[("thief", "0", "1"), ("a", "1", "5")], Some("a")),
        (&[("a", "1", "5"), ("thief", "0", "9")], Some("a")),
        (&[("thief", "NULL", "1"), ("a", "1", "5")], Some("a")),
        (&[("thief", "0", "1"), ("a", "NULL", "5")], Some("a")),
        (&[("thief", "NULL", "1"), ("a", "NULL", "5")], None),
        (&[("thief", "0", "1"), ("another", "0", "2")], None),
        // Among verified users the oldest counts, not the order of rows; a row without a time is older than that
        // column.
        (&[("younger", "1", "9"), ("a", "1", "5")], Some("a")),
        (&[("younger", "1", "9"), ("a", "1", "NULL"), ("old", "1", "5")], Some("a")),
        (&[("a", "1", "5"), ("same-time", "1", "5")], Some("a")),
    ];
    for (users, expected) in cases {
        let db = registered(users);
        let found = block_on(users::id_by_email(&db, "x@example.test")).unwrap();
        assert_eq!(found.as_deref(), *expected, "{users:?}");
        let key = block_on(keys::public_key_of(&db, "x@example.test")).unwrap();
        assert_eq!(key, expected.map(|id| format!("key of {id}")), "{users:?}");
    }
    let keyless = registered(&[("a", "1", "5"), ("b", "1", "9")]);
    run(&keyless, "DELETE FROM user_rsa_keys WHERE user_id = 'a'");
    let key = block_on(keys::public_key_of(&keyless, "x@example.test")).unwrap();
    assert_eq!(key, None, "the key of another user would not open what is sealed for this one");
}

#[test]
fn a_new_address_is_not_verified_because_the_old_one_was() {
    let write = |db: &Sqlite, throttle: &UserThrottle, email, email_verified, now_ms| {
        let user = User { id: "u", email, email_verified, username: None };
        block_on(users::upsert(db, throttle, &user, now_ms)).unwrap();
        rows(db, "SELECT email, email_verified FROM users")
    };
    let verified = |row: &[Row]| row[0].int(1);
    let (db, throttle) = (db(), UserThrottle::default());
    assert_eq!(verified(&write(&db, &throttle, Some("mine@example.test"), Some(true), 1)), Some(1));
    assert_eq!(verified(&write(&db, &throttle, None, None, 2)), Some(1), "D-11");
    assert_eq!(verified(&write(&db, &throttle, Some("mine@example.test"), None, 3)), Some(1));
    let changed = write(&db, &throttle, Some("victim@example.test"), None, 4);
    assert_eq!((changed[0].text(0), verified(&changed)), (Some("victim@example.test"), None));
    // The throttle has dropped the flag too, so the same claims with the flag are written.
    assert_eq!(verified(&write(&db, &throttle, Some("victim@example.test"), Some(true), 5)), Some(1));
    assert_eq!(verified(&write(&db, &throttle, Some("other@example.test"), Some(false), 6)), Some(0));
}
