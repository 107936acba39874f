//! Git's credentials at the front (agents.md 20.6): only whoever holds the token of a run asks for them.

use http::{Request, Response};

use super::identity::Caller;
use super::platform::Platform;
use super::rates::Kind;
use super::service::Service;
use super::transcripts;
use crate::error::Error;

/// Answers `POST /sessions/:id/git-credentials`.
///
/// # Errors
/// 401 without a token of a run, 503 where no key is set, 429 beyond 30 a minute; everything else is 404.
pub(super) async fn answer<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    session_id: &str,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    if !service.settings.github.is_brokered {
        return Err(Error::NotFound);
    }
    if service.settings.transcripts.tokens.is_none() {
        return Err(Error::SecretsKey);
    }
    let claims = transcripts::claims(service, request, platform.now_ms(), false).map_err(|_| Error::Unauthorized)?;
    let claims = claims.ok_or(Error::Unauthorized)?;
    crate::request::check_session_id(session_id).map_err(|_| Error::NotFound)?;
    if claims.sid != session_id {
        return Err(Error::NotFound);
    }
    if service.settings.rate_limits {
        service.rates.take(session_id, Kind::GitCredentials, platform.now_ms())?;
    }
    let caller = Caller::of_user(Some(claims.sub.clone()));
    transcripts::send(platform, session_id, &caller, Some(&claims), "git-credentials", request).await
}
