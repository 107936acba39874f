//! Who is asking, and whether they may reach a graph (sync.md 3).

use auth::{Claims, Verdict};
use http::Request;
use http::header::AUTHORIZATION;
use index::users::User;
use index::{access, users};
use protocol::PresenceUser;
use web::url;

use crate::error::Error;
use crate::platform::Platform;
use crate::service::{Service, Settings};

/// The header of the admin token.
const ADMIN_TOKEN: &str = "x-db-sync-admin-token";

/// The token of a request: its header, else its query (sync.md 3.1).
fn token<B>(request: &Request<B>) -> Option<String> {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    auth::token_from_request(header, url::query(request.uri(), "token").as_deref()).map(str::to_owned)
}

/// Whether the request carries the admin token (sync.md 3.5).
pub(crate) fn is_admin<B>(settings: &Settings, request: &Request<B>) -> bool {
    settings.auth.is_admin(request.headers().get(ADMIN_TOKEN).and_then(|value| value.to_str().ok()))
}

/// The caller's verified claims; none when nobody is known to ask.
pub(crate) async fn claims<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    request: &Request<P::Request>,
) -> Result<Option<Claims>, Error> {
    claims_of(platform, service, token(request).as_deref()).await
}

/// The claims of a token; those of a caller without one, where nobody is asked for one.
pub(crate) async fn claims_of<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    token: Option<&str>,
) -> Result<Option<Claims>, Error> {
    let claims = service.authenticator.claims(token).await;
    let claims = claims.map_err(|error| Error::Internal(error.to_string()))?;
    if let Some(claims) = &claims {
        require_listed(platform, service, claims).await?;
    }
    Ok(claims)
}

/// Refuses whom the list of those who may enter leaves out. A token without an address is judged by that of the stored user.
async fn require_listed<P: Platform>(platform: &P, service: &Service<P::Keys>, claims: &Claims) -> Result<(), Error> {
    let allow = &service.settings.auth.allow;
    let is_listed = match allow.judge(claims) {
        Verdict::In => true,
        Verdict::Out => false,
        Verdict::AskForAddress => match (platform.db(), claims.sub()) {
            (Some(db), Some(sub)) => users::verified_email(db, sub).await?.is_some_and(|email| allow.admits(&email)),
            _ => false,
        },
    };
    if is_listed {
        return Ok(());
    }
    service.authenticator.refuse(auth::Refusal::NotAllowed);
    Err(Error::NotAllowed)
}

/// The row that the claims make; none without a subject.
pub(crate) fn user(claims: &Claims) -> Option<User<'_>> {
    Some(User {
        id: claims.sub()?,
        email: claims.email(),
        email_verified: claims.email_verified(),
        username: claims.username(),
    })
}

/// The graph access check (sync.md 3.4). That access was found good is remembered for the token, so that the requests of one
/// page verify and ask once; a refusal is not, for whoever is invited is let in at once.
pub(crate) async fn require_access<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    request: &Request<P::Request>,
    graph_id: &str,
) -> Result<(), Error> {
    let token = token(request).unwrap_or_default();
    if token.is_empty() && !service.settings.auth.accepts_missing_token() {
        return Err(Error::Unauthorized);
    }
    let db = platform.db().ok_or(Error::IndexMissing)?;
    let now_ms = platform.now_ms();
    if service.access.get(graph_id, &token, now_ms) == Some(true) {
        return Ok(());
    }
    let claims = claims(platform, service, request).await?.ok_or(Error::Unauthorized)?;
    let user = claims.sub().ok_or(Error::Unauthorized)?;
    if !access::has_access(db, graph_id, user).await? {
        return Err(Error::Forbidden);
    }
    service.access.put(graph_id, &token, true, now_ms);
    Ok(())
}

/// The claims of a request whose access was checked before, on the way here.
pub(crate) fn verified_before<B>(settings: &Settings, request: &Request<B>) -> Option<Claims> {
    settings.auth.verified_before(token(request).as_deref())
}

/// The user that a socket's peers see (sync.md 7.1).
pub(crate) fn presence<B>(settings: &Settings, request: &Request<B>) -> Option<PresenceUser> {
    verified_before(settings, request)?.presence_user()
}
