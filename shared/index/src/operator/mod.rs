//! What operators ask the index: who somebody is and what they may use, how much a deployment is used, all that a user
//! leaves behind, and its rows as a whole, for a move to another deployment (sync.md 16, self-host.md 7.1).

pub mod transfer;

use database::{Database, Param, ReadFrom, Row};
use time::UtcDateTime;

use crate::Error;
use crate::activity::day_utc;

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// How an operator names a user.
#[derive(Clone, Copy, Debug)]
pub enum Who<'a> {
    /// By name, as tokens tell it.
    Username(&'a str),
    /// By id.
    Id(&'a str),
}

/// The row of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The subject of the user's tokens.
    pub id: String,
    /// The name.
    pub username: Option<String>,
    /// The e-mail address.
    pub email: Option<String>,
    /// Whether the address is verified, where that is known.
    pub email_verified: Option<bool>,
    /// When the user was seen first, in milliseconds.
    pub created_at: Option<i64>,
}

/// A graph that a user may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The graph.
    pub graph_id: String,
    /// Its name.
    pub graph_name: Option<String>,
    /// `owner`, else the role of the membership.
    pub access_role: Option<String>,
    /// Who made the user a member.
    pub invited_by: Option<String>,
    /// The owner.
    pub owner_user_id: Option<String>,
    /// The owner's name.
    pub owner_username: Option<String>,
    /// The owner's address.
    pub owner_email: Option<String>,
    /// The schema version that the client named.
    pub schema_version: Option<String>,
    /// Whether its content is encrypted end to end.
    pub graph_e2ee: bool,
    /// Whether its upload has finished.
    pub graph_ready_for_use: bool,
    /// Milliseconds.
    pub created_at: Option<i64>,
    /// Milliseconds.
    pub updated_at: Option<i64>,
}

/// A graph as the operator's list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The graph.
    pub graph_id: String,
    /// Its name.
    pub graph_name: Option<String>,
    /// The owner.
    pub owner_user_id: Option<String>,
    /// The owner's name.
    pub owner_username: Option<String>,
    /// The schema version that the client named.
    pub schema_version: Option<String>,
    /// Whether its content is encrypted end to end.
    pub graph_e2ee: bool,
    /// Whether its upload has finished.
    pub graph_ready_for_use: bool,
    /// How many members it has.
    pub members: i64,
    /// Milliseconds.
    pub created_at: Option<i64>,
    /// Milliseconds.
    pub updated_at: Option<i64>,
}

/// How much a deployment is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The first day that is looked at (`YYYY-MM-DD`, UTC).
    pub since: String,
    /// The last one.
    pub today: String,
    /// Users seen since then; none where the database does not keep that.
    pub active_users: Option<i64>,
    /// Graphs seen since then; none where the database does not keep that.
    pub active_graphs: Option<i64>,
    /// All users.
    pub users: i64,
    /// All graphs.
    pub graphs: i64,
    /// Users who were seen first today; none where the database does not keep that.
    pub users_today: Option<i64>,
    /// Graphs that were made today.
    pub graphs_today: i64,
}

/// How many rows were removed of a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Copies of graphs' keys.
    pub graph_keys: u64,
    /// Memberships.
    pub memberships: u64,
    /// Memberships of others that named the user as who invited them, and do no longer.
    pub invitations: u64,
    /// The user's own pair of keys.
    pub key_pairs: u64,
    /// The row of the user.
    pub users: u64,
}

const BY_NAME: &str =
    "SELECT id, username, email, email_verified, created_at FROM users WHERE username = ? ORDER BY id LIMIT 2";
const BY_ID: &str = "SELECT id, username, email, email_verified, created_at FROM users WHERE id = ?";

const ACCESS: &str = "SELECT g.graph_id AS graph_id, g.graph_name AS graph_name, \
    CASE WHEN g.user_id = ? THEN 'owner' ELSE m.role END AS access_role, m.invited_by AS invited_by, \
    g.user_id AS owner_user_id, u.username AS owner_username, u.email AS owner_email, \
    g.schema_version AS schema_version, g.graph_e2ee AS graph_e2ee, g.graph_ready_for_use AS graph_ready_for_use, \
    g.created_at AS created_at, g.updated_at AS updated_at FROM graphs g \
    LEFT JOIN graph_members m ON m.graph_id = g.graph_id AND m.user_id = ? LEFT JOIN users u ON u.id = g.user_id \
    WHERE g.user_id = ? OR m.user_id = ? ORDER BY g.updated_at DESC, g.graph_id";

const LIST: &str = "SELECT g.graph_id AS graph_id, g.graph_name AS graph_name, g.user_id AS owner_user_id, \
    u.username AS owner_username, g.schema_version AS schema_version, g.graph_e2ee AS graph_e2ee, \
    g.graph_ready_for_use AS graph_ready_for_use, \
    (SELECT COUNT(*) FROM graph_members m WHERE m.graph_id = g.graph_id) AS members, \
    g.created_at AS created_at, g.updated_at AS updated_at FROM graphs g LEFT JOIN users u ON u.id = g.user_id \
    WHERE ? IS NULL OR g.graph_id = ? ORDER BY g.updated_at DESC, g.graph_id";

const ACTIVE: &str = "SELECT entity_type, COUNT(DISTINCT entity_id) AS seen FROM daily_active_entities \
    WHERE day_utc >= ? GROUP BY entity_type";

/// The users of that name or id. More than one where several tokens name themselves alike.
pub async fn accounts(db: &impl Database, who: Who<'_>) -> Result<Vec<Account>, Error> {
    let (sql, text) = match who {
        Who::Username(name) => (BY_NAME, name),
        Who::Id(id) => (BY_ID, id),
    };
    let rows = db.query(ReadFrom::Primary, sql, &[Param::Text(text)]).await?;
    let account = |row: &Row| Account {
        id: row.string(0).unwrap_or_default(),
        username: row.string(1),
        email: row.string(2),
        email_verified: row.int(3).map(|flag| flag != 0),
        created_at: row.int(4),
    };
    Ok(rows.iter().map(account).collect())
}

/// The graphs that a user owns or is a member of, last updated first.
pub async fn access(db: &impl Database, user_id: &str) -> Result<Vec<Access>, Error> {
    let rows = db.query(ReadFrom::Primary, ACCESS, &[Param::Text(user_id); 4]).await?;
    let access = |row: &Row| Access {
        graph_id: row.string(0).unwrap_or_default(),
        graph_name: row.string(1),
        access_role: row.string(2),
        invited_by: row.string(3),
        owner_user_id: row.string(4),
        owner_username: row.string(5),
        owner_email: row.string(6),
        schema_version: row.string(7),
        graph_e2ee: row.flag(8),
        graph_ready_for_use: row.flag(9),
        created_at: row.int(10),
        updated_at: row.int(11),
    };
    Ok(rows.iter().map(access).collect())
}

/// All graphs, or one, last updated first.
pub async fn graphs(db: &impl Database, graph_id: Option<&str>) -> Result<Vec<Listed>, Error> {
    let rows = db.query(ReadFrom::Primary, LIST, &[Param::opt(graph_id); 2]).await?;
    let listed = |row: &Row| Listed {
        graph_id: row.string(0).unwrap_or_default(),
        graph_name: row.string(1),
        owner_user_id: row.string(2),
        owner_username: row.string(3),
        schema_version: row.string(4),
        graph_e2ee: row.flag(5),
        graph_ready_for_use: row.flag(6),
        members: row.int(7).unwrap_or_default(),
        created_at: row.int(8),
        updated_at: row.int(9),
    };
    Ok(rows.iter().map(listed).collect())
}

/// How much the deployment was used in the last `days` days, today included. `missing`: the migrations that the database
/// lacks, whose columns are not asked for.
pub async fn usage(db: &impl Database, days: u32, now_ms: i64, missing: &[&str]) -> Result<Usage, Error> {
    let lacks = |number: &str| missing.iter().any(|name| name.starts_with(number));
    let since = day_utc(now_ms.saturating_sub(DAY_MS.saturating_mul(i64::from(days.saturating_sub(1)))));
    let midnight = now_ms - now_ms.rem_euclid(DAY_MS);
    let (mut active_users, mut active_graphs) = (None, None);
    if !lacks("0006") {
        let rows = db.query(ReadFrom::Nearest, ACTIVE, &[Param::Text(&since)]).await?;
        let of = |kind| rows.iter().find(|row| row.text(0) == Some(kind)).and_then(|row| row.int(1)).unwrap_or(0);
        (active_users, active_graphs) = (Some(of("user")), Some(of("graph")));
    }
    // One statement: each is a start of wrangler where D1 is asked through it.
    let seen_today = if lacks("0005") { "NULL" } else { "(SELECT COUNT(*) FROM users WHERE created_at >= ?)" };
    let sql = format!(
        "SELECT (SELECT COUNT(*) FROM users) AS users, (SELECT COUNT(*) FROM graphs) AS graphs, \
         (SELECT COUNT(*) FROM graphs WHERE created_at >= ?) AS graphs_today, {seen_today} AS users_today"
    );
    let params = [Param::Int(midnight); 2];
    let params = params.get(..if lacks("0005") { 1 } else { 2 }).unwrap_or_default();
    let rows = db.query(ReadFrom::Nearest, &sql, params).await?;
    let count = |column| rows.first().and_then(|row| row.int(column));
    Ok(Usage {
        since,
        today: day_utc(now_ms),
        active_users,
        active_graphs,
        users: count(0).unwrap_or_default(),
        graphs: count(1).unwrap_or_default(),
        users_today: count(3),
        graphs_today: count(2).unwrap_or_default(),
    })
}

/// Removes everything that a user has in the index: copies of keys, memberships, the pair of keys, and the row. The user's
/// graphs must be gone: a graph without an owner could be managed by nobody.
pub async fn remove_user(db: &impl Database, user_id: &str) -> Result<Removed, Error> {
    let id = [Param::Text(user_id)];
    let changed = db
        .batch(&[
            ("DELETE FROM graph_aes_keys WHERE user_id = ?", &id),
            ("DELETE FROM graph_members WHERE user_id = ?", &id),
            ("UPDATE graph_members SET invited_by = NULL WHERE invited_by = ?", &id),
            ("DELETE FROM user_rsa_keys WHERE user_id = ?", &id),
            ("DELETE FROM users WHERE id = ?", &id),
        ])
        .await?;
    let of = |place: usize| changed.get(place).copied().unwrap_or_default();
    Ok(Removed { graph_keys: of(0), memberships: of(1), invitations: of(2), key_pairs: of(3), users: of(4) })
}

/// Removes the copies of a graph's key that a deletion by an older server has left.
pub async fn remove_graph_keys(db: &impl Database, graph_id: &str) -> Result<u64, Error> {
    Ok(db.execute("DELETE FROM graph_aes_keys WHERE graph_id = ?", &[Param::Text(graph_id)]).await?)
}

/// A time as people read it: RFC 3339 in UTC, with milliseconds.
pub fn instant(ms: i64) -> String {
    // No clock leaves the years -9999 to 9999, which are all that this type knows.
    let at = UtcDateTime::from_unix_timestamp(ms.div_euclid(1000)).unwrap_or(UtcDateTime::UNIX_EPOCH);
    let (hour, minute, second) = at.as_hms();
    format!("{}T{hour:02}:{minute:02}:{second:02}.{:03}Z", day_utc(ms), ms.rem_euclid(1000))
}
