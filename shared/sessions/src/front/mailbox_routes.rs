//! Runners that call us (session-mailbox.md 7): they are let in by their own objects, and what they say of a session goes on to that one.

use http::header::{AUTHORIZATION, CONTENT_LENGTH};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use serde_json::{Value, json};
use web::{Call, Forward, Objects as _, Peers as _, url};

use super::platform::Platform;
use super::service::Service;
use super::{forward, ok, rates, session_routes};
use crate::error::{CORS, Error};
use crate::mailbox::runner::RegisterError;
use crate::mailbox::{Token, limits};
use crate::registry::mailbox_runners::{self, Registered};
use crate::registry::runners::{self, MAX_RUNNERS};
use crate::registry::{MailboxRunner, Runner};
use crate::request::mailbox::RegisterMailbox;
use crate::runner_object::{ATTACH, Asked, DECLARED, KEY, ORIGIN, PRESENCE, RUNNER_ID, SECRET_HASH};

/// On the answer of `GET /runners`: runners may call us (session-mailbox.md 8.6).
pub(super) const OFFERED: HeaderName = HeaderName::from_static("x-logseq-mailbox");
/// The process of a runner that asks.
const SHOWN_ATTACH: &str = "x-runner-attach";
/// The largest answer of an object that is read here.
const MAX_ANSWER_BYTES: usize = 256 << 10;
/// How often a registration is tried again because another one of the same name was quicker.
const TRIES: u32 = 3;

/// What a runner asks with its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunnerVerb {
    /// `POST …/token`.
    Token,
    /// `POST …/detach`.
    Detach,
    /// `POST …/attach`.
    Attach,
    /// `POST …/poll`.
    Poll,
    /// `POST …/acks`.
    Acks,
    /// `POST …/leases`.
    Leases,
    /// `POST …/notices`.
    Notices,
    /// `POST …/sessions/:session-id/notices`.
    SessionNotices(String),
    /// `POST …/sessions/:session-id/events`.
    Events(String),
    /// `PUT` and `GET …/sessions/:session-id/files/:sha256`.
    File(String, String),
}

/// The objects of runners, where runners may call us.
pub(super) fn offered<'a, P: Platform>(platform: &'a P, service: &Service<P::Keys>) -> Result<&'a P::Runners, Error> {
    platform.runners().filter(|_| service.settings.runtime.runner_mailbox).ok_or(Error::MailboxOff)
}

/// The token of a runner in a request, if it is one at all.
fn shown_token<B>(request: &Request<B>) -> Option<&str> {
    let header = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether whoever asks says that it is a runner.
pub(super) fn is_runner<B>(request: &Request<B>) -> bool {
    shown_token(request).is_some_and(|token| token.starts_with(crate::mailbox::TOKEN_PREFIX))
}

/// A token was refused. Whoever shows too many of them is told to wait.
fn refused<P: Platform, B>(platform: &P, service: &Service<P::Keys>, request: &Request<B>) -> Error {
    if !service.settings.rate_limits {
        return Error::Unauthorized;
    }
    let address = request.headers().get("cf-connecting-ip").and_then(|value| value.to_str().ok());
    match service.rates.failed_token(address.unwrap_or("loopback"), platform.now_ms()) {
        Ok(()) => Error::Unauthorized,
        Err(error) => error,
    }
}

fn call(path: &str, body: Vec<u8>) -> Call {
    Call { body, ..Call::new(Method::POST, format!("{ORIGIN}{path}")) }
}

/// Asks the object of a runner on behalf of the service.
async fn ask<P: Platform>(runners: &P::Runners, key: &str, call: Call) -> Result<(StatusCode, Value), Error> {
    let answered = runners.ask(key, call, MAX_ANSWER_BYTES).await.map_err(|failure| Error::Internal(failure.0))?;
    let (status, bytes) = answered;
    let body = serde_json::from_slice(&bytes).map_err(|error| Error::Internal(error.to_string()))?;
    Ok((status, body))
}

fn text(text: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(text).map_err(|error| Error::Internal(error.to_string()))
}

/// Who asks, as the object of a runner is told.
fn proof<B>(request: &Request<B>, token: &Token, runner_id: &str) -> Result<Vec<(&'static str, HeaderValue)>, Error> {
    let mut headers = vec![(RUNNER_ID, text(&url::encode(runner_id))?), (SECRET_HASH, text(token.hash().text())?)];
    headers.extend(request.headers().get(SHOWN_ATTACH).map(|attach| (ATTACH, attach.clone())));
    Ok(headers)
}

/// Answers a request of a runner.
pub(super) async fn answer<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    runner_id: &str,
    verb: &RunnerVerb,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let token = shown_token(request).and_then(Token::parse);
    let Some(token) = token else { return Err(refused(platform, service, request)) };
    let runners = offered(platform, service)?;
    let path = match verb {
        RunnerVerb::Token => "token".to_owned(),
        RunnerVerb::Detach => "detach".to_owned(),
        RunnerVerb::Attach => "attach".to_owned(),
        RunnerVerb::Poll => "poll".to_owned(),
        RunnerVerb::Acks => "acks".to_owned(),
        RunnerVerb::Leases => "leases".to_owned(),
        RunnerVerb::Notices => "notices".to_owned(),
        RunnerVerb::SessionNotices(session) => format!("notices/{}", url::encode(session)),
        RunnerVerb::Events(session) => {
            let admitted = admit(platform, service, runner_id, &token, "events", request).await?;
            return to_session(platform, session, "mailbox/events", &token, admitted, request).await;
        }
        RunnerVerb::File(session, digest) => {
            let admitted = admit(platform, service, runner_id, &token, "files", request).await?;
            let path = format!("mailbox-file/{}", url::encode(digest));
            return to_session(platform, session, &path, &token, admitted, request).await;
        }
    };
    let proof = proof(request, &token, runner_id)?;
    let forward = without_headers(request, &format!("{ORIGIN}{path}"), proof)?;
    let answered = runners.send(token.key(), forward).await.map_err(|failure| Error::Internal(failure.0))?;
    if answered.status() == StatusCode::UNAUTHORIZED
        && let error @ Error::RateLimited(_) = refused(platform, service, request)
    {
        return Err(error);
    }
    Ok(answered)
}

/// The request as it goes on: its method and body, with these headers and no others.
fn without_headers<B: web::RequestBody>(
    request: &mut Request<B>,
    uri: &str,
    headers: Vec<(&'static str, HeaderValue)>,
) -> Result<Forward<B>, Error> {
    let names: Vec<HeaderName> = request.headers().keys().cloned().collect();
    let uri: Uri = uri.parse().map_err(|_| Error::NotFound)?;
    let mut forward = Forward::of(request).map_err(|failure| Error::Internal(failure.0))?.to(uri);
    for name in names.into_iter().filter(|name| *name != CONTENT_LENGTH) {
        forward.remove_header(name);
    }
    for (name, value) in headers {
        forward.set_header(HeaderName::from_static(name), value);
    }
    Ok(forward)
}

/// Asks the runner's object whether the request may go to a session; what that one is told of the runner.
async fn admit<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    runner_id: &str,
    token: &Token,
    kind: &str,
    request: &Request<P::Request>,
) -> Result<Result<HeaderValue, (StatusCode, Value)>, Error> {
    let mut asked = call(&format!("admit/{kind}"), Vec::new());
    for (name, value) in proof(request, token, runner_id)? {
        asked.headers.insert(HeaderName::from_static(name), value);
    }
    let (status, said) = ask::<P>(offered(platform, service)?, token.key(), asked).await?;
    match status {
        StatusCode::OK => {
            let presence = said.get("presence").unwrap_or(&Value::Null).to_string();
            Ok(Ok(text(&url::encode(&presence))?))
        }
        StatusCode::TOO_MANY_REQUESTS => {
            let wait = said.get("retry-after").and_then(Value::as_u64).and_then(|wait| u32::try_from(wait).ok());
            Err(Error::RateLimited(wait.unwrap_or(1)))
        }
        StatusCode::UNAUTHORIZED => match refused(platform, service, request) {
            error @ Error::RateLimited(_) => Err(error),
            _ => Ok(Err((status, said))),
        },
        _ => Ok(Err((status, said))),
    }
}

/// Sends a request that was let in to the object of its session.
async fn to_session<P: Platform>(
    platform: &P,
    session_id: &str,
    path: &str,
    token: &Token,
    admitted: Result<HeaderValue, (StatusCode, Value)>,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let presence = match admitted {
        Ok(presence) => presence,
        Err((status, said)) => return Ok(web::json(&CORS, status, said.to_string())),
    };
    crate::request::check_session_id(session_id).map_err(|_| Error::NotFound)?;
    let mut headers = vec![
        ("x-session-id", text(&url::encode(session_id))?),
        ("x-caller", HeaderValue::from_static("service")),
        (KEY, text(token.key())?),
        (PRESENCE, presence),
    ];
    headers.extend(request.headers().get(CONTENT_LENGTH).map(|length| (DECLARED, length.clone())));
    let forward = without_headers(request, &format!("{}{path}", forward::ORIGIN), headers)?;
    platform.objects().send(session_id, forward).await.map_err(|failure| Error::Internal(failure.0))
}

/// A runner that calls us is registered.
pub(super) async fn register<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    user: &str,
    body: &[u8],
) -> Result<Response<P::Response>, Error> {
    let wanted = RegisterMailbox::read(body)?;
    let runners = offered(platform, service)?;
    session_routes::take_rate(platform, service, user, rates::Kind::Register)?;
    let db = platform.db().ok_or_else(|| Error::Register("no database".to_owned()))?;
    let limit = service.settings.rate_limits.then_some(MAX_RUNNERS);
    let known = runners::get(db, user, &wanted.runner_id).await?;
    if let (None, Some(limit)) = (&known, limit)
        && !mailbox_runners::has_room(db, user, limit).await?
    {
        return Err(Error::TooManyRunners);
    }
    let new_key = || platform.random_uuid().simple().to_string();
    let before = known.and_then(|known| known.mailbox).map(|mailbox| mailbox.key);
    let mut key = before.clone().unwrap_or_else(new_key);
    for _ in 0..TRIES {
        let asked = Asked {
            key: key.clone(),
            user_id: user.to_owned(),
            runner_id: wanted.runner_id.clone(),
            instance_id: wanted.instance_id.clone(),
            replace: wanted.replace,
        };
        let asked = serde_json::to_vec(&asked).map_err(|error| Error::Internal(error.to_string()))?;
        let (status, mut said) = ask::<P>(runners, &key, call("register", asked)).await?;
        if status == StatusCode::UNAUTHORIZED {
            // The runner was deleted, and its row was not.
            mailbox_runners::delete(db, &key).await?;
            key = new_key();
            continue;
        }
        if status != StatusCode::OK {
            return Ok(web::json(&CORS, status, said.to_string()));
        }
        let epoch = said.get("runner-epoch").and_then(Value::as_u64).unwrap_or_default();
        let registered = Registered { key: &key, epoch };
        let kept = mailbox_runners::register(db, user, &wanted, &registered, limit, platform.now_ms()).await;
        let is_kept = kept.as_ref().is_ok_and(|kept| kept.mailbox.as_ref().is_some_and(|mailbox| mailbox.key == key));
        // A runner that was there already stays one when its row cannot be written: it registers again.
        let is_runner = kept.is_err() && before.as_ref() == Some(&key);
        if !is_kept && !is_runner {
            // Nobody gets to know the token: the object is nobody's.
            ask::<P>(runners, &key, call("revoke", Vec::new())).await?;
        }
        let kept = kept?;
        if !is_kept {
            key = kept.mailbox.map_or_else(new_key, |mailbox| mailbox.key);
            continue;
        }
        let mut take = |name: &str| said.get_mut(name).map_or(Value::Null, Value::take);
        return Ok(ok(&json!({
            "runner": kept.shown(),
            "runner-token": take("runner-token"),
            "runner-token-expires-at": take("runner-token-expires-at"),
        })));
    }
    Err(Error::RequestInProgress)
}

/// A runner of the other kind takes the name of this one: not while it is there (session-mailbox.md 7.2). The refusal, if it is one.
pub(super) async fn keeps_name<P: Platform>(
    platform: &P,
    runner: &MailboxRunner,
) -> Result<Option<Response<P::Response>>, Error> {
    let Some(runners) = platform.runners() else { return Ok(None) };
    let (_, said) = ask::<P>(runners, &runner.key, call("about", Vec::new())).await?;
    let seen = said.get("presence").and_then(|presence| presence.get("last-seen-at")).and_then(Value::as_i64);
    let Some(seen) = seen.filter(|seen| platform.now_ms().saturating_sub(*seen) <= limits::IN_USE_MS) else {
        return Ok(None);
    };
    let (status, body) = RegisterError::InUse(seen).answer();
    Ok(Some(web::json(&CORS, status, body.to_string())))
}

/// What a user is shown of a runner that calls us, beside its row.
pub(super) async fn shown<P: Platform>(platform: &P, runner: &Runner) -> Result<Value, Error> {
    let mut shown = runner.shown();
    if let (Some(mailbox), Some(runners), Some(members)) = (&runner.mailbox, platform.runners(), shown.as_object_mut())
    {
        let (_, mut said) = ask::<P>(runners, &mailbox.key, call("about", Vec::new())).await?;
        members.insert("notices".to_owned(), said.get_mut("notices").map_or(json!([]), Value::take));
    }
    Ok(shown)
}

/// What the object of a runner knows is voided: its row goes, or is another one's.
pub(super) async fn revoke<P: Platform>(platform: &P, runner: &MailboxRunner) -> Result<(), Error> {
    if let Some(runners) = platform.runners() {
        ask::<P>(runners, &runner.key, call("revoke", Vec::new())).await?;
    }
    Ok(())
}

/// A runner deletes itself.
pub(super) async fn delete<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    runner_id: &str,
    request: &Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let token = shown_token(request).and_then(Token::parse);
    let Some(token) = token else { return Err(refused(platform, service, request)) };
    let mut asked = call("delete", Vec::new());
    for (name, value) in proof(request, &token, runner_id)? {
        asked.headers.insert(HeaderName::from_static(name), value);
    }
    let (status, said) = ask::<P>(offered(platform, service)?, token.key(), asked).await?;
    if status == StatusCode::OK {
        mailbox_runners::delete(platform.db().ok_or(Error::NotFound)?, token.key()).await?;
    }
    Ok(web::json(&CORS, status, said.to_string()))
}
