//! Who may do what with a graph (sync.md 8.4): owners and members have access, owners and managers manage.

use crate::{Database, Error, Param, Session};

const ACCESS: &str = "SELECT 1 FROM graphs WHERE graph_id = ? AND user_id = ? \
    UNION ALL SELECT 1 FROM graph_members WHERE graph_id = ? AND user_id = ? LIMIT 1";

const MANAGER: &str = "SELECT 1 FROM graphs WHERE graph_id = ? AND user_id = ? \
    UNION ALL SELECT 1 FROM graph_members WHERE graph_id = ? AND user_id = ? AND role = 'manager' LIMIT 1";

/// Whether the user owns the graph or is a member of it. A graph without a row gives access to nobody.
pub async fn has_access(db: &impl Database, graph_id: &str, user_id: &str) -> Result<bool, Error> {
    has_access_in(db, Session::Default, graph_id, user_id).await
}

/// The same, asked of the copy of the database that the session names.
pub async fn has_access_in(db: &impl Database, session: Session, graph_id: &str, user_id: &str) -> Result<bool, Error> {
    exists(db, session, ACCESS, graph_id, user_id).await
}

/// Whether the user owns the graph or is a member with the role `manager`.
pub async fn is_manager(db: &impl Database, graph_id: &str, user_id: &str) -> Result<bool, Error> {
    exists(db, Session::Default, MANAGER, graph_id, user_id).await
}

async fn exists(db: &impl Database, session: Session, sql: &str, graph_id: &str, user_id: &str) -> Result<bool, Error> {
    let (graph, user) = (Param::Text(graph_id), Param::Text(user_id));
    let rows = db.query(session, sql, &[graph, user, graph, user]).await?;
    Ok(!rows.is_empty())
}
