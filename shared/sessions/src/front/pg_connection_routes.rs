//! Connections of the caller to shape services (pg-sync.md 4.11). Nobody but that user sees them, and nobody sees a secret.

use std::collections::HashMap;

use http::{Request, Response, StatusCode};
use pg_sync::answer::Answer;
use pg_sync::bridge::Source;
use pg_sync::connection::is_name;
use pg_sync::shape::{Ask, LogMode};
use serde_json::{Value, json};

use super::identity::Caller;
use super::platform::Platform;
use super::rates::Kind;
use super::service::Service;
use super::{bodies, ok, pg_sync_routes, session_routes};
use crate::bridge::exchange;
use crate::error::{CORS, Error};
use crate::pg_sync::{MAX_PG_SYNC_BODY_BYTES, NewConnection, PgSyncError, Probe, allowed, resolve, shown_address};
use crate::registry::pg_bridges;
use crate::registry::pg_connections::{self, MAX_CONNECTIONS, UserConnection};
use crate::runtime::exchange::within;
use crate::settings::ConfiguredConnection;

/// How long a service that is tried may take, in milliseconds.
const PROBE_MS: u32 = 10_000;

fn db<P: Platform>(platform: &P) -> Result<&P::Db, Error> {
    platform.db().ok_or_else(|| Error::Internal("no database".to_owned()))
}

/// The caller, where there are bridges at all.
fn user<'c, P: Platform>(platform: &P, caller: &'c Caller) -> Result<&'c str, Error> {
    let user = caller.user()?;
    platform.bridges().map(|_| user).ok_or_else(|| PgSyncError::Disabled.into())
}

pub(super) async fn list<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    caller: &Caller,
) -> Result<Response<P::Response>, Error> {
    let user = user(platform, caller)?;
    let db = db(platform)?;
    let own = pg_connections::list(db, user).await?;
    let sources: HashMap<String, i64> = pg_bridges::counts(db, user).await?.into_iter().collect();
    let of = |name: &str| sources.get(name).copied().unwrap_or_default();
    let mut shown: Vec<Value> = own.iter().map(|found| shown_own(found, of(&found.name))).collect();
    let configured = service.settings.pg_sync.connections.iter();
    // One's own of that name wins.
    let others = configured.filter(|(name, found)| found.is_for(user) && own.iter().all(|known| known.name != **name));
    shown.extend(others.map(|(name, found)| shown_configured(name, found, of(name))));
    Ok(ok(&json!({"connections": shown})))
}

fn shown_own(found: &UserConnection, sources: i64) -> Value {
    json!({
        "name": found.name,
        "url": shown_address(&found.url),
        "has_secret": found.has_secret(),
        "tables": found.tables,
        "replica": found.replica,
        "mode": found.mode,
        "poll_ms": found.poll_ms,
        "revision": found.revision,
        "sources": sources,
        "created_at": found.created_at,
        "updated_at": found.updated_at,
        "from": "user",
    })
}

fn shown_configured(name: &str, found: &ConfiguredConnection, sources: i64) -> Value {
    json!({
        "name": name,
        "url": shown_address(found.url.as_str()),
        "has_secret": found.secret.is_some(),
        "tables": found.patterns,
        "replica": found.replica.as_str(),
        "mode": if found.is_live { "live" } else { "interval" },
        "poll_ms": found.poll_ms,
        "revision": found.revision,
        "sources": sources,
        "created_at": null,
        "updated_at": null,
        "from": "config",
    })
}

pub(super) async fn put<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    caller: &Caller,
    name: &str,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let user = user(platform, caller)?;
    session_routes::take_rate(platform, service, user, Kind::Control)?;
    let body = bodies::json_within(request, MAX_PG_SYNC_BODY_BYTES).await?;
    if !is_name(name) {
        return Err(PgSyncError::InvalidConnection(vec!["name".to_owned()]).into());
    }
    let wanted = NewConnection::read(&body)?;
    let Some(url) = allowed(&service.settings.pg_sync, &wanted.url) else {
        return Err(PgSyncError::UrlNotAllowed.into());
    };
    let wanted = NewConnection { url: url.into(), ..wanted };
    let (db, seal) = (db(platform)?, service.settings.seal());
    let stored = pg_connections::put(db, &seal, user, name, &wanted, platform.now_ms()).await?;
    let Some(is_new) = stored else {
        return Err(PgSyncError::Quota { limit: MAX_CONNECTIONS, scope: "connections" }.into());
    };
    touch(platform, user, name).await?;
    let found = pg_connections::get(db, user, name).await?.ok_or(Error::NotFound)?;
    let sources = pg_bridges::counts(db, user).await?.into_iter().find(|(of, _)| of == name).map_or(0, |(_, n)| n);
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(web::json(&CORS, status, shown_own(&found, sources).to_string()))
}

/// Bridges over a connection look at it anew. Gives how many there are; one that is not reached looks within a minute, or the clock
/// reaches it.
async fn touch<P: Platform>(platform: &P, user: &str, name: &str) -> Result<usize, Error> {
    let sources = pg_bridges::of_connection(db(platform)?, user, name).await?;
    let count = sources.len();
    pg_sync_routes::tell_bridges(platform, sources, "touch").await;
    Ok(count)
}

pub(super) async fn delete<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    caller: &Caller,
    name: &str,
) -> Result<Response<P::Response>, Error> {
    let user = user(platform, caller)?;
    session_routes::take_rate(platform, service, user, Kind::Control)?;
    if pg_connections::delete(db(platform)?, user, name).await? {
        let sources = touch(platform, user, name).await?;
        return Ok(ok(&json!({"removed": true, "sources": sources})));
    }
    let is_configured = service.settings.pg_sync.connections.get(name).is_some_and(|found| found.is_for(user));
    Err(if is_configured { PgSyncError::ReadOnly } else { PgSyncError::ConnectionNotFound }.into())
}

/// Asks the service for the end of the log of a table.
pub(super) async fn test<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    caller: &Caller,
    name: &str,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let user = user(platform, caller)?;
    session_routes::take_rate(platform, service, user, Kind::Control)?;
    let body = bodies::json_within(request, MAX_PG_SYNC_BODY_BYTES).await?;
    if !is_name(name) {
        return Err(PgSyncError::ConnectionNotFound.into());
    }
    let found = resolve(platform.db(), &service.settings, user, name).await.map_err(PgSyncError::from)?;
    let Probe(options) = Probe::read(&body)?;
    if !found.tables.allow(&options.table, None) {
        return Err(PgSyncError::TableNotAllowed.into());
    }
    let source = Source { id: String::new(), owner: user.to_owned(), connection: name.to_owned(), options };
    let (begun, ask) = (platform.now_ms(), Ask::Now(LogMode::ChangesOnly));
    let cache_buster = platform.random_uuid().simple().to_string();
    let asked = exchange(platform.fetch(), &source, &found, &cache_buster, &ask);
    let answer = within(platform, PROBE_MS, asked).await;
    let (status, detail) = match answer {
        Some(Answer::Success(success)) if success.handle.is_some() => {
            return Ok(ok(&json!({"ok": true, "ms": platform.now_ms().saturating_sub(begun)})));
        }
        Some(Answer::Success(_)) => (200, "the answer has no electric-handle".to_owned()),
        Some(Answer::Rotated) => (409, "the service replaces its log".to_owned()),
        Some(Answer::Refused(refusal)) => (refusal.status, refusal.detail),
        Some(Answer::Busy { status, detail, .. }) => (status, detail),
        Some(Answer::Broken(text)) => (0, text),
        Some(Answer::TooLarge) => (0, "the answer is too large".to_owned()),
        None => (0, "the service did not answer in time".to_owned()),
    };
    Err(PgSyncError::ProbeFailed { status, detail }.into())
}
