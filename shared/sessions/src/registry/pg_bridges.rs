//! Which bridges to databases there are (pg-sync.md 4.1, 4.15): how many a user has, and how the clock finds them. What a bridge
//! knows is in its own object.

use database::{Database, DbError, Param, ReadFrom};

/// Bridges that a user may have.
pub const MAX_BRIDGES: i64 = 100;
/// Bridges that are looked after in one turn of the clock.
pub const MAX_POKES: i64 = 200;
/// How long a place is kept for a bridge of which nothing is heard, in milliseconds.
const RESERVED_MS: i64 = 600_000;

// The condition counts the bridges of the user: one more than allowed is not inserted.
const RESERVE: &str = "INSERT INTO pg_sync_bridges (source_id, user_id, connection, state, reserved_at, checked_at) \
    SELECT ?, ?, ?, 'reserved', ?, ? WHERE (SELECT COUNT(*) FROM pg_sync_bridges WHERE user_id = ?) < ? \
    ON CONFLICT(source_id) DO NOTHING";
const KNOWS: &str = "SELECT 1 FROM pg_sync_bridges WHERE source_id = ?";
// A name that somebody has given it meanwhile stays.
const NOTE: &str = "INSERT INTO pg_sync_bridges (source_id, user_id, connection, state, reserved_at, checked_at, source_ref) \
    VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT(source_id) DO UPDATE SET state = excluded.state, \
    source_ref = COALESCE(excluded.source_ref, pg_sync_bridges.source_ref)";
const UNNAME: &str =
    "UPDATE pg_sync_bridges SET source_ref = NULL WHERE user_id = ? AND source_ref = ? AND source_id <> ?";
const NAME: &str = "UPDATE pg_sync_bridges SET source_ref = ? WHERE source_id = ? AND user_id = ?";
const NAME_UNLESS_TAKEN: &str = "UPDATE pg_sync_bridges SET source_ref = ? WHERE source_id = ? AND user_id = ? \
    AND NOT EXISTS (SELECT 1 FROM pg_sync_bridges WHERE user_id = ? AND source_ref = ?)";
const NAMED: &str =
    "SELECT source_id, connection FROM pg_sync_bridges WHERE user_id = ? AND source_ref = ? ORDER BY source_id LIMIT 1";
const REMOVE: &str = "DELETE FROM pg_sync_bridges WHERE source_id = ?";
const REMOVE_STALE: &str = "DELETE FROM pg_sync_bridges WHERE state = 'reserved' AND reserved_at < ?";
const OLDEST: &str = "SELECT source_id FROM pg_sync_bridges ORDER BY checked_at LIMIT ?";
const CHECKED: &str = "UPDATE pg_sync_bridges SET checked_at = ? WHERE source_id = ?";
const OF_CONNECTION: &str = "SELECT source_id FROM pg_sync_bridges WHERE user_id = ? AND connection = ? LIMIT ?";
const COUNTS: &str = "SELECT connection, COUNT(*) FROM pg_sync_bridges WHERE user_id = ? GROUP BY connection";

/// Keeps a place for a bridge of a user. Whether there is one: the bridge has one already, or the user has less than
/// [`MAX_BRIDGES`].
pub async fn reserve(
    db: &impl Database,
    source_id: &str,
    user: &str,
    connection: &str,
    now: i64,
) -> Result<bool, DbError> {
    let params = [
        Param::Text(source_id),
        Param::Text(user),
        Param::Text(connection),
        Param::Int(now),
        Param::Int(now),
        Param::Text(user),
        Param::Int(MAX_BRIDGES),
    ];
    if db.execute(RESERVE, &params).await? > 0 {
        return Ok(true);
    }
    Ok(!db.query(ReadFrom::Primary, KNOWS, &[Param::Text(source_id)]).await?.is_empty())
}

/// What a bridge does, as the index is told.
#[derive(Clone, Copy, Debug)]
pub struct Noted<'a> {
    /// Its source.
    pub source_id: &'a str,
    /// Whose it is.
    pub user: &'a str,
    /// Over which connection.
    pub connection: &'a str,
    /// A word for what it does.
    pub state: &'a str,
    /// The name under which its log is read, if it is.
    pub source_ref: Option<&'a str>,
}

/// Notes what a bridge does.
pub async fn note(db: &impl Database, noted: &Noted<'_>, now: i64) -> Result<(), DbError> {
    let params = [
        Param::Text(noted.source_id),
        Param::Text(noted.user),
        Param::Text(noted.connection),
        Param::Text(noted.state),
        Param::Int(now),
        Param::Int(now),
        noted.source_ref.map_or(Param::Null, Param::Text),
    ];
    db.execute(NOTE, &params).await?;
    Ok(())
}

/// Gives a bridge of a user the name under which its log is read. No other one of them has it from then on.
pub async fn name(db: &impl Database, source_id: &str, user: &str, source_ref: &str) -> Result<(), DbError> {
    db.execute(UNNAME, &[Param::Text(user), Param::Text(source_ref), Param::Text(source_id)]).await?;
    db.execute(NAME, &[Param::Text(source_ref), Param::Text(source_id), Param::Text(user)]).await?;
    Ok(())
}

/// The same, unless a bridge of theirs has the name already: whoever reads that goes on.
pub async fn name_unless_taken(
    db: &impl Database,
    source_id: &str,
    user: &str,
    source_ref: &str,
) -> Result<(), DbError> {
    let params = [source_ref, source_id, user, user, source_ref].map(Param::Text);
    db.execute(NAME_UNLESS_TAKEN, &params).await?;
    Ok(())
}

/// The bridge of a user whose log is read under a name: its source, and its connection.
pub async fn named(db: &impl Database, user: &str, source_ref: &str) -> Result<Option<(String, String)>, DbError> {
    let rows = db.query(ReadFrom::Primary, NAMED, &[Param::Text(user), Param::Text(source_ref)]).await?;
    Ok(rows.first().and_then(|row| Some((row.string(0)?, row.string(1)?))))
}

/// A bridge is gone.
pub async fn remove(db: &impl Database, source_id: &str) -> Result<(), DbError> {
    db.execute(REMOVE, &[Param::Text(source_id)]).await?;
    Ok(())
}

/// Gives up places that were kept for bridges which never came.
pub async fn remove_stale(db: &impl Database, now: i64) -> Result<(), DbError> {
    db.execute(REMOVE_STALE, &[Param::Int(now.saturating_sub(RESERVED_MS))]).await?;
    Ok(())
}

/// The bridges that were not looked after for longest, at most [`MAX_POKES`].
pub async fn oldest(db: &impl Database) -> Result<Vec<String>, DbError> {
    let rows = db.query(ReadFrom::Primary, OLDEST, &[Param::Int(MAX_POKES)]).await?;
    Ok(rows.iter().filter_map(|row| row.string(0)).collect())
}

/// A bridge was looked after.
pub async fn checked(db: &impl Database, source_id: &str, now: i64) -> Result<(), DbError> {
    db.execute(CHECKED, &[Param::Int(now), Param::Text(source_id)]).await?;
    Ok(())
}

/// The bridges of a user over one connection, at most [`MAX_BRIDGES`].
pub async fn of_connection(db: &impl Database, user: &str, connection: &str) -> Result<Vec<String>, DbError> {
    let params = [Param::Text(user), Param::Text(connection), Param::Int(MAX_BRIDGES)];
    let rows = db.query(ReadFrom::Primary, OF_CONNECTION, &params).await?;
    Ok(rows.iter().filter_map(|row| row.string(0)).collect())
}

/// How many bridges a user has over each connection.
pub async fn counts(db: &impl Database, user: &str) -> Result<Vec<(String, i64)>, DbError> {
    let rows = db.query(ReadFrom::Primary, COUNTS, &[Param::Text(user)]).await?;
    Ok(rows.iter().filter_map(|row| Some((row.string(0)?, row.int(1)?))).collect())
}

/// There is no bridge of that name. One for which a place was just kept may be about to come.
pub async fn remove_absent(db: &impl Database, source_id: &str) -> Result<(), DbError> {
    db.execute("DELETE FROM pg_sync_bridges WHERE source_id = ? AND state <> 'reserved'", &[Param::Text(source_id)])
        .await?;
    Ok(())
}
