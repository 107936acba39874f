//! Who asks, as the front worker says.

use http::Request;
use transcripts::tool_token::Claims as ToolClaims;

use crate::error::Error;
use crate::object::{Platform, Session};
use crate::session::tools::may_call;

/// The header in which the front worker says what the token of an agent for its tools said.
pub(crate) const TOOL_CLAIMS: &str = "x-tool-claims";

/// What a caller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallerKind {
    /// A person, or somebody without a name.
    User,
    /// Whoever holds an observer token of this session (agents.md 18.1).
    Observer,
    /// An agent that calls the tools of its session (pg-sync.md 4.12).
    Tool,
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
    /// What the token of an agent says.
    tool: Option<ToolClaims>,
}

impl Caller {
    /// The caller of a request; these headers are the front worker's own.
    pub(crate) fn of<B>(request: &Request<B>) -> Result<Self, Error> {
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let session_id = header("x-session-id").and_then(web::url::decode).ok_or(Error::NotFound)?;
        let kind = match header("x-caller") {
            Some("observer") => CallerKind::Observer,
            Some("service") => CallerKind::Service,
            Some("tool") => CallerKind::Tool,
            _ => CallerKind::User,
        };
        let user_id = header("x-user-id").and_then(web::url::decode).filter(|id| !id.is_empty());
        let tool = header(TOOL_CLAIMS).filter(|_| kind == CallerKind::Tool).and_then(web::url::decode);
        let tool = tool.and_then(|text| serde_json::from_str(&text).ok());
        Ok(Self { session_id, user_id, kind, tool })
    }

    /// The user, where one is needed.
    pub(crate) fn user(&self) -> Result<&str, Error> {
        self.user_id.as_deref().ok_or(Error::Unauthorized)
    }
}

impl<P: Platform> Session<P> {
    /// Whether there is such a session, for anybody: one that is being removed is gone.
    pub(in crate::object) fn is_there(&self) -> Result<bool, Error> {
        Ok(self.load()? && !self.is_being_removed()?)
    }

    /// Whether there was such a session, and what belongs to it is still going away.
    pub(in crate::object) fn is_being_removed(&self) -> Result<bool, Error> {
        Ok(self.load()? && self.look(|core| core.state.removal.is_some())?)
    }

    /// The session, for somebody who may see it.
    pub(in crate::object) async fn seen_by(&self, caller: &Caller) -> Result<(), Error> {
        if !self.is_there()? {
            return Err(Error::NotFound);
        }
        match caller.kind {
            CallerKind::Observer | CallerKind::Service => Ok(()),
            CallerKind::Tool => Err(Error::Unauthorized),
            CallerKind::User => self.admit(caller.user_id.as_deref()).await,
        }
    }

    /// Whether an agent may call the tools of the session now.
    pub(in crate::object) fn may_call_tools(&self, caller: &Caller) -> Result<bool, Error> {
        let Some(claims) = &caller.tool else { return Ok(false) };
        Ok(self.is_there()? && self.look(|core| may_call(&core.state, claims))?)
    }

    /// The session, for somebody who may steer it, or for its own agent with its tools.
    pub(in crate::object) async fn observed_by(&self, caller: &Caller) -> Result<(), Error> {
        if caller.kind == CallerKind::Tool {
            return if self.may_call_tools(caller)? { Ok(()) } else { Err(Error::Unauthorized) };
        }
        self.steered_by(caller).await.map(drop)
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
