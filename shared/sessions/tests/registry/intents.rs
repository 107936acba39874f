//! Sandboxes that were asked for.

use pollster::block_on;
use sessions::registry::intents::{self, IntentState};

use crate::support::{db, run};

const CREATING_MS: i64 = 900_000;

#[test]
fn a_sandbox_is_found_from_the_first_moment_to_the_last() {
    let db = db();
    block_on(intents::begin(&db, "i1", "s1", "u", "prod", 1_000)).unwrap();
    let get = || block_on(intents::get(&db, "i1", "prod")).unwrap().unwrap();
    let begun = get();
    assert_eq!((begun.state, begun.sandbox_id, begun.deadline), (IntentState::Creating, None, 1_000 + CREATING_MS));
    assert_eq!((&*begun.session_id, &*begun.user_id, begun.updated_at), ("s1", "u", 1_000));
    block_on(intents::bind(&db, "i1", "sandbox-1", 2_000)).unwrap();
    assert_eq!((get().state, get().sandbox_id.as_deref()), (IntentState::Bound, Some("sandbox-1")));
    let of = |sandbox, environment| block_on(intents::of_sandbox(&db, sandbox, environment)).unwrap();
    assert_eq!(of("sandbox-1", "prod").unwrap().intent_id, "i1");
    assert!(of("sandbox-1", "dev").is_none(), "another deployment's");
    assert!(of("sandbox-2", "prod").is_none());
    block_on(intents::end(&db, "i1", 3_000)).unwrap();
    assert_eq!((get().state, get().updated_at), (IntentState::Ended, 3_000));
    assert_eq!(block_on(intents::delete_ended(&db, 3_000)).unwrap(), 0);
    assert_eq!(block_on(intents::delete_ended(&db, 3_001)).unwrap(), 1);
}

#[test]
fn asking_again_under_the_same_name_changes_nothing() {
    let db = db();
    block_on(intents::begin(&db, "i1", "s1", "u", "prod", 1)).unwrap();
    block_on(intents::bind(&db, "i1", "sandbox-1", 2)).unwrap();
    block_on(intents::begin(&db, "i1", "s2", "v", "prod", 3)).unwrap();
    let found = block_on(intents::get(&db, "i1", "prod")).unwrap().unwrap();
    assert_eq!((found.state, &*found.session_id), (IntentState::Bound, "s1"));
}

#[test]
fn overdue_and_bound_ones_are_listed_by_environment() {
    let db = db();
    for (id, environment, now) in [("late", "prod", 0), ("early", "prod", 10), ("other", "dev", 0)] {
        block_on(intents::begin(&db, id, "s", "u", environment, now)).unwrap();
    }
    let names = |list: Vec<intents::Intent>| list.into_iter().map(|intent| intent.intent_id).collect::<Vec<_>>();
    let overdue = |now| names(block_on(intents::overdue(&db, "prod", now)).unwrap());
    assert!(overdue(CREATING_MS).is_empty());
    assert_eq!(overdue(CREATING_MS + 1), ["late"]);
    assert_eq!(overdue(CREATING_MS + 11), ["late", "early"]);
    block_on(intents::bind(&db, "late", "x", 20)).unwrap();
    let bound = |before| names(block_on(intents::bound(&db, "prod", before)).unwrap());
    assert_eq!((bound(20), bound(21)), (vec![], vec!["late".to_owned()]));
    run(&db, "UPDATE sandbox_intents SET state = 'odd' WHERE intent_id = 'early'");
    assert!(block_on(intents::get(&db, "early", "prod")).unwrap().is_none(), "a state of another version");
}
