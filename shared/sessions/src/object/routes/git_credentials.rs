//! Credentials for git in a sandbox: for one repository, and for as long as GitHub makes them (agents.md 20.6).

use std::rc::Rc;

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Request, Response};
use transcripts::run_token::Claims;
use web::{ResponseBody as _, url};

use super::transcripts::CLAIMS;
use crate::error::Error;
use crate::git_credentials::{MAX_QUESTION_BYTES, answer, is_for};
use crate::object::{Platform, Session};
use crate::repository::Repository;
use crate::session::git_access::may_use_git;

/// Answers the question of a helper. Whatever is not exactly what the token is for is not there.
pub(super) async fn give<P: Platform>(
    session: &Rc<Session<P>>,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let claims = request.headers().get(CLAIMS).and_then(|value| value.to_str().ok()).and_then(url::decode);
    let claims: Claims = serde_json::from_str(&claims.ok_or(Error::NotFound)?).map_err(|_| Error::NotFound)?;
    if !session.is_there()? || !session.settings.github.is_brokered {
        return Err(Error::NotFound);
    }
    check(session, &claims)?;
    let question = web::read(request, MAX_QUESTION_BYTES).await.map_err(|error| match error {
        web::ReadError::TooLarge => Error::RequestTooLarge,
        web::ReadError::Interrupted => Error::InvalidBody,
    })?;
    let (url, writes) = session.look(|core| (core.task.repo_url().map(str::to_owned), core.task.push_enabled()))?;
    let repository = url.and_then(|url| Repository::parse(&url).ok()).ok_or(Error::NotFound)?;
    if !is_for(&question, &repository) {
        return Err(Error::NotFound);
    }
    let token = session.github().git_token(&repository, writes).await;
    let token = token.map_err(|error| Error::Internal(error.to_string()))?;
    // GitHub took its time: the run may be over.
    check(session, &claims)?;
    session.change(|core, _| core.redactor.learn(&token.text))?;
    let told = format!(
        "run {}, repository {}/{}, {}",
        claims.run.as_ref().map_or("none", |run| run.run.as_str()),
        repository.owner(),
        repository.name(),
        if writes { "write" } else { "read" },
    );
    let about = web::Subject { kind: "session-id", id: &claims.sid };
    let event = web::Event::new(web::Level::Info, "agents/git-credentials-given").about(about);
    session.platform.report(&event.with_detail(&told));
    let mut response = Response::new(P::Response::full(answer(&token.text, token.expires_at).into_bytes()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn check<P: Platform>(session: &Session<P>, claims: &Claims) -> Result<(), Error> {
    let may = session
        .look(|core| may_use_git(&core.state, claims, |sandbox| session.is_being_made(sandbox).unwrap_or(false)))?;
    if may { Ok(()) } else { Err(Error::NotFound) }
}
