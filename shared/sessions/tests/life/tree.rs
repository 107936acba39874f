//! What becomes of a session's working tree (agents.md 5.3.10): looked at before its sandbox is left and after it was come back to, kept
//! in bundles, and brought back.

use std::rc::Rc;

use database::sqlite::Sqlite;
use database::{Database, ReadFrom};
use pollster::block_on;
use serde_json::{Value, json};

use crate::agent::Fate;
use crate::working_tree::HEAD;
use crate::world::World;
use crate::{database, settings_with};

fn world() -> (World, Rc<Sqlite>) {
    world_with(&[])
}

fn world_with(more: &[(&str, &str)]) -> (World, Rc<Sqlite>) {
    let db = database();
    let world = World::beside(Some(Rc::clone(&db)), settings_with(more), "e2b");
    world.has_objects();
    change(&world, 1);
    assert_eq!(world.create().0, 200);
    world.pass(100);
    (world, db)
}

/// The tree becomes another.
fn change(world: &World, number: u64) {
    let mut agent = world.agent.borrow_mut();
    agent.tree.number = Some(number);
    agent.tree.bundle = Some(format!("bundle {number}").into_bytes());
}

/// What was told of the tree.
fn told(world: &World) -> Vec<Value> {
    let is_told = |event: &Value| {
        let name = event["type"].as_str().unwrap();
        name.starts_with("sandbox.workspace.") || name.starts_with("sandbox.restore.")
    };
    world.events().into_iter().filter(is_told).map(|event| json!([event["type"], event["data"]])).collect()
}

fn turn(world: &World, text: &str) {
    assert_eq!(world.message(text).0, 200);
    world.pass(1_000);
    world.agent.borrow_mut().finish("end_turn");
    world.pass(1_000);
}

fn idle(world: &World) {
    world.pass(16 * 60_000);
}

fn bundles(world: &World) -> Vec<Vec<u8>> {
    let objects = world.objects();
    objects.iter().filter(|(key, _)| key.starts_with("workspace-bundles/s/")).map(|(_, bytes)| bytes.clone()).collect()
}

fn rows(db: &Sqlite) -> i64 {
    let rows = block_on(db.query(ReadFrom::Primary, "SELECT COUNT(*) FROM workspace_bundles", &[])).unwrap();
    rows[0].int(0).unwrap()
}

fn garbage(db: &Sqlite) -> i64 {
    let rows = block_on(db.query(ReadFrom::Primary, "SELECT COUNT(*) FROM transcript_garbage", &[])).unwrap();
    rows[0].int(0).unwrap()
}

#[test]
fn before_a_pause_what_was_not_pushed_is_kept_once() {
    let (world, db) = world();
    turn(&world, "one");
    idle(&world);
    assert_eq!((bundles(&world), rows(&db), garbage(&db)), (vec![b"bundle 1".to_vec()], 1, 0));
    turn(&world, "two");
    idle(&world);
    assert_eq!(rows(&db), 1, "the same tree is not kept again");
    assert_eq!(world.agent.borrow().tree.commands.iter().filter(|kind| **kind == "bundle").count(), 1);
    change(&world, 2);
    // Whoever changed it: nobody of the session did.
    turn(&world, "three");
    idle(&world);
    assert_eq!(rows(&db), 2);
    assert_eq!(told(&world).len(), 1, "{:?}", told(&world));
}

#[test]
fn the_last_three_are_kept() {
    let (world, db) = world();
    for number in 1..=5 {
        world.message("go");
        world.pass(1_000);
        change(&world, number);
        world.agent.borrow_mut().finish("end_turn");
        idle(&world);
    }
    assert_eq!((rows(&db), garbage(&db)), (3, 2));
    assert_eq!(told(&world), Vec::<Value>::new());
}

#[test]
fn a_difference_after_a_pause_is_told_and_nothing_else() {
    let (world, _) = world();
    turn(&world, "one");
    idle(&world);
    turn(&world, "two");
    assert_eq!(told(&world), Vec::<Value>::new());
    idle(&world);
    change(&world, 7);
    turn(&world, "three");
    let tree = |number: u64| json!({"head": HEAD, "branch": "main", "tree": format!("{number:040x}")});
    let changed = json!(["sandbox.workspace.changed", {"before": tree(1), "after": tree(7)}]);
    assert_eq!(told(&world), std::slice::from_ref(&changed));
    // The repository itself is gone.
    idle(&world);
    world.agent.borrow_mut().tree.number = None;
    turn(&world, "four");
    let gone = json!({"head": null, "branch": null, "tree": ""});
    assert_eq!(told(&world)[1], json!(["sandbox.workspace.changed", {"before": tree(7), "after": gone}]));
    assert_eq!(world.agent.borrow().prompts.len(), 4);
}

#[test]
fn a_terminal_finds_the_difference_too() {
    let (world, _) = world();
    turn(&world, "one");
    idle(&world);
    change(&world, 2);
    assert_eq!(world.ask_for_socket("terminal", "ann").0, 101);
    assert_eq!(told(&world).len(), 1);
    turn(&world, "two");
    assert_eq!(told(&world).len(), 1, "once");
}

#[test]
fn what_cannot_be_looked_at_delays_nothing() {
    let (world, db) = world();
    world.agent.borrow_mut().tree.fates.insert("look", [Fate::Broken, Fate::Never].into());
    turn(&world, "one");
    idle(&world);
    assert_eq!((rows(&db), told(&world)), (0, Vec::new()));
    assert!(world.agent.borrow().done.ends_with(&["end".to_owned()]), "it is paused all the same");
    turn(&world, "two");
    // Never answered: the end goes on after its time.
    idle(&world);
    world.pass(5 * 60_000);
    assert_eq!(told(&world), [json!(["sandbox.workspace.unsaved", {"reason": "timeout"}])]);
    assert_eq!(world.agent.borrow().done.iter().filter(|what| *what == "end").count(), 2);
    turn(&world, "three");
    assert_eq!(world.agent.borrow().prompts.len(), 3);
}

#[test]
fn what_is_too_large_or_cannot_be_kept_is_told() {
    let (world, db) = world();
    world.agent.borrow_mut().tree.bundle = None;
    turn(&world, "one");
    idle(&world);
    assert_eq!(told(&world), [json!(["sandbox.workspace.unsaved", {"reason": "too-large", "bytes": 99}])]);
    let (world, other) = (world, db);
    change(&world, 2);
    turn(&world, "two");
    world.agent.borrow_mut().tree.fates.insert("bundle", [Fate::Broken].into());
    idle(&world);
    assert_eq!(told(&world).last().unwrap()[1], json!({"reason": "failed"}));
    // Larger than the operator allows, whatever the sandbox says.
    let (world, _) = world_with(&[("AGENT_BUNDLE_MAX_BYTES", "4")]);
    turn(&world, "one");
    idle(&world);
    assert_eq!(told(&world), [json!(["sandbox.workspace.unsaved", {"reason": "too-large", "bytes": 8}])]);
    assert_eq!((rows(&other), bundles(&world)), (0, Vec::new()));
}

#[test]
fn everything_pushed_needs_no_bundle_and_an_old_one_is_not_brought_back() {
    let (world, db) = world();
    turn(&world, "one");
    idle(&world);
    assert_eq!(rows(&db), 1);
    world.message("push");
    world.pass(1_000);
    change(&world, 2);
    world.agent.borrow_mut().tree.is_pushed = true;
    world.agent.borrow_mut().finish("end_turn");
    world.pass(1_000);
    world.ask("POST", "archive", None);
    world.pass(1_000);
    assert_eq!(world.agent.borrow().destroyed, ["box1"]);
    turn(&world, "on");
    assert!(world.agent.borrow().tree.restored.is_empty());
    assert_eq!(told(&world), Vec::<Value>::new());
}

#[test]
fn an_archived_session_comes_back_with_its_tree() {
    let (world, _) = world();
    turn(&world, "one");
    world.ask("POST", "archive", None);
    world.pass(1_000);
    assert_eq!(world.agent.borrow().destroyed, ["box1"]);
    world.agent.borrow_mut().tree.begin_anew();
    turn(&world, "on");
    assert_eq!(world.agent.borrow().tree.restored, [b"bundle 1".to_vec()]);
    let events = told(&world);
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0][0], "sandbox.restore.succeeded");
    // The new sandbox holds something else than was kept.
    world.ask("POST", "archive", None);
    world.pass(1_000);
    change(&world, 9);
    turn(&world, "on");
    assert_eq!(told(&world)[2][0], "sandbox.workspace.changed");
}

#[test]
fn a_lost_sandbox_is_followed_by_one_with_the_last_bundle() {
    let (world, _) = world();
    turn(&world, "one");
    idle(&world);
    world.agent.borrow_mut().next_prompt = Fate::Missing;
    world.message("two");
    world.pass(1_000);
    world.agent.borrow_mut().tree.begin_anew();
    turn(&world, "three");
    assert_eq!(world.agent.borrow().tree.restored, [b"bundle 1".to_vec()]);
    assert_eq!(told(&world)[0][0], "sandbox.restore.succeeded");
}

#[test]
fn a_bundle_that_is_gone_or_refused_is_told() {
    let (world, db) = world();
    turn(&world, "one");
    world.ask("POST", "archive", None);
    world.pass(1_000);
    world.agent.borrow_mut().tree.fates.insert("restore", [Fate::Broken].into());
    turn(&world, "two");
    assert_eq!(told(&world)[0][0], "sandbox.restore.failed");
    assert_eq!(told(&world)[0][1]["reason"], "git-failed");
    world.ask("POST", "archive", None);
    world.pass(1_000);
    block_on(db.execute("DELETE FROM workspace_bundles", &[])).unwrap();
    turn(&world, "three");
    assert_eq!(told(&world)[1][1]["reason"], "expired");
    assert_eq!(world.agent.borrow().prompts.len(), 3, "the session goes on");
}

#[test]
fn an_expired_sandbox_is_kept_before_it_is_given_up() {
    let (world, db) = world();
    turn(&world, "one");
    world.agent.borrow_mut().tree.fates.insert("bundle", [Fate::Broken].into());
    idle(&world);
    assert_eq!(rows(&db), 0);
    assert_eq!(world.expire("box1"), 200);
    assert_eq!((rows(&db), bundles(&world)), (1, vec![b"bundle 1".to_vec()]));
    assert_eq!(world.events().last().unwrap()["type"], "sandbox.expired");
    world.agent.borrow_mut().tree.begin_anew();
    turn(&world, "two");
    assert_eq!(world.agent.borrow().tree.restored, [b"bundle 1".to_vec()]);
}

#[test]
fn a_bundle_whose_time_is_over_is_stored_anew_before_its_sandbox_is_given_up() {
    let (world, db) = world();
    turn(&world, "one");
    idle(&world);
    let day = 24 * 60 * 60_000;
    world.pass(30 * day);
    block_on(sessions::registry::bundles::delete_expired(&*db, world.clock.now.get())).unwrap();
    assert_eq!((rows(&db), garbage(&db)), (0, 1));
    assert_eq!(world.expire("box1"), 200);
    assert_eq!(rows(&db), 1);
    world.agent.borrow_mut().tree.begin_anew();
    turn(&world, "two");
    assert_eq!(world.agent.borrow().tree.restored, [b"bundle 1".to_vec()]);
}

#[test]
fn each_pause_renews_the_time_of_its_bundle() {
    let (world, db) = world();
    let day = 24 * 60 * 60_000;
    for text in ["one", "two", "three"] {
        turn(&world, text);
        world.pass(20 * day);
        block_on(sessions::registry::bundles::delete_expired(&*db, world.clock.now.get())).unwrap();
        assert_eq!(rows(&db), 1, "{text}");
    }
}

#[test]
fn a_large_bundle_goes_in_pieces() {
    let (world, db) = world();
    let bytes: Vec<u8> = (0..9_000_000_u32).map(|at| at.to_le_bytes()[1]).collect();
    world.agent.borrow_mut().tree.bundle = Some(bytes.clone());
    turn(&world, "one");
    world.ask("POST", "archive", None);
    world.pass(1_000);
    assert_eq!(bundles(&world).iter().map(Vec::len).collect::<Vec<_>>(), [4 << 20, 4 << 20, 9_000_000 - (8 << 20)]);
    assert_eq!((rows(&db), garbage(&db)), (1, 0));
    world.agent.borrow_mut().tree.begin_anew();
    turn(&world, "two");
    assert!(world.agent.borrow().tree.restored == [bytes]);
}

#[test]
fn a_bundle_that_changes_while_it_is_read_is_none() {
    let (world, db) = world();
    turn(&world, "one");
    world.agent.borrow_mut().tree.lies();
    idle(&world);
    assert_eq!((rows(&db), told(&world).last().unwrap()[1].clone()), (0, json!({"reason": "failed"})));
    assert_eq!(garbage(&db), 1, "what was stored of it is swept");
}

#[test]
fn an_agent_that_does_not_stop_is_kept_before_it_is_paused() {
    let (world, db) = world();
    world.message("deaf");
    world.pass(1_000);
    world.ask("POST", "cancel", None);
    world.pass(60_000);
    assert_eq!(rows(&db), 1);
    assert!(world.agent.borrow().done.contains(&"end".to_owned()));
    assert_eq!(told(&world), Vec::<Value>::new());
}

#[test]
fn a_deleted_session_leaves_no_bundle() {
    let (world, db) = world();
    turn(&world, "one");
    idle(&world);
    assert_eq!((rows(&db), bundles(&world).len()), (1, 1));
    world.delete();
    world.pass(60_000);
    assert_eq!((rows(&db), bundles(&world).len()), (0, 0));
}

#[test]
fn a_session_that_is_deleted_while_it_is_kept_leaves_nothing() {
    let (world, db) = world();
    turn(&world, "one");
    world.agent.borrow_mut().tree.fates.insert("bundle", [Fate::Never].into());
    idle(&world);
    world.delete();
    world.pass(30 * 60_000);
    assert_eq!((rows(&db), bundles(&world).len()), (0, 0));
    assert_eq!(world.alarm(), None);
}

#[test]
fn on_a_runner_the_tree_is_compared_and_not_taken_away() {
    let db = database();
    let world = World::beside(Some(Rc::clone(&db)), settings_with(&[]), "local-dev");
    world.has_objects();
    change(&world, 1);
    world.create();
    turn(&world, "one");
    idle(&world);
    assert_eq!(rows(&db), 0);
    change(&world, 2);
    turn(&world, "two");
    assert_eq!(told(&world).len(), 1);
    assert_eq!(told(&world)[0][0], "sandbox.workspace.changed");
}

#[test]
fn files_and_diff_need_a_runtime_that_is_awake() {
    let (world, _) = world();
    let get = |path: &str| world.ask("GET", path, None);
    let error = |status: u16, text: &str| (status, json!({"error": text}));
    assert_eq!(get("files"), (200, json!({"path": "", "entries": [], "truncated": false})));
    let nothing = json!({"base": HEAD, "head": HEAD, "files": [], "patch": "", "truncated": false});
    assert_eq!(get("diff"), (200, nothing.clone()));
    assert_eq!(get("files?path=../x"), error(400, "invalid path"));
    assert_eq!(get("files?path=.git/config"), error(404, "not found"));
    idle(&world);
    for path in ["files", "diff", "diff?wake=0"] {
        assert_eq!(get(path), error(409, "session runtime paused"), "{path}");
    }
    assert_eq!(get("diff?wake=1"), (200, nothing));
    assert_eq!(get("files").0, 200, "it is awake now");
    // And is paused again when nothing happens.
    idle(&world);
    assert_eq!(get("files").0, 409);
    assert_eq!(world.agent.borrow().done.iter().filter(|what| *what == "end").count(), 2);
    // A tree that changed while it was paused is told to whoever looks, too.
    change(&world, 5);
    assert_eq!(get("files?wake=1").0, 200);
    assert_eq!(told(&world)[0][0], "sandbox.workspace.changed");
    world.agent.borrow_mut().tree.number = None;
    assert_eq!(get("diff"), error(404, "not found"));
    world.ask("POST", "archive", None);
    world.pass(1_000);
    assert_eq!(get("files"), error(409, "session runtime unavailable"));
}
