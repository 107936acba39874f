//! Reading, storing and forgetting the conversation of a session (transcripts.md 4.4), and the routes of clients of 7.2.

mod manage;
mod read;
mod store;

use std::rc::Rc;

use http::{Method, Request, Response};
use transcripts::Refused;
use transcripts::run_token::{Claims, Run, WRITE};
use web::url;

use super::Caller;
use crate::error::Error;
use crate::object::{Platform, Session};
use crate::session::transcript::run_name;

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
    if !session.is_there()? {
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
        ("transcript", None) if method == Method::GET => read::read(session, asker, request).await,
        ("transcript", Some(run)) if method == Method::PUT => store::store(session, asker, request, run).await,
        ("transcript-token", Some(run)) if method == Method::POST => manage::renew(session, asker, request, run).await,
        ("transcript-alias", None) if method == Method::GET => read::read_alias(session, asker).await,
        ("transcript-alias", None) if method == Method::POST => store::store_alias(session, asker, request).await,
        ("transcript" | "transcript-alias", None) if method == Method::DELETE => manage::reset(session, asker).await,
        _ => Err(Error::NotFound),
    }
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
