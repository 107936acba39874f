//! What an operator sees of all sessions (agents.md 20.10): numbers, and the one session that is stuck longest. Nothing of what
//! sessions are about.

use database::{Database, DbError, Param, ReadFrom, Row};
use serde_json::{Map, Value, json};

use crate::session::decide::Wait;

/// Rows of one kind that are counted at most: this number means so many or more.
pub const MOST_COUNTED: i64 = 10_000;
/// A deadline that passed so long ago should have been settled, in milliseconds: alarms may be late, and so may what is told of them.
pub const OVERDUE_AFTER_MS: i64 = 60_000;
/// Providers that are told apart.
const MOST_PROVIDERS: usize = 20;

const PUT_WAIT: &str = "INSERT INTO session_deadlines (session_id, state, deadline) VALUES (?, ?, ?) \
    ON CONFLICT(session_id) DO UPDATE SET state = excluded.state, deadline = excluded.deadline";
const FORGET_WAIT: &str = "DELETE FROM session_deadlines WHERE session_id = ?";
// Told while the session was being removed, and stored after it was.
const FORGET_DELETED: &str = "DELETE FROM session_deadlines WHERE deadline < ? AND EXISTS \
    (SELECT 1 FROM agent_sessions AS s WHERE s.session_id = session_deadlines.session_id AND s.status = 'deleted')";
const OLDEST: &str =
    "SELECT session_id, state, deadline FROM session_deadlines WHERE deadline < ? ORDER BY deadline LIMIT 1";
const COUNT_ORPHAN: &str = "INSERT INTO agent_counters (name, value) VALUES ('orphans-ended', 1) \
    ON CONFLICT(name) DO UPDATE SET value = value + 1";

/// The number of rows that a condition holds for, as a column.
macro_rules! counted {
    ($table:literal, $condition:literal) => {
        concat!("(SELECT COUNT(*) FROM (SELECT 1 FROM ", $table, " WHERE ", $condition, " LIMIT 10000))")
    };
}

/// Statuses of sessions, in the order of the columns of [`COUNTS`].
const STATUSES: [&str; 7] = ["created", "running", "paused", "completed", "failed", "canceled", "deleted"];

// Parameters: the environment, and twice the oldest heartbeat that counts. The limit is MOST_COUNTED.
const COUNTS: &str = concat!(
    "SELECT ",
    counted!("agent_sessions", "status = 'created'"),
    ", ",
    counted!("agent_sessions", "status = 'running'"),
    ", ",
    counted!("agent_sessions", "status = 'paused'"),
    ", ",
    counted!("agent_sessions", "status = 'completed'"),
    ", ",
    counted!("agent_sessions", "status = 'failed'"),
    ", ",
    counted!("agent_sessions", "status = 'canceled'"),
    ", ",
    counted!("agent_sessions", "status = 'deleted'"),
    ", ",
    counted!("sandbox_intents", "environment = ? AND state IN ('creating', 'bound')"),
    ", (SELECT value FROM agent_counters WHERE name = 'orphans-ended'), ",
    counted!("webhook_deliveries", "state = 'pending'"),
    ", ",
    counted!("webhook_deliveries", "state = 'dead'"),
    ", ",
    counted!("agent_runners", "status = 'online' AND last_heartbeat_at >= ?"),
    ", ",
    counted!("agent_runners", "status = 'online' AND last_heartbeat_at < ?"),
    ", ",
    counted!("agent_runners", "status = 'offline'"),
);
const ACTIVE: &str = "SELECT runtime_provider, COUNT(*) FROM \
    (SELECT runtime_provider FROM agent_sessions WHERE active = 1 ORDER BY runtime_provider LIMIT ?) \
    GROUP BY runtime_provider LIMIT ?";

/// Whether the database has the tables of this module, which are the newest.
pub async fn has_tables(db: &impl Database) -> bool {
    db.query(ReadFrom::Primary, OLDEST, &[Param::Int(0)]).await.is_ok()
}

/// Notes what a session waits for.
pub async fn put_wait(db: &impl Database, session_id: &str, wait: Wait) -> Result<(), DbError> {
    db.execute(PUT_WAIT, &[Param::Text(session_id), Param::Text(wait.state), Param::Int(wait.deadline)]).await?;
    Ok(())
}

/// Notes that a session waits for nothing.
pub async fn forget_wait(db: &impl Database, session_id: &str) -> Result<(), DbError> {
    db.execute(FORGET_WAIT, &[Param::Text(session_id)]).await?;
    Ok(())
}

/// Forgets what deleted sessions waited for.
pub async fn forget_deleted(db: &impl Database, now: i64) -> Result<(), DbError> {
    db.execute(FORGET_DELETED, &[Param::Int(now)]).await?;
    Ok(())
}

/// Counts a sandbox that nobody owned and that was ended.
pub async fn count_orphan(db: &impl Database) -> Result<(), DbError> {
    db.execute(COUNT_ORPHAN, &[]).await?;
    Ok(())
}

/// Everything that is shown. `environment` is the deployment whose sandboxes are counted, `runner_ttl_ms` how long a heartbeat counts.
pub async fn overview(
    db: &impl Database,
    environment: Option<&str>,
    runner_ttl_ms: i64,
    now: i64,
) -> Result<Value, DbError> {
    let heard = Param::Int(now.saturating_sub(runner_ttl_ms));
    let rows =
        db.query(ReadFrom::Nearest, COUNTS, &[Param::Text(environment.unwrap_or_default()), heard, heard]).await?;
    let count = |column: usize| rows.first().and_then(|row| row.int(column)).unwrap_or_default();
    let sessions: Map<String, Value> =
        STATUSES.iter().enumerate().map(|(column, status)| ((*status).to_owned(), count(column).into())).collect();
    let next = STATUSES.len();
    let overdue = Param::Int(now.saturating_sub(OVERDUE_AFTER_MS));
    let oldest = db.query(ReadFrom::Nearest, OLDEST, &[overdue]).await?;
    let most = [Param::Int(MOST_COUNTED), Param::count(MOST_PROVIDERS)];
    let active = db.query(ReadFrom::Nearest, ACTIVE, &most).await?;
    let by_provider: Map<String, Value> = active.iter().filter_map(provider_of).collect();
    Ok(json!({
        "sessions": sessions,
        "oldest-deadline": oldest.first().and_then(|row| deadline_of(row, now)),
        "intents": count(next),
        "orphans-ended": count(next + 1),
        "outbox": {"pending": count(next + 2), "dead": count(next + 3)},
        "runners": {"online": count(next + 4), "offline": count(next + 5).saturating_add(count(next + 6))},
        "active-by-provider": by_provider,
    }))
}

fn deadline_of(row: &Row, now: i64) -> Option<Value> {
    let overdue = now.saturating_sub(row.int(2)?);
    Some(json!({"session-id": row.text(0)?, "state": row.text(1)?, "overdue-ms": overdue}))
}

/// Sessions whose runtime is being made have no provider yet.
fn provider_of(row: &Row) -> Option<(String, Value)> {
    Some((row.text(0).unwrap_or("none").to_owned(), row.int(1)?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_counted_to_the_same_number() {
        assert_eq!(COUNTS.matches(&format!("LIMIT {MOST_COUNTED})")).count(), COUNTS.matches("LIMIT").count());
    }
}
