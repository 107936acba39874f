//! Who may use a session (agents.md 14.3).
//!
//! A session may be used by whoever created it, and by whoever owns the graph that it belongs to or is a member of it. There
//! is no difference between managers and members. A session without a graph may be used by everybody who has logged in, as
//! in the reference, unless access is strict.

use database::Database;

use crate::error::Error;

/// Lets in whoever may use a session, and nobody else. `caller` is the user, none for somebody who has logged in without a
/// name. `graph_id` is the graph that the session belongs to. Without a database nobody is a member of anything.
///
/// # Errors
/// [`Error::Forbidden`], where access is strict [`Error::NotFound`]: then nobody learns which sessions there are.
/// [`Error::Internal`] when the database fails.
pub async fn may<D: Database>(
    db: Option<&D>,
    strict: bool,
    caller: Option<&str>,
    creator: &str,
    graph_id: Option<&str>,
) -> Result<(), Error> {
    let caller = caller.filter(|caller| !caller.is_empty());
    let is_allowed = match (caller, graph_id, db) {
        (Some(caller), ..) if caller == creator => true,
        (Some(caller), Some(graph), Some(db)) => is_member(db, graph, caller).await?,
        (_, Some(_), _) => false,
        (_, None, _) => !strict,
    };
    match (is_allowed, strict) {
        (true, _) => Ok(()),
        (false, true) => Err(Error::NotFound),
        (false, false) => Err(Error::Forbidden),
    }
}

/// Lets in whoever owns the graph of a session.
///
/// # Errors
/// [`Error::Forbidden`] for everybody else; [`Error::Internal`] when the database fails.
pub async fn owns<D: Database>(db: Option<&D>, caller: &str, graph_id: Option<&str>) -> Result<(), Error> {
    let (Some(db), Some(graph)) = (db, graph_id) else { return Err(Error::Forbidden) };
    let is_owner =
        index::access::is_owner(db, graph, caller).await.map_err(|error| Error::Internal(error.to_string()))?;
    if is_owner { Ok(()) } else { Err(Error::Forbidden) }
}

async fn is_member(db: &impl Database, graph_id: &str, user: &str) -> Result<bool, Error> {
    let found = index::access::has_access_now(db, graph_id, user).await;
    found.map_err(|error| Error::Internal(error.to_string()))
}
