//! Who asks (agents.md 14.1, 18.1).

use http::Request;
use http::header::AUTHORIZATION;
use transcripts::tool_token::{Claims as ToolClaims, is_tool_token};
use web::url;

use super::route::Target;
use super::service::Service;
use crate::error::Error;
use crate::observer::is_observer_token;

/// Who asks.
pub(super) struct Caller {
    /// The user, if the token names one.
    pub(super) user: Option<String>,
    /// Whether the token is an observer's, for exactly the session that is asked for.
    pub(super) is_observer: bool,
    /// What the token says, where it is one of an agent for the tools of exactly the session that is asked for. Whether it counts still, the
    /// session's object says.
    pub(super) tool: Option<ToolClaims>,
}

impl Caller {
    /// A person.
    pub(super) fn of_user(user: Option<String>) -> Self {
        Self { user, is_observer: false, tool: None }
    }

    /// An agent that calls the tools of its session.
    pub(super) fn of_tool(claims: ToolClaims) -> Self {
        Self { user: Some(claims.sub.clone()), is_observer: false, tool: Some(claims) }
    }

    /// The user, where one is needed.
    pub(super) fn user(&self) -> Result<&str, Error> {
        self.user.as_deref().ok_or(Error::Unauthorized)
    }
}

/// The caller of a request. Without known claims there is none, whatever is asked for.
pub(super) async fn caller<K: auth::KeySetSource + auth::Clock, B>(
    service: &Service<K>,
    request: &Request<B>,
    target: Option<&Target>,
    now: i64,
) -> Result<Caller, Error> {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let query = url::query(request.uri(), "token");
    let token = auth::token_from_request(header, query.as_deref());
    if let Some(token) = token.filter(|token| is_observer_token(token)) {
        let allowed = match (target, &service.observers) {
            (Some(Target::Session(id, verb)), Some(observers)) if verb.is_for_observers() => {
                observers.verify(token, id, now)
            }
            _ => false,
        };
        return if allowed {
            Ok(Caller { user: None, is_observer: true, tool: None })
        } else {
            Err(Error::Unauthorized)
        };
    }
    if token.is_some_and(is_tool_token) {
        let claims = match target {
            Some(Target::Session(id, verb)) if verb.is_for_tools() => tool_claims(service, request, id, now),
            _ => None,
        };
        return claims.map(Caller::of_tool).ok_or(Error::Unauthorized);
    }
    let claims = service.authenticator.claims(token).await.map_err(|error| Error::Internal(error.to_string()))?;
    let claims = claims.ok_or(Error::Unauthorized)?;
    Ok(Caller::of_user(claims.sub().map(str::to_owned)))
}

/// What the token of an agent says, if the request has one that is valid for the tools of this session. It is taken from the header alone.
pub(super) fn tool_claims<K: auth::KeySetSource + auth::Clock, B>(
    service: &Service<K>,
    request: &Request<B>,
    session_id: &str,
    now: i64,
) -> Option<ToolClaims> {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = auth::token_from_request(header, None).filter(|token| is_tool_token(token))?;
    let keys = service.settings.transcripts.tokens.as_ref()?;
    ToolClaims::verify(keys, token, now).ok().filter(|claims| claims.sid == session_id)
}
