//! The list of sessions.

use database::Database;
use pollster::block_on;
use sessions::registry::Cursor;
use sessions::registry::sessions::{self as list, MAX_PAGE, Page, SessionRow};

use crate::support::{db, rows, run, with_graph};

fn row(session_id: &str, user: &str, graph: Option<&str>, updated_at: i64) -> SessionRow {
    SessionRow {
        session_id: session_id.to_owned(),
        user_id: user.to_owned(),
        graph_id: graph.map(str::to_owned),
        status: "created".to_owned(),
        title: "Repair".to_owned(),
        repo_key: Some("github/acme/app".to_owned()),
        runtime_provider: None,
        archived: false,
        active: true,
        created_at: 1,
        updated_at,
    }
}

fn tell(db: &impl Database, row: &SessionRow) {
    block_on(list::upsert(db, row)).unwrap();
}

fn page(user: &str) -> Page<'_> {
    Page { user, graph_id: None, status: None, limit: 50, archived: false, after: None }
}

fn ids(db: &impl Database, page: &Page<'_>) -> Vec<String> {
    block_on(list::list(db, page)).unwrap().0.into_iter().map(|row| row.session_id).collect()
}

#[test]
fn late_news_changes_nothing() {
    let db = db();
    tell(&db, &SessionRow { status: "running".to_owned(), ..row("s", "u", None, 20) });
    tell(&db, &row("s", "u", None, 10));
    let found = block_on(list::get(&db, "s")).unwrap().unwrap();
    assert_eq!((&*found.status, found.updated_at), ("running", 20));
    tell(&db, &SessionRow { active: false, created_at: 99, ..row("s", "u", None, 20) });
    let found = block_on(list::get(&db, "s")).unwrap().unwrap();
    assert_eq!((found.active, found.created_at, &*found.status), (false, 1, "created"));
    assert!(block_on(list::get(&db, "other")).unwrap().is_none());
    tell(&db, &SessionRow { title: "é".repeat(2_000), ..row("s", "u", None, 30) });
    assert_eq!(block_on(list::get(&db, "s")).unwrap().unwrap().title.chars().count(), 1_024);
}

#[test]
fn active_ones_are_counted_by_user() {
    let db = db();
    for (id, user, active) in [("a", "u", true), ("b", "u", false), ("c", "u", true), ("d", "v", true)] {
        tell(&db, &SessionRow { active, ..row(id, user, None, 1) });
    }
    let count = |user| block_on(list::count_active(&db, user)).unwrap();
    assert_eq!((count("u"), count("v"), count("w")), (2, 1, 0));
}

#[test]
fn everybody_sees_own_sessions_and_those_of_own_graphs() {
    let db = db();
    with_graph(&db);
    tell(&db, &row("of-owner", "owner", Some("g"), 1));
    tell(&db, &row("of-member", "member", Some("g"), 2));
    tell(&db, &row("of-member-alone", "member", None, 3));
    tell(&db, &row("of-stranger-alone", "stranger", None, 4));
    tell(&db, &row("of-a-deleted-graph", "stranger", Some("deleted"), 5));
    assert_eq!(ids(&db, &page("owner")), ["of-member", "of-owner"]);
    assert_eq!(ids(&db, &page("member")), ["of-member-alone", "of-member", "of-owner"]);
    assert_eq!(ids(&db, &page("stranger")), ["of-a-deleted-graph", "of-stranger-alone"]);
    assert!(ids(&db, &page("nobody")).is_empty());
    assert_eq!(ids(&db, &Page { graph_id: Some("g"), ..page("member") }), ["of-member", "of-owner"]);
    assert!(ids(&db, &Page { graph_id: Some("g"), ..page("stranger") }).is_empty());
    assert!(ids(&db, &Page { graph_id: Some("' OR 1=1 --"), ..page("member") }).is_empty());
    let uses = |user| block_on(list::uses_repository(&db, user, "github/acme/app")).unwrap();
    assert!(uses("owner") && uses("stranger") && !uses("nobody"));
    assert!(!block_on(list::uses_repository(&db, "owner", "github/acme/other")).unwrap());
}

#[test]
fn pages_follow_one_another_without_gaps_or_repetitions() {
    let db = db();
    for number in 0..10_i64 {
        // Some have the same time: then the id decides.
        tell(&db, &row(&format!("s{number}"), "u", None, number / 3));
    }
    let mut seen = Vec::new();
    let mut after: Option<Cursor> = None;
    loop {
        let (found, next) = block_on(list::list(&db, &Page { limit: 3, after: after.as_ref(), ..page("u") })).unwrap();
        assert!(found.len() == 3 || next.is_none());
        seen.extend(found.into_iter().map(|row| row.session_id));
        let Some(next) = next else { break };
        after = Cursor::parse(&next.text());
    }
    assert_eq!(seen, ["s9", "s8", "s7", "s6", "s5", "s4", "s3", "s2", "s1", "s0"]);
    tell(&db, &SessionRow { status: "paused".to_owned(), ..row("s4", "u", None, 50) });
    assert_eq!(ids(&db, &Page { status: Some("paused"), ..page("u") }), ["s4"]);
}

#[test]
fn a_page_has_a_bound() {
    let db = db();
    run(
        &db,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 250) INSERT INTO agent_sessions \
         (session_id, user_id, status, title, created_at, updated_at) SELECT 's' || i, 'u', 'created', '', i, i FROM n",
    );
    for (limit, expected) in [(0, 1), (1, 1), (199, 199), (MAX_PAGE, 200), (201, 200), (usize::MAX, 200)] {
        assert_eq!(ids(&db, &Page { limit, ..page("u") }).len(), expected, "{limit}");
    }
}

#[test]
fn rows_are_shown_without_what_is_nobodys_business() {
    let shown = SessionRow { runtime_provider: Some("e2b".to_owned()), ..row("s", "u", Some("g"), 2) }.shown();
    assert_eq!(
        shown,
        serde_json::json!({"session-id": "s", "status": "created", "title": "Repair", "graph-id": "g",
            "runtime-provider": "e2b", "created-at": 1, "updated-at": 2})
    );
    let shown = row("s", "u", None, 2).shown();
    assert!(shown.get("graph-id").is_none() && shown["runtime-provider"].is_null());
    let db = db();
    tell(&db, &row("s", "u", None, 1_800_000_000_000));
    assert_eq!(rows(&db, "SELECT typeof(updated_at) FROM agent_sessions")[0].text(0), Some("integer"));
}

#[test]
fn what_was_put_away_is_listed_when_asked_for_and_what_was_deleted_never() {
    let db = db();
    tell(&db, &row("here", "u", None, 3));
    tell(&db, &SessionRow { archived: true, ..row("away", "u", None, 2) });
    tell(&db, &row("gone", "u", None, 1));
    block_on(list::mark_deleted(&db, "gone", 50)).unwrap();
    assert_eq!(ids(&db, &page("u")), ["here"]);
    assert_eq!(ids(&db, &Page { archived: true, ..page("u") }), ["here", "away"]);
    let gone = block_on(list::get(&db, "gone")).unwrap().unwrap();
    assert_eq!((&*gone.status, &*gone.title, gone.repo_key, gone.active), ("deleted", "", None, false));
    block_on(list::forget_deleted(&db, list::KEPT_DELETED_MS + 50)).unwrap();
    assert!(block_on(list::get(&db, "gone")).unwrap().is_some());
    block_on(list::forget_deleted(&db, list::KEPT_DELETED_MS + 51)).unwrap();
    assert!(block_on(list::get(&db, "gone")).unwrap().is_none());
    assert!(block_on(list::get(&db, "here")).unwrap().is_some());
}
