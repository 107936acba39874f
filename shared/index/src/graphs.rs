//! The rows of graphs: listing, creating, flags, deleting (sync.md 4.1–4.5, 8.4).

use database::{Database, Param, ReadFrom, Row};
use protocol::bodies::graphs::Graph;
use protocol::bodies::members::Role;
use protocol::limits::{GRAPH_NAME_CHARS, LISTED_GRAPHS, USER_GRAPHS};

use crate::{Error, members};

/// What a new graph is made of.
#[derive(Clone, Copy, Debug)]
pub struct NewGraph<'a> {
    /// A fresh random UUID.
    pub graph_id: &'a str,
    /// The name, unique among the owner's graphs.
    pub graph_name: &'a str,
    /// The owner.
    pub user_id: &'a str,
    /// The schema version that the client named.
    pub schema_version: Option<&'a str>,
    /// Whether titles and names are ciphertext.
    pub e2ee: bool,
    /// Whether the graph may be used before an upload has finished.
    pub ready_for_use: bool,
}

// Rows with equal times are sorted by insertion, so that the list is stable. Names are cut, because older servers
// stored names of any length.
const LIST: &str = "SELECT g.graph_id, substr(g.graph_name, 1, ?), g.schema_version, g.graph_e2ee, g.graph_ready_for_use, \
    m.role, m.invited_by, g.created_at, g.updated_at \
    FROM graphs g LEFT JOIN graph_members m ON g.graph_id = m.graph_id AND m.user_id = ? \
    WHERE g.user_id = ? OR m.user_id = ? ORDER BY g.updated_at DESC, g.rowid DESC LIMIT ?";

const MADE: &str = "SELECT COUNT(*) FROM (SELECT 1 FROM graphs WHERE user_id = ? LIMIT ?)";

const NAME_EXISTS: &str = "SELECT 1 FROM graphs WHERE graph_name = ? AND user_id = ? LIMIT 1";

const UPSERT: &str = "INSERT INTO graphs (graph_id, graph_name, user_id, schema_version, graph_e2ee, \
    graph_ready_for_use, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) \
    ON CONFLICT(graph_id) DO UPDATE SET graph_name = excluded.graph_name, user_id = excluded.user_id, \
    schema_version = excluded.schema_version, graph_e2ee = excluded.graph_e2ee, \
    graph_ready_for_use = excluded.graph_ready_for_use, updated_at = excluded.updated_at";

const SCHEMA_VERSION: &str = "SELECT schema_version FROM graphs WHERE graph_id = ?";
const NAME_SCHEMA_VERSION: &str =
    "UPDATE graphs SET schema_version = ? WHERE graph_id = ? AND coalesce(schema_version, '') = ''";
const EXISTS: &str = "SELECT 1 FROM graphs WHERE graph_id = ?";
const READY: &str = "SELECT graph_ready_for_use FROM graphs WHERE graph_id = ?";
const SET_READY: &str = "UPDATE graphs SET graph_ready_for_use = ?, updated_at = ? WHERE graph_id = ?";
const E2EE: &str = "SELECT graph_e2ee FROM graphs WHERE graph_id = ?";

const DELETE_KEYS: &str = "DELETE FROM graph_aes_keys WHERE graph_id = ?";
const DELETE_MEMBERS: &str = "DELETE FROM graph_members WHERE graph_id = ?";
const DELETE_GRAPH: &str = "DELETE FROM graphs WHERE graph_id = ?";

/// The graphs that the user owns or is a member of, last updated first, including those that are not ready. At most
/// [`LISTED_GRAPHS`].
pub async fn list(db: &impl Database, user_id: &str) -> Result<Vec<Graph>, Error> {
    let user = Param::Text(user_id);
    let params = [Param::count(GRAPH_NAME_CHARS), user, user, user, Param::count(LISTED_GRAPHS)];
    let rows = db.query(ReadFrom::Nearest, LIST, &params).await?;
    Ok(rows.iter().map(graph_of).collect())
}

fn graph_of(row: &Row) -> Graph {
    Graph {
        graph_id: row.string(0).unwrap_or_default(),
        graph_name: row.string(1).unwrap_or_default(),
        schema_version: row.string(2),
        graph_e2ee: row.flag(3),
        graph_ready_for_use: row.flag(4),
        role: row.text(5).and_then(Role::from_text),
        invited_by: row.string(6),
        created_at: row.int(7).unwrap_or_default(),
        updated_at: row.int(8).unwrap_or_default(),
    }
}

/// Whether the user has made as many graphs as one user may.
pub async fn has_made_all(db: &impl Database, user_id: &str) -> Result<bool, Error> {
    let params = [Param::Text(user_id), Param::count(USER_GRAPHS)];
    let rows = db.query(ReadFrom::Primary, MADE, &params).await?;
    Ok(rows
        .first()
        .and_then(|row| row.int(0))
        .is_some_and(|made| usize::try_from(made).is_ok_and(|made| made >= USER_GRAPHS)))
}

/// Whether the user already owns a graph with exactly this name.
pub async fn name_exists(db: &impl Database, graph_name: &str, user_id: &str) -> Result<bool, Error> {
    let params = [Param::Text(graph_name), Param::Text(user_id)];
    Ok(!db.query(ReadFrom::Nearest, NAME_EXISTS, &params).await?.is_empty())
}

/// Whether the graph has a row, as the primary copy knows it.
async fn exists(db: &impl Database, graph_id: &str) -> Result<bool, Error> {
    Ok(!db.query(ReadFrom::Primary, EXISTS, &[Param::Text(graph_id)]).await?.is_empty())
}

/// Creates the graph and makes its owner a manager, both or neither (D-23).
pub async fn create(db: &impl Database, graph: &NewGraph<'_>, now_ms: i64) -> Result<(), Error> {
    let now = Param::Int(now_ms);
    let row = [
        Param::Text(graph.graph_id),
        Param::Text(graph.graph_name),
        Param::Text(graph.user_id),
        Param::opt(graph.schema_version),
        Param::flag(graph.e2ee),
        Param::flag(graph.ready_for_use),
        now,
        now,
    ];
    let member = members::upsert_params(graph.graph_id, graph.user_id, Role::Manager, graph.user_id, now_ms);
    match db.batch(&[(UPSERT, &row), (members::UPSERT, &member)]).await {
        Ok(_) => Ok(()),
        // The write may have happened although its answer was lost. An error would make the client try again, and its
        // name would be taken.
        Err(_) if matches!(exists(db, graph.graph_id).await, Ok(true)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether the graph may be used. A graph without a row, or with NULL in the column, counts as ready (sync.md 5).
pub async fn is_ready(db: &impl Database, graph_id: &str) -> Result<bool, Error> {
    flag(db, ReadFrom::Nearest, READY, graph_id).await
}

/// The same, read from the primary copy, which knows a graph that was made a moment ago.
pub async fn is_ready_at_primary(db: &impl Database, graph_id: &str) -> Result<bool, Error> {
    flag(db, ReadFrom::Primary, READY, graph_id).await
}

/// Sets the ready flag; [`Error::GraphMissing`] when no row was changed (sync.md 8.4).
pub async fn set_ready(db: &impl Database, graph_id: &str, ready: bool, now_ms: i64) -> Result<(), Error> {
    let params = [Param::flag(ready), Param::Int(now_ms), Param::Text(graph_id)];
    match db.execute(SET_READY, &params).await? {
        0 => Err(Error::GraphMissing),
        _ => Ok(()),
    }
}

/// The schema version that the client named when it made the graph. None when the graph has no row, or the client named
/// none.
pub async fn schema_version(db: &impl Database, graph_id: &str) -> Result<Option<String>, Error> {
    let rows = db.query(ReadFrom::Nearest, SCHEMA_VERSION, &[Param::Text(graph_id)]).await?;
    Ok(rows.first().and_then(|row| row.string(0)).filter(|version| !version.is_empty()))
}

/// Stores the schema version found in the graph itself, if the row has none (D-44).
pub async fn name_schema_version(db: &impl Database, graph_id: &str, version: &str) -> Result<(), Error> {
    db.execute(NAME_SCHEMA_VERSION, &[Param::Text(version), Param::Text(graph_id)]).await?;
    Ok(())
}

/// Whether the graph is encrypted end to end. A graph without a row counts as encrypted (sync.md 6.2).
pub async fn is_e2ee(db: &impl Database, graph_id: &str) -> Result<bool, Error> {
    flag(db, ReadFrom::Nearest, E2EE, graph_id).await
}

async fn flag(db: &impl Database, from: ReadFrom, sql: &str, graph_id: &str) -> Result<bool, Error> {
    let rows = db.query(from, sql, &[Param::Text(graph_id)]).await?;
    Ok(rows.first().is_none_or(|row| row.flag(0)))
}

/// First step of deleting a graph: deletes keys and members in one batch, so that only the owner has access.
pub async fn delete_keys_and_members(db: &impl Database, graph_id: &str) -> Result<(), Error> {
    let id = [Param::Text(graph_id)];
    db.batch(&[(DELETE_KEYS, &id), (DELETE_MEMBERS, &id)]).await?;
    Ok(())
}

/// Last step of deleting a graph: deletes its row after its contents, so that the owner can retry until then. Also
/// deletes keys and members that were added while the deletion ran.
pub async fn delete(db: &impl Database, graph_id: &str) -> Result<(), Error> {
    let id = [Param::Text(graph_id)];
    match db.batch(&[(DELETE_KEYS, &id), (DELETE_MEMBERS, &id), (DELETE_GRAPH, &id)]).await {
        Ok(_) => Ok(()),
        // The write may have happened although its answer was lost. An error would make the owner try again, and the
        // graph would be gone.
        Err(_) if matches!(exists(db, graph_id).await, Ok(false)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
