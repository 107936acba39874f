//! The identity providers that vouch for callers, each with what is known of its keys. The list may be replaced while it is read.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use crate::Provider;
use crate::key_cache::KeyCache;
use crate::oidc::Discovery;

/// One of them.
pub(crate) struct Issuer {
    pub(crate) provider: Provider,
    pub(crate) keys: KeyCache,
    pub(crate) discovery: Discovery,
}

/// All of them. A clone is the same list.
#[derive(Clone, Default)]
pub struct Issuers(Arc<RwLock<Arc<[Arc<Issuer>]>>>);

impl Issuers {
    /// A list of these.
    pub(crate) fn new(providers: Vec<Provider>) -> Self {
        let issuers = Self::default();
        issuers.replace(providers);
        issuers
    }

    /// The list as it is now.
    pub(crate) fn get(&self) -> Arc<[Arc<Issuer>]> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Another list from now on. Of those that stay the same the keys stay known.
    pub(crate) fn replace(&self, providers: Vec<Provider>) {
        let before = self.get();
        let issuer = |provider: Provider| {
            let known = before.iter().find(|issuer| issuer.provider == provider).map(Arc::clone);
            let fresh = || Arc::new(Issuer { provider, keys: KeyCache::default(), discovery: Discovery::default() });
            known.unwrap_or_else(fresh)
        };
        let after: Arc<[Arc<Issuer>]> = providers.into_iter().map(issuer).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = after;
    }
}

/// Whether a user id that `own` gives is one that it may give: where it also begins as those of another issuer do, it is that one's whose
/// `sub_prefix` is the longest. Otherwise an issuer without a prefix, or with a shorter one, could name somebody as another issuer does.
pub(crate) fn may_name(issuers: &[Arc<Issuer>], own: &Provider, id: &str) -> bool {
    let prefix = |provider: &Provider| provider.oidc.as_ref().map_or(0, |oidc| oidc.sub_prefix.len());
    let begins =
        |issuer: &&Arc<Issuer>| issuer.provider.oidc.as_ref().is_some_and(|oidc| id.starts_with(&oidc.sub_prefix));
    issuers.iter().filter(begins).all(|other| prefix(&other.provider) <= prefix(own))
}

impl fmt::Debug for Issuers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.get().iter().map(|issuer| issuer.provider.issuer.clone())).finish()
    }
}
