//! Storing the conversation of a run, by whoever runs its agent.

use std::rc::Rc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::header::CONTENT_ENCODING;
use http::{Request, Response};
use serde_json::json;
use sha2::{Digest, Sha256};
use transcripts::alias::Upload;
use transcripts::bundle::{BundleError, Described};
use transcripts::limits::{ALIAS_REST_BYTES, ARCHIVE_BYTES, JSON_GROWTH};
use transcripts::rules::{Outcome, Status};
use transcripts::store::Place;
use transcripts::{Bundle, Refused, archive, codec, integrity};
use web::url;

use super::super::ok;
use super::{ARCHIVE, Asker, body, check_epoch, writable};
use crate::error::Error;
use crate::object::transcripts::StoreFailure;
use crate::object::{Platform, Session};
use crate::session::decide::{on_stored, on_stored_incomplete};
use crate::session::transcript::{Kept, run_number};

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
    let outcome = kept.map_err(|error| answered(error.into()))?;
    if status == Some(Status::Failed)
        && outcome == Outcome::Store
        && let Err(why) = integrity::check(&bundle)
    {
        session.change(|core, decide| on_stored_incomplete(&mut core.state, decide, seq, &why.to_string()))?;
    }
    if status == Some(Status::Completed) {
        let (described, sha256) = (bundle.manifest().described.clone(), Some(bundle.sha256()));
        session.change(|core, _| {
            let state = &mut core.state;
            let Described { native_session_id, cwd: directory, .. } = described;
            let agent =
                if described.agent.is_empty() { core.task.launch().agent.unwrap_or_default() } else { described.agent };
            on_stored(state, Kept { run: seq, agent, native_session_id, directory, sha256 });
        })?;
    }
    Ok(())
}

pub(super) async fn store<P: Platform>(
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
    Ok(ok::<P>(&json!({"ok": true})))
}

pub(super) async fn store_alias<P: Platform>(
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
    Ok(ok::<P>(&json!({"id": upload.run_id})))
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
