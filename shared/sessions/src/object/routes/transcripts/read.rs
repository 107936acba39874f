//! Reading the conversation of a session.

use std::rc::Rc;

use http::header::{ACCEPT, ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RANGE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use transcripts::alias::CONTENT_TYPE as PLAIN;
use transcripts::run_token::READ;
use transcripts::store::Snapshot;
use transcripts::{Refused, archive, sha256_hex};
use web::{ResponseBody, url};

use super::{ARCHIVE, Asker, check_epoch};
use crate::error::{CORS, Error};
use crate::object::transcripts::StoreFailure;
use crate::object::{Platform, Session};

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

pub(super) async fn read<P: Platform>(
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
    let (kind, bytes, etag) = if let Some(only) = snapshot.bundle.only().filter(|_| !asks_archive) {
        (PLAIN, only.to_vec(), snapshot.bundle.sha256())
    } else {
        let bytes = archive::write(&snapshot.bundle).map_err(|error| Error::Internal(error.to_string()))?;
        let etag = sha256_hex(&bytes);
        (ARCHIVE, bytes, etag)
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
    match text(RANGE).map_or(Part::Whole, |range| part_of(range, size)) {
        Part::Whole => Ok(with(StatusCode::OK, R::full(bytes))),
        Part::Outside => Err(asker.refuse(Refused::Range)),
        Part::Bytes(first, last) => {
            let piece = bytes.get(first..=last).unwrap_or_default().to_vec();
            let mut response = with(StatusCode::PARTIAL_CONTENT, R::full(piece));
            let range = HeaderValue::from_str(&format!("bytes {first}-{last}/{size}"));
            response.headers_mut().insert(CONTENT_RANGE, range.map_err(|error| Error::Internal(error.to_string()))?);
            Ok(response)
        }
    }
}

/// What a range asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Everything: it is no single range of bytes, and is left alone.
    Whole,
    /// From that byte to that one.
    Bytes(usize, usize),
    /// What the content does not have.
    Outside,
}

fn part_of(text: &str, size: usize) -> Part {
    let bounds = text.strip_prefix("bytes=").and_then(|range| range.trim().split_once('-'));
    let number = |text: &str| text.parse::<usize>().ok();
    let (first, last) = match bounds {
        Some(("", count)) => match number(count) {
            Some(count) => (if count == 0 { size } else { size.saturating_sub(count) }, usize::MAX),
            None => return Part::Whole,
        },
        Some((first, "")) => match number(first) {
            Some(first) => (first, usize::MAX),
            None => return Part::Whole,
        },
        Some((first, last)) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => (first, last),
            _ => return Part::Whole,
        },
        None => return Part::Whole,
    };
    match size.checked_sub(1) {
        Some(end) if first <= end => Part::Bytes(first, last.min(end)),
        _ => Part::Outside,
    }
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

pub(super) async fn read_alias<P: Platform>(
    session: &Rc<Session<P>>,
    asker: &Asker<'_>,
) -> Result<Response<P::Response>, Error> {
    asker.token()?;
    let snapshot = found(session, asker, None).await?;
    // It carries one file only.
    let only = snapshot.as_ref().and_then(|snapshot| Some((snapshot, snapshot.bundle.only()?.to_vec())));
    let (snapshot, bytes) = only.ok_or_else(|| asker.refuse(Refused::NotFound))?;
    let mut response = Response::new(P::Response::full(bytes));
    describe(response.headers_mut(), PLAIN, snapshot, None)?;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::{Part, part_of};

    #[test]
    fn ranges_lie_within_the_content() {
        for (text, size, expected) in [
            ("bytes=0-3", 10, Part::Bytes(0, 3)),
            ("bytes=4-", 10, Part::Bytes(4, 9)),
            ("bytes=-3", 10, Part::Bytes(7, 9)),
            ("bytes=-30", 10, Part::Bytes(0, 9)),
            ("bytes=5-99", 10, Part::Bytes(5, 9)),
            ("bytes=10-", 10, Part::Outside),
            ("bytes=-0", 10, Part::Outside),
            ("bytes=0-", 0, Part::Outside),
            ("bytes=-5", 0, Part::Outside),
            ("bytes=3-2", 10, Part::Whole),
            ("bytes=0-1,3-4", 10, Part::Whole),
            ("lines=0-1", 10, Part::Whole),
            ("bytes=a-b", 10, Part::Whole),
            ("bytes=99999999999999999999-", 10, Part::Whole),
        ] {
            assert_eq!(part_of(text, size), expected, "{text} of {size}");
        }
    }
}
