//! Beginning a conversation anew, and renewing the token of a run.

use std::rc::Rc;

use http::{Request, Response};
use serde_json::json;
use transcripts::Refused;
use transcripts::limits::ALIAS_REST_BYTES;
use transcripts::run_token::WRITE;
use web::url;

use super::super::ok;
use super::{Asker, body, check_epoch};
use crate::error::Error;
use crate::object::transcripts::StoreFailure;
use crate::object::{Platform, Session};
use crate::session::decide::on_reset;
use crate::session::transcript::is_live;

/// The conversation begins anew: by its owner, or by the run that goes on.
pub(super) async fn reset<P: Platform>(
    session: &Rc<Session<P>>,
    asker: &Asker<'_>,
) -> Result<Response<P::Response>, Error> {
    let user = if let Some(claims) = &asker.claims {
        let run = claims.run.as_ref().map(|run| run.seq);
        let is_live = session.look(|core| run.is_some_and(|run| is_live(core.state.turn.as_ref(), run)))?;
        if !claims.allows(WRITE) || !is_live {
            return Err(asker.refuse(Refused::RunMismatch));
        }
        None
    } else {
        let user = session.steered_by(asker.caller).await?;
        let is_owner = session.look(|core| core.state.requested_by == user)?;
        if !is_owner {
            return Err(Error::Forbidden);
        }
        Some(user)
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
    Ok(ok::<P>(&json!({"deleted": deleted, "epoch": next})))
}

/// The same token for a further quarter of an hour, as long as its run goes on.
pub(super) async fn renew<P: Platform>(
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
    Ok(ok::<P>(&json!({"token": token, "expires-at": claims.exp.saturating_mul(1_000)})))
}
