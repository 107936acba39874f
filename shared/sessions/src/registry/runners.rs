//! The rows of runners (agents.md 7): registering, heartbeats, places.

use database::{Database, DbError, Param, ReadFrom, Row};

use super::{MailboxRunner, Runner};
use crate::error::Error;
use crate::request::Register;
use crate::secrets::Seal;

/// Runners that a user may have (agents.md 2.8).
pub const MAX_RUNNERS: usize = 50;
/// Runners that are tried for a session, the best first. Each fails only when others took its last place meanwhile.
const MAX_TRIES: usize = 5;

macro_rules! columns {
    () => {
        "SELECT runner_id, user_id, base_url, status, max_sessions, active_sessions, last_heartbeat_at, created_at, \
         updated_at, workspace_dir, agent_token, access_client_id, access_client_secret, signing_key, transport, runner_key, \
         instance_id, runner_epoch FROM agent_runners "
    };
}

// The condition counts the runners of the user: one more than allowed is not inserted, a known one is always updated.
const REGISTER: &str = "INSERT INTO agent_runners (runner_id, user_id, base_url, agent_token, access_client_id, \
    access_client_secret, signing_key, workspace_dir, status, max_sessions, active_sessions, last_heartbeat_at, \
    created_at, updated_at) SELECT ?, ?, ?, ?, ?, ?, ?, ?, 'online', ?, 0, ?, ?, ? \
    WHERE EXISTS (SELECT 1 FROM agent_runners WHERE user_id = ? AND runner_id = ?) \
    OR (SELECT COUNT(*) FROM agent_runners WHERE user_id = ?) < ? \
    ON CONFLICT(user_id, runner_id) DO UPDATE SET base_url = excluded.base_url, agent_token = excluded.agent_token, \
    access_client_id = excluded.access_client_id, access_client_secret = excluded.access_client_secret, \
    signing_key = excluded.signing_key, workspace_dir = excluded.workspace_dir, status = 'online', \
    max_sessions = excluded.max_sessions, last_heartbeat_at = excluded.last_heartbeat_at, \
    updated_at = excluded.updated_at, transport = 'tunnel', runner_key = NULL, instance_id = NULL, runner_epoch = NULL";

const HEARTBEAT: &str = "UPDATE agent_runners SET status = 'online', last_heartbeat_at = ?, updated_at = ?, \
    active_sessions = COALESCE(?, active_sessions) WHERE user_id = ? AND runner_id = ?";

const GET: &str = concat!(columns!(), "WHERE user_id = ? AND runner_id = ?");

const LIST: &str = concat!(columns!(), "WHERE user_id = ? ORDER BY updated_at DESC, rowid DESC LIMIT ?");

const DELETE: &str = "DELETE FROM agent_runners WHERE user_id = ? AND runner_id = ?";

/// A condition: the runner takes one more session. Parameters: the oldest heartbeat that counts.
macro_rules! free {
    () => {
        "status = 'online' AND last_heartbeat_at >= ? AND active_sessions < max_sessions "
    };
}

const CANDIDATES: &str = concat!(
    "SELECT runner_id FROM agent_runners WHERE ",
    free!(),
    "AND user_id = ? AND (? IS NULL OR runner_id = ?) ORDER BY last_heartbeat_at DESC, updated_at DESC LIMIT ?"
);

const TAKE: &str = concat!(
    "UPDATE agent_runners SET active_sessions = active_sessions + 1 WHERE ",
    free!(),
    "AND user_id = ? AND runner_id = ?"
);

const FREE: &str = "UPDATE agent_runners SET active_sessions = max(active_sessions - 1, 0) \
    WHERE user_id = ? AND runner_id = ?";

const MARK_OFFLINE: &str = "UPDATE agent_runners SET status = 'offline', active_sessions = 0 \
    WHERE status = 'online' AND last_heartbeat_at < ?";

/// Registers a runner, or tells anew what a known one is. What was kept of it stays: when it was first registered and how
/// many sessions it has (B36). `limit` is how many runners the user may have; none for any number.
///
/// # Errors
/// [`Error::SecretsKey`], [`Error::TooManyRunners`], [`Error::Register`] when the database fails.
pub async fn register(
    db: &impl Database,
    seal: &Seal,
    user: &str,
    runner: &Register,
    limit: Option<usize>,
    now: i64,
) -> Result<Runner, Error> {
    let sealed = |secret: &Option<String>| secret.as_deref().map(|secret| seal.seal(secret, user)).transpose();
    let (token, client_id) = (sealed(&runner.agent_token)?, sealed(&runner.access_client_id)?);
    let (client_secret, signing_key) = (sealed(&runner.access_client_secret)?, sealed(&runner.signing_key)?);
    let (id, owner, now) = (Param::Text(&runner.runner_id), Param::Text(user), Param::Int(now));
    let params = [
        id,
        owner,
        Param::Text(&runner.base_url),
        Param::opt(token.as_deref()),
        Param::opt(client_id.as_deref()),
        Param::opt(client_secret.as_deref()),
        Param::opt(signing_key.as_deref()),
        Param::opt(runner.workspace_dir.as_deref()),
        Param::Int(runner.max_sessions),
        now,
        now,
        now,
        owner,
        id,
        owner,
        Param::count(limit.unwrap_or(i32::MAX as usize)),
    ];
    let failed = |error: DbError| Error::Register(error.to_string());
    if db.execute(REGISTER, &params).await.map_err(failed)? == 0 {
        return Err(Error::TooManyRunners);
    }
    let found = get(db, user, &runner.runner_id).await.map_err(failed)?;
    found.ok_or_else(|| Error::Register("the row is gone".to_owned()))
}

/// Notes that a runner lives, and how many sessions it says it has. None when it is not registered.
pub async fn heartbeat(
    db: &impl Database,
    user: &str,
    runner_id: &str,
    active: Option<i64>,
    now: i64,
) -> Result<Option<Runner>, DbError> {
    let active = active.map_or(Param::Null, |active| Param::Int(active.max(0)));
    let params = [Param::Int(now), Param::Int(now), active, Param::Text(user), Param::Text(runner_id)];
    db.execute(HEARTBEAT, &params).await?;
    get(db, user, runner_id).await
}

/// The runners of a user, last updated first, without their secrets. Rows that cannot be used are left out.
pub async fn list(db: &impl Database, user: &str) -> Result<Vec<Runner>, DbError> {
    // Without limits on users there may be more; this bounds the answer.
    const MOST: usize = 1_000;
    let rows = db.query(ReadFrom::Primary, LIST, &[Param::Text(user), Param::count(MOST)]).await?;
    Ok(rows.iter().filter_map(runner_of).collect())
}

/// A runner of a user, without its secrets.
pub async fn get(db: &impl Database, user: &str, runner_id: &str) -> Result<Option<Runner>, DbError> {
    let rows = db.query(ReadFrom::Primary, GET, &[Param::Text(user), Param::Text(runner_id)]).await?;
    Ok(rows.first().and_then(runner_of))
}

/// A runner of a user, with its secrets.
///
/// # Errors
/// [`Error::Internal`] when the database fails or a secret does not open.
pub async fn open(db: &impl Database, seal: &Seal, user: &str, runner_id: &str) -> Result<Option<Runner>, Error> {
    let rows = db.query(ReadFrom::Primary, GET, &[Param::Text(user), Param::Text(runner_id)]).await?;
    let Some((row, runner)) = rows.first().and_then(|row| Some((row, runner_of(row)?))) else { return Ok(None) };
    let opened = |column| row.text(column).map(|stored| seal.open(stored, user)).transpose();
    Ok(Some(Runner {
        agent_token: opened(10)?,
        access_client_id: opened(11)?,
        access_client_secret: opened(12)?,
        signing_key: opened(13)?,
        ..runner
    }))
}

/// Forgets a runner. False when there was none.
pub async fn delete(db: &impl Database, user: &str, runner_id: &str) -> Result<bool, DbError> {
    Ok(db.execute(DELETE, &[Param::Text(user), Param::Text(runner_id)]).await? > 0)
}

/// Takes a place at a runner of the user (agents.md 7.4): at the one that is wanted, else at the one that was heard of last.
/// `ttl` is how long a heartbeat counts, in milliseconds. None when no runner has a place.
///
/// # Errors
/// [`Error::Internal`] when the database fails or a secret does not open; then no place is taken.
pub async fn choose(
    db: &impl Database,
    seal: &Seal,
    user: &str,
    wanted: Option<&str>,
    now: i64,
    ttl: i64,
) -> Result<Option<Runner>, Error> {
    let wanted = Param::opt(wanted);
    let oldest = Param::Int(now.saturating_sub(ttl));
    let params = [oldest, Param::Text(user), wanted, wanted, Param::count(MAX_TRIES)];
    // At most MAX_TRIES rows.
    for row in db.query(ReadFrom::Primary, CANDIDATES, &params).await? {
        let Some(runner_id) = row.text(0) else { continue };
        if !take_place(db, user, runner_id, now, ttl).await? {
            continue;
        }
        match open(db, seal, user, runner_id).await {
            Ok(Some(runner)) => return Ok(Some(runner)),
            // It was deleted meanwhile, or is none that can be used.
            Ok(None) => {}
            Err(error) => {
                free_place(db, user, runner_id, now).await?;
                return Err(error);
            }
        }
    }
    Ok(None)
}

/// Takes a place at this runner. False when it has none, is not heard of any more, or is not registered.
pub async fn take_place(db: &impl Database, user: &str, runner_id: &str, now: i64, ttl: i64) -> Result<bool, DbError> {
    let params = [Param::Int(now.saturating_sub(ttl)), Param::Text(user), Param::Text(runner_id)];
    Ok(db.execute(TAKE, &params).await? > 0)
}

/// Gives a place back.
pub async fn free_place(db: &impl Database, user: &str, runner_id: &str, _now: i64) -> Result<(), DbError> {
    db.execute(FREE, &[Param::Text(user), Param::Text(runner_id)]).await?;
    Ok(())
}

/// Marks the runners that were not heard of for ten times the `ttl`. Gives their number.
pub async fn mark_offline(db: &impl Database, now: i64, ttl: i64) -> Result<u64, DbError> {
    let before = now.saturating_sub(ttl.saturating_mul(10));
    db.execute(MARK_OFFLINE, &[Param::Int(before)]).await
}

fn runner_of(row: &Row) -> Option<Runner> {
    let filled = |column| row.string(column).filter(|text| !text.trim().is_empty());
    Some(Runner {
        runner_id: filled(0)?,
        user_id: filled(1)?,
        base_url: filled(2)?,
        status: filled(3).unwrap_or_else(|| "online".to_owned()),
        max_sessions: row.int(4).unwrap_or(1).max(1),
        active_sessions: row.int(5).unwrap_or(0).max(0),
        last_heartbeat_at: row.int(6).unwrap_or_default(),
        created_at: row.int(7).unwrap_or_default(),
        updated_at: row.int(8).unwrap_or_default(),
        workspace_dir: filled(9),
        agent_token: None,
        access_client_id: None,
        access_client_secret: None,
        signing_key: None,
        mailbox: mailbox_of(row),
    })
}

fn mailbox_of(row: &Row) -> Option<MailboxRunner> {
    let text = |column| row.string(column).unwrap_or_default();
    let is_mailbox = row.text(14) == Some("mailbox");
    is_mailbox.then(|| MailboxRunner { key: text(15), instance_id: text(16), epoch: row.int(17).unwrap_or_default() })
}
