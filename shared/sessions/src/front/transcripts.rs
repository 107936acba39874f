//! Transcripts at the front (transcripts.md 4.4): who holds a run token, and what goes on to the object of the session.

use http::{HeaderName, HeaderValue, Request, Response, Uri};
use transcripts::Refused;
use transcripts::run_token::{Claims, is_run_token};
use web::{Blobs, Forward, Objects as _, url};

use super::forward::ORIGIN;
use super::identity::{self, Caller};
use super::platform::Platform;
use super::rates::Kind;
use super::route::Target;
use super::service::Service;
use crate::error::Error;
use crate::object::CLAIMS;

/// What is asked of the transcripts of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TranscriptVerb {
    /// `GET /sessions/:id/transcript`.
    Read,
    /// `DELETE /sessions/:id/transcript`.
    Reset,
    /// `PUT /sessions/:id/runs/:run/transcript`.
    Store(String),
    /// `POST /sessions/:id/runs/:run/token`.
    Token(String),
}

impl TranscriptVerb {
    /// The path of the object.
    fn path(&self) -> String {
        match self {
            Self::Read | Self::Reset => "transcript".to_owned(),
            Self::Store(run) => format!("transcript/{}", url::encode(run)),
            Self::Token(run) => format!("transcript-token/{}", url::encode(run)),
        }
    }
}

/// Headers of a request that the object needs.
const KEPT: [&str; 9] = [
    "accept",
    "content-type",
    "content-length",
    "content-encoding",
    "digest",
    "if-none-match",
    "range",
    "x-attempt",
    "x-terminal-status",
];

/// Answers a route of transcripts.
pub(super) async fn answer<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    session_id: &str,
    verb: &TranscriptVerb,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    crate::request::check_session_id(session_id).map_err(|_| Error::NotFound)?;
    let claims = claims(service, request, platform.now_ms(), false)?;
    let caller = match (&claims, verb) {
        (Some(claims), _) if claims.sid != session_id => {
            return Err(Error::transcript(Refused::RunNotInSession, false));
        }
        (Some(claims), _) => Caller::of_user(Some(claims.sub.clone())),
        (None, TranscriptVerb::Read | TranscriptVerb::Reset) => {
            let target = Target::Transcript(session_id.to_owned(), verb.clone());
            identity::caller(service, request, Some(&target), platform.now_ms()).await?
        }
        // Only whoever runs the agent has anything to store.
        (None, _) => return Err(Error::transcript(Refused::Unauthorized, false)),
    };
    if claims.is_none() && *verb == TranscriptVerb::Reset && service.settings.rate_limits {
        service.rates.take(caller.user()?, Kind::Control, platform.now_ms())?;
    }
    send(platform, session_id, &caller, claims.as_ref(), &verb.path(), request).await
}

/// Answers the routes of clients of 7.2: the session is the token's.
pub(super) async fn alias<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let claims = claims(service, request, platform.now_ms(), true)?;
    let claims = claims.ok_or_else(|| Error::transcript(Refused::Unauthorized, true))?;
    if claims.sid.is_empty() || claims.sub.is_empty() {
        return Err(Error::transcript(Refused::Invalid("the token has no scope"), true));
    }
    let caller = Caller::of_user(Some(claims.sub.clone()));
    let session_id = claims.sid.clone();
    send(platform, &session_id, &caller, Some(&claims), "transcript-alias", request).await
}

/// What a run token says; none when the request has another one, or none.
pub(super) fn claims<K: auth::KeySetSource + auth::Clock, B>(
    service: &Service<K>,
    request: &Request<B>,
    now: i64,
    is_alias: bool,
) -> Result<Option<Claims>, Error> {
    let header = request.headers().get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(token) = auth::token_from_request(header, None).filter(|token| is_run_token(token)) else {
        return Ok(None);
    };
    let refuse = |refused| Error::transcript(refused, is_alias);
    let tokens = service.settings.transcripts.tokens.as_ref().ok_or_else(|| refuse(Refused::NoKeys))?;
    tokens.verify(token, now).map(Some).map_err(|_| refuse(Refused::Unauthorized))
}

/// Sends a request on with what its token says; its body goes along unread.
pub(super) async fn send<P: Platform>(
    platform: &P,
    session_id: &str,
    caller: &Caller,
    claims: Option<&Claims>,
    path: &str,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let internal = |text: String| Error::Internal(text);
    let names: Vec<HeaderName> = request.headers().keys().cloned().collect();
    let run = url::query(request.uri(), "run").map(|run| format!("?run={}", url::encode(&run))).unwrap_or_default();
    let uri: Uri = format!("{ORIGIN}{path}{run}").parse().map_err(|_| Error::NotFound)?;
    let mut forward = Forward::of(request).map_err(|failure| internal(failure.0))?.to(uri);
    for name in names.into_iter().filter(|name| !KEPT.contains(&name.as_str())) {
        forward.remove_header(name);
    }
    let mut set = |name: &'static str, value: &str| -> Result<(), Error> {
        let value = HeaderValue::from_str(value).map_err(|error| internal(error.to_string()))?;
        forward.set_header(HeaderName::from_static(name), value);
        Ok(())
    };
    set("x-session-id", &url::encode(session_id))?;
    set("x-user-id", &url::encode(caller.user.as_deref().unwrap_or_default()))?;
    set("x-caller", if claims.is_some() { "run" } else { "user" })?;
    if let Some(claims) = claims {
        let text = serde_json::to_string(claims).map_err(|error| internal(error.to_string()))?;
        set(CLAIMS, &url::encode(&text))?;
    }
    platform.objects().send(session_id, forward).await.map_err(|failure| internal(failure.0))
}

/// Deletes what nobody needs of transcripts any more (transcripts.md 4.3, 4.10). What fails is reported and done with the next turn of
/// the clock.
pub async fn sweep_transcripts<P: Platform>(platform: &P, service: &Service<P::Keys>, blobs: &impl Blobs) {
    let Some(db) = platform.db() else { return };
    let settings = &service.settings.transcripts;
    let store = transcripts::Store { db, blobs, vault: &settings.vault, limit: settings.max_bytes, quota: None };
    if let Err(error) = store.sweep(platform.now_ms()).await {
        let text = error.to_string();
        platform.report(&web::Event::new(web::Level::Error, "agents/transcripts-not-swept").with_error(&text));
    }
}
