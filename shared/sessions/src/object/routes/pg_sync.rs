//! What a session observes (pg-sync.md 4.2), and what bridges send to it (4.9).

use std::rc::Rc;

use http::{Request, Response, StatusCode};
use serde_json::{Value, json};

use super::caller::CallerKind;
use super::{Caller, body, ok};
use crate::error::{CORS, Error};
use crate::object::{Platform, Session};
use crate::pg_sync::PgSyncError;
use crate::session::watch::{Arrival, Reception};

/// An answer with another status than 200.
fn answer<P: Platform>(status: StatusCode, body: &Value) -> Response<P::Response> {
    web::json(&CORS, status, body.to_string())
}

pub(super) async fn observe<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    session.observed_by(caller).await?;
    let (wanted, _): (Value, _) = body::<P, _>(request).await?;
    let observed = session.observe(&wanted).await?;
    let status = if observed.is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(answer::<P>(status, &observed.shown))
}

pub(super) async fn list<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
) -> Result<Response<P::Response>, Error> {
    session.observed_by(caller).await?;
    if session.platform().bridges().is_none() {
        return Err(PgSyncError::Disabled.into());
    }
    Ok(ok::<P>(&json!({"observations": session.observations().await?})))
}

pub(super) async fn unobserve<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
    source_id: &str,
) -> Result<Response<P::Response>, Error> {
    session.observed_by(caller).await?;
    if session.unobserve(source_id).await? { Ok(ok::<P>(&json!({"removed": true}))) } else { Err(Error::NotFound) }
}

pub(super) async fn retry<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
    source_id: &str,
) -> Result<Response<P::Response>, Error> {
    session.steered_by(caller).await?;
    if session.retry_bridge(source_id).await? {
        Ok(answer::<P>(StatusCode::ACCEPTED, &json!({"ok": true})))
    } else {
        Err(Error::NotFound)
    }
}

/// A bridge sends something. It sends the same again until it has an answer of these.
pub(super) async fn take<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    if caller.kind != CallerKind::Service {
        return Err(Error::NotFound);
    }
    let (told, _): (Value, _) = body::<P, _>(request).await?;
    let gone = || answer::<P>(StatusCode::GONE, &json!({"error": "gone"}));
    if !session.is_there()? {
        return Ok(gone());
    }
    let text = |name: &str| told.get(name).and_then(Value::as_str).ok_or(Error::InvalidBody);
    let number = |name: &str| told.get(name).and_then(Value::as_u64);
    let arrival = Arrival {
        id: text("subscription_id")?,
        kind: text("type")?,
        key: text("key")?,
        incarnation: told.get("incarnation").and_then(Value::as_i64).ok_or(Error::InvalidBody)?,
        range: number("after_seq").zip(number("to_seq")),
    };
    Ok(match session.receive(&arrival, &told)? {
        Reception::New => ok::<P>(&json!({"ok": true})),
        Reception::Duplicate => ok::<P>(&json!({"duplicate": true})),
        Reception::Behind(to_seq) => answer::<P>(StatusCode::CONFLICT, &json!({"to_seq": to_seq})),
        Reception::Gone => gone(),
    })
}
