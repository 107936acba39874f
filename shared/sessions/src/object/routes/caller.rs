//! Who asks, as the front worker says.

use http::Request;

use crate::error::Error;
use crate::object::{Platform, Session};

/// What a caller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallerKind {
    /// A person, or somebody without a name.
    User,
    /// Whoever holds an observer token of this session (agents.md 18.1).
    Observer,
    /// The service itself.
    Service,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The session that is asked for.
    pub(crate) session_id: String,
    /// The user, if the token names one.
    pub(crate) user_id: Option<String>,
    /// What the caller is.
    pub(crate) kind: CallerKind,
}

impl Caller {
    /// The caller of a request; these headers are the front worker's own.
    pub(crate) fn of<B>(request: &Request<B>) -> Result<Self, Error> {
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let session_id = header("x-session-id").and_then(web::url::decode).ok_or(Error::NotFound)?;
        let kind = match header("x-caller") {
            Some("observer") => CallerKind::Observer,
            Some("service") => CallerKind::Service,
            _ => CallerKind::User,
        };
        let user_id = header("x-user-id").and_then(web::url::decode).filter(|id| !id.is_empty());
        Ok(Self { session_id, user_id, kind })
    }

    /// The user, where one is needed.
    pub(crate) fn user(&self) -> Result<&str, Error> {
        self.user_id.as_deref().ok_or(Error::Unauthorized)
    }
}

impl<P: Platform> Session<P> {
    /// The session, for somebody who may see it.
    pub(in crate::object) async fn seen_by(&self, caller: &Caller) -> Result<(), Error> {
        if !self.load()? || self.look(|core| core.state.removal.is_some())? {
            return Err(Error::NotFound);
        }
        match caller.kind {
            CallerKind::Observer | CallerKind::Service => Ok(()),
            CallerKind::User => self.admit(caller.user_id.as_deref()).await,
        }
    }

    /// The session, for somebody who may steer it. Gives the user.
    pub(in crate::object) async fn steered_by<'a>(&self, caller: &'a Caller) -> Result<&'a str, Error> {
        let user = caller.user()?;
        if caller.kind != CallerKind::User {
            return Err(Error::Forbidden);
        }
        self.seen_by(caller).await?;
        Ok(user)
    }
}
