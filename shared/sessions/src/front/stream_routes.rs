//! The compatibility route: logs of sources as durable streams, for users (pg-sync.md 2.2, 4.14). Who asks is checked here; the object of the
//! source answers.

use durable_streams::{missing, preflight};
use http::header::{AUTHORIZATION, IF_NONE_MATCH};
use http::{HeaderName, HeaderValue, Method, Request, Response};
use pg_sync::bridge::Source;
use pg_sync::connection::is_name;
use pg_sync::identity::{Origin, owner_hash, source_id};
use pg_sync::options::Options;
use pg_sync::reference::of_source;
use pg_sync::register::{MAX_REGISTER_BYTES, Registration};
use web::{Forward, Objects as _, RequestBody as _, url};

use super::platform::Platform;
use super::rates::Kind;
use super::route::Stream;
use super::service::Service;
use super::{bodies, pg_sync_routes, session_routes};
use crate::bridge::{REF_HEADER, Register, object_name};
use crate::error::Error;
use crate::pg_sync::{PgSyncError, leading_to, refused, resolve, whole};
use crate::registry::pg_bridges::{self, MAX_BRIDGES};

/// Answers a request below the prefix, whatever it is.
pub(super) async fn answer<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    place: &Stream,
    request: &mut Request<P::Request>,
) -> Response<P::Response> {
    let answered = match (place, request.method().clone()) {
        (Stream::Register, Method::OPTIONS) => return whole(preflight("POST, OPTIONS")),
        (Stream::Log { .. }, Method::OPTIONS) => return whole(preflight("GET, HEAD, OPTIONS")),
        (Stream::Register, Method::POST) => register(platform, service, request).await,
        (Stream::Log { owner, source_ref }, Method::GET | Method::HEAD) => {
            read(platform, service, (owner, source_ref), request).await
        }
        // Nobody but the bridge writes.
        _ => Err(Error::NotFound),
    };
    match answered {
        Ok(response) => response,
        Err(Error::NotFound) => {
            request.body_mut().cancel().await;
            whole(missing())
        }
        Err(error) => {
            if error.is_of_known_sender() {
                web::hear_out(request.body_mut(), &service.heard_out).await;
            } else {
                request.body_mut().cancel().await;
            }
            refused(&error, platform.random_uuid(), |event| platform.report(event))
        }
    }
}

/// Who asks. Tokens are taken from the header alone, and observers of sessions are nobody here.
async fn user<P: Platform>(service: &Service<P::Keys>, request: &Request<P::Request>) -> Result<String, Error> {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = auth::token_from_request(header, None);
    let claims = service.authenticator.claims(token).await.map_err(|error| Error::Internal(error.to_string()))?;
    claims.as_ref().and_then(|claims| claims.sub()).map(str::to_owned).ok_or(Error::Unauthorized)
}

fn db<P: Platform>(platform: &P) -> Result<&P::Db, Error> {
    platform.db().ok_or_else(|| Error::Internal("no database".to_owned()))
}

async fn register<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let user = user::<P>(service, request).await?;
    let bridges = platform.bridges().ok_or(PgSyncError::Disabled)?;
    session_routes::take_rate(platform, service, &user, Kind::Control)?;
    let body = bodies::json_within(request, MAX_REGISTER_BYTES).await?;
    let Registration { url, options } = Registration::read(&body).map_err(PgSyncError::InvalidOptions)?;
    let db = db(platform)?;
    let source_ref = of_source(&url, &options);
    let names = leading_to(db, &service.settings.pg_sync, &user, &url).await?;
    // Who has registered before goes on with the same source, also where several connections lead there.
    let before = pg_bridges::named(db, &user, &source_ref).await?.map(|(_, connection)| connection);
    let known = before.filter(|connection| names.contains(connection));
    let connection = usable(platform, service, &user, known.into_iter().chain(names), &options).await?;
    let origin = if is_name(&connection) { Origin::Connection(&connection) } else { Origin::Url(&connection) };
    let id = source_id(&user, origin, &options);
    if !pg_bridges::reserve(db, &id, &user, &connection, platform.now_ms()).await? {
        return Err(PgSyncError::Quota { limit: MAX_BRIDGES, scope: "user" }.into());
    }
    pg_bridges::name(db, &id, &user, &source_ref).await?;
    let source = Source { id: id.clone(), owner: user, connection, options };
    let body = serde_json::to_vec(&Register { source, source_ref });
    let body = body.map_err(|error| Error::Internal(error.to_string()))?;
    let forward = pg_sync_routes::call(&id, Method::POST, "register")?.with_body(body);
    let sent = bridges.send(&object_name(&id), forward).await;
    sent.map_err(|failure| Error::Internal(failure.0))
}

/// The first of these connections that can be used and lets the table through. There are as many as a user and the operator may have.
async fn usable<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    user: &str,
    connections: impl Iterator<Item = String>,
    options: &Options,
) -> Result<String, PgSyncError> {
    let mut why = PgSyncError::UrlNotAllowed;
    for connection in connections {
        match resolve(platform.db(), &service.settings, user, &connection).await {
            Ok(found) if found.tables.allow(&options.table, options.filter.as_deref()) => return Ok(connection),
            Ok(_) => why = PgSyncError::TableNotAllowed,
            Err(fault) => why = fault.into(),
        }
    }
    Err(why)
}

async fn read<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    (owner, source_ref): (&str, &str),
    request: &Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let user = user::<P>(service, request).await?;
    let bridges = platform.bridges().ok_or(PgSyncError::Disabled)?;
    if owner != owner_hash(&user) {
        return Err(Error::NotFound);
    }
    let found = pg_bridges::named(db(platform)?, &user, source_ref).await?;
    let (id, _) = found.ok_or(Error::NotFound)?;
    let path = match (request.method() == Method::HEAD, request.uri().query()) {
        (true, _) => "stream-head".to_owned(),
        (false, None) => "stream".to_owned(),
        (false, Some(query)) => format!("stream?{query}"),
    };
    let mut forward: Forward<P::Request> = pg_sync_routes::call(&id, Method::GET, &path)?;
    for (name, value) in [("x-user-id", url::encode(&user)), (REF_HEADER, source_ref.to_owned())] {
        let value = HeaderValue::from_str(&value).map_err(|error| Error::Internal(error.to_string()))?;
        forward.set_header(HeaderName::from_static(name), value);
    }
    if let Some(has) = request.headers().get(IF_NONE_MATCH) {
        forward.set_header(IF_NONE_MATCH, has.clone());
    }
    let sent = bridges.send(&object_name(&id), forward).await;
    sent.map_err(|failure| Error::Internal(failure.0))
}
