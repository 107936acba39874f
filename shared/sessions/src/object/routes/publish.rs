//! Publishing a branch and taking a snapshot (agents.md 2.6.7, 2.6.8, 10).

use std::rc::Rc;

use http::{Request, Response};
use serde_json::Value;

use super::repeated::{self, Repeat};
use super::{Caller, body, ok};
use crate::error::Error;
use crate::object::{Platform, Session};
use crate::publish::{Intent, intent};
use crate::publisher::PublishRequest;

pub(super) async fn publish<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let user = session.steered_by(caller).await?;
    let (wanted, bytes): (PublishRequest, _) = body::<P, _>(request).await?;
    let taken = match repeated::begin(session, caller, request, &bytes)? {
        Repeat::Answered(response) => return Ok(response),
        Repeat::First(taken) => Some(taken),
        Repeat::Unkeyed => None,
    };
    let answer = begin(session, user, wanted).await;
    if let Some(taken) = taken {
        taken.finish(session, &answer)?;
    }
    Ok(ok::<P>(&answer?))
}

async fn begin<P: Platform>(session: &Rc<Session<P>>, user: &str, wanted: PublishRequest) -> Result<Value, Error> {
    session.may_publish(&wanted)?;
    session.publish(user, &wanted).await
}

/// Publishes when the whole message asks for that (agents.md 10.5). None when it does not, or when publishing is not possible: then
/// the message goes to the agent.
pub(super) async fn by_chat<P: Platform>(
    session: &Rc<Session<P>>,
    user: &str,
    message: &str,
    kind: Option<&str>,
) -> Result<Option<Value>, Error> {
    let is_chat = kind.is_none_or(|kind| kind == "user") && session.settings.session.chat_publish;
    let Some(intent) = is_chat.then(|| intent(message)).flatten() else { return Ok(None) };
    let spoken = session.last_message()?;
    let wanted = PublishRequest::by_chat(intent == Intent::PullRequest, spoken.as_deref());
    if session.may_publish(&wanted).is_err() {
        return Ok(None);
    }
    session.log_intent(user, kind, message, intent)?;
    match session.publish(user, &wanted).await {
        Ok(published) => Ok(Some(published)),
        Err(error) => Err(error),
    }
}

pub(super) async fn snapshot<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
) -> Result<Response<P::Response>, Error> {
    let user = session.steered_by(caller).await?;
    Ok(ok::<P>(&session.snapshot(user).await?))
}
