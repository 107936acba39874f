//! What the front worker asks of an object: one file a family (agents.md 2.5, 2.6).

mod approvals;
mod budget;
mod caller;
mod control;
mod create;
mod events;
mod follow_up;
mod git_credentials;
mod mailbox;
mod mailbox_files;
mod mcp;
mod messages;
mod moving;
mod pg_sync;
mod publish;
mod removal;
mod repeated;
mod replay;
mod status;
mod transcripts;
mod tree;

pub(crate) use caller::{Caller, TOOL_CLAIMS};
pub(crate) use follow_up::Told;
pub(crate) use transcripts::CLAIMS;
pub(super) use transcripts::UPLOADS;
pub(super) use tree::LOOKS;

use std::rc::Rc;

use http::{Method, Request, Response, StatusCode};
use serde_json::Value;
use web::RequestBody;

use super::{Platform, Session};
use crate::error::{CORS, Error};

/// The longest body that the front worker sends, in bytes: a checked body of at most a mebibyte, and what it adds.
const MAX_BODY_BYTES: usize = 3 << 20;

/// Where the paths of an object begin.
const PREFIX: &str = "/__session__/";

/// Answers a request of the front worker.
pub async fn handle<P: Platform>(session: &Rc<Session<P>>, mut request: Request<P::Request>) -> Response<P::Response> {
    match dispatch(session, &mut request).await {
        Ok(response) => response,
        Err(error) => {
            request.body_mut().cancel().await;
            let platform = &session.platform;
            web::refuse(&error, &CORS, platform.random_uuid(), |event| platform.report(event))
        }
    }
}

async fn dispatch<P: Platform>(
    session: &Rc<Session<P>>,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let caller = Caller::of(request)?;
    session.is_called(&caller.session_id);
    let path = request.uri().path().strip_prefix(PREFIX).ok_or(Error::NotFound)?.to_owned();
    let mut segments = path.split('/');
    let (verb, rest) = (segments.next().unwrap_or_default(), segments.next());
    let is_get = request.method() == Method::GET;
    if segments.next().is_some() {
        return Err(Error::NotFound);
    }
    match (verb, rest, is_get) {
        ("transcript" | "transcript-token" | "transcript-alias", rest, _) => {
            transcripts::handle(session, &caller, request, verb, rest).await
        }
        ("mailbox", Some(verb), false) => mailbox::handle(session, &caller, request, verb).await,
        ("mailbox-file", Some(digest), _) => mailbox_files::handle(session, &caller, request, digest).await,
        ("git-credentials", None, false) => git_credentials::give(session, request).await,
        ("mcp", None, false) => mcp::answer(session, &caller, request).await,
        ("init", None, false) => create::create(session, &caller, request).await,
        ("status", None, true) => status::status(session, &caller).await,
        ("access", None, true) => status::access(session, &caller).await,
        ("messages", None, false) => messages::post(session, &caller, request).await,
        ("pause", None, false) => control::pause(session, &caller).await,
        ("resume", None, false) => control::resume(session, &caller).await,
        ("interrupt", None, false) => control::interrupt(session, &caller).await,
        ("cancel", None, false) => control::cancel(session, &caller).await,
        ("pr", None, false) => publish::publish(session, &caller, request).await,
        ("snapshot", None, false) => publish::snapshot(session, &caller).await,
        ("events", None, true) => events::list(session, &caller, request).await,
        ("stream", None, true) => events::stream(session, &caller, request).await,
        ("branches", None, true) => status::branches(session, &caller, request).await,
        ("approvals", None, true) => approvals::list(session, &caller).await,
        ("approvals", Some(id), false) => approvals::decide(session, &caller, id, request).await,
        ("disown", Some(id), false) => status::disown(session, &caller, id, request),
        ("expire", Some(id), false) => status::expire(session, &caller, id).await,
        ("move", None, false) => moving::post(session, &caller, request).await,
        ("archive", None, false) => removal::archive(session, &caller).await,
        ("unarchive", None, false) => removal::unarchive(session, &caller).await,
        ("delete", None, false) => removal::delete(session, &caller).await,
        ("files", None, true) => tree::files(session, &caller, request).await,
        ("diff", None, true) => tree::diff(session, &caller, request).await,
        ("budget", None, true) => budget::get(session, &caller).await,
        ("budget", None, false) => budget::set(session, &caller, request).await,
        ("follow-up", None, false) => follow_up::take(session, &caller, request).await,
        ("pg-sync", None, true) => pg_sync::list(session, &caller).await,
        ("pg-sync", None, false) => pg_sync::observe(session, &caller, request).await,
        ("pg-sync", Some(id), false) => pg_sync::unobserve(session, &caller, id).await,
        ("pg-sync-retry", Some(id), false) => pg_sync::retry(session, &caller, id).await,
        ("pg-sync-wake", None, false) => pg_sync::take(session, &caller, request).await,
        ("replay", Some(id), false) => replay::replay(session, &caller, id, request),
        ("terminal", None, true) => super::terminal::open(session, &caller, request).await,
        _ => Err(Error::NotFound),
    }
}

/// An answer with status 200.
fn ok<P: Platform>(body: &Value) -> Response<P::Response> {
    web::json(&CORS, StatusCode::OK, body.to_string())
}

/// The body of a request, as it is.
async fn bytes<P: Platform>(request: &mut Request<P::Request>) -> Result<Vec<u8>, Error> {
    web::read(request, MAX_BODY_BYTES).await.map_err(|error| match error {
        web::ReadError::TooLarge => Error::RequestTooLarge,
        web::ReadError::Interrupted => Error::InvalidBody,
    })
}

/// The checked body that the front worker sends.
async fn body<P: Platform, T: serde::de::DeserializeOwned>(
    request: &mut Request<P::Request>,
) -> Result<(T, Vec<u8>), Error> {
    let bytes = bytes::<P>(request).await?;
    let body = serde_json::from_slice(&bytes).map_err(|_| Error::InvalidBody)?;
    Ok((body, bytes))
}
