//! The log of a bridge, read as a stream (pg-sync.md 4.14).

use database::{Database as _, ReadFrom};
use http::Method;
use pollster::block_on;
use serde_json::{Value, json};
use web::Call;

use super::{DAY, MINUTE, SECOND, ask_bridge, commit, go_on, observe, rows, world};
use crate::world::World;

/// The log of a bridge as a stream (4.14): asked for, read, waited for, and not there for others. Facts 5 and 6: the answer
/// has the path of the stream, and before it is registered there is none.
#[test]
fn a_log_is_read_as_a_stream() {
    let (mut world, db) = world();
    let options =
        pg_sync::register::Registration::read(&json!({"options": {"url": "http://shapes.test", "table": "orders"}}));
    let options = options.unwrap().options;
    let source_id = pg_sync::identity::source_id("ann", pg_sync::identity::Origin::Connection("main"), &options);
    let source =
        pg_sync::bridge::Source { id: source_id.clone(), owner: "ann".into(), connection: "main".into(), options };
    let read = |query: &str, user: &str, source_ref: &str| {
        let call = Call::new(Method::GET, format!("https://bridge/__bridge__/stream{query}"));
        call.with_header("x-user-id", user).unwrap().with_header("x-source-ref", source_ref).unwrap()
    };
    let register = |source_ref: &str| {
        let body = json!({"source": source, "source_ref": source_ref}).to_string().into_bytes();
        Call { body, ..Call::new(Method::POST, "https://bridge/__bridge__/register") }
    };
    assert_eq!(ask_bridge(&mut world, &source_id, read("", "ann", "ref")).0, 404, "nobody has registered");
    let (status, body) = ask_bridge(&mut world, &source_id, register("ref"));
    let body: Value = serde_json::from_slice(&body).unwrap();
    let path = format!("/_electric/pg-sync/{}/ref", pg_sync::identity::owner_hash("ann"));
    assert_eq!((status, body), (200, json!({"sourceRef": "ref", "streamUrl": path})));
    assert_eq!(ask_bridge(&mut world, &source_id, read("", "ann", "ref")), (200, b"[]".to_vec()));
    commit(&world, 0..3);
    go_on(&mut world, 2 * SECOND);
    let (status, body) = ask_bridge(&mut world, &source_id, read("", "ann", "ref"));
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, body.as_array().unwrap().len()), (200, 3));
    // A long poll waits for its time, or for what comes.
    let begun = world.clock.now.get();
    assert_eq!(ask_bridge(&mut world, &source_id, read("?offset=now&live=long-poll", "ann", "ref")), (204, Vec::new()));
    assert!((20 * SECOND..22 * SECOND).contains(&(world.clock.now.get() - begun)));
    world.bridges.shapes.borrow_mut().insert("late");
    let (status, body) = ask_bridge(&mut world, &source_id, read("?offset=now&live=long-poll", "ann", "ref"));
    assert!(status == 200 && String::from_utf8(body).unwrap().contains("late"));
    for (user, source_ref) in [("bob", "ref"), ("ann", "other"), ("", "ref"), ("ann", "")] {
        assert_eq!(ask_bridge(&mut world, &source_id, read("", user, source_ref)).0, 404, "{user} {source_ref}");
    }
    // It is kept by whoever reads, across deaths, and rests a week after the last of them.
    world.bridges.kill_all();
    go_on(&mut world, 6 * DAY);
    assert_eq!(ask_bridge(&mut world, &source_id, read("", "ann", "ref")).0, 200);
    go_on(&mut world, 6 * DAY);
    assert_eq!(rows(&db)[0].1, "active");
    go_on(&mut world, DAY + DAY / 4);
    assert_eq!(rows(&db)[0].1, "idle");
    assert_eq!(ask_bridge(&mut world, &source_id, read("", "ann", "ref")).0, 404);
    go_on(&mut world, 2 * DAY);
    assert!(world.bridges.stored().is_empty() && rows(&db).is_empty());
}

/// Fact 6: the stream that an observation names can be read from its answer on, by its owner, and nothing has come: an empty list. A reading keeps it as a
/// registration does; what nobody has read ends with the session. A name that a source of the same user has stays with that.
#[test]
fn the_stream_of_an_observation_is_there_with_it() {
    for is_read in [true, false] {
        let (mut world, db) = world();
        let (_, body) = observe(&world);
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        let (source_id, source_ref) = (text("source_id"), text("sourceRef"));
        let other = world.ask("POST", "pg-sync", Some(&json!({"connection": "few", "table": "orders"}))).1;
        assert_eq!((&other["sourceRef"], &other["streamUrl"]), (&body["sourceRef"], &body["streamUrl"]));
        let query = format!("SELECT source_id FROM pg_sync_bridges WHERE source_ref = '{source_ref}'");
        let named = block_on(db.query(ReadFrom::Primary, &query, &[])).unwrap();
        assert_eq!(named.iter().map(|row| row.string(0).unwrap()).collect::<Vec<_>>(), [source_id.as_str()]);
        let read = |world: &mut World, user: &str| {
            let call =
                Call::new(Method::GET, "https://bridge/__bridge__/stream").with_header("x-user-id", user).unwrap();
            let (status, body) = ask_bridge(world, &source_id, call.with_header("x-source-ref", &source_ref).unwrap());
            (status, serde_json::from_slice::<Value>(&body).map_or(0, |events| events.as_array().map_or(0, Vec::len)))
        };
        assert_eq!(read(&mut world, "bob"), (404, 0));
        if is_read {
            assert_eq!(read(&mut world, "ann"), (200, 0));
        }
        commit(&world, 0..2);
        go_on(&mut world, 3 * SECOND);
        assert_eq!(world.ask("DELETE", &format!("pg-sync/{source_id}"), None).0, 200);
        commit(&world, 2..3);
        go_on(&mut world, 3 * SECOND);
        assert_eq!(read(&mut world, "ann"), if is_read { (200, 3) } else { (404, 0) });
    }
}

/// One who died while waiting to be read leaves nothing that goes on for ever.
#[test]
fn a_registration_that_nobody_finishes_ends() {
    let (mut world, _) = world();
    let source_id = observe(&world).1["source_id"].as_str().unwrap().to_owned();
    let observers = |world: &mut World| world.ask("GET", "pg-sync", None).1["observations"][0]["observers"].clone();
    let wake = json!({"expires_in_s": 60});
    let subscribe = json!({"source": world.bridges.source(&source_id), "subscription_id": "registering", "session": "", "wake": wake});
    let body = subscribe.to_string().into_bytes();
    let call = Call { body, ..Call::new(Method::POST, "https://bridge/__bridge__/subscribe") };
    assert_eq!(ask_bridge(&mut world, &source_id, call).0, 201);
    world.bridges.kill_all();
    assert_eq!(observers(&mut world), json!(2));
    go_on(&mut world, 2 * MINUTE);
    assert_eq!(observers(&mut world), json!(1));
}
