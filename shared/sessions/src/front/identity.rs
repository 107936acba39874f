//! Who asks (agents.md 14.1, 18.1).

use http::Request;
use http::header::AUTHORIZATION;
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
}

impl Caller {
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
        return if allowed { Ok(Caller { user: None, is_observer: true }) } else { Err(Error::Unauthorized) };
    }
    let claims = service.authenticator.claims(token).await.map_err(|error| Error::Internal(error.to_string()))?;
    let claims = claims.ok_or(Error::Unauthorized)?;
    Ok(Caller { user: claims.sub().map(str::to_owned), is_observer: false })
}
