//! Which bundles of working trees are stored (agents.md 5.3.10). The objects are expected before they are stored, as those of
//! transcripts are (transcripts.md 4.3): whatever breaks off leaves objects that the next sweep deletes, never a row without them.

use database::{Database, DbError, Param, ReadFrom, Row, Statement};
use transcripts::limits::GARBAGE_MS;
use web::url;

use crate::workspace::Bundle;

/// Bundles that are kept of a session.
pub const KEPT: usize = 3;
/// How long they are kept, in milliseconds.
pub const KEPT_MS: i64 = 30 * 24 * 60 * 60_000;
/// Rows that one turn of the clock removes at most.
const REMOVED_AT_ONCE: usize = 50;
/// Rows of one session that are read at once. There are more only where forgetting old ones failed.
const READ_AT_ONCE: usize = 100;

/// A statement over the numbers of pieces, as many as a bundle can have.
macro_rules! pieces {
    ($($text:expr),+) => {
        concat!("WITH RECURSIVE piece (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM piece WHERE n < 999) ", $($text),+)
    };
}

/// Rows of a session beyond the last few.
macro_rules! old {
    () => {
        "session_id = ? AND bundle_id NOT IN (SELECT bundle_id FROM workspace_bundles WHERE session_id = ? \
         ORDER BY created_at DESC, bundle_id DESC LIMIT ?)"
    };
}

/// Rows whose time is over.
macro_rules! expired {
    () => {
        "rowid IN (SELECT rowid FROM workspace_bundles WHERE created_at <= ? ORDER BY created_at, rowid LIMIT ?)"
    };
}

/// The objects of these rows are garbage from then on.
macro_rules! drop_objects {
    ($which:expr) => {
        pieces!(
            "INSERT OR REPLACE INTO transcript_garbage (object_key, after) SELECT object_key || '.' || printf('%03d', n), ? \
             FROM workspace_bundles JOIN piece ON n < pieces WHERE ",
            $which
        )
    };
}

const EXPECT: &str = pieces!(
    "INSERT OR REPLACE INTO transcript_garbage (object_key, after) SELECT ? || '.' || printf('%03d', n), ? FROM piece WHERE n < ?"
);
const INSERT: &str = "INSERT INTO workspace_bundles (session_id, bundle_id, user_id, sha256, byte_size, pieces, object_key, \
    created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
const ARRIVED: &str = pieces!(
    "DELETE FROM transcript_garbage WHERE object_key IN (SELECT object_key || '.' || printf('%03d', n) FROM workspace_bundles \
     JOIN piece ON n < pieces WHERE session_id = ? AND bundle_id = ?)"
);
const DROP_OLD_OBJECTS: &str = drop_objects!(old!());
const DROP_OLD: &str = concat!("DELETE FROM workspace_bundles WHERE ", old!());
const DROP_EXPIRED_OBJECTS: &str = drop_objects!(expired!());
const DROP_EXPIRED: &str = concat!("DELETE FROM workspace_bundles WHERE ", expired!());
const TOUCH: &str = "UPDATE workspace_bundles SET created_at = ? WHERE session_id = ? AND bundle_id = ?";
const DELETE: &str = "DELETE FROM workspace_bundles WHERE session_id = ? AND bundle_id = ?";
const OF_SESSION: &str = "SELECT session_id, bundle_id, object_key, pieces FROM workspace_bundles WHERE session_id = ? \
    ORDER BY created_at DESC, bundle_id DESC LIMIT ?";

/// A bundle in the store of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    session_id: String,
    bundle_id: String,
    object_key: String,
    pieces: u64,
}

impl Stored {
    /// Where a bundle lies. Ids of sessions are their users' own words: in keys they are escaped.
    pub fn new(session_id: &str, bundle: &Bundle) -> Self {
        Self {
            session_id: session_id.to_owned(),
            bundle_id: bundle.id.clone(),
            object_key: format!("workspace-bundles/{}/{}.bundle", url::encode(session_id), bundle.id),
            pieces: bundle.pieces(),
        }
    }

    /// The keys of its objects, in order. As many as a bundle has pieces, which its size bounds.
    pub fn keys(&self) -> impl Iterator<Item = String> {
        (0..self.pieces).map(|piece| format!("{}.{piece:03}", self.object_key))
    }

    fn of(row: &Row) -> Option<Self> {
        Some(Self {
            session_id: row.string(0)?,
            bundle_id: row.string(1)?,
            object_key: row.string(2)?,
            pieces: row.int(3)?.try_into().ok()?,
        })
    }
}

fn number(number: u64) -> Param<'static> {
    Param::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// Objects are about to be stored: should their row never come, they are garbage.
pub async fn expect(db: &impl Database, stored: &Stored, now: i64) -> Result<(), DbError> {
    let params = [Param::Text(&stored.object_key), Param::Int(now.saturating_add(GARBAGE_MS)), number(stored.pieces)];
    db.execute(EXPECT, &params).await.map(drop)
}

/// Writes down that a bundle of `user` is stored, and forgets those of the session beyond the last few.
pub async fn insert(db: &impl Database, user: &str, stored: &Stored, bundle: &Bundle, now: i64) -> Result<(), DbError> {
    let (session, id) = (Param::Text(&stored.session_id), Param::Text(&stored.bundle_id));
    let row = [
        session,
        id,
        Param::Text(user),
        Param::Text(&bundle.sha256),
        number(bundle.size),
        number(stored.pieces),
        Param::Text(&stored.object_key),
        Param::Int(now),
    ];
    let arrived = [session, id];
    let old = [session, session, Param::count(KEPT)];
    let old_objects = [Param::Int(now.saturating_add(GARBAGE_MS)), session, session, Param::count(KEPT)];
    let batch: [Statement<'_>; 4] =
        [(INSERT, &row), (ARRIVED, &arrived), (DROP_OLD_OBJECTS, &old_objects), (DROP_OLD, &old)];
    db.batch(&batch).await.map(drop)
}

/// A bundle is needed still: its time begins anew. Whether there is one.
pub async fn touch(db: &impl Database, session_id: &str, bundle_id: &str, now: i64) -> Result<bool, DbError> {
    let params = [Param::Int(now), Param::Text(session_id), Param::Text(bundle_id)];
    Ok(db.execute(TOUCH, &params).await? > 0)
}

/// Bundles of a session, the newest first.
pub async fn of_session(db: &impl Database, session_id: &str) -> Result<Vec<Stored>, DbError> {
    let rows = db.query(ReadFrom::Primary, OF_SESSION, &[Param::Text(session_id), Param::count(READ_AT_ONCE)]).await?;
    Ok(rows.iter().filter_map(Stored::of).collect())
}

/// Forgets a bundle whose objects are gone.
pub async fn delete(db: &impl Database, stored: &Stored) -> Result<(), DbError> {
    db.execute(DELETE, &[Param::Text(&stored.session_id), Param::Text(&stored.bundle_id)]).await.map(drop)
}

/// Forgets bundles whose time is over; their objects go with the next sweeps.
pub async fn delete_expired(db: &impl Database, now: i64) -> Result<(), DbError> {
    let rows = [Param::Int(now.saturating_sub(KEPT_MS)), Param::count(REMOVED_AT_ONCE)];
    let after = Param::Int(now.saturating_add(GARBAGE_MS));
    let objects: Vec<Param<'_>> = [after].into_iter().chain(rows).collect();
    db.batch(&[(DROP_EXPIRED_OBJECTS, &objects), (DROP_EXPIRED, &rows)]).await.map(drop)
}
