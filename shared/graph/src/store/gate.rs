//! Who is kept out: the mark of a deleted graph, and the users who were removed lately.

use std::ops::ControlFlow;

use database::Param;
use database::local::{Sql, SqlError};

/// Whether the graph is marked as deleted.
pub(crate) fn is_deleted(sql: &impl Sql) -> Result<bool, SqlError> {
    let mut found = false;
    sql.query("SELECT 1 FROM tombstone LIMIT 1", &[], &mut |_| {
        found = true;
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}

/// Marks the graph as deleted.
pub(crate) fn set_deleted(sql: &impl Sql, now_ms: i64) -> Result<(), SqlError> {
    sql.execute("INSERT OR IGNORE INTO tombstone (id, deleted_at) VALUES (1, ?)", &[Param::Int(now_ms)])
}

/// Shows users who were removed, and until when that is remembered: those that end last first, `limit` at most.
pub(crate) fn revocations(sql: &impl Sql, limit: usize, row: &mut dyn FnMut(&str, i64)) -> Result<(), SqlError> {
    let limit = Param::Int(i64::try_from(limit).unwrap_or(i64::MAX));
    sql.query("SELECT user_id, until FROM revocations ORDER BY until DESC LIMIT ?", &[limit], &mut |columns| {
        if let (Some(user), Some(until)) = (columns.text(0)?, columns.int(1)?) {
            row(&user, until);
        }
        Ok(ControlFlow::Continue(()))
    })
}

/// Remembers a removal, and forgets those that have ended or are too many.
pub(crate) fn set_revocation(
    sql: &impl Sql,
    user_id: &str,
    until_ms: i64,
    now_ms: i64,
    limit: usize,
) -> Result<(), SqlError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    sql.transaction(&mut || {
        sql.execute("DELETE FROM revocations WHERE until <= ?", &[Param::Int(now_ms)])?;
        sql.execute(
            "INSERT OR REPLACE INTO revocations (user_id, until) VALUES (?, ?)",
            &[Param::Text(user_id), Param::Int(until_ms)],
        )?;
        sql.execute(
            "DELETE FROM revocations WHERE user_id IN (SELECT user_id FROM revocations ORDER BY until DESC, user_id = ? DESC \
             LIMIT -1 OFFSET ?)",
            &[Param::Text(user_id), Param::Int(limit)],
        )
    })
}

/// Forgets a removal.
pub(crate) fn drop_revocation(sql: &impl Sql, user_id: &str) -> Result<(), SqlError> {
    sql.execute("DELETE FROM revocations WHERE user_id = ?", &[Param::Text(user_id)])
}
