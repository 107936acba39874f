//! From a token to claims (sync.md 3.2, 3.3, 3.6).

use crate::caches::TokenCache;
use crate::issuers::{Issuer, may_name};
use crate::jwt::Jwt;
use crate::key_cache::{Lookup, Wanted};
use crate::key_set::{FetchError, Key, KeySet};
use crate::oidc::{Discovery, discovery_url};
use crate::{Claims, Config, Driver, Provider, Refusal};
use protocol::limits::TOKEN_BYTES;
use std::fmt;

/// The time.
pub trait Clock {
    /// Milliseconds since the epoch.
    fn now_ms(&self) -> i64;
}

/// Where the identity provider's key set is fetched from.
#[expect(async_fn_in_trait, reason = "one of the two platforms has futures that cannot cross threads")]
pub trait KeySetSource {
    /// The text at `url`, by GET. Reads no more than [`KEY_SET_BYTES`](crate::KEY_SET_BYTES), waits no longer than a few
    /// seconds, and follows no redirect to another host.
    ///
    /// # Errors
    /// [`FetchError::Status`] for any answer but success, [`FetchError::TooLarge`] or [`FetchError::Transport`].
    async fn fetch(&self, url: &str) -> Result<String, FetchError>;

    /// Waits some milliseconds while another caller fetches. It must be a timer, not a signal from that caller: on
    /// Workers one request must not continue another one.
    async fn pause(&self);

    /// Hears that a token counted for nothing.
    fn refused(&self, _why: Refusal) {}

    /// Hears whether an issuer gave its keys.
    fn fetched(&self, _issuer: &str, _good: bool) {}
}

/// A token could be neither accepted nor refused. Answered with 500; the text is for logs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The keys are unknown, and none that is cached fits.
    #[error(transparent)]
    KeySet(#[from] FetchError),
}

/// The token of a request (sync.md 3.1): what follows an exact `Bearer ` in the `Authorization` header, else the query
/// parameter `token`. A header of another scheme counts as none.
pub fn token_from_request<'a>(authorization: Option<&'a str>, query_token: Option<&'a str>) -> Option<&'a str> {
    authorization.and_then(|header| header.strip_prefix("Bearer ")).or(query_token)
}

/// Verifies tokens and remembers what it has verified. One for a process or isolate.
pub struct Authenticator<P> {
    config: Config,
    ports: P,
    tokens: TokenCache,
}

impl<P> Authenticator<P> {
    /// An authenticator that has seen nothing yet.
    pub fn new(config: Config, ports: P) -> Self {
        Self { config, ports, tokens: TokenCache::default() }
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Forgets which tokens were verified, after those changed who vouch for them.
    pub fn forget(&self) {
        self.tokens.forget();
    }
}

impl<P: Clock + KeySetSource> Authenticator<P> {
    /// The claims of a token, or none when the caller is unauthenticated: no token, or one that is malformed, forged,
    /// expired or made out to somebody else.
    ///
    /// # Errors
    /// When the key set cannot be fetched and no cached key fits.
    pub async fn claims(&self, token: Option<&str>) -> Result<Option<Claims>, AuthError> {
        match (&self.config.driver, token) {
            (Driver::None { identity, .. }, _) => Ok(Some(identity.claims())),
            (_, None) => Ok(None),
            (_, Some(token)) if token.is_empty() || token.len() > TOKEN_BYTES => Ok(None),
            (_, Some(token)) => match self.config.own_claims(token) {
                Some(claims) => Ok(Some(claims)),
                None => self.verify(token).await,
            },
        }
    }

    /// Hears that a token counts for nothing, although it is one.
    pub fn refuse(&self, why: Refusal) {
        self.ports.refused(why);
    }

    async fn verify(&self, token: &str) -> Result<Option<Claims>, AuthError> {
        let now = self.ports.now_ms();
        if let Some(claims) = self.tokens.get(token, now) {
            return Ok(Some(claims));
        }
        match self.verify_anew(token, now).await? {
            Ok(claims) => Ok(Some(claims)),
            Err(why) => {
                self.ports.refused(why);
                Ok(None)
            }
        }
    }

    /// Cheap checks come first. A key is looked up, and perhaps fetched, only for a token that passes all of them.
    async fn verify_anew(&self, token: &str, now: i64) -> Result<Result<Claims, Refusal>, AuthError> {
        let Some(jwt) = Jwt::parse(token) else {
            let is_own = self.config.stored.as_ref().is_some_and(|stored| stored.is_one(token));
            return Ok(Err(if is_own { Refusal::Revoked } else { Refusal::Malformed }));
        };
        let issuers = self.config.issuers.get();
        let named = issuers.iter().filter(|issuer| issuer.provider.has_issued(&jwt.claims));
        let mut why = Refusal::Issuer;
        let accepting = named.into_iter().find(|issuer| match issuer.provider.refusal(&jwt.claims, now) {
            None => true,
            Some(refusal) => {
                why = refusal;
                false
            }
        });
        let Some(issuer) = accepting else { return Ok(Err(why)) };
        let wanted = Wanted { kid: &jwt.kid, issued_at_s: jwt.claims.iat() };
        let provider = &issuer.provider;
        let claims = provider.read(jwt.claims.clone());
        if claims.sub().is_some_and(|id| !may_name(&issuers, provider, id)) {
            return Ok(Err(Refusal::Issuer));
        }
        match self.key(issuer, wanted, now).await {
            Ok(Some(key)) if key.verifies(&jwt) => {
                self.tokens.put(token, &claims, now);
                Ok(Ok(claims))
            }
            Ok(Some(_)) => Ok(Err(Refusal::Signature)),
            Ok(None) => Ok(Err(Refusal::Key)),
            Err(_) if provider.allow_unverified => Ok(Ok(claims)),
            Err(error) => Err(error.into()),
        }
    }

    async fn key(&self, issuer: &Issuer, wanted: Wanted<'_>, now: i64) -> Result<Option<Key>, FetchError> {
        let Issuer { provider, keys, discovery } = issuer;
        let mut now = now;
        // The loop ends: a fetch that takes too long counts as lost, and this caller then fetches itself.
        loop {
            match keys.lookup(wanted, now) {
                Lookup::Found(key) => return Ok(Some(key)),
                Lookup::Unknown => return Ok(None),
                Lookup::Failed(error) => return Err(error),
                Lookup::Wait => self.ports.pause().await,
                Lookup::Fetch(permit) => {
                    if provider.jwks_url.is_none() && provider.oidc.is_none() {
                        return Err(FetchError::NoUrl);
                    }
                    let set = self.fetch(provider, discovery, now).await;
                    self.ports.fetched(provider.issuer.as_deref().unwrap_or_default(), set.is_ok());
                    return keys.fetched(permit, set, wanted.kid, self.ports.now_ms());
                }
            }
            now = self.ports.now_ms();
        }
    }
}

impl<P: Clock + KeySetSource> Authenticator<P> {
    /// The key set, from where it is configured to be or the provider says.
    async fn fetch(&self, provider: &Provider, discovery: &Discovery, now: i64) -> Result<KeySet, FetchError> {
        let url = match (&provider.jwks_url, &provider.issuer) {
            (Some(url), _) => url.clone(),
            (None, None) => return Err(FetchError::NoUrl),
            (None, Some(issuer)) => match discovery.known(now) {
                Some(url) => url,
                None => discovery.learn(provider, &self.ports.fetch(&discovery_url(issuer)).await?, now)?,
            },
        };
        KeySet::parse(&self.ports.fetch(&url).await?)
    }
}

impl<P> fmt::Debug for Authenticator<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Whether a token has not expired. It is valid until the second of its `exp` begins, with no allowance for clocks that
/// differ. Without a numeric `exp` it never expires.
fn is_current(claims: &Claims, now: i64) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "seconds since the epoch are far below 2^53")]
    let seconds = now.div_euclid(1000) as f64;
    claims.exp().is_none_or(|exp| exp > seconds)
}

impl Provider {
    /// Why claims that name this provider count for nothing; none: they name one of the client ids, and have not expired.
    fn refusal(&self, claims: &Claims, now: i64) -> Option<Refusal> {
        match &self.oidc {
            #[expect(clippy::cast_precision_loss, reason = "seconds since the epoch are far below 2^53")]
            Some(oidc) => oidc.refusal(claims, &self.client_ids, now.div_euclid(1000) as f64),
            None if !is_current(claims, now) => Some(Refusal::Expired),
            None => (!self.is_client_of(claims)).then_some(Refusal::Audience),
        }
    }

    /// Whether the claims name this provider.
    pub(crate) fn has_issued(&self, claims: &Claims) -> bool {
        self.issuer.as_deref().is_some_and(|issuer| claims.text("iss") == Some(issuer))
    }

    /// An id token names its client as `aud`, an access token as `client_id`; a list of clients is refused.
    fn is_client_of(&self, claims: &Claims) -> bool {
        let client = claims.get("aud").or_else(|| claims.get("client_id")).and_then(|id| id.as_str());
        client.is_some_and(|client| self.client_ids.iter().any(|id| id == client))
    }

    /// The claims as everything else reads them.
    pub(crate) fn read(&self, claims: Claims) -> Claims {
        match &self.oidc {
            Some(oidc) => oidc.read(&claims),
            None => claims,
        }
    }
}
