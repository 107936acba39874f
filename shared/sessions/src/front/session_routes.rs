//! Creating sessions, and everything that their objects answer (agents.md 2.6).

use http::{Request, Response};
use serde_json::json;
use web::url;

use super::forward::{self, Errand};
use super::identity::Caller;
use super::platform::Platform;
use super::rates::Kind;
use super::route::Verb;
use super::service::Service;
use super::{auth_routes, bodies, ok};
use crate::error::Error;
use crate::observer::LIFETIME_MS;
use crate::pg_sync::MAX_PG_SYNC_BODY_BYTES;
use crate::request::{self, ApprovalDecision, Create, Message, Move, Publish};

pub(super) fn take_rate<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    user: &str,
    kind: Kind,
) -> Result<(), Error> {
    if service.settings.rate_limits { service.rates.take(user, kind, platform.now_ms()) } else { Ok(()) }
}

pub(super) async fn create<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    caller: &Caller,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let user = caller.user()?;
    take_rate(platform, service, user, Kind::Create)?;
    let body = bodies::read(request).await?;
    let mut wanted = Create::read(&body)?;
    auth_routes::inject(platform, service, user, &mut wanted).await?;
    let id = wanted.task.id().to_owned();
    let base = service.settings.base_url.clone().unwrap_or_else(|| url::origin(request.uri()));
    let init = wanted.init().to_string();
    let errand = Errand {
        session_id: &id,
        caller,
        path: "init",
        with_query: false,
        body: Some(init.as_bytes()),
        base: Some(&base),
    };
    forward::send(platform, &errand, request).await
}

pub(super) async fn forward<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    caller: &Caller,
    session_id: &str,
    verb: &Verb,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    crate::request::check_session_id(session_id).map_err(|_| Error::NotFound)?;
    // Observers have no bucket; the object bounds what they may ask at the same time.
    match kind_of(verb) {
        // An agent does not use up what people may ask.
        Some(_) if caller.tool.is_some() => take_rate(platform, service, session_id, Kind::Tools)?,
        Some(kind) if !caller.is_observer => take_rate(platform, service, caller.user()?, kind)?,
        _ => {}
    }
    let body = checked_body(verb, request).await?;
    let path = verb.path();
    let errand =
        Errand { session_id, caller, path: &path, with_query: verb.takes_query(), body: body.as_deref(), base: None };
    forward::send(platform, &errand, request).await
}

/// How requests of that kind are counted; reading what is stored is not.
fn kind_of(verb: &Verb) -> Option<Kind> {
    match verb {
        Verb::Messages => Some(Kind::Message),
        Verb::Branches => Some(Kind::Branches),
        Verb::Pause
        | Verb::Resume
        | Verb::Interrupt
        | Verb::Cancel
        | Verb::Publish
        | Verb::Snapshot
        | Verb::Decide(_)
        | Verb::Move
        | Verb::Archive
        | Verb::Unarchive
        | Verb::Delete
        | Verb::SetBudget
        | Verb::Files
        | Verb::Diff
        | Verb::Observe
        | Verb::Unobserve(_)
        | Verb::RetryObservation(_)
        | Verb::Terminal => Some(Kind::Control),
        Verb::Observations | Verb::Status | Verb::Events | Verb::Stream | Verb::Approvals | Verb::Budget => None,
    }
}

/// The body that goes on: what was checked, and nothing where the route has none.
async fn checked_body<B: web::RequestBody>(verb: &Verb, request: &mut Request<B>) -> Result<Option<Vec<u8>>, Error> {
    let json = |value: serde_json::Result<Vec<u8>>| value.map(Some).map_err(|error| Error::Internal(error.to_string()));
    match verb {
        Verb::Messages => json(serde_json::to_vec(&Message::read(&bodies::read(request).await?)?)),
        Verb::Publish => json(serde_json::to_vec(&Publish::read(&bodies::read(request).await?)?)),
        Verb::SetBudget => json(serde_json::to_vec(&request::budget(&bodies::read(request).await?)?)),
        Verb::Move => json(serde_json::to_vec(&Move::read(&bodies::read(request).await?)?)),
        Verb::Decide(_) => json(serde_json::to_vec(&ApprovalDecision::read(&bodies::read(request).await?)?)),
        // What it asks for depends on the session: its object reads it.
        Verb::Observe => json(serde_json::to_vec(&bodies::json_within(request, MAX_PG_SYNC_BODY_BYTES).await?)),
        Verb::Pause
        | Verb::Resume
        | Verb::Interrupt
        | Verb::Cancel
        | Verb::Snapshot
        | Verb::Unobserve(_)
        | Verb::RetryObservation(_)
        | Verb::Archive
        | Verb::Unarchive
        | Verb::Delete => Ok(Some(Vec::new())),
        _ => Ok(None),
    }
}

/// A token with which a page may watch one session.
pub(super) async fn observer_token<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    caller: &Caller,
    session_id: &str,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    caller.user()?;
    let errand = Errand { session_id, caller, path: "access", with_query: false, body: None, base: None };
    let allowed = forward::send(platform, &errand, request).await?;
    if !allowed.status().is_success() {
        return Ok(allowed);
    }
    let observers = service.observers.as_ref().ok_or(Error::SecretsKey)?;
    let expires_at = platform.now_ms().saturating_add(LIFETIME_MS);
    Ok(ok(&json!({"token": observers.issue(session_id, expires_at), "expires-at": expires_at})))
}
