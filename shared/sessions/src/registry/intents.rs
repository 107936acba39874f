//! Sandboxes that were asked for (agents.md 6.7): written down before they are made, so that one whose session was lost is
//! found.

use database::{Database, DbError, Param, ReadFrom, Row};

/// How long the making of a sandbox may take, in milliseconds: the lease of provisioning (agents.md 3.14).
const CREATING_MS: i64 = 15 * 60_000;
/// Rows that one call gives at most.
pub const LISTED_AT_ONCE: usize = 1_000;

const BEGIN: &str = "INSERT INTO sandbox_intents (intent_id, session_id, user_id, environment, state, deadline, updated_at) \
    VALUES (?, ?, ?, ?, 'creating', ?, ?) ON CONFLICT(intent_id) DO NOTHING";
const BIND: &str = "UPDATE sandbox_intents SET state = 'bound', sandbox_id = ?, updated_at = ? WHERE intent_id = ?";
const END: &str = "UPDATE sandbox_intents SET state = 'ended', updated_at = ? WHERE intent_id = ?";

macro_rules! columns {
    () => {
        "SELECT intent_id, session_id, user_id, state, sandbox_id, deadline, updated_at FROM sandbox_intents "
    };
}

const GET: &str = concat!(columns!(), "WHERE intent_id = ? AND environment = ?");
const OF_SANDBOX: &str =
    concat!(columns!(), "WHERE sandbox_id = ? AND environment = ? ORDER BY updated_at DESC, rowid DESC LIMIT 1");
const BOUND: &str =
    concat!(columns!(), "WHERE environment = ? AND state = 'bound' AND updated_at < ? ORDER BY updated_at LIMIT ?");
const OVERDUE: &str =
    concat!(columns!(), "WHERE environment = ? AND state = 'creating' AND deadline < ? ORDER BY updated_at LIMIT ?");
const DELETE_ENDED: &str = "DELETE FROM sandbox_intents WHERE rowid IN \
    (SELECT rowid FROM sandbox_intents WHERE state = 'ended' AND updated_at < ? LIMIT ?)";

/// How far a sandbox has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntentState {
    /// It is being made.
    Creating,
    /// A session has it.
    Bound,
    /// It is gone, or never came to be.
    Ended,
}

/// A sandbox that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The name under which it was asked for.
    pub intent_id: String,
    /// The session that asked.
    pub session_id: String,
    /// Its user.
    pub user_id: String,
    /// How far it has come.
    pub state: IntentState,
    /// The sandbox, when it is known.
    pub sandbox_id: Option<String>,
    /// Until when it may be in the making, in milliseconds since 1970.
    pub deadline: i64,
    /// The last change, in milliseconds since 1970.
    pub updated_at: i64,
}

/// Writes down that a sandbox is about to be made.
pub async fn begin(
    db: &impl Database,
    intent_id: &str,
    session_id: &str,
    user_id: &str,
    environment: &str,
    now: i64,
) -> Result<(), DbError> {
    let row = [
        Param::Text(intent_id),
        Param::Text(session_id),
        Param::Text(user_id),
        Param::Text(environment),
        Param::Int(now.saturating_add(CREATING_MS)),
        Param::Int(now),
    ];
    db.execute(BEGIN, &row).await?;
    Ok(())
}

/// Notes the sandbox that was made.
pub async fn bind(db: &impl Database, intent_id: &str, sandbox_id: &str, now: i64) -> Result<(), DbError> {
    db.execute(BIND, &[Param::Text(sandbox_id), Param::Int(now), Param::Text(intent_id)]).await?;
    Ok(())
}

/// Notes that the sandbox is gone.
pub async fn end(db: &impl Database, intent_id: &str, now: i64) -> Result<(), DbError> {
    db.execute(END, &[Param::Int(now), Param::Text(intent_id)]).await?;
    Ok(())
}

/// What was asked for under that name, in that environment.
pub async fn get(db: &impl Database, intent_id: &str, environment: &str) -> Result<Option<Intent>, DbError> {
    let rows = db.query(ReadFrom::Primary, GET, &[Param::Text(intent_id), Param::Text(environment)]).await?;
    Ok(rows.first().and_then(intent_of))
}

/// What a sandbox was asked for with; the latest, where there are several.
pub async fn of_sandbox(db: &impl Database, sandbox_id: &str, environment: &str) -> Result<Option<Intent>, DbError> {
    let rows = db.query(ReadFrom::Primary, OF_SANDBOX, &[Param::Text(sandbox_id), Param::Text(environment)]).await?;
    Ok(rows.first().and_then(intent_of))
}

/// Sandboxes that sessions have and that were not touched since `before`, the oldest first, at most [`LISTED_AT_ONCE`].
pub async fn bound(db: &impl Database, environment: &str, before: i64) -> Result<Vec<Intent>, DbError> {
    list(db, BOUND, environment, before).await
}

/// Sandboxes whose making has lasted too long, the oldest first, at most [`LISTED_AT_ONCE`].
pub async fn overdue(db: &impl Database, environment: &str, now: i64) -> Result<Vec<Intent>, DbError> {
    list(db, OVERDUE, environment, now).await
}

/// Deletes what ended before a time, at most [`LISTED_AT_ONCE`] rows.
pub async fn delete_ended(db: &impl Database, before: i64) -> Result<u64, DbError> {
    db.execute(DELETE_ENDED, &[Param::Int(before), Param::count(LISTED_AT_ONCE)]).await
}

async fn list(db: &impl Database, sql: &str, environment: &str, time: i64) -> Result<Vec<Intent>, DbError> {
    let params = [Param::Text(environment), Param::Int(time), Param::count(LISTED_AT_ONCE)];
    Ok(db.query(ReadFrom::Primary, sql, &params).await?.iter().filter_map(intent_of).collect())
}

fn intent_of(row: &Row) -> Option<Intent> {
    let state = match row.text(3)? {
        "creating" => IntentState::Creating,
        "bound" => IntentState::Bound,
        "ended" => IntentState::Ended,
        _ => return None,
    };
    Some(Intent {
        intent_id: row.string(0)?,
        session_id: row.string(1)?,
        user_id: row.string(2)?,
        state,
        sandbox_id: row.string(4),
        deadline: row.int(5)?,
        updated_at: row.int(6)?,
    })
}
