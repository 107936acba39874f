//! What the front worker and the objects of sessions ask of a runner's object.

use std::rc::Rc;

use http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use web::{RequestBody as _, url};

use super::answers::{Answered, Refused, ok};
use super::register::Asked;
use super::{Platform, RunnerObject};
use crate::error::Error;
use crate::mailbox::Presence;
use crate::mailbox::limits::Kind;
use crate::request::MAX_BODY_BYTES;
use crate::request::mailbox::{Attach, Leases, Poll, acks};

/// Where the objects of runners are. They look at paths only.
pub(crate) const ORIGIN: &str = "https://runner/__runner__/";
const PREFIX: &str = "/__runner__/";
/// The runner's object, for sessions: its name.
pub(crate) const KEY: &str = "x-runner-key";
/// Whether the runner is there, for sessions: JSON, encoded as a part of a URL.
pub(crate) const PRESENCE: &str = "x-runner-presence";
/// The name of the runner that a request is about, encoded as a part of a URL.
pub(crate) const RUNNER_ID: &str = "x-runner-id";
/// Digest of the secret that a runner showed.
pub(crate) const SECRET_HASH: &str = "x-runner-secret-hash";
/// The length of a file, as its sender declares it: on its way to an object a body loses its own header.
pub(crate) const DECLARED: &str = "x-declared-length";
/// The process that asks.
pub(crate) const ATTACH: &str = "x-runner-attach";

/// A presence as the text of a header.
pub(crate) fn presence_header(presence: &Presence) -> String {
    url::encode(&serde_json::to_string(presence).unwrap_or_default())
}

/// The presence in a header.
pub(crate) fn presence_of<B>(request: &Request<B>) -> Option<Presence> {
    let text = request.headers().get(PRESENCE)?.to_str().ok().and_then(url::decode)?;
    serde_json::from_str(&text).ok()
}

/// Answers a request of the front worker, or of a session's object.
pub async fn handle<P: Platform>(
    object: &Rc<RunnerObject<P>>,
    mut request: Request<P::Request>,
) -> Response<P::Response> {
    let answered = dispatch(object, &mut request).await;
    if answered.is_err() {
        request.body_mut().cancel().await;
    }
    object.respond(answered)
}

async fn dispatch<P: Platform>(object: &Rc<RunnerObject<P>>, request: &mut Request<P::Request>) -> Answered {
    let path = request.uri().path().strip_prefix(PREFIX).ok_or(Error::NotFound)?.to_owned();
    let (verb, rest) = path.split_once('/').map_or((path.as_str(), None), |(verb, rest)| (verb, Some(rest)));
    match (verb, rest) {
        ("register", None) => {
            let bytes = body(request).await?;
            let asked: Asked = serde_json::from_slice(&bytes).map_err(|_| Error::InvalidBody)?;
            object.register(asked)
        }
        ("revoke", None) => {
            object.revoke()?;
            ok(json!({"ok": true}))
        }
        ("about", None) => object.about(),
        ("bind" | "ring" | "unbind", None) => {
            let bytes = body(request).await?;
            let asked: Value = serde_json::from_slice(&bytes).map_err(|_| Error::InvalidBody)?;
            let session_id = asked.get("session-id").and_then(Value::as_str).ok_or(Error::InvalidBody)?;
            object.hear(session_id, verb)
        }
        _ => of_runner(object, request, verb, rest).await,
    }
}

/// What the runner itself asks, with its token.
async fn of_runner<P: Platform>(
    object: &Rc<RunnerObject<P>>,
    request: &mut Request<P::Request>,
    verb: &str,
    rest: Option<&str>,
) -> Answered {
    match (verb, rest) {
        ("delete", None) => {
            object.let_in(request)?;
            object.revoke()?;
            ok(json!({"ok": true}))
        }
        ("token", None) => {
            object.let_in(request)?;
            object.count(Kind::Attach)?;
            object.rotate()
        }
        ("attach", None) => {
            object.let_in(request)?;
            object.count(Kind::Attach)?;
            let bytes = body(request).await?;
            object.attach(Attach::read(&bytes)?).await
        }
        ("detach", None) => {
            object.let_process_in(request, None)?;
            let bytes = body(request).await?;
            object.detach(crate::mailbox::runner::Detach::read(&bytes)?)
        }
        ("poll", None) => {
            object.let_process_in(request, Some(Kind::Poll))?;
            let bytes = body(request).await?;
            object.poll(Poll::read(&bytes)?).await
        }
        ("acks", None) => {
            object.let_process_in(request, Some(Kind::Poll))?;
            let bytes = body(request).await?;
            object.pass_on(acks(&bytes)?).await?;
            ok(json!({"ok": true}))
        }
        ("leases", None) => {
            object.let_process_in(request, Some(Kind::Leases))?;
            let bytes = body(request).await?;
            object.renew(Leases::read(&bytes)?).await
        }
        ("notices", session_id) => {
            object.let_process_in(request, Some(Kind::Notices))?;
            let session_id = session_id.map(|id| url::decode(id).ok_or(Error::NotFound)).transpose()?;
            let bytes = body(request).await?;
            object.report(session_id.as_deref(), bytes).await
        }
        // What is sent to a session goes there on a way of its own: here it is only let in.
        ("admit", Some(kind)) => {
            let kind = match kind {
                "events" => Kind::Events,
                "files" => Kind::Files,
                _ => return Err(Error::NotFound.into()),
            };
            match object.let_process_in(request, Some(kind)) {
                // Whoever asks reads the text alone.
                Err(Refused::Error(Error::RateLimited(wait))) => {
                    let error = Error::RateLimited(wait).to_string();
                    return Ok((StatusCode::TOO_MANY_REQUESTS, json!({"error": error, "retry-after": wait})));
                }
                let_in => let_in?,
            }
            let presence = object.presence()?.ok_or(Error::NotFound)?;
            Ok((StatusCode::OK, json!({"presence": presence})))
        }
        _ => Err(Error::NotFound.into()),
    }
}

async fn body<B: web::RequestBody>(request: &mut Request<B>) -> Result<Vec<u8>, Refused> {
    let read = web::read(request, MAX_BODY_BYTES).await;
    Ok(read.map_err(|error| match error {
        web::ReadError::TooLarge => Error::RequestTooLarge,
        web::ReadError::Interrupted => Error::InvalidBody,
    })?)
}
