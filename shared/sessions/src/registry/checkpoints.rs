//! Snapshots of sandboxes, one for each owner, repository and branch (agents.md 11).

use database::{Database, DbError, Param, ReadFrom};

/// How long a snapshot is used, in milliseconds.
const LIFETIME_MS: i64 = 30 * 24 * 60 * 60 * 1_000;
/// Expired rows that one clean-up deletes at most.
pub const EXPIRED_AT_ONCE: usize = 200;

const LOAD: &str = "SELECT provider, snapshot_id, checkpoint_at FROM sandbox_checkpoints \
    WHERE owner_key = ? AND repo_key = ? AND branch = ? AND expires_at > ?";

const KNOWS: &str =
    "SELECT 1 FROM sandbox_checkpoints WHERE owner_key = ? AND snapshot_id = ? AND expires_at > ? LIMIT 1";

const UPSERT: &str = "INSERT INTO sandbox_checkpoints (owner_key, repo_key, branch, provider, snapshot_id, \
    checkpoint_at, updated_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) \
    ON CONFLICT(owner_key, repo_key, branch) DO UPDATE SET provider = excluded.provider, \
    snapshot_id = excluded.snapshot_id, checkpoint_at = excluded.checkpoint_at, updated_at = excluded.updated_at, \
    expires_at = excluded.expires_at";

const DELETE_EXPIRED: &str = "DELETE FROM sandbox_checkpoints WHERE rowid IN \
    (SELECT rowid FROM sandbox_checkpoints WHERE expires_at <= ? LIMIT ?)";

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Whose snapshot it is, such as `e2b`.
    pub provider: String,
    /// Its name there.
    pub snapshot_id: String,
    /// When it was made, in milliseconds since 1970.
    pub checkpoint_at: i64,
}

/// The snapshot of a branch. The owner is the graph of a session, else its user: nobody else's snapshot is ever found, for
/// it may hold credentials (B28).
pub async fn load(
    db: &impl Database,
    owner: &str,
    repo_key: &str,
    branch: &str,
    now: i64,
) -> Result<Option<Checkpoint>, DbError> {
    if owner.is_empty() {
        return Ok(None);
    }
    let params = [Param::Text(owner), Param::Text(repo_key), Param::Text(branch), Param::Int(now)];
    let rows = db.query(ReadFrom::Primary, LOAD, &params).await?;
    let checkpoint = rows.first().and_then(|row| {
        Some(Checkpoint {
            provider: row.string(0)?,
            snapshot_id: row.string(1).filter(|id| !id.trim().is_empty())?,
            checkpoint_at: row.int(2)?,
        })
    });
    Ok(checkpoint)
}

/// Whether the owner has such a snapshot, of whatever branch (B3).
pub async fn knows(db: &impl Database, owner: &str, snapshot_id: &str, now: i64) -> Result<bool, DbError> {
    if owner.is_empty() || snapshot_id.trim().is_empty() {
        return Ok(false);
    }
    let params = [Param::Text(owner), Param::Text(snapshot_id), Param::Int(now)];
    Ok(!db.query(ReadFrom::Primary, KNOWS, &params).await?.is_empty())
}

/// Keeps a snapshot in place of the one that was known. A blank owner or a blank name keeps nothing.
pub async fn upsert(
    db: &impl Database,
    owner: &str,
    repo_key: &str,
    branch: &str,
    checkpoint: &Checkpoint,
    now: i64,
) -> Result<(), DbError> {
    if owner.is_empty() || repo_key.is_empty() || checkpoint.snapshot_id.trim().is_empty() {
        return Ok(());
    }
    let provider = Some(checkpoint.provider.trim().to_lowercase()).filter(|provider| !provider.is_empty());
    let row = [
        Param::Text(owner),
        Param::Text(repo_key),
        Param::Text(branch),
        Param::Text(provider.as_deref().unwrap_or("unknown")),
        Param::Text(&checkpoint.snapshot_id),
        Param::Int(checkpoint.checkpoint_at),
        Param::Int(now),
        Param::Int(checkpoint.checkpoint_at.saturating_add(LIFETIME_MS)),
    ];
    db.execute(UPSERT, &row).await?;
    Ok(())
}

/// Deletes expired rows, at most [`EXPIRED_AT_ONCE`]. Gives their number.
pub async fn delete_expired(db: &impl Database, now: i64) -> Result<u64, DbError> {
    db.execute(DELETE_EXPIRED, &[Param::Int(now), Param::count(EXPIRED_AT_ONCE)]).await
}
