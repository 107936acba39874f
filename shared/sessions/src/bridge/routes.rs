//! What an object of a bridge is asked: by sessions, by the front worker and by the clock (pg-sync.md 4.2, 4.7).

use std::rc::Rc;

use futures_channel::oneshot;
use http::{Method, Request, Response, StatusCode};
use pg_sync::bridge::{Event, MAX_OBSERVERS, NotJoined};
use pg_sync::wake::Wake;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use web::{Call, Failure, Peers, RequestBody, url};

use super::changes::{DEFAULT_LIMIT, MAX_LIMIT, MAX_WAIT_S, Read};
use super::object::Bridge;
use super::{MAX_SESSION_ANSWER_BYTES, Platform, SESSIONS, SOURCE_HEADER, Subscribe, streams};
use crate::error::{CORS, Error};
use crate::pg_sync::PgSyncError;
use crate::runtime::exchange::within;

/// The longest body that an object takes, in bytes: options of at most 16 KiB, and what stands around them.
const MAX_BODY_BYTES: usize = 64 << 10;
/// How long a subscription is waited for, in milliseconds; the bridge itself gives up after ten seconds.
const JOINING_MS: u32 = 15_000;
/// Observing sessions that are asked whether somebody may read.
const MAX_ASKED: usize = 20;

#[derive(Deserialize)]
struct Subscription {
    subscription_id: String,
}

/// Answers a request.
pub async fn handle<P: Platform>(bridge: &Rc<Bridge<P>>, mut request: Request<P::Request>) -> Response<P::Response> {
    if let Some(verb) = streams::Verb::of(request.uri().path()) {
        return streams::handle(bridge, verb, &mut request).await;
    }
    match dispatch(bridge, &mut request).await {
        Ok((status, body)) => web::json(&CORS, status, body.to_string()),
        Err(error) => {
            request.body_mut().cancel().await;
            let platform = &bridge.platform;
            web::refuse(&error, &CORS, platform.random_uuid(), |event| platform.report(event))
        }
    }
}

async fn dispatch<P: Platform>(
    bridge: &Rc<Bridge<P>>,
    request: &mut Request<P::Request>,
) -> Result<(StatusCode, Value), Error> {
    let (named, is_there) = named(bridge, request)?;
    let verb = request.uri().path().strip_prefix("/__bridge__/").ok_or(Error::NotFound)?.to_owned();
    let is_get = request.method() == Method::GET;
    if verb == "subscribe" && !is_get {
        return subscribe(bridge, &named, body(request).await?).await;
    }
    if !is_there {
        return Err(Error::NotFound);
    }
    match (verb.as_str(), is_get) {
        ("unsubscribe", false) => {
            let Subscription { subscription_id: id } = body(request).await?;
            bridge.happens(Event::Unsubscribe { id })?;
            Ok((StatusCode::OK, json!({"ok": true})))
        }
        ("show", false) => {
            let Subscription { subscription_id: id } = body(request).await?;
            let now = bridge.platform.now_ms();
            let shown = bridge.look(|bridge| Some(bridge.observation(bridge.observers().get(&id)?, now)));
            Ok((StatusCode::OK, shown.flatten().ok_or(Error::NotFound)?))
        }
        ("retry", false) => happened(bridge, Event::Retry),
        ("touch", false) => happened(bridge, Event::ConnectionTouched),
        ("poke", false) => {
            bridge.tells();
            happened(bridge, Event::Due)
        }
        ("changes", true) => changes(bridge, request).await,
        _ => Err(Error::NotFound),
    }
}

/// The source that is named, and whether its bridge is there. An object refuses another source than its own.
pub(super) fn named<P: Platform>(
    bridge: &Rc<Bridge<P>>,
    request: &Request<P::Request>,
) -> Result<(String, bool), Error> {
    let named = header(request, SOURCE_HEADER).ok_or(Error::NotFound)?.to_owned();
    let is_there = bridge.load()?;
    let is_own = bridge.look(|bridge| bridge.stored().source.id == named).unwrap_or(true);
    if is_own { Ok((named, is_there)) } else { Err(Error::NotFound) }
}

fn happened<P: Platform>(bridge: &Rc<Bridge<P>>, event: Event) -> Result<(StatusCode, Value), Error> {
    bridge.happens(event)?;
    Ok((StatusCode::OK, json!({"ok": true})))
}

pub(super) fn header<'r, B>(request: &'r Request<B>, name: &str) -> Option<&'r str> {
    request.headers().get(name).and_then(|value| value.to_str().ok())
}

pub(super) async fn body<T: DeserializeOwned>(request: &mut Request<impl RequestBody>) -> Result<T, Error> {
    let bytes = web::read(request, MAX_BODY_BYTES).await.map_err(|_| Error::InvalidBody)?;
    serde_json::from_slice(&bytes).map_err(|_| Error::InvalidBody)
}

/// Answers when nothing is missed any more: 201 for a subscription that is new, 200 for one that is known.
async fn subscribe<P: Platform>(
    bridge: &Rc<Bridge<P>>,
    named: &str,
    wanted: Subscribe,
) -> Result<(StatusCode, Value), Error> {
    let Subscribe { source, subscription_id: id, session, wake } = wanted;
    if source.id != named {
        return Err(Error::NotFound);
    }
    bridge.create(source)?;
    let is_known = bridge.look(|bridge| bridge.observers().contains_key(&id)).unwrap_or(false);
    join(bridge, id, session, wake).await?;
    let status = if is_known { StatusCode::OK } else { StatusCode::CREATED };
    let state = bridge.look(|bridge| bridge.stored().state.as_str()).unwrap_or_default();
    Ok((status, json!({"state": state})))
}

/// Subscribes, and waits for the moment from which nothing is missed.
pub(super) async fn join<P: Platform>(
    bridge: &Rc<Bridge<P>>,
    id: String,
    session: String,
    wake: Wake,
) -> Result<(), Error> {
    let (told, joined) = oneshot::channel();
    bridge.joining.borrow_mut().entry(id.clone()).or_default().push(told);
    bridge.happens(Event::Subscribe { id: id.clone(), session, wake })?;
    match within(&bridge.platform, JOINING_MS, joined).await {
        Some(Ok(Ok(()))) => Ok(()),
        Some(Ok(Err(why))) => Err(refusal(why).into()),
        Some(Err(_)) | None => {
            // Whoever waited is told that there is none: so there is none.
            bridge.happens(Event::Unsubscribe { id })?;
            Err(PgSyncError::BridgeUnavailable.into())
        }
    }
}

fn refusal(why: NotJoined) -> PgSyncError {
    match why {
        NotJoined::Refused(refusal) => PgSyncError::ProbeFailed { status: refusal.status, detail: refusal.detail },
        NotJoined::NoAnswer => PgSyncError::ProbeFailed { status: 0, detail: "the service does not answer".into() },
        NotJoined::Unusable(reason) => reason.into(),
        NotJoined::Unavailable => PgSyncError::BridgeUnavailable,
        NotJoined::Quota => {
            PgSyncError::Quota { limit: i64::try_from(MAX_OBSERVERS).unwrap_or(i64::MAX), scope: "source" }
        }
    }
}

async fn changes<P: Platform>(
    bridge: &Rc<Bridge<P>>,
    request: &Request<P::Request>,
) -> Result<(StatusCode, Value), Error> {
    let number = |name: &'static str, least: u64, most: u64, default: u64| {
        let Some(text) = url::query(request.uri(), name) else { return Ok(default) };
        let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse::<u64>().ok().filter(|number| is_digits && (least..=most).contains(number));
        number.ok_or_else(|| PgSyncError::InvalidOptions(vec![name.to_owned()]))
    };
    let after = number("after", 0, u64::MAX, 0)?;
    let limit = number("limit", 1, MAX_LIMIT as u64, DEFAULT_LIMIT as u64)?;
    let wait = number("wait", 0, MAX_WAIT_S.into(), 0)?;
    if header(request, "x-caller") != Some("service") && !may_read(bridge, request).await {
        return Err(Error::NotFound);
    }
    let limit = usize::try_from(limit).unwrap_or(MAX_LIMIT);
    match bridge.read(after, limit, u32::try_from(wait).unwrap_or(0)).await? {
        Read::Page(page) => Ok((StatusCode::OK, page)),
        Read::Gone(first_seq) => Err(PgSyncError::Gone(first_seq).into()),
        Read::Absent => Err(Error::NotFound),
    }
}

/// Whether the user may use a session that observes the source. Its owner has made all of them.
async fn may_read<P: Platform>(bridge: &Rc<Bridge<P>>, request: &Request<P::Request>) -> bool {
    let Some(user) = header(request, "x-user-id").filter(|user| !user.is_empty()) else { return false };
    let seen = bridge.look(|bridge| {
        let sessions: Vec<String> =
            bridge.observers().values().take(MAX_ASKED).map(|observer| observer.session.clone()).collect();
        (bridge.stored().source.owner.clone(), sessions)
    });
    let Some((owner, sessions)) = seen else { return false };
    if url::decode(user).as_deref() == Some(owner.as_str()) {
        return !sessions.is_empty();
    }
    let objects = bridge.platform.sessions();
    // At most MAX_ASKED.
    for session in sessions {
        if matches!(ask_for_access(&*objects, &session, user).await, Ok(StatusCode::OK)) {
            return true;
        }
    }
    false
}

/// What a session says about a user.
async fn ask_for_access(sessions: &impl Peers, session: &str, user: &str) -> Result<StatusCode, Failure> {
    let call = Call::new(Method::GET, format!("{SESSIONS}access"))
        .with_header("x-session-id", &url::encode(session))?
        .with_header("x-user-id", user)?
        .with_header("x-caller", "user")?;
    Ok(sessions.ask(session, call, MAX_SESSION_ANSWER_BYTES).await?.0)
}
