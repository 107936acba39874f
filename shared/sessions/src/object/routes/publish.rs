//! Publishing a branch and taking a snapshot (agents.md 2.6.7, 2.6.8, 10).

use std::rc::Rc;

use http::{Request, Response};
use serde_json::Value;

use super::repeated::{self, Repeat};
use super::{Caller, body, ok};
use crate::error::Error;
use crate::object::{Platform, Session};
use crate::publish::{Admission, Intent, admit, intent};
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
    admitted(session, &wanted)?;
    session.publish(user, &wanted).await
}

/// Whether the session may publish this (agents.md 10.1).
fn admitted<P: Platform>(session: &Session<P>, wanted: &PublishRequest) -> Result<(), Error> {
    session.look(|core| {
        let admission = Admission {
            is_terminal: core.state.status.is_terminal(),
            push_enabled: core.task.push_enabled(),
            pr_enabled: core.task.pr_enabled(),
            create_pr: wanted.create_pr,
            repo_url: core.task.repo_url(),
            has_runtime: core.state.runtime.is_some(),
            head_branch: wanted.head_branch.as_deref(),
        };
        admit(&admission).map(drop)
    })??;
    Ok(())
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
    if admitted(session, &wanted).is_err() {
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
