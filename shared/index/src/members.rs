//! Members of graphs: listing, adding, changing roles, removing (sync.md 4.6).

use database::{Database, Param, ReadFrom, Row};
use protocol::bodies::members::{Member, Role};

use crate::Error;
use crate::access::managing;
use crate::with_access;

/// Whether somebody may remove a member.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Removal {
    /// The caller may. The member may be gone already.
    Allowed,
    /// The caller wants to leave, but is no member any more, or never was. The graph itself knows whether an earlier
    /// removal was left half done.
    Gone,
    /// The caller may not remove that member.
    Forbidden,
}

const LIST: &str = "SELECT m.user_id, m.graph_id, m.role, m.invited_by, m.created_at, u.email, u.username \
    FROM graph_members m LEFT JOIN users u ON m.user_id = u.id WHERE m.graph_id = ? \
    ORDER BY m.created_at ASC, m.rowid ASC";

// Each writing statement checks the caller's rights itself, so that rights lost a moment before do not count.
pub(crate) const UPSERT: &str = concat!(
    "INSERT INTO graph_members (user_id, graph_id, role, invited_by, created_at) SELECT ?, ?, ?, ?, ? WHERE ",
    managing!(),
    " ON CONFLICT(user_id, graph_id) DO UPDATE SET role = excluded.role, invited_by = excluded.invited_by"
);

const SET_ROLE: &str =
    concat!("UPDATE graph_members SET role = ? WHERE graph_id = ? AND user_id = ? AND ", managing!());

const DELETE: &str = concat!(
    "DELETE FROM graph_members WHERE graph_id = ? AND user_id = ? AND role IS NOT 'manager' \
     AND ((user_id = ? AND role = 'member') OR ",
    managing!(),
    ")"
);

/// Deletes the key of a user who has no access any more. An owner without a member's row keeps the key.
const DELETE_KEY: &str =
    concat!("DELETE FROM graph_aes_keys WHERE graph_id = ? AND user_id = ? AND NOT ", with_access!());

/// Whether the graph exists, the member's role, and whether the caller manages the graph.
const STANDING: &str = concat!(
    "SELECT (SELECT 1 FROM graphs WHERE graph_id = ?), \
     (SELECT COALESCE(role, '') FROM graph_members WHERE graph_id = ? AND user_id = ?), ",
    managing!()
);

/// The graph's members in the order in which they joined.
pub async fn list(db: &impl Database, graph_id: &str) -> Result<Vec<Member>, Error> {
    let rows = db.query(ReadFrom::Primary, LIST, &[Param::Text(graph_id)]).await?;
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

/// Adds a member on behalf of `invited_by`, or overwrites role and inviter of one who is there. False, and nothing is
/// written, when `invited_by` does not manage the graph.
pub async fn upsert(
    db: &impl Database,
    graph_id: &str,
    user_id: &str,
    role: Role,
    invited_by: &str,
    now_ms: i64,
) -> Result<bool, Error> {
    let params = upsert_params(graph_id, user_id, role, invited_by, now_ms);
    Ok(db.execute(UPSERT, &params).await? > 0)
}

/// The parameters of [`UPSERT`].
pub(crate) fn upsert_params<'a>(
    graph_id: &'a str,
    user_id: &'a str,
    role: Role,
    invited_by: &'a str,
    now_ms: i64,
) -> [Param<'a>; 8] {
    let (graph, inviter) = (Param::Text(graph_id), Param::Text(invited_by));
    let role = Param::Text(role.as_str());
    [Param::Text(user_id), graph, role, inviter, Param::Int(now_ms), graph, inviter, inviter]
}

/// Changes a member's role on behalf of `caller`. Nothing happens if there is no such member. Returns false and writes
/// nothing if the caller does not manage the graph.
pub async fn set_role(
    db: &impl Database,
    graph_id: &str,
    user_id: &str,
    role: Role,
    caller: &str,
) -> Result<bool, Error> {
    let (graph, caller_param) = (Param::Text(graph_id), Param::Text(caller));
    let params = [Param::Text(role.as_str()), graph, Param::Text(user_id), graph, caller_param, caller_param];
    Ok(db.execute(SET_ROLE, &params).await? > 0 || crate::access::is_manager(db, graph_id, caller).await?)
}

/// Whether `caller` may remove a member: a manager removes anyone who is no manager, a plain member leaves. Asked of
/// the primary copy; [`remove`] checks again when it writes.
pub async fn removal(db: &impl Database, graph_id: &str, member_id: &str, caller: &str) -> Result<Removal, Error> {
    let (graph, caller_param) = (Param::Text(graph_id), Param::Text(caller));
    let params = [graph, graph, Param::Text(member_id), graph, caller_param, caller_param];
    let rows = db.query(ReadFrom::Primary, STANDING, &params).await?;
    let row = rows.first();
    let exists = row.and_then(|row| row.int(0)).is_some();
    let (role, manages) = (row.and_then(|row| row.text(1)), row.and_then(|row| row.int(2)) == Some(1));
    Ok(match role.map(Role::from_text) {
        Some(Some(Role::Manager)) => Removal::Forbidden,
        Some(Some(Role::Member)) if caller == member_id => Removal::Allowed,
        _ if manages => Removal::Allowed,
        None if caller == member_id && exists => Removal::Gone,
        _ => Removal::Forbidden,
    })
}

/// Removes a member on behalf of `caller`, as [`removal`] says, and the member's copy of the graph key (D-04). False
/// when no row was removed: there is no such member, or the caller may not remove them.
pub async fn remove(db: &impl Database, graph_id: &str, member_id: &str, caller: &str) -> Result<bool, Error> {
    let (graph, member, caller) = (Param::Text(graph_id), Param::Text(member_id), Param::Text(caller));
    let delete = [graph, member, caller, graph, caller, caller];
    let delete_key = [graph, member, graph, member, member];
    let changed = db.batch(&[(DELETE, &delete), (DELETE_KEY, &delete_key)]).await?;
    Ok(changed.first().is_some_and(|rows| *rows > 0))
}
