//! The rows of runners that call us (session-mailbox.md 7.1). Who they are in truth is known by their objects; the rows say which object
//! that is, and let sessions find them.

use database::{Database, DbError, Param, ReadFrom};

use super::runner::NO_ADDRESS;
use super::{Runner, runners};
use crate::error::Error;
use crate::request::mailbox::RegisterMailbox;

/// A runner that was not seen for so long is given no session while it is away, unless it is named.
const KNOWN_MS: i64 = 7 * 24 * 60 * 60 * 1_000;

// As for runners that are called: one more than allowed is not inserted. The key of a known row stays.
const REGISTER: &str = "INSERT INTO agent_runners (runner_id, user_id, base_url, status, max_sessions, active_sessions, \
    last_heartbeat_at, created_at, updated_at, transport, runner_key, instance_id, runner_epoch) \
    SELECT ?, ?, ?, 'online', ?, 0, ?, ?, ?, 'mailbox', ?, ?, ? \
    WHERE EXISTS (SELECT 1 FROM agent_runners WHERE user_id = ? AND runner_id = ?) \
    OR (SELECT COUNT(*) FROM agent_runners WHERE user_id = ?) < ? \
    ON CONFLICT(user_id, runner_id) DO UPDATE SET base_url = excluded.base_url, agent_token = NULL, \
    access_client_id = NULL, access_client_secret = NULL, signing_key = NULL, workspace_dir = NULL, status = 'online', \
    max_sessions = excluded.max_sessions, last_heartbeat_at = excluded.last_heartbeat_at, \
    updated_at = excluded.updated_at, transport = 'mailbox', \
    runner_key = COALESCE(agent_runners.runner_key, excluded.runner_key), \
    instance_id = excluded.instance_id, runner_epoch = excluded.runner_epoch";

const COUNT: &str = "SELECT COUNT(*) FROM agent_runners WHERE user_id = ?";

const SEEN: &str = "UPDATE agent_runners SET status = ?, last_heartbeat_at = max(last_heartbeat_at, ?), updated_at = ?, \
    active_sessions = COALESCE(?, active_sessions), max_sessions = COALESCE(?, max_sessions) WHERE runner_key = ?";

const DELETE: &str = "DELETE FROM agent_runners WHERE runner_key = ?";

const AWAY: &str = "SELECT runner_id FROM agent_runners WHERE transport = 'mailbox' AND user_id = ? \
    AND (status <> 'online' OR last_heartbeat_at < ?) AND (runner_id = ? OR (? IS NULL AND last_heartbeat_at >= ?)) \
    ORDER BY last_heartbeat_at DESC, updated_at DESC LIMIT 1";

/// A registration, as its object took it.
#[derive(Clone, Copy, Debug)]
pub struct Registered<'a> {
    /// The name of the object.
    pub key: &'a str,
    /// How often the runner was registered.
    pub epoch: u64,
}

/// Whether the user may have one more runner.
///
/// # Errors
/// When the database fails.
pub async fn has_room(db: &impl Database, user: &str, limit: usize) -> Result<bool, DbError> {
    let rows = db.query(ReadFrom::Primary, COUNT, &[Param::Text(user)]).await?;
    let count = rows.first().and_then(|row| row.int(0)).unwrap_or_default();
    Ok(usize::try_from(count).is_ok_and(|count| count < limit))
}

/// Writes down that a runner was registered. The row that there is now; its key is another one when somebody else was quicker.
///
/// # Errors
/// [`Error::TooManyRunners`], [`Error::Register`] when the database fails.
pub async fn register(
    db: &impl Database,
    user: &str,
    runner: &RegisterMailbox,
    registered: &Registered<'_>,
    limit: Option<usize>,
    now: i64,
) -> Result<Runner, Error> {
    let (id, owner, now) = (Param::Text(&runner.runner_id), Param::Text(user), Param::Int(now));
    let params = [
        id,
        owner,
        Param::Text(NO_ADDRESS),
        Param::Int(runner.max_sessions),
        now,
        now,
        now,
        Param::Text(registered.key),
        Param::Text(&runner.instance_id),
        Param::Int(i64::try_from(registered.epoch).unwrap_or(i64::MAX)),
        owner,
        id,
        owner,
        Param::count(limit.unwrap_or(i32::MAX as usize)),
    ];
    let failed = |error: DbError| Error::Register(error.to_string());
    if db.execute(REGISTER, &params).await.map_err(failed)? == 0 {
        return Err(Error::TooManyRunners);
    }
    let found = runners::get(db, user, &runner.runner_id).await.map_err(failed)?;
    found.ok_or_else(|| Error::Register("the row is gone".to_owned()))
}

/// What a runner's object knows, for its row.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Whether it is there.
    pub is_online: bool,
    /// When it was last seen, in milliseconds since 1970.
    pub at: i64,
    /// How many sessions it says it has.
    pub active: Option<i64>,
    /// How many sessions it takes.
    pub most: Option<i64>,
}

/// Notes when a runner was seen, and whether it is there.
///
/// # Errors
/// When the database fails.
pub async fn note(db: &impl Database, key: &str, seen: Seen) -> Result<(), DbError> {
    let number = |number: Option<i64>| number.map_or(Param::Null, Param::Int);
    let status = if seen.is_online { "online" } else { "offline" };
    let at = Param::Int(seen.at);
    let params = [Param::Text(status), at, at, number(seen.active), number(seen.most), Param::Text(key)];
    db.execute(SEEN, &params).await.map(drop)
}

/// Forgets a runner. False when there was none.
///
/// # Errors
/// When the database fails.
pub async fn delete(db: &impl Database, key: &str) -> Result<bool, DbError> {
    Ok(db.execute(DELETE, &[Param::Text(key)]).await? > 0)
}

/// A runner of the user that is away and gets a session all the same (session-mailbox.md 7.7): the one that is wanted, else the one that was
/// seen last.
///
/// # Errors
/// When the database fails.
pub async fn away(
    db: &impl Database,
    user: &str,
    wanted: Option<&str>,
    now: i64,
    ttl: i64,
) -> Result<Option<Runner>, DbError> {
    let (wanted, oldest) = (Param::opt(wanted), Param::Int(now.saturating_sub(KNOWN_MS)));
    let params = [Param::Text(user), Param::Int(now.saturating_sub(ttl)), wanted, wanted, oldest];
    let rows = db.query(ReadFrom::Primary, AWAY, &params).await?;
    match rows.first().and_then(|row| row.text(0)) {
        Some(runner_id) => runners::get(db, user, runner_id).await,
        None => Ok(None),
    }
}
