//! What was used on each day (agents.md 20.1): one row per user, day and session, told by the session's object.

use std::collections::BTreeMap;

use database::{Database, DbError, Param, ReadFrom, Row};

use crate::session::budget::{Day, Used};

/// Sessions of a user and day that are added up. Who creates more on one day is limited otherwise (agents.md 2.8).
const MAX_SESSIONS: usize = 5_000;
/// Days for which rows are kept.
const KEPT_DAYS: i64 = 90;

// The amounts are those of the whole day, so that a telling that is repeated, or comes late, adds nothing.
const UPSERT: &str = "INSERT INTO usage_daily (user_id, day, session_id, revision, turns, running_ms, tokens, estimated, cost) \
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(user_id, day, session_id) DO UPDATE SET revision = excluded.revision, \
    turns = excluded.turns, running_ms = excluded.running_ms, tokens = excluded.tokens, estimated = excluded.estimated, \
    cost = excluded.cost WHERE excluded.revision >= usage_daily.revision";

const OTHERS: &str = "SELECT turns, running_ms, tokens, estimated, cost FROM usage_daily \
    WHERE user_id = ? AND day = ? AND session_id <> ? LIMIT ?";

const FORGET: &str = "DELETE FROM usage_daily WHERE day < ?";

/// Tells what a session of `user` used on a day. `revision` goes up with each count of the session.
pub async fn tell(db: &impl Database, user: &str, session_id: &str, revision: u64, day: &Day) -> Result<(), DbError> {
    // Numbers by short names: it always has a text.
    let cost = serde_json::to_string(&day.used.cost).unwrap_or_default();
    let number = |number: u64| Param::Int(i64::try_from(number).unwrap_or(i64::MAX));
    let params = [
        Param::Text(user),
        Param::Int(day.day),
        Param::Text(session_id),
        number(revision),
        number(day.used.turns),
        Param::Int(day.used.running_ms),
        number(day.used.tokens),
        Param::flag(day.used.estimated),
        Param::Text(&cost),
    ];
    db.execute(UPSERT, &params).await?;
    Ok(())
}

/// What all sessions of `user` but one used on a day.
pub async fn of_others(db: &impl Database, user: &str, session_id: &str, day: i64) -> Result<Used, DbError> {
    let params = [Param::Text(user), Param::Int(day), Param::Text(session_id), Param::count(MAX_SESSIONS)];
    let rows = db.query(ReadFrom::Primary, OTHERS, &params).await?;
    let mut sum = Used::default();
    // At most MAX_SESSIONS rows, each with a bounded number of currencies.
    for row in &rows {
        sum.add(&used_of(row));
    }
    Ok(sum)
}

/// Forgets days that nobody asks about any more.
pub async fn forget_old(db: &impl Database, today: i64) -> Result<(), DbError> {
    db.execute(FORGET, &[Param::Int(today.saturating_sub(KEPT_DAYS))]).await?;
    Ok(())
}

fn used_of(row: &Row) -> Used {
    let number = |column: usize| row.int(column).and_then(|number| u64::try_from(number).ok()).unwrap_or_default();
    let cost: BTreeMap<String, f64> = row.text(4).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    Used {
        turns: number(0),
        running_ms: row.int(1).unwrap_or_default(),
        tokens: number(2),
        estimated: number(3) != 0,
        cost,
    }
}
