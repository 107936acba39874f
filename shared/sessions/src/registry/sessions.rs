//! The list of sessions (agents.md 13.4, 18.1): one row per session, told by its object. The session itself lies there.

use database::{Database, DbError, Param, ReadFrom, Row};
use serde_json::{Value, json};

use super::cursor::Cursor;

/// Sessions in one page at most (agents.md 2.8), and where no number is asked for.
pub const MAX_PAGE: usize = 200;
/// Sessions in a page where no number is asked for.
pub const DEFAULT_PAGE: usize = 50;
/// Characters of a title that are shown.
const MAX_TITLE_CHARS: usize = 1_024;

// An older telling that arrives late changes nothing.
const UPSERT: &str = "INSERT INTO agent_sessions (session_id, user_id, graph_id, status, title, repo_key, \
    runtime_provider, active, archived, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
    ON CONFLICT(session_id) DO UPDATE SET user_id = excluded.user_id, graph_id = excluded.graph_id, \
    status = excluded.status, title = excluded.title, repo_key = excluded.repo_key, \
    runtime_provider = excluded.runtime_provider, active = excluded.active, \
    archived = excluded.archived, updated_at = excluded.updated_at \
    WHERE excluded.updated_at >= agent_sessions.updated_at";

macro_rules! columns {
    () => {
        "SELECT s.session_id, s.user_id, s.graph_id, s.status, s.title, s.repo_key, s.runtime_provider, s.active, \
         s.archived, s.created_at, s.updated_at FROM agent_sessions AS s "
    };
}

/// How long it is known that a session was deleted, in milliseconds.
pub const KEPT_DELETED_MS: i64 = 30 * 86_400_000;

const MARK_DELETED: &str = "UPDATE agent_sessions SET status = 'deleted', title = '', repo_key = NULL, graph_id = NULL, \
    runtime_provider = NULL, active = 0, archived = 0, updated_at = ? WHERE session_id = ?";

const FORGET_DELETED: &str = "DELETE FROM agent_sessions WHERE status = 'deleted' AND updated_at < ?";

const GET: &str = concat!(columns!(), "WHERE s.session_id = ?");

const COUNT_ACTIVE: &str = "SELECT COUNT(*) FROM agent_sessions WHERE user_id = ? AND active = 1";

// Own sessions, and those of graphs that the user may use. Sessions without a graph may be used by whoever knows their id
// (agents.md 14.3), but are shown to nobody else.
const LIST: &str = concat!(
    columns!(),
    "WHERE (s.user_id = ? OR ",
    index::with_access!("s.graph_id"),
    ") AND s.status <> 'deleted' AND s.archived <= ? AND (? IS NULL OR s.graph_id = ?) AND (? IS NULL OR s.status = ?) \
     AND (s.updated_at < ? OR (s.updated_at = ? AND s.session_id < ?)) \
     ORDER BY s.updated_at DESC, s.session_id DESC LIMIT ?"
);

const USES_REPOSITORY: &str = concat!(
    "SELECT 1 FROM agent_sessions AS s WHERE s.repo_key = ? AND (s.user_id = ? OR ",
    index::with_access!("s.graph_id"),
    ") LIMIT 1"
);

/// A row of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// The session.
    pub session_id: String,
    /// Who created it.
    pub user_id: String,
    /// The graph that it belongs to.
    pub graph_id: Option<String>,
    /// Its status.
    pub status: String,
    /// What it is about.
    pub title: String,
    /// Its repository, as snapshots are kept under (agents.md 11.1).
    pub repo_key: Option<String>,
    /// Where its agent runs.
    pub runtime_provider: Option<String>,
    /// Whether a runtime runs or is being made.
    pub active: bool,
    /// Whether it was put away.
    pub archived: bool,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Milliseconds since 1970.
    pub updated_at: i64,
}

impl SessionRow {
    /// As clients see it.
    pub fn shown(&self) -> Value {
        let mut shown = json!({
            "session-id": self.session_id,
            "status": self.status,
            "title": self.title,
            "runtime-provider": self.runtime_provider,
            "created-at": self.created_at,
            "updated-at": self.updated_at,
        });
        if let (Some(graph), Some(members)) = (&self.graph_id, shown.as_object_mut()) {
            members.insert("graph-id".to_owned(), graph.as_str().into());
        }
        shown
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// Who asks.
    pub user: &'a str,
    /// Only sessions of this graph.
    pub graph_id: Option<&'a str>,
    /// Only sessions of this status.
    pub status: Option<&'a str>,
    /// Whether sessions that were put away are listed too.
    pub archived: bool,
    /// How many, within 1 and [`MAX_PAGE`].
    pub limit: usize,
    /// Where the page before ended.
    pub after: Option<&'a Cursor>,
}

/// Tells what is known of a session. What is older than what is known changes nothing.
pub async fn upsert(db: &impl Database, row: &SessionRow) -> Result<(), DbError> {
    let title: String = row.title.chars().take(MAX_TITLE_CHARS).collect();
    let params = [
        Param::Text(&row.session_id),
        Param::Text(&row.user_id),
        Param::opt(row.graph_id.as_deref()),
        Param::Text(&row.status),
        Param::Text(&title),
        Param::opt(row.repo_key.as_deref()),
        Param::opt(row.runtime_provider.as_deref()),
        Param::flag(row.active),
        Param::flag(row.archived),
        Param::Int(row.created_at),
        Param::Int(row.updated_at),
    ];
    db.execute(UPSERT, &params).await?;
    Ok(())
}

/// What is known of a session.
pub async fn get(db: &impl Database, session_id: &str) -> Result<Option<SessionRow>, DbError> {
    let rows = db.query(ReadFrom::Primary, GET, &[Param::Text(session_id)]).await?;
    Ok(rows.first().and_then(row_of))
}

/// Notes that a session was deleted: nothing of what it was about stays. The row goes after [`KEPT_DELETED_MS`].
pub async fn mark_deleted(db: &impl Database, session_id: &str, now: i64) -> Result<(), DbError> {
    db.execute(MARK_DELETED, &[Param::Int(now), Param::Text(session_id)]).await?;
    Ok(())
}

/// Forgets sessions that were deleted long ago.
pub async fn forget_deleted(db: &impl Database, now: i64) -> Result<(), DbError> {
    db.execute(FORGET_DELETED, &[Param::Int(now.saturating_sub(KEPT_DELETED_MS))]).await?;
    Ok(())
}

/// How many sessions of the user have a runtime that runs or is being made.
pub async fn count_active(db: &impl Database, user: &str) -> Result<usize, DbError> {
    let rows = db.query(ReadFrom::Primary, COUNT_ACTIVE, &[Param::Text(user)]).await?;
    Ok(rows.first().and_then(|row| row.int(0)).and_then(|count| usize::try_from(count).ok()).unwrap_or_default())
}

/// A page of the sessions that the user may use, last updated first, and where the next page begins, if there is one.
pub async fn list(db: &impl Database, page: &Page<'_>) -> Result<(Vec<SessionRow>, Option<Cursor>), DbError> {
    let limit = page.limit.clamp(1, MAX_PAGE);
    let first = Cursor::first();
    let after = page.after.unwrap_or(&first);
    let (user, graph, status) = (Param::Text(page.user), Param::opt(page.graph_id), Param::opt(page.status));
    let time = Param::Int(after.updated_at);
    let id = Param::Text(&after.session_id);
    // One more than is shown tells whether there is a next page.
    let wanted = Param::count(limit.saturating_add(1));
    let params = [user, user, user, Param::flag(page.archived), graph, graph, status, status, time, time, id, wanted];
    let rows = db.query(ReadFrom::Nearest, LIST, &params).await?;
    let has_more = rows.len() > limit;
    let sessions: Vec<SessionRow> = rows.iter().take(limit).filter_map(row_of).collect();
    let last = sessions.last().filter(|_| has_more);
    let next = last.map(|last| Cursor { updated_at: last.updated_at, session_id: last.session_id.clone() });
    Ok((sessions, next))
}

/// Whether a session that the user may use is about this repository (agents.md 14.3).
pub async fn uses_repository(db: &impl Database, user: &str, repo_key: &str) -> Result<bool, DbError> {
    let user = Param::Text(user);
    let rows = db.query(ReadFrom::Primary, USES_REPOSITORY, &[Param::Text(repo_key), user, user, user]).await?;
    Ok(!rows.is_empty())
}

fn row_of(row: &Row) -> Option<SessionRow> {
    Some(SessionRow {
        session_id: row.string(0)?,
        user_id: row.string(1)?,
        graph_id: row.string(2),
        status: row.string(3)?,
        title: row.string(4).unwrap_or_default(),
        repo_key: row.string(5),
        runtime_provider: row.string(6),
        active: row.int(7) == Some(1),
        archived: row.int(8) == Some(1),
        created_at: row.int(9).unwrap_or_default(),
        updated_at: row.int(10).unwrap_or_default(),
    })
}
