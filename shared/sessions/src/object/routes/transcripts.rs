//! Reading, storing and forgetting the conversation of a session (transcripts.md 4.4), and the routes of clients of 7.2.

use std::rc::Rc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::header::{ACCEPT, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RANGE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use serde_json::json;
use sha2::{Digest, Sha256};
use transcripts::alias::{CONTENT_TYPE as PLAIN, Upload};
use transcripts::bundle::{BundleError, Described};
use transcripts::limits::{ALIAS_REST_BYTES, ARCHIVE_BYTES, JSON_GROWTH};
use transcripts::rules::Status;
use transcripts::run_token::{Claims, READ, Run, WRITE};
use transcripts::store::{Place, Snapshot};
use transcripts::{Bundle, Refused, archive, codec, sha256_hex};
use web::{ResponseBody, url};

use super::Caller;
use crate::error::{CORS, Error};
use crate::object::transcripts::StoreFailure;
use crate::object::{Platform, Session};
use crate::session::decide::{on_reset, on_stored};
use crate::session::transcript::{Kept, is_live, run_name, run_number};

/// Uploads that one object reads at the same time.
pub(in crate::object) const UPLOADS: usize = 2;
/// The content type of a bundle.
const ARCHIVE: &str = "application/x-tar";
/// The header in which the front worker says what a run token said.
pub(crate) const CLAIMS: &str = "x-run-claims";

/// Whoever asks: a person, or the holder of a checked token.
struct Asker<'a> {
    caller: &'a Caller,
    claims: Option<Claims>,
    /// Whether the answer has the form of 7.2.
    is_alias: bool,
}

impl Asker<'_> {
    fn refuse(&self, refused: Refused) -> Error {
        Error::transcript(refused, self.is_alias)
    }

    /// The token, where one is needed.
    fn token(&self) -> Result<&Claims, Error> {
        self.claims.as_ref().ok_or_else(|| self.refuse(Refused::Unauthorized))
    }
}

/// Answers a request about transcripts; `verb` and `rest` are the parts of its path.
pub(super) async fn handle<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
    request: &mut Request<P::Request>,
    verb: &str,
    rest: Option<&str>,
) -> Result<Response<P::Response>, Error> {
    let claims = request.headers().get(CLAIMS).and_then(|value| value.to_str().ok()).and_then(url::decode);
    let claims = claims.map(|text| serde_json::from_str(&text)).transpose();
    let claims = claims.map_err(|error| Error::Internal(error.to_string()))?;
    let asker = Asker { caller, claims, is_alias: verb == "transcript-alias" };
    if !session.load()? {
        let is_upload = *request.method() == Method::POST;
        return Err(asker.refuse(if is_upload { Refused::RunNotInSession } else { Refused::NotFound }));
    }
    if let Some(claims) = &asker.claims {
        // A token is for one user's session, whoever had its name before.
        let (name, user) = session.names()?;
        if claims.sid != name || claims.sub != user {
            return Err(asker.refuse(Refused::RunNotInSession));
        }
    }
    let method = request.method().clone();
    let answer = dispatch(session, &asker, request, verb, rest).await;
    if let (Err(Error::Transcript { refused, .. }), true) = (&answer, method == Method::PUT || method == Method::POST) {
        // A conversation that is not kept is lost when its sandbox is: whoever looks after the service hears of it.
        let event = web::Event::new(web::Level::Warning, "agents/transcript-refused");
        session.platform.report(&event.with_error(refused.code()));
    }
    answer
}

async fn dispatch<P: Platform>(
    session: &Rc<Session<P>>,
    asker: &Asker<'_>,
    request: &mut Request<P::Request>,
    verb: &str,
    rest: Option<&str>,
) -> Result<Response<P::Response>, Error> {
    let method = request.method().clone();
    match (verb, rest) {
        ("transcript", None) if method == Method::GET => read(session, asker, request).await,
        ("transcript", None) if method == Method::DELETE => reset(session, asker).await,
        ("transcript", Some(run)) if method == Method::PUT => store(session, asker, request, run).await,
        ("transcript-token", Some(run)) if method == Method::POST => renew(session, asker, request, run).await,
        ("transcript-alias", None) if method == Method::GET => read_alias(session, asker).await,
        ("transcript-alias", None) if method == Method::POST => store_alias(session, asker, request).await,
        ("transcript-alias", None) if method == Method::DELETE => reset(session, asker).await,
        _ => Err(Error::NotFound),
    }
}

/// The snapshot to go on from, or that of a run.
async fn found<P: Platform>(
    session: &Rc<Session<P>>,
    asker: &Asker<'_>,
    run: Option<&str>,
) -> Result<Option<Snapshot>, Error> {
    let shelf = session.shelf().ok_or_else(|| asker.refuse(Refused::NoStore))?;
    let answered = |failure: StoreFailure| failure.answered(asker.is_alias);
    let epoch = session.epoch(&shelf).await.map_err(answered)?;
    if let Some(claims) = &asker.claims {
        if !claims.allows(READ) {
            return Err(asker.refuse(Refused::Scope));
        }
        check_epoch(session, asker, claims)?;
    }
    let (name, user) = session.names()?;
    let store = session.snapshots(&shelf);
    let snapshot = match run {
        Some(run) => store.of_run(&name, &user, epoch, run).await,
        None => store.latest(&name, &user, epoch).await,
    };
    snapshot.map_err(|error| answered(error.into()))
}

async fn read<P: Platform>(
    session: &Rc<Session<P>>,
    asker: &Asker<'_>,
    request: &Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    if asker.claims.is_none() {
        session.seen_by(asker.caller).await?;
    }
    let run = url::query(request.uri(), "run").map(std::borrow::Cow::into_owned);
    let Some(snapshot) = found(session, asker, run.as_deref()).await? else {
        // That a session has no transcript yet is no failure; a run that nobody knows is one.
        return if run.is_some() { Err(asker.refuse(Refused::NotFound)) } else { Ok(web::no_content(&CORS)) };
    };
    let asks_archive = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
    let asks_archive = asks_archive.is_some_and(|accept| accept.contains(ARCHIVE));
    let (kind, bytes, etag) = match snapshot.bundle.only().filter(|_| !asks_archive) {
        Some(only) => (PLAIN, only.to_vec(), snapshot.bundle.sha256()),
        None => {
            let bytes = archive::write(&snapshot.bundle).map_err(|error| Error::Internal(error.to_string()))?;
            let etag = sha256_hex(&bytes);
            (ARCHIVE, bytes, etag)
        }
    };
    let etag = format!("\"{etag}\"");
    let mut response = part(asker, request.headers(), bytes, &etag)?;
    describe(response.headers_mut(), kind, &snapshot, Some(&etag))?;
    Ok(response)
}

/// What is asked for of a snapshot: nothing when it is known, a range, or all of it.
fn part<R: ResponseBody>(
    asker: &Asker<'_>,
    headers: &HeaderMap,
    bytes: Vec<u8>,
    etag: &str,
) -> Result<Response<R>, Error> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let is_known = |known: &str| known.split(',').map(str::trim).any(|known| known == "*" || known == etag);
    let with = |status, body| {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        response
    };
    if text(IF_NONE_MATCH).is_some_and(is_known) {
        return Ok(with(StatusCode::NOT_MODIFIED, R::empty()));
    }
    let size = bytes.len();
    match text(RANGE).and_then(|range| range_of(range, size)) {
        None => Ok(with(StatusCode::OK, R::full(bytes))),
        Some(None) => Err(asker.refuse(Refused::Range)),
        Some(Some((first, last))) => {
            let piece = bytes.get(first..=last).unwrap_or_default().to_vec();
            let mut response = with(StatusCode::PARTIAL_CONTENT, R::full(piece));
            let range = HeaderValue::from_str(&format!("bytes {first}-{last}/{size}"));
            response.headers_mut().insert(CONTENT_RANGE, range.map_err(|error| Error::Internal(error.to_string()))?);
            Ok(response)
        }
    }
}

/// The first and the last byte of a range: none when it is no single range of bytes, and is left alone; `Some(None)` when the content
/// does not have it.
fn range_of(text: &str, size: usize) -> Option<Option<(usize, usize)>> {
    let (first, last) = text.strip_prefix("bytes=")?.trim().split_once('-')?;
    let last_byte = size.checked_sub(1);
    if first.is_empty() {
        let count: usize = last.parse().ok()?;
        return Some(last_byte.filter(|_| count > 0).map(|last| (size.saturating_sub(count), last)));
    }
    let first: usize = first.parse().ok()?;
    let last: usize = if last.is_empty() { usize::MAX } else { last.parse().ok()? };
    if last < first {
        return None;
    }
    Some(last_byte.filter(|end| first <= *end).map(|end| (first, last.min(end))))
}

fn describe(headers: &mut HeaderMap, kind: &'static str, snapshot: &Snapshot, etag: Option<&str>) -> Result<(), Error> {
    let value = |text: &str| HeaderValue::from_str(text).map_err(|error| Error::Internal(error.to_string()));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(http::header::CACHE_CONTROL, web::NO_STORE);
    headers.insert(http::header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert("x-snapshot-run-id", value(&snapshot.run)?);
    headers.insert("x-snapshot-epoch", HeaderValue::from(snapshot.epoch));
    if let Some(etag) = etag {
        headers.insert(ETAG, value(etag)?);
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    CORS.allow(headers);
    Ok(())
}

async fn read_alias<P: Platform>(session: &Rc<Session<P>>, asker: &Asker<'_>) -> Result<Response<P::Response>, Error> {
    asker.token()?;
    let snapshot = found(session, asker, None).await?;
    // It carries one file only.
    let only = snapshot.as_ref().and_then(|snapshot| Some((snapshot, snapshot.bundle.only()?.to_vec())));
    let (snapshot, bytes) = only.ok_or_else(|| asker.refuse(Refused::NotFound))?;
    let mut response = Response::new(P::Response::full(bytes));
    describe(response.headers_mut(), PLAIN, snapshot, None)?;
    Ok(response)
}

/// Whether a token is of the conversation as it is now.
fn check_epoch<P: Platform>(session: &Session<P>, asker: &Asker<'_>, claims: &Claims) -> Result<(), Error> {
    let run = claims.run.as_ref().map(|run| run.seq);
    let is_present = session.look(|core| core.state.transcript.is_of(claims.ep, run))?;
    if is_present { Ok(()) } else { Err(asker.refuse(Refused::EpochGone)) }
}

/// The run that a token may write, when it is the one that is named.
fn writable<'a, P: Platform>(
    session: &Session<P>,
    asker: &'a Asker<'_>,
    seq: u64,
) -> Result<(&'a Claims, &'a Run), Error> {
    let claims = asker.token()?;
    let run = claims.run.as_ref().filter(|run| run.seq == seq).ok_or_else(|| asker.refuse(Refused::RunMismatch))?;
    if !claims.allows(WRITE) {
        return Err(asker.refuse(Refused::Scope));
    }
    let now = session.platform.now_ms();
    let (is_known, is_open) = session.look(|core| {
        let state = &core.state;
        let is_known = run_name(seq) == run.run && (1..=state.turns).contains(&seq);
        (is_known, state.transcript.takes(state.turn.as_ref(), seq, now))
    })?;
    if !is_known {
        return Err(asker.refuse(Refused::RunNotInSession));
    }
    if is_open { Ok((claims, run)) } else { Err(asker.refuse(Refused::Unauthorized)) }
}

/// Stores an upload of a run; `status` is none for one that goes on.
async fn keep<P: Platform>(
    session: &Rc<Session<P>>,
    asker: &Asker<'_>,
    seq: u64,
    status: Option<Status>,
    attempt: Option<u64>,
    bundle: Bundle,
) -> Result<(), Error> {
    let (claims, run) = writable(session, asker, seq)?;
    let attempt = attempt.unwrap_or(claims.att);
    let is_stale = session.look(|core| {
        let lease = core.state.transcript.lease.as_ref();
        attempt < claims.att || lease.is_some_and(|lease| lease.is_later_than(seq, attempt))
    })?;
    if is_stale {
        return Err(asker.refuse(Refused::StaleAttempt));
    }
    let shelf = session.shelf().ok_or_else(|| asker.refuse(Refused::NoStore))?;
    let answered = |failure: StoreFailure| failure.answered(asker.is_alias);
    let bundle = bundle.with_run(&run.run, attempt);
    let _writing = session.writing.lock().await;
    let epoch = session.epoch(&shelf).await.map_err(answered)?;
    // Looked at with nobody else writing: a reset that came first counts.
    check_epoch(session, asker, claims)?;
    let (name, user) = session.names()?;
    let place = Place { session: &name, user: &user, epoch, run: &run.run, seq };
    let (store, now) = (session.snapshots(&shelf), session.platform.now_ms());
    let kept = match status {
        Some(status) => store.keep(&place, status, attempt, &bundle, now).await,
        None => store.keep_partial(&place, attempt, &bundle, now).await,
    };
    kept.map_err(|error| answered(error.into()))?;
    if status == Some(Status::Completed) {
        let described = bundle.manifest().described.clone();
        session.change(|core, _| {
            let state = &mut core.state;
            let Described { native_session_id, cwd: directory, .. } = described;
            let agent =
                if described.agent.is_empty() { core.task.launch().agent.unwrap_or_default() } else { described.agent };
            on_stored(state, Kept { run: seq, agent, native_session_id, directory });
        })?;
    }
    Ok(())
}

async fn store<P: Platform>(
    session: &Rc<Session<P>>,
    asker: &Asker<'_>,
    request: &mut Request<P::Request>,
    run: &str,
) -> Result<Response<P::Response>, Error> {
    let run = url::decode(run).ok_or_else(|| asker.refuse(Refused::RunMismatch))?;
    let seq = run_number(&run).ok_or_else(|| asker.refuse(Refused::RunMismatch))?;
    let (claims, _) = writable(session, asker, seq)?;
    let _place = session.uploads.enter().ok_or_else(|| asker.refuse(Refused::Busy))?;
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let status = match header("x-terminal-status").as_deref() {
        Some("partial") => None,
        Some(name) => {
            Some(Status::parse(name).ok_or_else(|| asker.refuse(Refused::Invalid("invalid x-terminal-status")))?)
        }
        None => return Err(asker.refuse(Refused::Invalid("missing x-terminal-status"))),
    };
    let attempt = header("x-attempt").map(|text| text.trim().parse::<u64>()).transpose();
    let attempt = attempt.map_err(|_| asker.refuse(Refused::Invalid("invalid x-attempt")))?.unwrap_or(claims.att);
    let (kind, digest, coding) = (header("content-type"), header("digest"), header(CONTENT_ENCODING.as_str()));
    let is_archive = kind.is_some_and(|kind| kind.starts_with(ARCHIVE));
    let limit = session.settings.transcripts.max_bytes;
    let most = if is_archive { limit.saturating_add(ARCHIVE_BYTES) } else { limit };
    let bytes = body(asker, request, most).await?;
    let bytes = match coding.as_deref() {
        None | Some("identity") => bytes,
        Some("gzip") => codec::gunzip(&bytes, most).map_err(|error| {
            asker.refuse(if error == codec::CodecError::TooLarge {
                Refused::TooLarge
            } else {
                Refused::Invalid("invalid gzip")
            })
        })?,
        Some(_) => return Err(asker.refuse(Refused::Invalid("unknown content-encoding"))),
    };
    if let Some(digest) = digest
        && digest.strip_prefix("sha-256=").and_then(|text| STANDARD.decode(text).ok()).as_deref()
            != Some(Sha256::digest(&bytes).as_slice())
    {
        return Err(asker.refuse(Refused::DigestMismatch));
    }
    let bundle =
        if is_archive { archive::read(&bytes, limit) } else { Bundle::plain(described(session)?, bytes, limit) };
    let bundle = bundle.map_err(|error| {
        asker.refuse(match error {
            BundleError::TooLarge => Refused::TooLarge,
            BundleError::Files => Refused::Invalid("a bundle has between 1 and 64 files"),
            BundleError::Path => Refused::Invalid("invalid path in a bundle"),
            BundleError::Manifest => Refused::Invalid("invalid manifest"),
            BundleError::Archive => Refused::Invalid("invalid archive"),
        })
    })?;
    keep(session, asker, seq, status, Some(attempt), bundle).await?;
    Ok(super::ok::<P>(&json!({"ok": true})))
}

async fn store_alias<P: Platform>(
    session: &Rc<Session<P>>,
    asker: &Asker<'_>,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    asker.token()?;
    let _place = session.uploads.enter().ok_or_else(|| asker.refuse(Refused::Busy))?;
    let limit = session.settings.transcripts.max_bytes;
    let most = limit.saturating_mul(JSON_GROWTH).saturating_add(ALIAS_REST_BYTES);
    let bytes = body(asker, request, most).await?;
    let upload = Upload::parse(&bytes, limit).map_err(|refused| asker.refuse(refused))?;
    drop(bytes);
    let bundle = Bundle::plain(described(session)?, upload.snapshot.into_bytes(), limit);
    let bundle = bundle.map_err(|_| asker.refuse(Refused::TooLarge))?;
    keep(session, asker, upload.run_id, Some(upload.status), None, bundle).await?;
    Ok(super::ok::<P>(&json!({"id": upload.run_id})))
}

/// What is known of a conversation that came as plain bytes.
fn described<P: Platform>(session: &Session<P>) -> Result<Described, Error> {
    session.look(|core| {
        let runtime = core.state.runtime.as_ref();
        Described {
            agent: core.task.launch().agent.unwrap_or_default(),
            native_session_id: runtime.map(|runtime| runtime.session_id.clone()).unwrap_or_default(),
            cwd: runtime.map(|runtime| runtime.directory.clone()).unwrap_or_default(),
            ..Described::default()
        }
    })
}

async fn body<B: web::RequestBody>(
    asker: &Asker<'_>,
    request: &mut Request<B>,
    limit: usize,
) -> Result<Vec<u8>, Error> {
    let read = web::read(request, limit).await;
    if read.is_err() {
        request.body_mut().cancel().await;
    }
    read.map_err(|error| match error {
        web::ReadError::TooLarge => asker.refuse(Refused::TooLarge),
        web::ReadError::Interrupted => asker.refuse(Refused::Invalid("the body broke off")),
    })
}

/// The conversation begins anew: by its owner, or by the run that goes on.
async fn reset<P: Platform>(session: &Rc<Session<P>>, asker: &Asker<'_>) -> Result<Response<P::Response>, Error> {
    let user = match &asker.claims {
        Some(claims) => {
            let run = claims.run.as_ref().map(|run| run.seq);
            let is_live = session.look(|core| run.is_some_and(|run| is_live(core.state.turn.as_ref(), run)))?;
            if !claims.allows(WRITE) || !is_live {
                return Err(asker.refuse(Refused::RunMismatch));
            }
            None
        }
        None => {
            let user = session.steered_by(asker.caller).await?;
            let is_owner = session.look(|core| core.state.requested_by == user)?;
            if !is_owner {
                return Err(Error::Forbidden);
            }
            Some(user)
        }
    };
    let shelf = session.shelf().ok_or_else(|| asker.refuse(Refused::NoStore))?;
    let answered = |failure: StoreFailure| failure.answered(asker.is_alias);
    let _writing = session.writing.lock().await;
    let epoch = session.epoch(&shelf).await.map_err(answered)?;
    let run = asker.claims.as_ref().and_then(|claims| claims.run.as_ref()).map(|run| run.seq);
    if let Some(claims) = &asker.claims {
        check_epoch(session, asker, claims)?;
    }
    // In the object first: from then on nothing of the old conversation is taken or told, whatever becomes of its rows.
    let next = epoch.saturating_add(1);
    session.change(|core, decide| on_reset(&mut core.state, decide, next, user, run))?;
    let (name, owner) = session.names()?;
    let deleted = session.snapshots(&shelf).reset(&name, &owner, next, session.platform.now_ms()).await;
    let deleted = deleted.map_err(|error| answered(error.into()))?;
    Ok(super::ok::<P>(&json!({"deleted": deleted, "epoch": next})))
}

/// The same token for a further quarter of an hour, as long as its run goes on.
async fn renew<P: Platform>(
    session: &Rc<Session<P>>,
    asker: &Asker<'_>,
    request: &mut Request<P::Request>,
    run: &str,
) -> Result<Response<P::Response>, Error> {
    let bytes = body(asker, request, ALIAS_REST_BYTES).await?;
    let asked: serde_json::Value = if bytes.is_empty() {
        serde_json::Value::Null
    } else {
        serde_json::from_slice(&bytes).map_err(|_| asker.refuse(Refused::Invalid("invalid body")))?
    };
    let mut claims = asker.token()?.clone();
    let run = url::decode(run);
    let seq = claims.run.as_ref().filter(|own| Some(&own.run) == run.as_ref()).map(|own| own.seq);
    let seq = seq.ok_or_else(|| asker.refuse(Refused::RunMismatch))?;
    if let Some(attempt) = asked.get("attempt").filter(|attempt| !attempt.is_null()) {
        let attempt = attempt.as_u64().filter(|attempt| *attempt >= claims.att);
        claims.att = attempt.ok_or_else(|| asker.refuse(Refused::Invalid("invalid attempt")))?;
    }
    check_epoch(session, asker, &claims)?;
    let (is_live, is_stale, epoch) = session.look(|core| {
        let transcript = &core.state.transcript;
        let is_stale = transcript.lease.as_ref().is_some_and(|lease| lease.is_later_than(seq, claims.att));
        (is_live(core.state.turn.as_ref(), seq), is_stale, transcript.epoch.unwrap_or_default())
    })?;
    if !is_live {
        return Err(asker.refuse(Refused::RunMismatch));
    }
    if is_stale {
        return Err(asker.refuse(Refused::StaleAttempt));
    }
    claims.ep = epoch;
    let claims = claims.renewed(session.platform.now_ms(), session.platform.random_uuid().to_string());
    let tokens = session.settings.transcripts.tokens.as_ref().ok_or_else(|| asker.refuse(Refused::NoKeys))?;
    let token = tokens.issue(&claims).map_err(|error| Error::Internal(error.to_string()))?;
    Ok(super::ok::<P>(&json!({"token": token, "expires-at": claims.exp.saturating_mul(1_000)})))
}

#[cfg(test)]
mod tests {
    use super::range_of;

    #[test]
    fn ranges_lie_within_the_content() {
        for (text, size, expected) in [
            ("bytes=0-3", 10, Some(Some((0, 3)))),
            ("bytes=4-", 10, Some(Some((4, 9)))),
            ("bytes=-3", 10, Some(Some((7, 9)))),
            ("bytes=-30", 10, Some(Some((0, 9)))),
            ("bytes=5-99", 10, Some(Some((5, 9)))),
            ("bytes=10-", 10, Some(None)),
            ("bytes=-0", 10, Some(None)),
            ("bytes=0-", 0, Some(None)),
            ("bytes=3-2", 10, None),
            ("bytes=0-1,3-4", 10, None),
            ("lines=0-1", 10, None),
            ("bytes=a-b", 10, None),
            ("bytes=99999999999999999999-", 10, None),
        ] {
            assert_eq!(range_of(text, size), expected, "{text} of {size}");
        }
    }
}
