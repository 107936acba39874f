//! Members of graphs: listing, adding, changing roles, removing (sync.md 4.6).

use protocol::bodies::members::{Member, Role};

use crate::{Database, Error, Param, Row, Session, access};

/// What became of a request to remove a member.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Removal {
    /// The member and its copy of the graph key are gone; its open sockets are to be closed (D-04).
    Removed,
    /// The caller may not remove that member.
    Forbidden,
}

const LIST: &str = "SELECT m.user_id, m.graph_id, m.role, m.invited_by, m.created_at, u.email, u.username \
    FROM graph_members m LEFT JOIN users u ON m.user_id = u.id WHERE m.graph_id = ? \
    ORDER BY m.created_at ASC, m.rowid ASC";

pub(crate) const UPSERT: &str = "INSERT INTO graph_members (user_id, graph_id, role, invited_by, created_at) \
    VALUES (?, ?, ?, ?, ?) \
    ON CONFLICT(user_id, graph_id) DO UPDATE SET role = excluded.role, invited_by = excluded.invited_by";

const ROLE: &str = "SELECT role FROM graph_members WHERE graph_id = ? AND user_id = ?";
const SET_ROLE: &str = "UPDATE graph_members SET role = ? WHERE graph_id = ? AND user_id = ?";
const DELETE: &str = "DELETE FROM graph_members WHERE graph_id = ? AND user_id = ?";
const DELETE_KEY: &str = "DELETE FROM graph_aes_keys WHERE graph_id = ? AND user_id = ?";

/// The graph's members in the order of their joining.
pub async fn list(db: &impl Database, graph_id: &str) -> Result<Vec<Member>, Error> {
    let rows = db.query(Session::FirstPrimary, LIST, &[Param::Text(graph_id)]).await?;
    Ok(rows.iter().map(member_of).collect())
}

fn member_of(row: &Row) -> Member {
    Member {
        user_id: row.string(0).unwrap_or_default(),
        graph_id: row.string(1).unwrap_or_default(),
        role: row.text(2).and_then(Role::from_text).unwrap_or_default(),
        invited_by: row.string(3),
        created_at: row.int(4).unwrap_or_default(),
        email: row.string(5),
        username: row.string(6),
    }
}

/// Adds a member, or overwrites role and inviter of one who is there.
pub async fn upsert(
    db: &impl Database,
    graph_id: &str,
    user_id: &str,
    role: Role,
    invited_by: &str,
    now_ms: i64,
) -> Result<(), Error> {
    let params = [
        Param::Text(user_id),
        Param::Text(graph_id),
        Param::Text(role.as_str()),
        Param::Text(invited_by),
        Param::millis(now_ms),
    ];
    db.execute(UPSERT, &params).await?;
    Ok(())
}

/// Changes a member's role; nothing happens when there is no such member.
pub async fn set_role(db: &impl Database, graph_id: &str, user_id: &str, role: Role) -> Result<(), Error> {
    let params = [Param::Text(role.as_str()), Param::Text(graph_id), Param::Text(user_id)];
    db.execute(SET_ROLE, &params).await?;
    Ok(())
}

/// The role in a member's row, if there is one.
pub async fn role(db: &impl Database, graph_id: &str, user_id: &str) -> Result<Option<Role>, Error> {
    let rows = db.query(Session::Default, ROLE, &[Param::Text(graph_id), Param::Text(user_id)]).await?;
    Ok(rows.first().and_then(|row| row.text(0)).and_then(Role::from_text))
}

/// Removes a member on behalf of `caller`: a manager removes anyone who is no manager, a plain member leaves. The
/// member's copy of the graph key goes with it (D-04).
pub async fn remove(db: &impl Database, graph_id: &str, member_id: &str, caller: &str) -> Result<Removal, Error> {
    let target = role(db, graph_id, member_id).await?;
    let allowed = match target {
        Some(Role::Manager) => false,
        Some(Role::Member) if caller == member_id => true,
        _ => access::is_manager(db, graph_id, caller).await?,
    };
    if !allowed {
        return Ok(Removal::Forbidden);
    }
    let params = [Param::Text(graph_id), Param::Text(member_id)];
    db.batch(&[(DELETE_KEY, &params), (DELETE, &params)]).await?;
    Ok(Removal::Removed)
}
