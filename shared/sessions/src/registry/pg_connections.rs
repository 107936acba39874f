//! Where the shape services of users are (pg-sync.md 4.11). Secrets are sealed, bound to user and name.

use database::{Database, DbError, Param, ReadFrom, Row};

use crate::error::Error;
use crate::pg_sync::{NewConnection, NewSecret};
use crate::secrets::Seal;

/// Connections that a user may have.
pub const MAX_CONNECTIONS: i64 = 20;

macro_rules! columns {
    () => {
        "SELECT name, url, secret, tables, replica, mode, poll_ms, revision, created_at, updated_at FROM pg_connections "
    };
}

// The condition counts the other connections of the user: one more than allowed is not inserted. One that is made anew has a
// higher revision than any before it, because its first is the time.
const PUT: &str = "INSERT INTO pg_connections (user_id, name, url, secret, tables, replica, mode, poll_ms, revision, created_at, \
    updated_at) SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? WHERE (SELECT COUNT(*) FROM pg_connections WHERE user_id = ? AND name <> ?) < ? \
    ON CONFLICT(user_id, name) DO UPDATE SET \
    revision = CASE WHEN pg_connections.url <> excluded.url OR pg_connections.mode <> excluded.mode \
    THEN pg_connections.revision + 1 ELSE pg_connections.revision END, \
    secret = CASE WHEN ? = 'keep' THEN pg_connections.secret ELSE excluded.secret END, url = excluded.url, \
    tables = excluded.tables, replica = excluded.replica, mode = excluded.mode, poll_ms = excluded.poll_ms, \
    updated_at = excluded.updated_at";
const GET: &str = concat!(columns!(), "WHERE user_id = ? AND name = ?");
const LIST: &str = concat!(columns!(), "WHERE user_id = ? ORDER BY name LIMIT ?");
const DELETE: &str = "DELETE FROM pg_connections WHERE user_id = ? AND name = ?";

/// A connection of a user. Its secret is sealed.
#[derive(Clone, PartialEq, Eq)]
pub struct UserConnection {
    /// Its name.
    pub name: String,
    /// Where the service is.
    pub url: String,
    /// Tables that it lets through.
    pub tables: Vec<String>,
    /// `default` or `full`.
    pub replica: String,
    /// `live` or `interval`.
    pub mode: String,
    /// The pause between two requests, in milliseconds.
    pub poll_ms: Option<i64>,
    /// Raised by each change after which an old cursor means nothing.
    pub revision: i64,
    /// When it was made, in milliseconds since 1970.
    pub created_at: i64,
    /// When it was changed, in milliseconds since 1970.
    pub updated_at: i64,
    sealed: Option<String>,
}

impl UserConnection {
    /// Whether it has a secret.
    pub fn has_secret(&self) -> bool {
        self.sealed.is_some()
    }

    /// What opens the service.
    ///
    /// # Errors
    /// [`Error::Internal`] when the stored text does not open.
    pub fn secret(&self, seal: &Seal, user: &str) -> Result<Option<String>, Error> {
        self.sealed.as_ref().map(|sealed| seal.open(sealed, &bound_to(user, &self.name))).transpose()
    }
}

/// What a sealed secret is bound to.
fn bound_to(user: &str, name: &str) -> String {
    format!("{user}\n{name}")
}

/// Stores a connection, in place of one of that name. Whether it is new; none when the user has too many.
///
/// # Errors
/// [`Error::SecretsKey`] where the secret cannot be stored, [`Error::Internal`] when the database fails.
pub async fn put(
    db: &impl Database,
    seal: &Seal,
    user: &str,
    name: &str,
    wanted: &NewConnection,
    now: i64,
) -> Result<Option<bool>, Error> {
    let is_new = get(db, user, name).await?.is_none();
    let sealed = match &wanted.secret {
        NewSecret::Set(secret) => Some(seal.seal(secret, &bound_to(user, name))?),
        NewSecret::Keep | NewSecret::Remove => None,
    };
    let keeps = if wanted.secret == NewSecret::Keep { "keep" } else { "set" };
    let tables = serde_json::to_string(&wanted.tables).map_err(|error| Error::Internal(error.to_string()))?;
    let params = [
        Param::Text(user),
        Param::Text(name),
        Param::Text(&wanted.url),
        Param::opt(sealed.as_deref()),
        Param::Text(&tables),
        Param::Text(wanted.replica.as_str()),
        Param::Text(if wanted.is_live { "live" } else { "interval" }),
        wanted.poll_ms.map_or(Param::Null, Param::Int),
        Param::Int(now.saturating_mul(1_000)),
        Param::Int(now),
        Param::Int(now),
        Param::Text(user),
        Param::Text(name),
        Param::Int(MAX_CONNECTIONS),
        Param::Text(keeps),
    ];
    Ok((db.execute(PUT, &params).await? > 0).then_some(is_new))
}

/// A connection of a user.
pub async fn get(db: &impl Database, user: &str, name: &str) -> Result<Option<UserConnection>, DbError> {
    let rows = db.query(ReadFrom::Primary, GET, &[Param::Text(user), Param::Text(name)]).await?;
    Ok(rows.first().and_then(connection_of))
}

/// The connections of a user, by name.
pub async fn list(db: &impl Database, user: &str) -> Result<Vec<UserConnection>, DbError> {
    let rows = db.query(ReadFrom::Primary, LIST, &[Param::Text(user), Param::Int(MAX_CONNECTIONS)]).await?;
    Ok(rows.iter().filter_map(connection_of).collect())
}

/// Removes a connection of a user. Whether there was one.
pub async fn delete(db: &impl Database, user: &str, name: &str) -> Result<bool, DbError> {
    Ok(db.execute(DELETE, &[Param::Text(user), Param::Text(name)]).await? > 0)
}

fn connection_of(row: &Row) -> Option<UserConnection> {
    Some(UserConnection {
        name: row.string(0)?,
        url: row.string(1)?,
        sealed: row.string(2),
        tables: serde_json::from_str(row.text(3)?).ok()?,
        replica: row.string(4)?,
        mode: row.string(5)?,
        poll_ms: row.int(6),
        revision: row.int(7)?,
        created_at: row.int(8)?,
        updated_at: row.int(9)?,
    })
}
