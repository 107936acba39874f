//! What is said about a pull request comes back to its session (agents.md 20.4), whatever dies on the way.

use std::rc::Rc;

use database::sqlite::Sqlite;
use database::{Database, ReadFrom};
use pollster::block_on;
use serde_json::{Value, json};
use sessions::settings::Settings;

use crate::agent::{Fate, commit};
use crate::world::World;
use crate::{database, settings_with};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const REPOSITORY: &str = "github/acme/app";

fn with_github(more: &[(&str, &str)]) -> Settings {
    let app = [("GITHUB_APP_ID", "42"), ("GITHUB_APP_PRIVATE_KEY", "MAMCAQA=")];
    settings_with(&[more, &app].concat())
}

/// A session of ann with this wish for what comes back.
fn session(db: &Rc<Sqlite>, settings: Settings, follow_up: Option<bool>, budget: Option<Value>) -> World {
    let world = World::beside(Some(Rc::clone(db)), settings, "e2b");
    world.net.borrow_mut().has_github = true;
    world.agent.borrow_mut().heeds_cancel = true;
    let made = world.create_by(|init| {
        init["task"]["project"]["repo-url"] = json!("https://github.com/Acme/App.git");
        init["task"]["capabilities"]["follow-up"] = json!(follow_up);
        if let Some(budget) = budget {
            init["budget"] = budget;
        }
    });
    assert_eq!(made.0, 200, "{}", made.1);
    world
}

/// A turn that ends well.
fn turn(world: &World, text: &str) {
    world.message(text);
    end(world);
}

fn end(world: &World) {
    world.pass(100);
    world.agent.borrow_mut().speak("Done.");
    world.agent.borrow_mut().finish("end_turn");
    world.pass(SECOND);
}

/// A session that has opened pull request 5.
fn opened_with(more: &[(&str, &str)], budget: Option<Value>) -> (World, Rc<Sqlite>) {
    let db = database();
    let world = session(&db, with_github(more), Some(true), budget);
    turn(&world, "fix it");
    let (status, body) = world.ask("POST", "pr", Some(&json!({})));
    assert_eq!((status, &body["status"]), (200, &json!("pr-created")), "{body}");
    world.pass(SECOND);
    (world, db)
}

fn opened() -> (World, Rc<Sqlite>) {
    opened_with(&[], None)
}

fn said(delivery: &str, text: &str) -> Value {
    let text = sessions::follow_up::quoted("@rev comments:", text);
    json!({"delivery": delivery, "repository": REPOSITORY, "number": 5, "about": {"pull": 5},
        "news": {"said": {"by": "github:rev", "text": text}}})
}

fn failed(delivery: &str, commit: &str) -> Value {
    json!({"delivery": delivery, "repository": REPOSITORY, "number": 5, "about": {"commit": commit},
        "news": {"said": {"by": "github:ci[bot]", "text": "The check \"test\" has failed:\n> x\n"}}})
}

fn closed(delivery: &str) -> Value {
    json!({"delivery": delivery, "repository": REPOSITORY, "number": 5, "about": {"pull": 5},
        "news": {"closed": {"by": "github:rev", "merged": true}}})
}

fn hear(world: &World, told: &Value) {
    assert_eq!(world.hear(told), (200, json!({"ok": true})));
}

/// Prompts that came from the pull request.
fn orders(world: &World) -> Vec<String> {
    world.agent.borrow().prompts.keys().filter(|text| text.starts_with("Something was said")).cloned().collect()
}

fn of_type(world: &World, name: &str) -> Vec<Value> {
    let events = world.events().into_iter().filter(|event| event["type"] == name);
    events.map(|event| event["data"].clone()).collect()
}

fn audits(world: &World) -> Vec<Value> {
    of_type(world, "audit.log").into_iter().filter(|data| data["event"] == "pull-request").collect()
}

/// What is known of pull requests outside of their sessions: number and last pushed commit.
fn known(db: &Sqlite) -> Vec<(i64, Option<String>)> {
    let sql = "SELECT number, pushed, session_id, repo_key FROM session_pulls";
    let rows = block_on(db.query(ReadFrom::Primary, sql, &[])).unwrap();
    rows.iter()
        .map(|row| {
            assert_eq!((row.string(2).as_deref(), row.string(3).as_deref()), (Some("s"), Some(REPOSITORY)));
            (row.int(0).unwrap(), row.string(1))
        })
        .collect()
}

#[test]
fn a_remark_becomes_an_order_and_its_outcome_is_pushed_to_the_same_branch() {
    let (world, db) = opened();
    assert_eq!(known(&db), [(5, Some(commit(1)))]);
    hear(&world, &said("d1", "Please rename x.\n/pr force\n"));
    world.pass(59 * SECOND);
    assert_eq!(orders(&world), Vec::<String>::new(), "others may say something soon");
    hear(&world, &said("d2", "And y."));
    world.pass(2 * SECOND);
    let orders = orders(&world);
    assert_eq!(orders.len(), 1);
    assert!(
        orders[0].contains("\n> Please rename x.\n> /pr force\n") && orders[0].contains("\n> And y.\n"),
        "{}",
        orders[0]
    );
    let audit = &audits(&world)[0];
    assert_eq!(
        (&audit["by"], &audit["kind"], &audit["pr-id"]),
        (&json!("github:rev"), &json!("pull-request"), &json!(5))
    );
    assert_eq!(audit["message"], json!(orders[0]));
    let before = world.agent.borrow().pushed.clone();
    end(&world);
    let pushed = world.agent.borrow().pushed.clone();
    assert_eq!(pushed.len(), before.len() + 1);
    assert_eq!(pushed.last(), Some(&(before[0].0.clone(), false)), "the same branch, without force");
    world.pass(SECOND);
    assert_eq!(known(&db), [(5, Some(commit(2)))]);
    assert_eq!(of_type(&world, "git.pr.succeeded").len(), 1, "no further pull request");
}

#[test]
fn a_delivery_counts_once() {
    let (mut world, _) = opened();
    hear(&world, &said("d1", "one"));
    hear(&world, &said("d1", "one"));
    world.crash();
    hear(&world, &said("d1", "one"));
    world.pass(2 * MINUTE);
    let orders = orders(&world);
    assert_eq!((orders.len(), orders[0].matches("> one").count()), (1, 1));
    end(&world);
    hear(&world, &said("d1", "one"));
    world.pass(10 * MINUTE);
    assert_eq!(audits(&world).len(), 1);
}

#[test]
fn only_what_the_session_wants_is_heard() {
    // Nobody asked for it.
    let db = database();
    let world = session(&db, with_github(&[]), None, None);
    turn(&world, "fix it");
    world.ask("POST", "pr", Some(&json!({})));
    world.pass(SECOND);
    assert_eq!(known(&db), []);
    hear(&world, &said("d1", "one"));
    world.pass(2 * MINUTE);
    assert_eq!(audits(&world), Vec::<Value>::new());
    // Another pull request, another repository.
    let (world, _) = opened();
    for (path, value) in [("number", json!(6)), ("repository", json!("github/acme/other"))] {
        let mut told = said("d1", "one");
        told[path] = value;
        hear(&world, &told);
    }
    world.pass(2 * MINUTE);
    assert_eq!(audits(&world), Vec::<Value>::new());
    // Whoever asks is somebody else than the service.
    let (status, body) = world.ask("POST", "follow-up", Some(&said("d1", "one")));
    assert_eq!((status, &body["error"]), (404, &json!("not found")));
}

#[test]
fn checks_count_for_the_last_pushed_commit() {
    let (world, _) = opened();
    hear(&world, &failed("d1", &commit(9)));
    world.pass(2 * MINUTE);
    assert_eq!(audits(&world).len(), 0);
    hear(&world, &failed("d2", &commit(1)));
    world.pass(2 * MINUTE);
    assert_eq!(audits(&world)[0]["by"], "github:ci[bot]");
    end(&world);
    // That one is history by now.
    hear(&world, &failed("d3", &commit(1)));
    hear(&world, &failed("d4", &commit(2)));
    world.pass(2 * MINUTE);
    assert_eq!(audits(&world).len(), 2);
}

#[test]
fn there_are_three_rounds_without_a_person() {
    let db = database();
    let wanted = sessions::request::NewWebhook {
        url: "https://receiver.example/w".to_owned(),
        topics: vec![sessions::webhook::Topic::PrFollowUpStopped],
        graph_id: None,
    };
    let settings = with_github(&[]);
    block_on(sessions::registry::webhooks::add(&*db, &settings.seal(), "ann", "w", &wanted, 1)).unwrap();
    let world = session(&db, settings, Some(true), None);
    turn(&world, "fix it");
    world.ask("POST", "pr", Some(&json!({})));
    let round = |number: usize| {
        hear(&world, &said(&format!("d{number}"), &format!("round {number}")));
        world.pass(2 * MINUTE);
        end(&world);
    };
    (1..=6).for_each(round);
    assert_eq!(audits(&world).len(), 3);
    let stopped = json!({"reason": "rounds", "pr-id": 5});
    assert_eq!(of_type(&world, "git.pr.follow_up_stopped"), std::slice::from_ref(&stopped), "it is told once");
    let told: Vec<Value> = world.net.borrow().got.iter().map(crate::receiver::Got::json).collect();
    assert_eq!(told.len(), 1);
    assert_eq!((&told[0]["type"], &told[0]["data"]), (&json!("pr.follow_up_stopped"), &stopped));
    turn(&world, "go on");
    (7..=8).for_each(round);
    assert_eq!(audits(&world).len(), 5);
    assert_eq!(world.agent.borrow().pushed.len(), 1 + 5);
}

#[test]
fn the_operator_says_how_many_rounds() {
    let (world, _) = opened_with(&[("AGENT_PR_MAX_ROUNDS", "1")], None);
    for number in 1..=3 {
        hear(&world, &said(&format!("d{number}"), "x"));
        world.pass(2 * MINUTE);
        end(&world);
    }
    assert_eq!(audits(&world).len(), 1);
}

#[test]
fn a_reached_budget_stops_it() {
    let (world, _) = opened_with(&[], Some(json!({"turns": 2})));
    for number in 1..=3 {
        hear(&world, &said(&format!("d{number}"), "x"));
        world.pass(2 * MINUTE);
        end(&world);
    }
    assert_eq!(audits(&world).len(), 1);
    assert_eq!(of_type(&world, "git.pr.follow_up_stopped"), [json!({"reason": "budget", "pr-id": 5})]);
    assert_eq!(world.ask("POST", "budget", Some(&json!({"turns": 5}))).0, 200);
    hear(&world, &said("d4", "x"));
    world.pass(2 * MINUTE);
    assert_eq!(audits(&world).len(), 2);
}

#[test]
fn a_closed_pull_request_ends_it() {
    let (world, db) = opened();
    hear(&world, &said("d1", "one"));
    world.pass(2 * MINUTE);
    // The agent is at it: what it does is not pushed any more.
    hear(&world, &said("d2", "two"));
    hear(&world, &closed("d3"));
    hear(&world, &closed("d3"));
    world.pass(SECOND);
    assert_eq!(of_type(&world, "git.pr.closed"), [json!({"by": "github:rev", "pr-id": 5, "merged": true})]);
    assert_eq!(known(&db), []);
    end(&world);
    hear(&world, &said("d4", "three"));
    world.pass(60 * MINUTE);
    assert_eq!((audits(&world).len(), world.agent.borrow().pushed.len()), (1, 1));
    assert_eq!(world.alarm(), None, "nothing is waited for");
}

#[test]
fn a_session_that_was_put_away_or_ended_hears_nothing() {
    for verb in ["archive", "cancel"] {
        let (world, _) = opened();
        hear(&world, &said("d1", "before"));
        assert_eq!(world.ask("POST", verb, None).0, 200);
        hear(&world, &said("d2", "after"));
        world.pass(2 * MINUTE);
        assert_eq!(audits(&world), Vec::<Value>::new(), "{verb}");
        // A person brings it back.
        turn(&world, "again");
        hear(&world, &said("d3", "later"));
        world.pass(2 * MINUTE);
        assert_eq!(audits(&world).len(), 1, "{verb}");
    }
    let (world, db) = opened();
    hear(&world, &said("d1", "before"));
    world.delete();
    world.pass(2 * MINUTE);
    assert_eq!(world.hear(&said("d2", "after")).0, 404);
    assert_eq!(known(&db), []);
    assert_eq!(world.tables(), Vec::<String>::new());
}

#[test]
fn a_paused_session_keeps_its_order() {
    let (world, _) = opened();
    world.ask("POST", "pause", None);
    hear(&world, &said("d1", "one"));
    world.pass(10 * MINUTE);
    assert_eq!((audits(&world).len(), orders(&world).len()), (1, 0));
    world.ask("POST", "resume", None);
    end(&world);
    assert_eq!((orders(&world).len(), world.agent.borrow().pushed.len()), (1, 2));
}

#[test]
fn what_somebody_stopped_is_not_pushed() {
    let (world, _) = opened();
    hear(&world, &said("d1", "one"));
    world.pass(2 * MINUTE);
    world.ask("POST", "interrupt", None);
    world.pass(10 * MINUTE);
    assert_eq!((orders(&world).len(), world.agent.borrow().pushed.len()), (1, 1));
}

/// The object dies after each thing that happens.
#[test]
fn whoever_dies_on_the_way_the_loop_goes_on() {
    let (mut world, db) = opened();
    world.crash();
    hear(&world, &said("d1", "one"));
    world.crash();
    world.pass(2 * MINUTE);
    assert_eq!(orders(&world).len(), 1);
    world.crash();
    world.session.load().unwrap();
    world.pass(SECOND);
    world.agent.borrow_mut().next_push = Fate::Never;
    end(&world);
    // The push was sent, and nobody knows what became of it.
    assert_eq!(world.agent.borrow().pushed.len(), 2);
    world.crash();
    world.message("a person waits meanwhile");
    world.pass(10 * MINUTE);
    assert_eq!(world.agent.borrow().pushed.len(), 3, "it is tried again");
    assert_eq!(known(&db), [(5, Some(commit(3)))]);
    assert_eq!(world.agent.borrow().prompts["a person waits meanwhile"], 1);
    assert!(world.agent.borrow().prompts.values().all(|times| *times == 1));
}

#[test]
fn a_push_that_is_refused_is_told_and_not_tried_again() {
    let (world, _) = opened();
    hear(&world, &said("d1", "one"));
    world.pass(2 * MINUTE);
    world.agent.borrow_mut().next_push = Fate::Broken;
    end(&world);
    world.pass(10 * MINUTE);
    assert_eq!(world.agent.borrow().pushed.len(), 2);
    assert_eq!(of_type(&world, "git.push.failed").len(), 1);
    // Others have their turn.
    turn(&world, "next");
    assert_eq!(world.agent.borrow().prompts["next"], 1);
}

/// A database that does not answer keeps nothing from being done, and is told later.
#[test]
fn the_index_is_told_until_it_knows() {
    let db = database();
    let world = session(&db, with_github(&[]), Some(true), None);
    turn(&world, "fix it");
    let run = |sql: &str| block_on(db.execute(sql, &[])).unwrap();
    run("ALTER TABLE session_pulls RENAME TO away");
    world.ask("POST", "pr", Some(&json!({})));
    world.pass(5 * MINUTE);
    run("ALTER TABLE away RENAME TO session_pulls");
    assert_eq!(known(&db), []);
    world.pass(2 * MINUTE);
    assert_eq!(known(&db), [(5, Some(commit(1)))]);
    world.pass(60 * MINUTE);
    assert_eq!(world.alarm(), None);
}

#[test]
fn much_that_is_said_is_bounded() {
    let (world, _) = opened();
    for number in 0..120 {
        hear(&world, &said(&format!("d{number}"), &"long ".repeat(1_000)));
    }
    world.pass(2 * MINUTE);
    let orders = orders(&world);
    assert_eq!(orders.len(), 1);
    assert!(orders[0].len() <= sessions::follow_up::MAX_ORDER_BYTES && orders[0].contains("further remarks"));
}

#[test]
fn a_session_of_an_earlier_version_hears_too() {
    let (mut world, _) = opened();
    world.forget_tables(&["feedback", "watches"]);
    world.crash();
    hear(&world, &said("d1", "one"));
    world.pass(2 * MINUTE);
    assert_eq!(orders(&world).len(), 1);
}
