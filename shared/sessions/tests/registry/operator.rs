//! What an operator sees of all sessions.

use pollster::block_on;
use serde_json::{Value, json};
use sessions::registry::operator::{self, MOST_COUNTED, OVERDUE_AFTER_MS};
use sessions::session::decide::Wait;

use crate::support::{db, run};

const TTL_MS: i64 = 1_000;

fn seen(db: &impl database::Database, now: i64) -> Value {
    block_on(operator::overview(db, Some("prod"), TTL_MS, now)).unwrap()
}

#[test]
fn everything_is_counted() {
    let db = db();
    for (id, status, provider, active) in [
        ("a", "running", "'e2b'", 1),
        ("b", "running", "'local-runner'", 1),
        ("c", "created", "NULL", 1),
        ("d", "paused", "'e2b'", 0),
        ("e", "deleted", "NULL", 0),
    ] {
        let row = format!("('{id}', 'u', '{status}', 't', {provider}, {active}, 1, 1)");
        let columns = "(session_id, user_id, status, title, runtime_provider, active, created_at, updated_at)";
        run(&db, &format!("INSERT INTO agent_sessions {columns} VALUES {row}"));
    }
    for (id, environment, state) in
        [("1", "prod", "creating"), ("2", "prod", "bound"), ("3", "prod", "ended"), ("4", "dev", "bound")]
    {
        run(
            &db,
            &format!("INSERT INTO sandbox_intents VALUES ('{id}', 's', 'u', '{environment}', '{state}', NULL, 1, 1)"),
        );
    }
    for (id, state) in [("1", "pending"), ("2", "dead"), ("3", "dead"), ("4", "done")] {
        let columns = "(delivery_id, webhook_id, session_id, type, attempts, state, created_at)";
        run(&db, &format!("INSERT INTO webhook_deliveries {columns} VALUES ('{id}', 'w', 's', 't', 1, '{state}', 1)"));
    }
    for (id, status, heard) in [("1", "online", 9_000), ("2", "online", 8_999), ("3", "offline", 9_500)] {
        let columns = "(runner_id, user_id, base_url, status, last_heartbeat_at, created_at, updated_at)";
        run(&db, &format!("INSERT INTO agent_runners {columns} VALUES ('{id}', 'u', 'x', '{status}', {heard}, 1, 1)"));
    }
    for _ in 0..3 {
        block_on(operator::count_orphan(&db)).unwrap();
    }
    assert_eq!(
        seen(&db, 10_000),
        json!({
            "sessions": {"created": 1, "running": 2, "paused": 1, "completed": 0, "failed": 0, "canceled": 0, "deleted": 1},
            "oldest-deadline": null,
            "intents": 2,
            "orphans-ended": 3,
            "outbox": {"pending": 1, "dead": 2},
            "runners": {"online": 1, "offline": 2},
            "active-by-provider": {"e2b": 1, "local-runner": 1, "none": 1},
        })
    );
}

#[test]
fn the_deadline_that_passed_first_is_shown() {
    let db = db();
    let wait = |state, deadline| Wait { state, deadline };
    block_on(operator::put_wait(&db, "late", wait("turn", 2_000))).unwrap();
    block_on(operator::put_wait(&db, "later", wait("ending", 3_000))).unwrap();
    let oldest = |now| seen(&db, now)["oldest-deadline"].clone();
    assert_eq!(oldest(2_000 + OVERDUE_AFTER_MS), json!(null));
    let now = 2_001 + OVERDUE_AFTER_MS;
    assert_eq!(oldest(now), json!({"session-id": "late", "state": "turn", "overdue-ms": OVERDUE_AFTER_MS + 1}));
    block_on(operator::put_wait(&db, "late", wait("approval", 9_000_000))).unwrap();
    assert_eq!(oldest(1_000_000)["session-id"], "later");
    block_on(operator::forget_wait(&db, "later")).unwrap();
    assert_eq!(oldest(1_000_000), json!(null));
    // A session that is gone is stuck nowhere.
    run(
        &db,
        "INSERT INTO agent_sessions (session_id, user_id, status, title, created_at, updated_at) \
         VALUES ('late', 'u', 'deleted', '', 1, 1)",
    );
    block_on(operator::forget_deleted(&db, 9_000_001)).unwrap();
    assert_eq!(oldest(90_000_000), json!(null));
}

#[test]
fn counting_ends_somewhere() {
    let db = db();
    run(
        &db,
        "INSERT INTO agent_sessions (session_id, user_id, status, title, runtime_provider, active, created_at, updated_at) \
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10005) \
         SELECT i, 'u', 'running', '', 'e2b', 1, 1, 1 FROM n",
    );
    let seen = seen(&db, 1);
    assert_eq!(
        (&seen["sessions"]["running"], &seen["active-by-provider"]["e2b"]),
        (&json!(MOST_COUNTED), &json!(MOST_COUNTED))
    );
}
