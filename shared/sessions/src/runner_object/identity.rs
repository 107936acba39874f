//! Which runner asks, and whether it is the process that counts (session-mailbox.md 7.2, 7.3, 7.9).

use http::Request;
use web::url;

use super::answers::Refused;
use super::routes::{ATTACH, RUNNER_ID, SECRET_HASH};
use super::{Platform, RunnerObject};
use crate::error::Error;
use crate::mailbox::limits::Kind;
use crate::mailbox::runner::{AuthError, authenticate, check_attach};
use crate::mailbox::{Minute, TokenHash};

/// One of each kind of request.
#[derive(Debug, Default)]
pub(super) struct Minutes<T> {
    poll: T,
    events: T,
    files: T,
    notices: T,
    leases: T,
    attach: T,
}

impl Minutes<Minute> {
    fn of(&mut self, kind: Kind) -> &mut Minute {
        match kind {
            Kind::Poll => &mut self.poll,
            Kind::Events => &mut self.events,
            Kind::Files => &mut self.files,
            Kind::Notices => &mut self.notices,
            Kind::Leases => &mut self.leases,
            Kind::Attach => &mut self.attach,
        }
    }
}

fn header<'a, B>(request: &'a Request<B>, name: &str) -> Option<&'a str> {
    request.headers().get(name).and_then(|value| value.to_str().ok())
}

impl<P: Platform> RunnerObject<P> {
    /// Lets in a runner that shows its token. Whoever is let in was seen.
    ///
    /// # Errors
    /// 401, or 404 for the token of another runner; then nothing was changed.
    pub(super) fn let_in<B>(&self, request: &Request<B>) -> Result<(), Refused> {
        let shown = header(request, SECRET_HASH).map(TokenHash::of_text).ok_or(AuthError::Unknown)?;
        let runner_id = header(request, RUNNER_ID).and_then(url::decode);
        let is_it = self.look(|runner| runner.is_some_and(|runner| Some(&runner.runner_id) == runner_id.as_ref()))?;
        self.change(|runner, decide| {
            let runner = runner.as_mut().ok_or(AuthError::Unknown)?;
            // A token that does not count tells nobody whose it was.
            authenticate(runner, decide, &shown)
        })??;
        if is_it { Ok(()) } else { Err(Error::NotFound.into()) }
    }

    /// The same for a request that only the process that counts may send, of a kind that is counted.
    pub(super) fn let_process_in<B>(&self, request: &Request<B>, kind: Option<Kind>) -> Result<(), Refused> {
        self.let_in(request)?;
        let shown = header(request, ATTACH);
        self.look(|runner| runner.map(|runner| check_attach(runner, shown)))?.ok_or(Error::NotFound)??;
        kind.map_or(Ok(()), |kind| self.count(kind))
    }

    /// Counts a request.
    ///
    /// # Errors
    /// 429 when there were too many in the last minute.
    pub(super) fn count(&self, kind: Kind) -> Result<(), Refused> {
        if !self.settings.rate_limits {
            return Ok(());
        }
        let taken = self.minutes.borrow_mut().of(kind).take(kind.a_minute(), self.platform.now_ms());
        Ok(taken.map_err(Error::RateLimited)?)
    }
}
