//! Who may do what with a graph (sync.md 8.4): owners and members have access, owners and managers manage.
//!
//! Both conditions need the graph's own row. So rows of members that are left behind, or written while a graph is
//! deleted, give no access.

use database::{Database, Param, ReadFrom};

use crate::Error;

/// A condition: the graph exists, and the user owns it or is a member. Parameters: graph, user, user. For statements on other
/// tables of the same database the graph, and the user too, may be a column instead, such as `"s.graph_id"`.
#[macro_export]
macro_rules! with_access {
    () => {
        $crate::with_access!("?")
    };
    ($graph:literal) => {
        $crate::with_access!($graph, "?")
    };
    ($graph:literal, $user:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM graphs AS g WHERE g.graph_id = ",
            $graph,
            " AND (g.user_id = ",
            $user,
            " OR EXISTS (SELECT 1 FROM graph_members AS m WHERE m.graph_id = g.graph_id AND m.user_id = ",
            $user,
            ")))"
        )
    };
}

/// A condition: the graph exists, and the user owns it or is a manager. Parameters: graph, user, user.
macro_rules! managing {
    () => {
        "EXISTS (SELECT 1 FROM graphs AS g WHERE g.graph_id = ? AND (g.user_id = ? OR EXISTS \
         (SELECT 1 FROM graph_members AS m WHERE m.graph_id = g.graph_id AND m.user_id = ? AND m.role = 'manager')))"
    };
}

pub(crate) use managing;

const ACCESS: &str = concat!("SELECT 1 WHERE ", with_access!());
const OWNER: &str = "SELECT 1 FROM graphs WHERE graph_id = ? AND user_id = ?";
const MANAGER: &str = concat!("SELECT 1 WHERE ", managing!());

/// Whether the user owns the graph or is a member of it. A graph without a row gives access to nobody.
///
/// A replica may not know yet that somebody was added, so its "no" is checked with the primary copy. Its "yes" is
/// accepted, although it may be a little old.
pub async fn has_access(db: &impl Database, graph_id: &str, user_id: &str) -> Result<bool, Error> {
    Ok(holds(db, ReadFrom::Nearest, ACCESS, graph_id, user_id).await? || has_access_now(db, graph_id, user_id).await?)
}

/// The same, asked of the primary copy only.
pub async fn has_access_now(db: &impl Database, graph_id: &str, user_id: &str) -> Result<bool, Error> {
    holds(db, ReadFrom::Primary, ACCESS, graph_id, user_id).await
}

/// Whether the user owns the graph or is a member with the role `manager`. A "no" is checked with the primary copy.
pub async fn is_manager(db: &impl Database, graph_id: &str, user_id: &str) -> Result<bool, Error> {
    Ok(holds(db, ReadFrom::Nearest, MANAGER, graph_id, user_id).await?
        || holds(db, ReadFrom::Primary, MANAGER, graph_id, user_id).await?)
}

/// Whether the user owns the graph, as the primary copy knows it.
pub async fn is_owner(db: &impl Database, graph_id: &str, user_id: &str) -> Result<bool, Error> {
    let rows = db.query(ReadFrom::Primary, OWNER, &[Param::Text(graph_id), Param::Text(user_id)]).await?;
    Ok(!rows.is_empty())
}

async fn holds(db: &impl Database, from: ReadFrom, sql: &str, graph_id: &str, user_id: &str) -> Result<bool, Error> {
    let user = Param::Text(user_id);
    let rows = db.query(from, sql, &[Param::Text(graph_id), user, user]).await?;
    Ok(!rows.is_empty())
}
