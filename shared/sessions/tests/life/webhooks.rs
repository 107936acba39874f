//! Notifications reach whoever wants them (agents.md 20.3), whatever dies and whatever gets lost on the way.

use std::collections::BTreeSet;
use std::rc::Rc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use database::sqlite::Sqlite;
use database::{Database, ReadFrom};
use pollster::block_on;
use serde_json::{Value, json};
use sessions::event::Kind;
use sessions::registry::webhooks;
use sessions::request::NewWebhook;
use sessions::webhook::{Secret, Topic, delivery_id};

use crate::receiver::{Got, Post};
use crate::world::World;
use crate::{database, settings};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A webhook of a user, with its own path at the receiver.
fn add(db: &Sqlite, user: &str, id: &str, graph: Option<&str>, topics: &[Topic]) -> Secret {
    let url = format!("https://receiver.example/{id}");
    let wanted = NewWebhook { url, topics: topics.to_vec(), graph_id: graph.map(str::to_owned) };
    block_on(webhooks::add(db, &settings().seal(), user, id, &wanted, 1)).unwrap().1
}

fn run(db: &Sqlite, sql: &str) {
    block_on(db.execute(sql, &[])).unwrap();
}

/// A session of ann, who has a webhook for everything.
fn world() -> (World, Rc<Sqlite>, Secret) {
    let db = database();
    let secret = add(&db, "ann", "w", None, &Topic::ALL);
    let world = World::beside(Some(Rc::clone(&db)), settings(), "local-dev");
    assert_eq!(world.create().0, 200);
    world.agent.borrow_mut().heeds_cancel = true;
    (world, db, secret)
}

fn turn(world: &World) {
    world.message("Text of a person.");
    world.pass(100);
    world.agent.borrow_mut().speak("Text of an agent.");
    world.agent.borrow_mut().finish("end_turn");
    world.pass(100);
}

fn got(world: &World) -> Vec<Got> {
    world.net.borrow().got.clone()
}

fn topics(world: &World) -> Vec<String> {
    got(world).iter().map(|got| got.json()["type"].as_str().unwrap().to_owned()).collect()
}

/// Deliveries as their user sees them, the newest first.
fn shown(db: &Sqlite, webhook: &str) -> Vec<Value> {
    let (page, _) = block_on(webhooks::deliveries(db, webhook, None)).unwrap();
    page.iter().map(webhooks::Told::shown).collect()
}

fn disabled(db: &Sqlite, webhook: &str) -> bool {
    block_on(webhooks::get(db, webhook)).unwrap().unwrap().disabled_at.is_some()
}

/// As a receiver does it, with an implementation of its own.
fn is_signed(got: &Got, secret: &Secret) -> bool {
    let key = STANDARD.decode(secret.text().strip_prefix("whsec_").unwrap()).unwrap();
    let signed = format!("{}.{}.{}", got.id(), got.header("webhook-timestamp"), got.body);
    let expected = STANDARD.encode(hmac_sha256::HMAC::mac(signed.as_bytes(), &key));
    got.header("webhook-signature").split(' ').any(|signature| signature == format!("v1,{expected}"))
}

#[test]
fn a_finished_turn_is_told_and_signed() {
    let (world, db, secret) = world();
    turn(&world);
    let got = got(&world);
    assert_eq!(got.len(), 1);
    let events = world.events();
    let event = events.iter().find(|event| event["type"] == "turn.completed").unwrap();
    let id = delivery_id(event["event-id"].as_str().unwrap(), "w");
    let expected = json!({"id": id, "type": "turn.finished", "created-at": event["ts"], "session-id": "s", "title": "Title",
        "status": "running", "data": {"stop-reason": "end_turn", "turn": 1}});
    assert_eq!((got[0].id(), got[0].json()), (id.as_str(), expected));
    assert_eq!(
        (got[0].url.as_str(), got[0].header("content-type")),
        ("https://receiver.example/w", "application/json")
    );
    let seconds: i64 = got[0].header("webhook-timestamp").parse().unwrap();
    assert_eq!(seconds, got[0].at / SECOND);
    assert!(is_signed(&got[0], &secret));
    let mut forged = got[0].clone();
    forged.body.push(' ');
    assert!(!is_signed(&forged, &secret));
    let delivered = json!({"id": id, "type": "turn.finished", "session-id": "s", "attempts": 1, "state": "done", "last-status": 200,
        "next-at": null});
    assert_eq!(shown(&db, "w"), [delivered]);
}

#[test]
fn each_topic_is_told_to_whoever_wants_it() {
    let db = database();
    add(&db, "ann", "all", None, &Topic::ALL);
    add(&db, "ann", "some", None, &[Topic::ApprovalNeeded, Topic::BudgetReached]);
    add(&db, "bob", "other", None, &Topic::ALL);
    let world = World::beside(Some(Rc::clone(&db)), settings(), "local-dev");
    world.create_within(Some(&json!({"turns": 1})));
    world.message("one");
    world.pass(100);
    world.agent.borrow_mut().ask();
    world.pass(100);
    world.agent.borrow_mut().finish("end_turn");
    world.pass(100);
    world.message("two");
    world.pass(10 * SECOND);
    world.ask("POST", "cancel", None);
    world.pass(10 * SECOND);
    let of = |id: &str| -> Vec<String> {
        let url = format!("https://receiver.example/{id}");
        got(&world)
            .iter()
            .filter(|got| got.url == url)
            .map(|got| got.json()["type"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(of("all"), ["approval.needed", "turn.finished", "budget.reached", "session.finished"]);
    assert_eq!(of("some"), ["approval.needed", "budget.reached"]);
    assert_eq!(of("other"), Vec::<String>::new());
    let text: String = got(&world).iter().map(|got| got.body.clone()).collect();
    for private in ["one", "two", "Run", "rm"] {
        assert!(!text.contains(&format!("\"{private}\"")), "{private}: {text}");
    }
}

#[test]
fn what_is_not_taken_is_sent_again_and_given_up_in_the_end() {
    let (world, db, secret) = world();
    world.net.borrow_mut().then = Some(Post::Status(500));
    turn(&world);
    world.pass(HOUR);
    let waiting = shown(&db, "w")[0].clone();
    assert_eq!((&waiting["state"], &waiting["last-status"]), (&json!("pending"), &json!(500)));
    assert_eq!(waiting["next-at"].as_i64().unwrap(), got(&world).last().unwrap().at + HOUR);
    world.pass(DAY);
    let got = got(&world);
    let pauses: Vec<i64> = got.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    assert_eq!(pauses, [10 * SECOND, MINUTE, 10 * MINUTE, HOUR, 6 * HOUR]);
    let ids: BTreeSet<&str> = got.iter().map(Got::id).collect();
    assert_eq!(ids.len(), 1, "one name");
    assert!(got.iter().all(|got| is_signed(got, &secret)));
    let times: BTreeSet<&str> = got.iter().map(|got| got.header("webhook-timestamp")).collect();
    assert_eq!(times.len(), 6, "signed anew each time");
    let dead = shown(&db, "w")[0].clone();
    assert_eq!((&dead["state"], &dead["attempts"], &dead["next-at"]), (&json!("dead"), &json!(6), &Value::Null));
    // It is remembered for a week, and then nothing is left to be done.
    world.pass(6 * DAY);
    assert_eq!(world.replay(got[0].id()).0, 200);
    world.net.borrow_mut().then = None;
    world.pass(8 * DAY);
    assert_eq!(world.replay(got[0].id()).0, 404);
    assert_eq!(world.alarm(), None);
}

#[test]
fn only_a_success_counts_as_one() {
    for (post, attempts) in [
        (Post::Status(200), 1),
        (Post::Status(204), 1),
        (Post::Late(9_999, 202), 1),
        (Post::Late(10_001, 200), 2),
        (Post::Status(301), 2),
        (Post::Status(308), 2),
        (Post::Status(404), 2),
        (Post::Lost, 2),
        (Post::Never, 2),
    ] {
        let (world, db, _) = world();
        world.net.borrow_mut().next.push_back(post);
        turn(&world);
        world.pass(5 * MINUTE);
        let got = got(&world);
        assert_eq!(got.len(), attempts, "{post:?}");
        assert!(got.iter().all(|one| one.url == "https://receiver.example/w"), "redirects are not followed");
        assert_eq!(shown(&db, "w")[0]["state"], "done", "{post:?}");
    }
}

#[test]
fn a_receiver_that_is_gone_is_told_nothing_more() {
    let (world, db, _) = world();
    world.net.borrow_mut().next.push_back(Post::Status(410));
    turn(&world);
    assert!(disabled(&db, "w"));
    assert_eq!(shown(&db, "w")[0]["state"], "dead");
    turn(&world);
    world.pass(DAY);
    assert_eq!(got(&world).len(), 1);
}

#[test]
fn twenty_dead_in_a_row_disable_a_webhook() {
    let (world, db, _) = world();
    world.net.borrow_mut().then = Some(Post::Unreached);
    let give_up = |times: usize| {
        for _ in 0..times {
            turn(&world);
        }
        world.pass(8 * HOUR);
    };
    give_up(19);
    assert!(!disabled(&db, "w"));
    // One that comes through begins the row anew.
    world.net.borrow_mut().then = None;
    turn(&world);
    world.net.borrow_mut().then = Some(Post::Unreached);
    give_up(19);
    assert!(!disabled(&db, "w"));
    turn(&world);
    assert!(!disabled(&db, "w"));
    world.pass(8 * HOUR);
    assert!(disabled(&db, "w"));
    world.net.borrow_mut().then = None;
    let before = got(&world).len();
    turn(&world);
    world.pass(DAY);
    assert_eq!(got(&world).len(), before);
}

#[test]
fn a_delivery_is_replayed_under_the_same_name() {
    let (world, db, _) = world();
    turn(&world);
    let id = got(&world)[0].id().to_owned();
    assert_eq!(world.ask("POST", &format!("replay/{id}"), None).0, 404, "only the service asks for it");
    assert_eq!(world.replay("msg_unknown").0, 404);
    world.net.borrow_mut().next.push_back(Post::Status(500));
    assert_eq!(world.replay(&id), (200, json!({"ok": true})));
    world.pass(MINUTE);
    let got = got(&world);
    assert_eq!(got.iter().map(Got::id).collect::<Vec<_>>(), [&id, &id, &id], "with its whole schedule");
    assert!(got.windows(2).all(|pair| pair[0].body == pair[1].body));
    assert_eq!((shown(&db, "w").len(), &shown(&db, "w")[0]["attempts"]), (1, &json!(2)));
    // A repeated request asks for it once.
    for _ in 0..2 {
        assert_eq!(world.replay_keyed(&id, "key"), (200, json!({"ok": true})));
        world.pass(MINUTE);
    }
    assert_eq!(world.net.borrow().got.len(), 4);
}

#[test]
fn a_replay_outlives_its_object() {
    let (mut world, _, _) = world();
    turn(&world);
    let id = got(&world)[0].id().to_owned();
    world.net.borrow_mut().next.push_back(Post::Held);
    assert_eq!(world.replay(&id).0, 200);
    world.crash();
    world.pass(2 * MINUTE);
    assert_eq!(got(&world).len(), 2);
}

#[test]
fn a_delivery_that_is_replayed_while_it_is_sent_is_sent_again() {
    let (world, db, _) = world();
    world.net.borrow_mut().next.push_back(Post::Late(5_000, 500));
    turn(&world);
    let id = got(&world)[0].id().to_owned();
    assert_eq!(world.replay(&id).0, 200);
    world.pass(9 * SECOND);
    assert_eq!(got(&world).len(), 2, "at once, not after the pause of a failure");
    assert_eq!(shown(&db, "w")[0]["state"], "done");
}

#[test]
fn people_of_the_graph_are_told_as_long_as_they_are() {
    let db = database();
    run(
        &db,
        "INSERT INTO graphs (graph_id, graph_name, user_id, created_at, updated_at) VALUES ('g', 'g', 'ann', 1, 1)",
    );
    run(&db, "INSERT INTO graph_members (user_id, graph_id, role) VALUES ('mia', 'g', 'member')");
    for (user, id, graph) in [
        ("mia", "mias", Some("g")),
        ("mia", "mias-own", None),
        ("eve", "eves", Some("g")),
        ("ann", "anns-other", Some("h")),
        ("ann", "anns", Some("g")),
    ] {
        add(&db, user, id, graph, &Topic::ALL);
    }
    let world = World::beside(Some(Rc::clone(&db)), settings(), "local-dev");
    assert_eq!(world.create_in_graph("g").0, 200);
    turn(&world);
    // No order is promised.
    let urls: BTreeSet<String> = got(&world).into_iter().map(|got| got.url).collect();
    assert_eq!(urls, ["https://receiver.example/anns", "https://receiver.example/mias"].map(str::to_owned).into());
    assert_eq!(got(&world).len(), 2);
    // Whoever is removed is told no more, even of what waits.
    world.net.borrow_mut().got.clear();
    world.net.borrow_mut().next.extend([Post::Status(500), Post::Status(500)]);
    turn(&world);
    assert_eq!(world.net.borrow().got.len(), 2);
    run(&db, "DELETE FROM graph_members");
    world.pass(MINUTE);
    assert_eq!(world.net.borrow().urls()[2..], ["https://receiver.example/anns"]);
    let states: Vec<Value> = shown(&db, "mias").iter().map(|one| one["state"].clone()).collect();
    assert_eq!(states, ["done"]);
    turn(&world);
    assert_eq!(world.net.borrow().got.len(), 4);
}

#[test]
fn private_addresses_are_not_called_whatever_was_registered() {
    for url in [
        "http://receiver.example/",
        "https://127.0.0.1/",
        "https://0x7f.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::ffff:10.0.0.1]/",
        "https://metadata.google.internal/",
        "https://user:pass@receiver.example/",
        "file:///etc/passwd",
        "none",
    ] {
        let (world, db, _) = world();
        block_on(db.execute("UPDATE agent_webhooks SET url = ?", &[database::Param::Text(url)])).unwrap();
        turn(&world);
        world.pass(DAY);
        assert_eq!(world.net.borrow().urls(), Vec::<&str>::new(), "{url}");
        let dead = shown(&db, "w")[0].clone();
        assert_eq!((&dead["state"], &dead["last-status"]), (&json!("dead"), &Value::Null), "{url}");
    }
}

#[test]
fn a_slow_receiver_does_not_keep_others_waiting() {
    let db = database();
    for id in ["a", "b", "c", "d", "e"] {
        add(&db, "ann", id, None, &Topic::ALL);
    }
    let world = World::beside(Some(Rc::clone(&db)), settings(), "local-dev");
    world.create();
    world.net.borrow_mut().next.extend([Post::Never, Post::Never, Post::Never]);
    turn(&world);
    assert_eq!(got(&world).len(), 5);
    assert_eq!(got(&world)[4].at, got(&world)[0].at);
}

#[test]
fn a_webhook_that_was_removed_gets_nothing_more() {
    let (world, db, _) = world();
    world.net.borrow_mut().next.push_back(Post::Status(500));
    turn(&world);
    assert!(block_on(webhooks::delete(&*db, "ann", "w")).unwrap());
    world.pass(DAY);
    assert_eq!(got(&world).len(), 1);
    assert_eq!(shown(&db, "w"), Vec::<Value>::new());
}

#[test]
fn a_deleted_session_tells_nobody_and_leaves_nothing() {
    let (world, db, _) = world();
    world.net.borrow_mut().next.extend([Post::Status(500), Post::Late(5_000, 200)]);
    turn(&world);
    turn(&world);
    assert_eq!(got(&world).len(), 2);
    world.delete();
    world.pass(DAY);
    assert_eq!(got(&world).len(), 2);
    assert_eq!(world.tables(), Vec::<String>::new());
    assert_eq!(shown(&db, "w"), Vec::<Value>::new());
}

#[test]
fn a_session_of_an_earlier_version_tells_too() {
    let (mut world, _, _) = world();
    world.forget_tables(&["texts", "outbox", "deliveries", "feedback", "watches"]);
    world.crash();
    turn(&world);
    assert_eq!(topics(&world), ["turn.finished"]);
}

#[test]
fn what_is_written_down_outlives_a_database_that_is_away() {
    let (mut world, db, _) = world();
    run(&db, "ALTER TABLE agent_webhooks RENAME TO away");
    turn(&world);
    assert_eq!(got(&world).len(), 0);
    world.crash();
    world.session.load().unwrap();
    world.pass(5 * MINUTE);
    assert_eq!(got(&world).len(), 0);
    run(&db, "ALTER TABLE away RENAME TO agent_webhooks");
    world.crash();
    world.session.load().unwrap();
    world.pass(2 * MINUTE);
    assert_eq!(topics(&world), ["turn.finished"]);
    assert_eq!(shown(&db, "w")[0]["state"], "done");
    // What was sent while nothing could be told of it is told later, and not sent again.
    run(&db, "ALTER TABLE webhook_deliveries RENAME TO away");
    turn(&world);
    world.pass(MINUTE);
    assert_eq!(got(&world).len(), 2);
    run(&db, "ALTER TABLE away RENAME TO webhook_deliveries");
    world.pass(2 * MINUTE);
    assert_eq!(got(&world).len(), 2);
    assert!(shown(&db, "w").iter().all(|one| one["state"] == "done"));
}

/// A generator of small numbers, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// Random histories with an object that dies and a receiver that drops, delays and loses. Gives how often one came twice.
fn history(seed: u64) -> usize {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let (mut world, db, secret) = world();
    for _ in 0..30 {
        match dice.roll(8) {
            0..=2 => turn(&world),
            3 | 4 => world.crash(),
            5 => {
                let post = match dice.roll(7) {
                    0 => Post::Status(503),
                    1 => Post::Lost,
                    2 => Post::Unreached,
                    3 => Post::Never,
                    5 => Post::Held,
                    4 => Post::Late(3_000, 200),
                    _ => Post::Late(30_000, 200),
                };
                world.net.borrow_mut().next.push_back(post);
            }
            6 => {
                world.agent.borrow_mut().ask();
                world.pass(100);
            }
            _ => world.pass([10, 3_000, 30_000, 20 * MINUTE][usize::try_from(dice.roll(4)).unwrap()]),
        }
    }
    world.net.borrow_mut().next.clear();
    world.session.load().unwrap();
    world.pass(2 * DAY);
    let wanted: Vec<String> = world
        .events()
        .iter()
        .filter(|event| Topic::of(&Kind::stored(event["type"].as_str().unwrap())).is_some())
        .map(|event| delivery_id(event["event-id"].as_str().unwrap(), "w"))
        .collect();
    let got = got(&world);
    // The receiver drops what it has got before.
    let taken: Vec<&Got> = got
        .iter()
        .filter(|got| matches!(got.post, Post::Status(200) | Post::Late(..) | Post::Lost | Post::Never))
        .collect();
    let unique: BTreeSet<&str> = taken.iter().map(|got| got.id()).collect();
    assert_eq!(unique, wanted.iter().map(String::as_str).collect(), "seed {seed}");
    assert!(got.iter().all(|got| is_signed(got, &secret)), "seed {seed}");
    let rows = block_on(db.query(ReadFrom::Primary, "SELECT state FROM webhook_deliveries", &[])).unwrap();
    assert_eq!(rows.len(), wanted.len(), "seed {seed}");
    assert!(rows.iter().all(|row| row.text(0) == Some("done")), "seed {seed}");
    taken.len() - unique.len()
}

#[test]
fn whatever_happens_each_notification_comes_once() {
    let seeds = std::env::var("SESSION_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(150);
    let repeats: usize = (1..=seeds).map(history).sum();
    assert!(repeats > 10, "that something came twice was tried as well: {repeats}");
}
