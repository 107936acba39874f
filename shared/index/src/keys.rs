//! Key material of end-to-end encryption (sync.md 4.7). All of it is opaque text made by clients.

use database::{Database, Param, ReadFrom};

use crate::access::managing;
use crate::with_access;
use crate::{Error, users};

/// A user's RSA pair; the private key is encrypted by the client.
#[derive(Clone, Debug, PartialEq)]
pub struct RsaPair {
    /// The public key.
    pub public_key: Option<String>,
    /// The private key, encrypted.
    pub encrypted_private_key: Option<String>,
}

const RSA_PAIR: &str = "SELECT public_key, encrypted_private_key FROM user_rsa_keys WHERE user_id = ?";

const UPSERT_RSA_PAIR: &str = "INSERT INTO user_rsa_keys (user_id, public_key, encrypted_private_key, created_at, \
    updated_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT(user_id) DO UPDATE SET public_key = excluded.public_key, \
    encrypted_private_key = excluded.encrypted_private_key, updated_at = excluded.updated_at";

const GRAPH_KEY: &str = "SELECT encrypted_aes_key FROM graph_aes_keys WHERE graph_id = ? AND user_id = ?";

/// Writes a user's copy of a graph's key, if the user has access and the condition that is appended holds.
macro_rules! upsert_graph_key {
    ($($condition:tt)+) => {
        concat!(
            "INSERT INTO graph_aes_keys (graph_id, user_id, encrypted_aes_key, created_at, updated_at) \
             SELECT ?, ?, ?, ?, ? WHERE ",
            with_access!(),
            $($condition)+,
            " ON CONFLICT(graph_id, user_id) DO UPDATE SET encrypted_aes_key = excluded.encrypted_aes_key, \
             updated_at = excluded.updated_at"
        )
    };
}

const SET_GRAPH_KEY: &str = upsert_graph_key!("");
const GRANT_GRAPH_KEY: &str = upsert_graph_key!(" AND ", managing!());

/// The user's RSA pair, if a row exists.
pub async fn rsa_pair(db: &impl Database, user_id: &str) -> Result<Option<RsaPair>, Error> {
    let rows = db.query(ReadFrom::Primary, RSA_PAIR, &[Param::Text(user_id)]).await?;
    Ok(rows.first().map(|row| RsaPair { public_key: row.string(0), encrypted_private_key: row.string(1) }))
}

/// Whether the user has both halves of an RSA pair.
pub async fn has_rsa_pair(db: &impl Database, user_id: &str) -> Result<bool, Error> {
    let pair = rsa_pair(db, user_id).await?;
    Ok(pair.is_some_and(|pair| pair.public_key.is_some() && pair.encrypted_private_key.is_some()))
}

/// Stores the user's RSA pair over what was there.
pub async fn upsert_rsa_pair(
    db: &impl Database,
    user_id: &str,
    public_key: &str,
    encrypted_private_key: &str,
    now_ms: i64,
) -> Result<(), Error> {
    let now = Param::Int(now_ms);
    let params = [Param::Text(user_id), Param::Text(public_key), Param::Text(encrypted_private_key), now, now];
    db.execute(UPSERT_RSA_PAIR, &params).await?;
    Ok(())
}

/// The public key of the user to whom this e-mail address belongs ([`users::id_by_email`]), who is the one that would
/// be invited by it. Keys of other users with the same address do not count.
pub async fn public_key_of(db: &impl Database, email: &str) -> Result<Option<String>, Error> {
    match users::id_by_email(db, email).await? {
        Some(user_id) => Ok(rsa_pair(db, &user_id).await?.and_then(|pair| pair.public_key)),
        None => Ok(None),
    }
}

/// The user's own copy of the graph key. Only the primary copy of the database may say that there is none, because
/// clients then make a new key.
pub async fn graph_key(db: &impl Database, graph_id: &str, user_id: &str) -> Result<Option<String>, Error> {
    let params = [Param::Text(graph_id), Param::Text(user_id)];
    let mut rows = db.query(ReadFrom::Nearest, GRAPH_KEY, &params).await?;
    if rows.is_empty() {
        rows = db.query(ReadFrom::Primary, GRAPH_KEY, &params).await?;
    }
    Ok(rows.first().and_then(|row| row.string(0)))
}

/// A copy of a graph's key, as a client sends it.
#[derive(Clone, Copy, Debug)]
pub struct GraphKey<'a> {
    /// The graph.
    pub graph_id: &'a str,
    /// Whose copy it is.
    pub user_id: &'a str,
    /// The key, encrypted for that user.
    pub encrypted_aes_key: &'a str,
}

/// Stores the user's copy of the graph key, replacing an older one, if the user has access at the moment of writing.
/// Otherwise false, and nothing is stored.
pub async fn set_graph_key(db: &impl Database, key: GraphKey<'_>, now_ms: i64) -> Result<bool, Error> {
    let (graph, user, now) = (Param::Text(key.graph_id), Param::Text(key.user_id), Param::Int(now_ms));
    let params = [graph, user, Param::Text(key.encrypted_aes_key), now, now, graph, user, user];
    Ok(db.execute(SET_GRAPH_KEY, &params).await? > 0)
}

/// Stores a user's copy of the graph key on behalf of `granter`, if at the moment of writing the user has access and
/// the granter manages the graph. Otherwise false, and nothing is stored.
pub async fn grant_graph_key(db: &impl Database, key: GraphKey<'_>, granter: &str, now_ms: i64) -> Result<bool, Error> {
    let (graph, user, now) = (Param::Text(key.graph_id), Param::Text(key.user_id), Param::Int(now_ms));
    let granter = Param::Text(granter);
    let params =
        [graph, user, Param::Text(key.encrypted_aes_key), now, now, graph, user, user, graph, granter, granter];
    Ok(db.execute(GRANT_GRAPH_KEY, &params).await? > 0)
}
