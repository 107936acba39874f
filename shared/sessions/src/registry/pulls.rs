//! Which session opened which pull request, and which deliveries of GitHub were taken (agents.md 20.4). The sessions themselves own what
//! they know of their pull requests; these rows are how what GitHub sends finds them.

use database::{Database, DbError, Param, ReadFrom};

use crate::follow_up::About;

/// Sessions that one delivery goes to at most: pull requests of one commit.
const MAX_FOUND: usize = 10;
/// How long deliveries are remembered, in milliseconds.
const KEPT_MS: i64 = 7 * 86_400_000;

const UPSERT: &str = "INSERT INTO session_pulls (repo_key, number, session_id, head, pushed, updated_at) VALUES (?, ?, ?, ?, ?, ?) \
    ON CONFLICT(repo_key, number) DO UPDATE SET session_id = excluded.session_id, head = excluded.head, \
    pushed = excluded.pushed, updated_at = excluded.updated_at";
const BY_NUMBER: &str = "SELECT session_id, number FROM session_pulls WHERE repo_key = ? AND number = ? LIMIT ?";
const BY_COMMIT: &str = "SELECT session_id, number FROM session_pulls WHERE repo_key = ? AND pushed = ? LIMIT ?";
const DELETE: &str = "DELETE FROM session_pulls WHERE repo_key = ? AND number = ? AND session_id = ?";
const DELETE_SESSION: &str = "DELETE FROM session_pulls WHERE session_id = ?";

/// Notes a pull request of a session. Where two sessions published to one, the later one has it.
pub async fn put(
    db: &impl Database,
    session_id: &str,
    pull: &crate::session::follow_up::Pull,
    now: i64,
) -> Result<(), DbError> {
    let params = [
        Param::Text(&pull.repository),
        number(pull.number),
        Param::Text(session_id),
        Param::Text(&pull.head),
        Param::opt(pull.pushed.as_deref()),
        Param::Int(now),
    ];
    db.execute(UPSERT, &params).await?;
    Ok(())
}

/// Forgets a pull request of a session.
pub async fn forget(db: &impl Database, session_id: &str, repository: &str, pull: u64) -> Result<(), DbError> {
    db.execute(DELETE, &[Param::Text(repository), number(pull), Param::Text(session_id)]).await?;
    Ok(())
}

/// Forgets all pull requests of a session.
pub async fn forget_session(db: &impl Database, session_id: &str) -> Result<(), DbError> {
    db.execute(DELETE_SESSION, &[Param::Text(session_id)]).await?;
    Ok(())
}

/// The sessions that something is about, with the numbers of their pull requests.
pub async fn find(db: &impl Database, repository: &str, about: &About) -> Result<Vec<(String, u64)>, DbError> {
    let (sql, key) = match about {
        About::Pull(pull) => (BY_NUMBER, number(*pull)),
        About::Commit(commit) => (BY_COMMIT, Param::Text(commit)),
    };
    let rows = db.query(ReadFrom::Primary, sql, &[Param::Text(repository), key, Param::count(MAX_FOUND)]).await?;
    Ok(rows.iter().filter_map(|row| Some((row.string(0)?, u64::try_from(row.int(1)?).ok()?))).collect())
}

/// Whether a delivery of GitHub was taken before.
pub async fn knows(db: &impl Database, delivery: &str) -> Result<bool, DbError> {
    let sql = "SELECT 1 FROM github_deliveries WHERE delivery_id = ?";
    Ok(!db.query(ReadFrom::Primary, sql, &[Param::Text(delivery)]).await?.is_empty())
}

/// Remembers that a delivery of GitHub was taken.
pub async fn remember(db: &impl Database, delivery: &str, now: i64) -> Result<(), DbError> {
    let sql = "INSERT OR IGNORE INTO github_deliveries (delivery_id, created_at) VALUES (?, ?)";
    db.execute(sql, &[Param::Text(delivery), Param::Int(now)]).await?;
    Ok(())
}

/// Forgets deliveries that GitHub does not send again.
pub async fn forget_old(db: &impl Database, now: i64) -> Result<(), DbError> {
    let sql = "DELETE FROM github_deliveries WHERE created_at < ?";
    db.execute(sql, &[Param::Int(now.saturating_sub(KEPT_MS))]).await?;
    Ok(())
}

fn number(number: u64) -> Param<'static> {
    Param::Int(i64::try_from(number).unwrap_or(i64::MAX))
}
