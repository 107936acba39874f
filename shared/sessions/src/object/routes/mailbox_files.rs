//! Files of agents whose runners call us (session-mailbox.md 7.6): stored by their digest before an event names them.

use std::rc::Rc;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use web::{Blobs as _, ResponseBody as _};

use super::Caller;
use super::mailbox::Runner;
use crate::error::{CORS, Error};
use crate::mailbox::limits::{MAX_FILE_BYTES, UNNAMED_FILE_MS};
use crate::mailbox::store::MailboxRows;
use crate::object::{Platform, Session};
use crate::runner_object::DECLARED;

const MAX_BYTES: usize = 25 << 20;

fn said<P: Platform>((status, body): (StatusCode, Value)) -> Response<P::Response> {
    web::json(&CORS, status, body.to_string())
}

fn refuse<P: Platform>(status: StatusCode, text: &str) -> Response<P::Response> {
    said::<P>((status, json!({"error": text})))
}

/// Where a file lies.
pub(in crate::object) fn key(session_id: &str, digest: &str) -> String {
    format!("runner-files/{}/{digest}", web::url::encode(session_id))
}

pub(super) async fn handle<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
    request: &mut Request<P::Request>,
    digest: &str,
) -> Result<Response<P::Response>, Error> {
    let runner = Runner::of(caller, request)?;
    let is_digest = digest.len() == 64 && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !session.is_there()? || !is_digest {
        return Err(Error::NotFound);
    }
    let is_held = session.at_desk_of(&runner, |desk, _| desk.held_by(runner.key()).is_some())?;
    if is_held != Some(true) {
        return Err(Error::NotFound);
    }
    let blobs = session.platform.blobs().ok_or_else(|| Error::Internal("no bucket".to_owned()))?;
    let key = key(&caller.session_id, digest);
    let rows = MailboxRows(session.platform.sql());
    let failed = |failure: web::Failure| Error::Internal(failure.0);
    if request.method() == Method::GET {
        let found = if rows.has_file(digest)? { blobs.get(&key, MAX_BYTES).await.map_err(failed)? } else { None };
        let mut response = Response::new(P::Response::full(found.ok_or(Error::NotFound)?));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        return Ok(response);
    }
    if rows.has_file(digest)? {
        return Ok(said::<P>((StatusCode::OK, json!({"ok": true}))));
    }
    let declared = request.headers().get(DECLARED).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let Some(size) = declared else {
        return Ok(refuse::<P>(StatusCode::LENGTH_REQUIRED, "length required"));
    };
    sweep(session, &*blobs).await?;
    if let Err(refused) = rows.files()?.admit(size) {
        return Ok(said::<P>(refused.answer()));
    }
    // So many uploads of a session are in memory at a time.
    let Some(_place) = session.uploads.enter() else { return Err(Error::RateLimited(1)) };
    let bytes = match web::read(request, MAX_BYTES).await {
        Ok(bytes) => bytes,
        Err(web::ReadError::TooLarge) => return Ok(refuse::<P>(StatusCode::PAYLOAD_TOO_LARGE, "too large")),
        Err(web::ReadError::Interrupted) => return Err(Error::InvalidBody),
    };
    if base16ct::lower::encode_string(&Sha256::digest(&bytes)) != digest {
        return Ok(refuse::<P>(StatusCode::UNPROCESSABLE_ENTITY, "digest mismatch"));
    }
    // Others may have been stored meanwhile.
    let size = bytes.len() as u64;
    if let Err(refused) = rows.files()?.admit(size.min(MAX_FILE_BYTES)) {
        return Ok(said::<P>(refused.answer()));
    }
    // The row first: what lies in the bucket is always known, and goes with the session.
    rows.put_file(digest, size, session.platform.now_ms())?;
    if let Err(failure) = blobs.put(&key, bytes).await {
        rows.drop_file(digest)?;
        return Err(failed(failure));
    }
    Ok(said::<P>((StatusCode::CREATED, json!({"ok": true}))))
}

/// Files that no event names go after a day.
async fn sweep<P: Platform>(session: &Session<P>, blobs: &P::Blobs) -> Result<(), Error> {
    let rows = MailboxRows(session.platform.sql());
    let id = session.look(|core| core.state.id.clone())?;
    let before = session.platform.now_ms().saturating_sub(UNNAMED_FILE_MS);
    // At most as many as a session may have.
    for digest in rows.unnamed_files(before)? {
        blobs.delete(&key(&id, &digest)).await.map_err(|failure| Error::Internal(failure.0))?;
        rows.drop_file(&digest)?;
    }
    Ok(())
}

impl<P: Platform> Session<P> {
    /// Nothing of the files stays of a session that is deleted. Can be done again.
    pub(in crate::object) async fn remove_files(&self) -> Result<(), Error> {
        let Some(blobs) = self.platform.blobs() else { return Ok(()) };
        let rows = MailboxRows(self.platform.sql());
        let id = self.look(|core| core.state.id.clone())?;
        // At most as many as a session may have.
        for digest in rows.all_files()? {
            blobs.delete(&key(&id, &digest)).await.map_err(|failure| Error::Internal(failure.0))?;
            rows.drop_file(&digest)?;
        }
        Ok(())
    }
}
