//! Where a shape service is, for a user who names a connection or an address (pg-sync.md 4.4, 4.11).

use database::{Database, DbError};
use pg_sync::body::BlockedReason;
use pg_sync::bridge::{Connection, ConnectionFault, Mode};
use pg_sync::connection::{Tables, is_name, reserved_parameter};
use pg_sync::options::Replica;
use url::Url;
use web::address::{self, AddressRules};

use super::PgSyncError;
use crate::registry::pg_connections::{self, UserConnection};
use crate::settings::{PgSyncSettings, Settings};

/// A connection that can be used.
pub struct Resolved {
    /// Where the service is.
    pub url: Url,
    /// What opens it.
    pub secret: Option<String>,
    /// Tables that it lets through.
    pub tables: Tables,
    /// What holds where nothing is asked for.
    pub replica: Replica,
    /// How it is followed.
    pub connection: Connection,
}

impl std::fmt::Debug for Resolved {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Resolved").field("connection", &self.connection).finish_non_exhaustive()
    }
}

/// Looks up what a user calls `connection`: one of their own, one of the operator's, or an address.
///
/// # Errors
/// Why it cannot be used. That the database did not answer is [`ConnectionFault::Unavailable`].
pub async fn resolve<D: Database>(
    db: Option<&D>,
    settings: &Settings,
    user: &str,
    connection: &str,
) -> Result<Resolved, ConnectionFault> {
    let unusable = |reason| Err(ConnectionFault::Unusable(reason));
    let of = &settings.pg_sync;
    if !is_name(connection) {
        let url = allowed_origin(of, connection).ok_or(ConnectionFault::Unusable(BlockedReason::UrlNotAllowed))?;
        let connection = Connection { revision: 0, mode: Mode::Interval(of.poll_ms) };
        return Ok(Resolved { url, secret: None, tables: Tables::All, replica: Replica::Default, connection });
    }
    let own = match db {
        Some(db) => pg_connections::get(db, user, connection).await.map_err(|_| ConnectionFault::Unavailable)?,
        None => None,
    };
    let mode = |is_live, poll_ms: Option<i64>| {
        if is_live { Mode::Live } else { Mode::Interval(poll_ms.unwrap_or(of.poll_ms)) }
    };
    if let Some(own) = own {
        let Some(url) = allowed(of, &own.url) else { return unusable(BlockedReason::UrlNotAllowed) };
        let Ok(secret) = own.secret(&settings.seal(), user) else { return unusable(BlockedReason::SecretUnreadable) };
        let patterns: Vec<&str> = own.tables.iter().map(String::as_str).collect();
        let Some(tables) = Tables::read(&patterns) else { return unusable(BlockedReason::TableNotAllowed) };
        let replica = if own.replica == Replica::Full.as_str() { Replica::Full } else { Replica::Default };
        let connection = Connection { revision: own.revision, mode: mode(own.mode == "live", own.poll_ms) };
        return Ok(Resolved { url, secret, tables, replica, connection });
    }
    let Some(found) = of.connections.get(connection).filter(|found| found.is_for(user)) else {
        return unusable(BlockedReason::ConnectionMissing);
    };
    let Ok(secret) = found.secret.clone().transpose() else { return unusable(BlockedReason::SecretUnreadable) };
    Ok(Resolved {
        url: found.url.clone(),
        secret,
        tables: found.tables.clone(),
        replica: found.replica,
        connection: Connection { revision: found.revision, mode: mode(found.is_live, found.poll_ms) },
    })
}

/// An address that a user gives to a connection, if it may be asked.
pub(crate) fn allowed(of: &PgSyncSettings, url: &str) -> Option<Url> {
    let rules = AddressRules { allow_private: false, allowed: of.allow_private.clone() };
    address::checked(url, &rules).ok().filter(|url| reserved_parameter(url).is_none())
}

/// An address that is named without a connection: its origin is one of the operator's list, exactly.
fn allowed_origin(of: &PgSyncSettings, url: &str) -> Option<Url> {
    let rules = AddressRules { allow_private: true, ..AddressRules::default() };
    let url = address::checked(url, &rules).ok().filter(|url| reserved_parameter(url).is_none())?;
    of.allow_urls.contains(&url.origin().ascii_serialization()).then_some(url)
}

/// What a user calls the connections that lead to an address, their own first, then the operator's; the address itself where it may be named.
/// Whether each can be used is another question ([`resolve`]).
pub(crate) async fn leading_to(
    db: &impl Database,
    of: &PgSyncSettings,
    user: &str,
    url: &Url,
) -> Result<Vec<String>, DbError> {
    let own = pg_connections::list(db, user).await?;
    let is_it = |found: &&UserConnection| Url::parse(&found.url).is_ok_and(|found| found == *url);
    let mut names: Vec<String> = own.iter().filter(is_it).map(|found| found.name.clone()).collect();
    // One's own of that name wins.
    let others = of.connections.iter().filter(|(name, found)| {
        found.url == *url && found.is_for(user) && own.iter().all(|known| known.name != **name)
    });
    names.extend(others.map(|(name, _)| name.clone()));
    names.extend(allowed_origin(of, url.as_str()).map(String::from));
    Ok(names)
}

/// An address as it is shown: its query may hold what opens the service.
pub fn shown_address(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else { return String::new() };
    url.set_query(None);
    url.into()
}

impl From<ConnectionFault> for PgSyncError {
    fn from(fault: ConnectionFault) -> Self {
        match fault {
            ConnectionFault::Unavailable => Self::BridgeUnavailable,
            ConnectionFault::Unusable(reason) => reason.into(),
        }
    }
}

impl From<BlockedReason> for PgSyncError {
    fn from(reason: BlockedReason) -> Self {
        match reason {
            BlockedReason::ConnectionMissing => Self::ConnectionNotFound,
            BlockedReason::UrlNotAllowed => Self::UrlNotAllowed,
            BlockedReason::TableNotAllowed => Self::TableNotAllowed,
            BlockedReason::SecretUnreadable
            | BlockedReason::Refused
            | BlockedReason::Rotates
            | BlockedReason::BodyTooLarge
            | BlockedReason::Unreadable => Self::ProbeFailed { status: 0, detail: reason.as_str().to_owned() },
        }
    }
}
