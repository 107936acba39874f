//! Who may use a session.

use database::sqlite::Sqlite;
use pollster::block_on;
use sessions::access::may;
use sessions::error::Error;

use crate::support::{db, run, with_graph};

#[test]
fn creators_and_people_of_the_graph_get_in() {
    let db = db();
    with_graph(&db);
    // caller, graph, allowed in reference mode, allowed in strict mode
    for (caller, graph, reference, strict) in [
        (Some("creator"), None, true, true),
        (Some("creator"), Some("g"), true, true),
        (Some("creator"), Some("deleted"), true, true),
        (Some("owner"), Some("g"), true, true),
        (Some("member"), Some("g"), true, true),
        (Some("stranger"), Some("g"), false, false),
        (Some("member"), Some("deleted"), false, false),
        (Some("owner"), Some(""), false, false),
        (Some("stranger"), None, true, false),
        (Some(""), Some("g"), false, false),
        (None, Some("g"), false, false),
        (None, None, true, false),
    ] {
        let ask = |strict| block_on(may(Some(&db), strict, caller, "creator", graph));
        let expected = |allowed, error| if allowed { Ok(()) } else { Err(error) };
        assert_eq!(ask(false), expected(reference, Error::Forbidden), "{caller:?} {graph:?}");
        assert_eq!(ask(true), expected(strict, Error::NotFound), "{caller:?} {graph:?}, strict");
    }
}

#[test]
fn nobody_is_the_creator_of_what_has_none() {
    let db = db();
    for caller in [Some(""), None] {
        assert_eq!(block_on(may(Some(&db), true, caller, "", None)), Err(Error::NotFound));
        assert_eq!(block_on(may(Some(&db), false, caller, "", Some("g"))), Err(Error::Forbidden));
    }
}

#[test]
fn without_a_database_only_creators_are_known() {
    let ask = |caller, graph| block_on(may::<Sqlite>(None, false, Some(caller), "creator", graph));
    assert_eq!(ask("creator", Some("g")), Ok(()));
    assert_eq!(ask("owner", Some("g")), Err(Error::Forbidden));
    assert_eq!(ask("stranger", None), Ok(()));
}

#[test]
fn a_database_that_fails_lets_nobody_in() {
    let db = db();
    run(&db, "DROP TABLE graph_members");
    let asked = block_on(may(Some(&db), false, Some("stranger"), "creator", Some("g")));
    assert!(matches!(asked, Err(Error::Internal(_))));
    assert_eq!(block_on(may(Some(&db), false, Some("creator"), "creator", Some("g"))), Ok(()));
}
