//! Tokens whose signature was verified, so that it is verified once.

use crate::Claims;
use crate::digest::{self, Key};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

/// How long a verified token counts without being verified again. It counts for as long after its key was withdrawn.
const FRESH_MS: i64 = 60 * 60 * 1000;
/// How many tokens are kept. When there are more, the one unused for longest is dropped (D-22).
const CAPACITY: NonZeroUsize = NonZeroUsize::new(200).unwrap();

/// The claims of verified tokens.
pub(crate) struct TokenCache(Mutex<LruCache<Key, (Claims, i64), keyed::Build>>);

impl Default for TokenCache {
    fn default() -> Self {
        Self(Mutex::new(LruCache::with_hasher(CAPACITY, keyed::Build::default())))
    }
}

impl TokenCache {
    /// The claims of a token verified less than an hour before `now` (milliseconds), unless it has expired since.
    pub(crate) fn get(&self, token: &str, now: i64) -> Option<Claims> {
        let key = digest::of(token);
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (claims, at) = cache.get(&key)?;
        if (0..FRESH_MS).contains(&(now - *at)) && claims.exp().is_some_and(|exp| exp > seconds(now)) {
            return Some(claims.clone());
        }
        cache.pop(&key);
        None
    }

    /// Keeps the claims of a token verified at `now`, if it says when it expires.
    pub(crate) fn put(&self, token: &str, claims: &Claims, now: i64) {
        if claims.exp().is_some() {
            let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            cache.put(digest::of(token), (claims.clone(), now));
        }
    }
}

/// Whole seconds, in the type of the claims that they are compared with.
#[expect(clippy::cast_precision_loss, reason = "seconds since the epoch are far below 2^53")]
pub(crate) fn seconds(now_ms: i64) -> f64 {
    now_ms.div_euclid(1000) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, Value};

    fn claims(exp: impl Into<Value>) -> Claims {
        Claims::new(Map::from_iter([("exp".to_owned(), exp.into())]))
    }

    #[test]
    fn the_token_unused_for_longest_goes_first() {
        let cache = TokenCache::default();
        let known = |token: &str| cache.get(token, 1_000).is_some();
        for i in 0..CAPACITY.get() {
            cache.put(&i.to_string(), &claims(2), 1_000);
        }
        assert!(known("0"));
        cache.put("new", &claims(2), 1_000);
        assert!(known("0") && known("new") && !known("1") && known("2"));
    }

    #[test]
    fn a_token_holds_until_its_end() {
        let cache = TokenCache::default();
        cache.put("t", &claims(2), 1_000);
        assert!(cache.get("t", 1_999).is_some());
        assert!(cache.get("t", 2_000).is_none());
        assert!(cache.get("t", 1_999).is_none(), "an expired token is dropped");
        cache.put("text", &claims("2"), 1_000);
        assert!(cache.get("text", 1_000).is_none());
    }
}
