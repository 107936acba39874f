//! Who is asked, and with what (pg-sync.md 4.4).

use database::Database as _;
use pollster::block_on;
use serde_json::json;

use super::{MINUTE, SECOND, SECRET, commit, go_on, observe, of_type, rows, world, world_with};

/// Everything that is stored is searched for the secret.
#[test]
fn the_secret_is_asked_with_and_stored_nowhere() {
    let (mut world, db) = world();
    assert_eq!(observe(&world).0, 201);
    commit(&world, 0..3);
    go_on(&mut world, 10 * SECOND);
    world.bridges.shapes.borrow_mut().faults = vec![500, 400];
    go_on(&mut world, 10 * SECOND);
    assert!(world.bridges.shapes.borrow().asked.iter().all(|url| url.contains(&format!("secret={SECRET}"))));
    let (bytes, told) =
        (world.bridges.bytes(), format!("{:?} {}", world.events(), world.ask("GET", "pg-sync", None).1));
    assert!(bytes.contains("orders") && !bytes.contains(SECRET) && !told.contains(SECRET));
    assert!(rows(&db).iter().all(|row| !format!("{row:?}").contains(SECRET)));
}

/// An address is judged whenever it is used, not only when it is named: one that has come into the database in another way, or that the operator lets
/// through no more, is asked nothing, and whoever observes through it is told.
#[test]
fn an_address_is_judged_again_whenever_it_is_used() {
    let own = |db: &database::sqlite::Sqlite, url: &str| {
        let put = format!(
            "INSERT OR REPLACE INTO pg_connections (user_id, name, url, secret, tables, replica, mode, poll_ms, revision, created_at, updated_at) \
             VALUES ('ann', 'own', '{url}', NULL, '[\"*\"]', 'default', 'interval', 1000, 1, 1, 1)"
        );
        block_on(db.execute(&put, &[])).unwrap();
    };
    for hostile in [
        "https://127.0.0.1/v1/shape",
        "https://2130706433/v1/shape",
        "https://[::ffff:10.0.0.1]/v1/shape",
        "https://user@shapes.test/v1/shape",
        "http://shapes.test/v1/shape",
    ] {
        let (mut world, db) = world_with(&[]);
        let wanted = json!({"connection": "own", "table": "orders"});
        own(&db, hostile);
        assert_eq!(
            world.ask("POST", "pg-sync", Some(&wanted)),
            (403, json!({"error": "url_not_allowed"})),
            "{hostile}"
        );
        own(&db, "https://shapes.test/v1/shape");
        assert_eq!(world.ask("POST", "pg-sync", Some(&wanted)).0, 201);
        own(&db, hostile);
        go_on(&mut world, 2 * MINUTE);
        let [blocked] = &of_type(&world, "pg_sync.blocked")[..] else { panic!("{hostile}: {:?}", world.events()) };
        assert_eq!(blocked["reason"], json!("url_not_allowed"), "{hostile}");
        let asked = world.bridges.shapes.borrow().asked.clone();
        assert!(
            !asked.is_empty() && asked.iter().all(|url| url.starts_with("https://shapes.test/v1/shape?")),
            "{hostile}"
        );
    }
}
